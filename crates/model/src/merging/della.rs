//! DELLA: as `dare_ties`, where large changes are dropped less often.
//!
//! ```text
//! p_i   = density - epsilon + 2 epsilon r_i / (c - 1)     r_i = 0 for the smallest |d| of its row of c numbers, c - 1 for the largest
//! d'_t  = m_t d_t / p                                       m_t = 1 with probability p, else 0
//! s     = sign of sum_t w_t d'_t, + where the sum is 0
//! theta = theta_0 + lambda mean of the d'_t that have the sign s, by w_t
//! ```
//!
//! Defaults: density 0.7, epsilon 0.07, lambda 1.1, those of the authors' example; all w_t 1, seed 17.
//! Cost: each row is sorted.
//! When to use: as `dare_ties`; the large changes are those that a model cannot spare.
//! Traps: of a row with one number the formula is 0 / 0: its p is the density. A vector is one row. Of equal magnitudes the one with the
//! lower index counts as larger. mergekit keeps the tensor's L1 norm in place of the division by p.
//! Paper: Deep et al. 2024, "DELLA-Merging: reducing interference in model merging through magnitude-based sampling".

use super::consensus::elected_mean;
use super::magnitude::descending;
use super::mask::dropped;
use super::task_vectors::{applied, differences, weights};
use super::{MergingError, MergingMethod, TensorVote, check_lambda};
use serde::{Deserialize, Serialize};

/// Task vectors of which a random part is dropped, large changes less often, and of the rest those whose sign wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Della {
    /// The mean probability with which a change is kept.
    pub density: f64,
    /// How far the probabilities of the largest and of the smallest change are from the mean.
    pub epsilon: f64,
    /// The factor of the merged change.
    pub lambda: f64,
    /// The seed of the masks.
    pub seed: u64,
}

impl Default for Della {
    fn default() -> Self {
        Della { density: 0.7, epsilon: 0.07, lambda: 1.1, seed: 17 }
    }
}

/// Checks that all probabilities are above 0 and at most 1.
pub(super) fn check_probabilities(density: f64, epsilon: f64) -> Result<(), MergingError> {
    super::check_share("density", density)?;
    // Compared with some room for rounding: 0.9 + 0.1 is a little more than 1 in some orders.
    let fits = epsilon >= 0.0 && density - epsilon > 0.0 && density + epsilon <= 1.0 + 1e-12;
    let expected = "0 or more, less than the density, and at most 1 - density";
    if fits { Ok(()) } else { Err(MergingError::new("epsilon", epsilon, expected)) }
}

/// For each number of a tensor the probability with which it is kept.
pub(super) fn probabilities(d: &[f64], columns: usize, density: f64, epsilon: f64) -> Vec<f64> {
    let mut all = vec![density; d.len()];
    for (row, values) in all.chunks_mut(columns).zip(d.chunks(columns)).filter(|(row, _)| row.len() > 1) {
        let last = (values.len() - 1) as f64;
        for (place, index) in descending(values).into_iter().enumerate() {
            let rank = last - place as f64;
            row[index] = (density - epsilon + 2.0 * epsilon * rank / last).min(1.0);
        }
    }
    all
}

/// The task vectors with changes dropped by their magnitude.
pub(super) fn dropped_by_magnitude(
    vote: &TensorVote<'_>,
    [density, epsilon]: [f64; 2],
    seed: u64,
) -> Vec<Vec<f64>> {
    let of = |(d, model): (Vec<f64>, &str)| {
        let keep = probabilities(&d, vote.columns, density, epsilon);
        dropped(&d, |index| keep[index], (seed, model, vote.name))
    };
    let models = vote.voters.iter().map(|voter| voter.model);
    differences(vote).into_iter().zip(models).map(of).collect()
}

impl MergingMethod for Della {
    fn check(&self) -> Result<(), MergingError> {
        check_probabilities(self.density, self.epsilon)?;
        check_lambda(self.lambda)
    }

    fn merge(&self, vote: &TensorVote<'_>) -> Vec<f64> {
        let kept = dropped_by_magnitude(vote, [self.density, self.epsilon], self.seed);
        let weights = weights(vote);
        applied(vote, elected_mean(&kept, &weights, &weights), self.lambda)
    }
}
