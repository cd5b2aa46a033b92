//! DARE with the signs of TIES: a random part of the changes is dropped, and of the rest those whose sign wins are averaged.
//!
//! ```text
//! d'_t  = m_t d_t / density                        m_t = 1 with probability density, else 0, for each number
//! s     = sign of sum_t w_t d'_t, + where the sum is 0
//! theta = theta_0 + lambda mean of the d'_t that have the sign s, by w_t
//! ```
//!
//! Defaults: density 0.5, lambda 1, all w_t 1, seed 17.
//! Cost: a random number for each number of each model.
//! When to use: as `dare_linear`, where the sum of the models is too large a change.
//! Traps: the masks are those of `dare_linear`. mergekit takes the sum in place of the mean here.
//! Papers: Yu et al. 2024, "Language models are super Mario"; Yadav et al. 2023, "TIES-Merging".

use super::consensus::elected_mean;
use super::dare_linear::dropped_evenly;
use super::task_vectors::{applied, weights};
use super::{MergingError, MergingMethod, TensorVote, check_lambda, check_share};
use serde::{Deserialize, Serialize};

/// Task vectors of which a random part is dropped, and of the rest those whose sign wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DareTies {
    /// The probability with which a change is kept.
    pub density: f64,
    /// The factor of the merged change.
    pub lambda: f64,
    /// The seed of the masks.
    pub seed: u64,
}

impl Default for DareTies {
    fn default() -> Self {
        DareTies { density: 0.5, lambda: 1.0, seed: 17 }
    }
}

impl MergingMethod for DareTies {
    fn check(&self) -> Result<(), MergingError> {
        check_share("density", self.density)?;
        check_lambda(self.lambda)
    }

    fn merge(&self, vote: &TensorVote<'_>) -> Vec<f64> {
        let kept = dropped_evenly(vote, self.density, self.seed);
        let weights = weights(vote);
        applied(vote, elected_mean(&kept, &weights, &weights), self.lambda)
    }
}
