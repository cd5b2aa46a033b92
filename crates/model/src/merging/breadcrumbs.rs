//! Breadcrumbs: the sum of task vectors without the largest and the smallest changes.
//!
//! ```text
//! d'_t  = d_t without the gamma n largest magnitudes, and of the rest only the density n largest
//! theta = theta_0 + lambda sum_t w_t d'_t
//! ```
//!
//! Where `gamma n` and `density n` are more than n together, fewer of the largest are dropped. What is kept is not rescaled.
//! Defaults: density 0.9, gamma 0.01, lambda 0.4 as in task arithmetic, all w_t 1.
//! Cost: a selection of the largest numbers of each tensor.
//! When to use: many models; the largest changes are taken for outliers.
//! Traps: mergekit drops the whole tensor where gamma n is below 1, with gamma 0.01 every bias of fewer than 100 numbers; here nothing of
//! it is dropped as too large then.
//! Paper: Davari and Belilovsky 2024, "Model breadcrumbs: scaling multi-task model merging with sparse masks".

use super::magnitude::{count, keep_ranks, rounded};
use super::task_vectors::{applied, differences, weighted_sum, weights};
use super::{MergingError, MergingMethod, TensorVote, check_lambda, check_share};
use serde::{Deserialize, Serialize};

/// The sum of task vectors without the largest and the smallest changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breadcrumbs {
    /// The share of the changes of each tensor that is kept.
    pub density: f64,
    /// The share of the largest changes of each tensor that is dropped.
    pub gamma: f64,
    /// The factor of the sum.
    pub lambda: f64,
}

impl Default for Breadcrumbs {
    fn default() -> Self {
        Breadcrumbs { density: 0.9, gamma: 0.01, lambda: 0.4 }
    }
}

/// Checks both shares.
pub(super) fn check_shares(density: f64, gamma: f64) -> Result<(), MergingError> {
    check_share("density", density)?;
    let is_share = (0.0..1.0).contains(&gamma);
    if is_share { Ok(()) } else { Err(MergingError::new("gamma", gamma, "a number from 0 to below 1")) }
}

/// The task vectors without the largest and the smallest changes.
pub(super) fn middling(vote: &TensorVote<'_>, density: f64, gamma: f64) -> Vec<Vec<f64>> {
    let of = |d: Vec<f64>| {
        let keep = count(density, d.len());
        let skip = rounded(gamma, d.len()).min(d.len() - keep);
        keep_ranks(d, skip, keep)
    };
    differences(vote).into_iter().map(of).collect()
}

impl MergingMethod for Breadcrumbs {
    fn check(&self) -> Result<(), MergingError> {
        check_shares(self.density, self.gamma)?;
        check_lambda(self.lambda)
    }

    fn merge(&self, vote: &TensorVote<'_>) -> Vec<f64> {
        let kept = middling(vote, self.density, self.gamma);
        applied(vote, weighted_sum(&kept, &weights(vote)), self.lambda)
    }
}
