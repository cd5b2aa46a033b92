//! Task arithmetic: the checkpoint and the sum of what each model has learned.
//!
//! ```text
//! theta = theta_0 + lambda sum_t w_t d_t
//! ```
//!
//! Defaults: lambda 0.4, what the authors recommend where no held-out rows choose it; all w_t 1. The sum is not divided by the weights: with
//! lambda 1 / T it is the average.
//! Cost: one pass over the weights.
//! When to use: where you try several lambda on the validation split; more tasks need a smaller one.
//! Paper: Ilharco et al. 2023, "Editing models with task arithmetic".

use super::task_vectors::{applied, differences, weighted_sum, weights};
use super::{MergingError, MergingMethod, TensorVote, check_lambda};
use serde::{Deserialize, Serialize};

/// The checkpoint and the sum of the task vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskArithmetic {
    /// The factor of the sum.
    pub lambda: f64,
}

impl Default for TaskArithmetic {
    fn default() -> Self {
        TaskArithmetic { lambda: 0.4 }
    }
}

impl MergingMethod for TaskArithmetic {
    fn check(&self) -> Result<(), MergingError> {
        check_lambda(self.lambda)
    }

    fn merge(&self, vote: &TensorVote<'_>) -> Vec<f64> {
        applied(vote, weighted_sum(&differences(vote), &weights(vote)), self.lambda)
    }
}
