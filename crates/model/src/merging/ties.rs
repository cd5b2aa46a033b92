//! TIES: large changes alone, and of these those whose sign wins.
//!
//! ```text
//! trim     d'_t = d_t with 0 in place of all but the density n largest magnitudes
//! elect    s    = sign of sum_t w_t d'_t, + where the sum is 0
//! merge    theta = theta_0 + lambda mean of the d'_t that have the sign s, by w_t
//! ```
//!
//! Defaults: density 0.2, lambda 1, all w_t 1.
//! Cost: a selection of the largest numbers of each tensor.
//! When to use: several models whose changes contradict each other.
//! Traps: the authors trim all parameters as one vector; here, as in mergekit and PEFT, each tensor is trimmed by itself, so that no
//! tensor is emptied. PEFT trims the factors A and B of LoRA apart; here their product is trimmed.
//! Paper: Yadav et al. 2023, "TIES-Merging: resolving interference when merging models".

use super::consensus::elected_mean;
use super::magnitude::{count, keep_ranks};
use super::task_vectors::{applied, differences, weights};
use super::{MergingError, MergingMethod, TensorVote, check_lambda, check_share};
use serde::{Deserialize, Serialize};

/// Large changes alone, and of these those whose sign wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ties {
    /// The share of the changes of each tensor that is kept.
    pub density: f64,
    /// The factor of the merged change.
    pub lambda: f64,
}

impl Default for Ties {
    fn default() -> Self {
        Ties { density: 0.2, lambda: 1.0 }
    }
}

impl MergingMethod for Ties {
    fn check(&self) -> Result<(), MergingError> {
        check_share("density", self.density)?;
        check_lambda(self.lambda)
    }

    fn merge(&self, vote: &TensorVote<'_>) -> Vec<f64> {
        let trim = |d: Vec<f64>| {
            let keep = count(self.density, d.len());
            keep_ranks(d, 0, keep)
        };
        let trimmed: Vec<Vec<f64>> = differences(vote).into_iter().map(trim).collect();
        let weights = weights(vote);
        applied(vote, elected_mean(&trimmed, &weights, &weights), self.lambda)
    }
}
