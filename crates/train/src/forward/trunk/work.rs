//! A pack as it goes through the trunk: with hard sharing as it was drawn; where each task has parameters of its own in the trunk,
//! its rows ordered by task, and a row that several tasks read once for each of them.

use crate::job::Model;
use burn::tensor::Tensor;
use data::Pack;
use model::{LanePolicy, Lanes};
use std::borrow::Cow;
use std::collections::BTreeMap;
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
        let name = |task: &crate::job::TaskSlot| task.name.clone();
        let groups: Vec<Vec<String>> = match model.trunk.sharing().lanes() {
            LanePolicy::Shared => {
                return WorkPack { pack: Cow::Borrowed(pack), rows, lanes: Lanes::default(), order: None };
            }
            LanePolicy::PerTask => model.tasks.iter().map(|task| vec![name(task)]).collect(),
            LanePolicy::PerGroup(groups) => groups,
        };
        let mut order = Vec::new();
        let mut lengths = Vec::new();
        let mut copies = vec![Vec::new(); rows.len()];
        for group in &groups {
            let members: Vec<usize> =
                (0..rows.len()).filter(|task| group.contains(&model.tasks[*task].name)).collect();
            let mut places: BTreeMap<u32, u32> = BTreeMap::new();
            let mut tokens = 0;
            for task in members {
                let mut copy = |row: &BatchRow| {
                    let place = *places.entry(row.pack_row).or_insert_with(|| {
                        let from = row.pack_row as usize;
                        tokens += pack.offsets[from + 1] - pack.offsets[from];
                        order.push(from);
                        // A pack has fewer rows than tokens, and these are counted in u32.
                        (order.len() - 1) as u32
                    });
                    BatchRow { pack_row: place, row: row.row }
                };
                copies[task] = rows[task].iter().map(&mut copy).collect();
            }
            lengths.extend(group.first().map(|first| (first.clone(), tokens)));
        }
        let pack = Cow::Owned(pack.select_rows(&order));
        WorkPack { pack, rows: copies, lanes: Lanes::new(lengths), order: Some(order) }
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
