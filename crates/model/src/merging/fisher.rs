//! Fisher: the mean of the weights, each number by how much the model's own loss depends on it.
//!
//! ```text
//! F_t   = mean over training rows of model t of g^2, the squared gradient of the row's loss without dropout; summed over its tasks
//! theta = (sum_t w_t F_t theta_t) / (sum_t w_t F_t)               number by number; the mean by w_t where all F_t are 0
//! ```
//!
//! Defaults: 256 rows of each task, drawn by seed 17; all w_t 1. It needs no common checkpoint in hand, but each run's config and data.
//! Cost: a backward pass for each row, and as much memory for each model as its trunk takes.
//! When to use: where data is there, and models were trained on different amounts of it.
//! Traps: F is that of the labels of the rows (the empirical Fisher information), not of labels that the model would draw. Losses of
//! different kinds have different scales, and so have their F: `--weights` evens them out. Where a number is used by one model alone,
//! such as the vector of a token that the others' rows do not have, it is that model's. Of models with low-rank updates F is that of the
//! whole weights with the updates added.
//! Paper: Matena and Raffel 2022, "Merging models with Fisher-weighted averaging".

use super::{MergingError, MergingMethod, TensorVote};
use serde::{Deserialize, Serialize};

/// The mean weighted by the Fisher information.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fisher {
    /// Training rows of each task.
    pub rows: usize,
    /// The seed by which they are drawn.
    pub seed: u64,
}

impl Default for Fisher {
    fn default() -> Self {
        Fisher { rows: 256, seed: 17 }
    }
}

impl MergingMethod for Fisher {
    fn needs_base(&self) -> bool {
        false
    }

    fn gradient_rows(&self) -> Option<usize> {
        Some(self.rows)
    }

    fn check(&self) -> Result<(), MergingError> {
        if self.rows > 0 { Ok(()) } else { Err(MergingError::new("rows", self.rows, "at least 1")) }
    }

    fn merge(&self, vote: &TensorVote<'_>) -> Vec<f64> {
        let total: f64 = vote.voters.iter().map(|voter| voter.weight).sum();
        let merged = |at: usize| {
            let (mut sum, mut mean, mut fisher) = (0.0, 0.0, 0.0);
            for voter in vote.voters {
                let importance = voter.importance.expect("the method gets the squared gradients");
                let (value, own) = (f64::from(voter.values[at]), voter.weight * f64::from(importance[at]));
                sum += own * value;
                fisher += own;
                mean += voter.weight * value / total;
            }
            if fisher > 0.0 { sum / fisher } else { mean }
        };
        (0..vote.voters[0].values.len()).map(merged).collect()
    }
}
