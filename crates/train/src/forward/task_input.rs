//! What the head of a task reads: the states that the trunk gives, or what the sharing scheme makes of them for the task.

use crate::job::{Model, TaskSlot};
use burn::tensor::Tensor;
use data::{Pack, Split};
use model::Parameters;
use std::borrow::Cow;
use tasks::{Batch, BatchRow, Writer};

/// States, the pack that they are of, and a task's rows in it.
pub(crate) struct TaskInput<'a> {
    states: Cow<'a, Tensor<2>>,
    pack: Cow<'a, Pack>,
    rows: Cow<'a, [BatchRow]>,
    writer: Writer<'a>,
}

impl<'a> TaskInput<'a> {
    /// What a task reads of the states of a pack. With hard sharing these are all there is; a scheme with a readout for each task gets
    /// those of the task's rows.
    pub(crate) fn new(
        model: &'a Model,
        parameters: &Parameters,
        task: &'a TaskSlot,
        (states, pack): (&'a Tensor<2>, &'a Pack),
        rows: &'a [BatchRow],
    ) -> Self {
        let writer =
            Writer { trunk: &model.trunk, task: &task.name, dataset: model.dataset_of(&task.config.corpus) };
        if !model.trunk.sharing().reads_out() {
            let (states, pack, rows) = (Cow::Borrowed(states), Cow::Borrowed(pack), Cow::Borrowed(rows));
            return TaskInput { states, pack, rows, writer };
        }
        let of_pack: Vec<usize> = rows.iter().map(|row| row.pack_row as usize).collect();
        let tokens = of_pack.iter().flat_map(|row| pack.offsets[*row] as u32..pack.offsets[row + 1] as u32);
        let states = kernels::gather_rows(states.clone(), &tokens.collect::<Vec<u32>>());
        let own = pack.select_rows(&of_pack);
        let states = model.trunk.readout(Some(&task.name), parameters, states, &own.sequences);
        let rows = (0..).zip(rows).map(|(pack_row, row)| BatchRow { pack_row, row: row.row });
        TaskInput { states: Cow::Owned(states), pack: Cow::Owned(own), rows: rows.collect(), writer }
    }

    /// The batch of the head, outside of training.
    pub(crate) fn evaluated(&self, split: Split) -> Batch<'_> {
        Batch { writer: Some(self.writer), ..Batch::evaluated(&self.states, &self.pack, split, &self.rows) }
    }

    /// The batch of the head in training.
    pub(crate) fn batch(&self, split: Split, dropout_seed: Option<u64>, progress: f64) -> Batch<'_> {
        let batch = Batch::evaluated(&self.states, &self.pack, split, &self.rows);
        Batch { dropout_seed, progress, ..batch }
    }
}
