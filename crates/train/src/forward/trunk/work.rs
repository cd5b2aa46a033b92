//! A pack as it goes through the trunk: with hard sharing as it was drawn; where each task has parameters of its own in the trunk,
//! its rows ordered by task, and a row that several tasks read once for each of them.

use crate::job::Model;
use burn::tensor::Tensor;
use data::Pack;
use model::Lanes;
use std::borrow::Cow;
use tasks::BatchRow;

/// A pack, the rows of every task in it, and which tokens are whose.
pub(crate) struct WorkPack<'p> {
    pub(crate) pack: Cow<'p, Pack>,
    /// For each task of the model the rows that it reads.
    pub(crate) rows: Vec<Vec<BatchRow>>,
    pub(crate) lanes: Lanes,
    /// The rows of the pack that it was made of, in order; `None`: as they were.
    order: Option<Vec<usize>>,
}

impl<'p> WorkPack<'p> {
    /// Of a pack in which the tasks read these rows.
    pub(crate) fn new(model: &Model, pack: &'p Pack, rows: Vec<Vec<BatchRow>>) -> Self {
        if !model.trunk.has_lanes() {
            return WorkPack { pack: Cow::Borrowed(pack), rows, lanes: Lanes::default(), order: None };
        }
        let mut order = Vec::new();
        let mut lengths = Vec::new();
        let mut lane_of = |(task, rows): (&crate::job::TaskSlot, &Vec<BatchRow>)| {
            let mut tokens = 0;
            let mut copy = |row: &BatchRow| {
                let from = row.pack_row as usize;
                tokens += pack.offsets[from + 1] - pack.offsets[from];
                order.push(from);
                // A pack has fewer rows than tokens, and these are counted in u32.
                BatchRow { pack_row: (order.len() - 1) as u32, row: row.row }
            };
            let copies: Vec<BatchRow> = rows.iter().map(&mut copy).collect();
            lengths.push((task.name.clone(), tokens));
            copies
        };
        let rows: Vec<Vec<BatchRow>> = model.tasks.iter().zip(&rows).map(&mut lane_of).collect();
        let pack = Cow::Owned(pack.select_rows(&order));
        WorkPack { pack, rows, lanes: Lanes::new(lengths), order: Some(order) }
    }

    /// Of a pack that no task reads: the shared network alone.
    pub(crate) fn without_tasks(pack: &'p Pack) -> Self {
        WorkPack { pack: Cow::Borrowed(pack), rows: Vec::new(), lanes: Lanes::default(), order: None }
    }

    /// States of the tokens of the pack that it was made of, as states of its own tokens.
    pub(crate) fn expanded(&self, of: &Pack, states: Option<Tensor<2>>) -> Option<Tensor<2>> {
        let (Some(order), Some(states)) = (&self.order, &states) else { return states };
        let tokens = order.iter().flat_map(|row| of.offsets[*row] as u32..of.offsets[row + 1] as u32);
        Some(kernels::gather_rows(states.clone(), &tokens.collect::<Vec<u32>>()))
    }
}
