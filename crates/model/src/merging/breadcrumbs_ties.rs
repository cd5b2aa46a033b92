//! Breadcrumbs with the signs of TIES: the largest and the smallest changes are dropped, and of the rest those whose sign wins are averaged.
//!
//! ```text
//! s     = sign of sum_t w_t d'_t, + where the sum is 0           d'_t as in `breadcrumbs`
//! theta = theta_0 + lambda mean of the d'_t that have the sign s, by w_t
//! ```
//!
//! Defaults: density 0.9, gamma 0.01, lambda 1, all w_t 1.
//! Cost: a selection of the largest numbers of each tensor.
//! When to use: as `breadcrumbs`, where the sum of the models is too large a change.
//! Traps: that of `breadcrumbs`.
//! Papers: Davari and Belilovsky 2024, "Model breadcrumbs"; Yadav et al. 2023, "TIES-Merging".

use super::breadcrumbs::{check_shares, middling};
use super::consensus::elected_mean;
use super::task_vectors::{applied, weights};
use super::{MergingError, MergingMethod, TensorVote, check_lambda};
use serde::{Deserialize, Serialize};

/// Task vectors without the largest and the smallest changes, and of the rest those whose sign wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreadcrumbsTies {
    /// The share of the changes of each tensor that is kept.
    pub density: f64,
    /// The share of the largest changes of each tensor that is dropped.
    pub gamma: f64,
    /// The factor of the merged change.
    pub lambda: f64,
}

impl Default for BreadcrumbsTies {
    fn default() -> Self {
        BreadcrumbsTies { density: 0.9, gamma: 0.01, lambda: 1.0 }
    }
}

impl MergingMethod for BreadcrumbsTies {
    fn check(&self) -> Result<(), MergingError> {
        check_shares(self.density, self.gamma)?;
        check_lambda(self.lambda)
    }

    fn merge(&self, vote: &TensorVote<'_>) -> Vec<f64> {
        let kept = middling(vote, self.density, self.gamma);
        let weights = weights(vote);
        applied(vote, elected_mean(&kept, &weights, &weights), self.lambda)
    }
}
