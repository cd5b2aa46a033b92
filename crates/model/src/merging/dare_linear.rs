//! DARE: the sum of task vectors of which a random part is dropped.
//!
//! ```text
//! m_t   = 1 with probability density, else 0, for each number
//! theta = theta_0 + lambda sum_t w_t m_t d_t / density
//! ```
//!
//! Defaults: density 0.5, lambda 0.4 as in task arithmetic, all w_t 1, seed 17.
//! Cost: a random number for each number of each model.
//! When to use: many models; dropped changes cannot contradict each other. The paper drops up to 0.9 and more in large language models,
//! whose changes are small; small models bear less.
//! Traps: a mask is drawn for each tensor and model, by their names: neither order nor threads change it. What is kept is divided by the
//! density, as in the paper and in PEFT; mergekit keeps the tensor's L1 norm in its place.
//! Paper: Yu et al. 2024, "Language models are super Mario: absorbing abilities from homologous models as a free lunch".

use super::mask::dropped;
use super::task_vectors::{applied, differences, weighted_sum, weights};
use super::{MergingError, MergingMethod, TensorVote, check_lambda, check_share};
use serde::{Deserialize, Serialize};

/// The sum of task vectors of which a random part is dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DareLinear {
    /// The probability with which a change is kept.
    pub density: f64,
    /// The factor of the sum.
    pub lambda: f64,
    /// The seed of the masks.
    pub seed: u64,
}

impl Default for DareLinear {
    fn default() -> Self {
        DareLinear { density: 0.5, lambda: 0.4, seed: 17 }
    }
}

/// The task vectors, of each number of which `1 - density` are dropped.
pub(super) fn dropped_evenly(vote: &TensorVote<'_>, density: f64, seed: u64) -> Vec<Vec<f64>> {
    let of = |(d, model): (Vec<f64>, &str)| dropped(&d, |_| density, (seed, model, vote.name));
    let models = vote.voters.iter().map(|voter| voter.model);
    differences(vote).into_iter().zip(models).map(of).collect()
}

impl MergingMethod for DareLinear {
    fn check(&self) -> Result<(), MergingError> {
        check_share("density", self.density)?;
        check_lambda(self.lambda)
    }

    fn merge(&self, vote: &TensorVote<'_>) -> Vec<f64> {
        let kept = dropped_evenly(vote, self.density, self.seed);
        applied(vote, weighted_sum(&kept, &weights(vote)), self.lambda)
    }
}
