//! Average: the mean of the weights.
//!
//! ```text
//! theta = (sum_t w_t theta_t) / (sum_t w_t)
//! ```
//!
//! Defaults: all w_t 1. It needs no common checkpoint in hand, though without one the mean of models means nothing.
//! Cost: one pass over the weights.
//! When to use: first, as what every other method has to be better than; for models of similar tasks it is hard to beat.
//! Paper: Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
//! inference time".

use super::{MergingMethod, TensorVote};
use serde::{Deserialize, Serialize};

/// The mean of the weights.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Average {}

impl MergingMethod for Average {
    fn needs_base(&self) -> bool {
        false
    }

    fn merge(&self, vote: &TensorVote<'_>) -> Vec<f64> {
        let total: f64 = vote.voters.iter().map(|voter| voter.weight).sum();
        let mean = |at: usize| {
            let sum: f64 = vote.voters.iter().map(|voter| voter.weight * f64::from(voter.values[at])).sum();
            sum / total
        };
        (0..vote.voters[0].values.len()).map(mean).collect()
    }
}
