//! Pooling: one state for a whole row, from the states of its tokens.

use std::ops::Range;

use burn::tensor::Tensor;
use data::Pack;
use kernels::RowOffsets;
use model::onnx::{OnnxGraph, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::states::segment_means;
use crate::{Batch, BatchRow, TaskError, TrunkHandles};

/// The pooling of a row's token states to one state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The mean over all tokens of the row, special tokens included; of a text in windows over the tokens of all windows.
    #[default]
    Mean,
    /// The first token (`[CLS]` in BERT); of a text in windows the mean of the windows' first tokens.
    First,
    /// The last token, which sees the whole row on a decoder; of a text in windows the mean of the windows' last tokens.
    Last,
}

impl Pooling {
    /// Refuses a pooling of which nothing is to be learned on this trunk; `key` is that of the setting.
    pub(crate) fn check(self, key: &str, trunk: &TrunkHandles<'_>) -> Result<(), TaskError> {
        match self {
            Pooling::First if trunk.is_causal() => Err(TaskError::Setting {
                key: key.to_owned(),
                found: "\"first\" on a decoder, whose first token sees none of the others".into(),
                expected: "\"last\", the default there, or \"mean\"".into(),
            }),
            _ => Ok(()),
        }
    }

    /// The state of each row in a graph, `[batch, length, hidden]` to `[batch, hidden]`.
    pub(crate) fn onnx(self, graph: &mut OnnxGraph, states: &Value) -> Value {
        match self {
            Pooling::Mean => graph.mean(states),
            Pooling::First => graph.first(states),
            Pooling::Last => graph.last(states),
        }
    }

    /// Marks the tokens of the given rows that [`Pooling::pool`] uses.
    pub(crate) fn mark_used_tokens(self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        let sequences = rows.iter().flat_map(|at| at.sequences(pack));
        sequences.for_each(|tokens| self.mark_used(&mut used[tokens]));
    }

    /// Marks the used tokens among those of one row or sequence.
    pub(crate) fn mark_used(self, used: &mut [bool]) {
        match self {
            Pooling::Mean => used.fill(true),
            Pooling::First => used.iter_mut().take(1).for_each(|first| *first = true),
            Pooling::Last => used.iter_mut().rev().take(1).for_each(|last| *last = true),
        }
    }

    /// The token of some that the state is taken of.
    fn token_of(self, tokens: &Range<usize>) -> u32 {
        (if self == Pooling::Last { tokens.end - 1 } else { tokens.start }) as u32
    }

    /// The state of each given row of the pack, `[rows, hidden]`; zeros for a row without tokens.
    pub(crate) fn pool(self, batch: &Batch<'_>, pack_rows: &[u32]) -> Tensor<2> {
        if self == Pooling::Mean {
            return self.pool_of(batch.states, &batch.pack.offsets, pack_rows);
        }
        let picked = |row: &u32| {
            let sequences = BatchRow { pack_row: *row, row: *row }.sequences(batch.pack);
            sequences.filter(|tokens| !tokens.is_empty()).map(|tokens| self.token_of(&tokens)).collect()
        };
        segment_means(batch.states, &pack_rows.iter().map(picked).collect::<Vec<Vec<u32>>>())
    }

    /// The state of each given row of those that begin at `offsets`, in `states` `[tokens, hidden]`.
    pub(crate) fn pool_of(self, states: &Tensor<2>, offsets: &RowOffsets, pack_rows: &[u32]) -> Tensor<2> {
        match self {
            Pooling::Mean => {
                let means = kernels::segment_mean(states.clone(), offsets);
                let all =
                    pack_rows.len() + 1 == offsets.len() && pack_rows.iter().zip(0..).all(|(a, b)| *a == b);
                if all { means } else { kernels::gather_rows(means, pack_rows) }
            }
            Pooling::First | Pooling::Last => {
                let length = |row: u32| offsets[row as usize + 1] - offsets[row as usize];
                let filled: Vec<u32> = pack_rows.iter().copied().filter(|row| length(*row) > 0).collect();
                let tokens_of = |row: u32| offsets[row as usize]..offsets[row as usize + 1];
                let tokens: Vec<u32> = filled.iter().map(|row| self.token_of(&tokens_of(*row))).collect();
                let states = kernels::gather_rows(states.clone(), &tokens);
                if filled.len() == pack_rows.len() {
                    return states;
                }
                // One token for each row with tokens and none for the others: their means are these tokens, and zeros.
                let mut ends = vec![0];
                pack_rows.iter().for_each(|row| ends.push(ends[ends.len() - 1] + length(*row).min(1)));
                kernels::segment_mean(states, &ends.into())
            }
        }
    }
}
