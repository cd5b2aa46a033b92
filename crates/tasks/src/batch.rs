//! What a head reads: the token states of a pack and the rows of it that belong to the task.

use std::ops::Range;

use burn::tensor::Tensor;
use data::{Pack, Split};
use model::Trunk;

/// The token states of a pack, and the rows of it that belong to the task.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// `[tokens, hidden]` states of the pack's tokens.
    pub states: &'a Tensor<2>,
    /// The pack: whole rows, or at least the tokens of each row that the task uses ([`crate::TaskHead::mark_used_tokens`]).
    pub pack: &'a Pack,
    /// The split of the rows.
    pub split: Split,
    /// The rows of this task's view.
    pub rows: &'a [BatchRow],
    /// The seed of the step's dropout; `None` in evaluation.
    pub dropout_seed: Option<u64>,
    /// The completed fraction of the run, 0 to 1, for schedules; 1 in evaluation.
    pub progress: f64,
    /// What writes after prompts; `None` in training.
    pub writer: Option<Writer<'a>>,
}

/// The trunk, for a head that writes texts with it.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// The network.
    pub trunk: &'a Trunk,
    /// The task that it writes as.
    pub task: &'a str,
    /// The corpus of the rows, a row of the dataset embedding, where there is one.
    pub dataset: Option<u32>,
}

impl<'a> Batch<'a> {
    /// A batch for evaluation: without dropout.
    pub fn evaluated(states: &'a Tensor<2>, pack: &'a Pack, split: Split, rows: &'a [BatchRow]) -> Self {
        Batch { states, pack, split, rows, dropout_seed: None, progress: 1.0, writer: None }
    }
}

/// A row of the task's view inside a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRow {
    /// Its index in the pack.
    pub pack_row: u32,
    /// Its index in the view, and so in the encoded split.
    pub row: u32,
}

impl BatchRow {
    /// The row's sequences in the pack, each as its range of tokens.
    pub(crate) fn sequences(self, pack: &Pack) -> impl Iterator<Item = Range<usize>> {
        pack.sequences_of(self.pack_row as usize).map(|i| pack.sequences[i]..pack.sequences[i + 1])
    }

    /// The row's tokens in the pack.
    pub(crate) fn tokens(self, pack: &Pack) -> Range<usize> {
        pack.offsets[self.pack_row as usize]..pack.offsets[self.pack_row as usize + 1]
    }
}
