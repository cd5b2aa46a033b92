//! DELLA without the election of signs: the sum of task vectors of which small changes are dropped more often than large ones.
//!
//! ```text
//! theta = theta_0 + lambda sum_t w_t m_t d_t / p           m_t and p as in `della`
//! ```
//!
//! Defaults: density 0.7, epsilon 0.07, lambda 0.4 as in task arithmetic; all w_t 1, seed 17.
//! Cost: each row is sorted.
//! When to use: as `dare_linear`; the large changes are those that a model cannot spare.
//! Traps: those of `della`, whose masks it has.
//! Paper: Deep et al. 2024, "DELLA-Merging: reducing interference in model merging through magnitude-based sampling".

use super::della::{check_probabilities, dropped_by_magnitude};
use super::task_vectors::{applied, weighted_sum, weights};
use super::{MergingError, MergingMethod, TensorVote, check_lambda};
use serde::{Deserialize, Serialize};

/// The sum of task vectors of which a random part is dropped, large changes less often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DellaLinear {
    /// The mean probability with which a change is kept.
    pub density: f64,
    /// How far the probabilities of the largest and of the smallest change are from the mean.
    pub epsilon: f64,
    /// The factor of the sum.
    pub lambda: f64,
    /// The seed of the masks.
    pub seed: u64,
}

impl Default for DellaLinear {
    fn default() -> Self {
        DellaLinear { density: 0.7, epsilon: 0.07, lambda: 0.4, seed: 17 }
    }
}

impl MergingMethod for DellaLinear {
    fn check(&self) -> Result<(), MergingError> {
        check_probabilities(self.density, self.epsilon)?;
        check_lambda(self.lambda)
    }

    fn merge(&self, vote: &TensorVote<'_>) -> Vec<f64> {
        let kept = dropped_by_magnitude(vote, [self.density, self.epsilon], self.seed);
        applied(vote, weighted_sum(&kept, &weights(vote)), self.lambda)
    }
}
