//! Model stock: between the checkpoint and the mean of the models, by the angle between them.
//!
//! ```text
//! c     = mean over all pairs of models of the cosine of d_t and d_u
//! k     = T c / (1 + (T - 1) c), in 0 to 1
//! theta = theta_0 + k mean of the d_t
//! ```
//!
//! Defaults: one c for each tensor; with `per_row` one for each row of a matrix. No weights: all models count alike.
//! Cost: a product for each pair of models.
//! When to use: models of one task that differ by seed or data, as in the paper. Models of unrelated tasks have changed in directions
//! that have nothing to do with each other: c is near 0 then, and little is left of any of them.
//! Traps: of a mean cosine below 0 the formula makes a k below 0, away from all models: it is 0 then. A cosine with a d_t of zeros is 0.
//! Paper: Jang et al. 2024, "Model stock: all we need is just a few fine-tuned models".

use super::task_vectors::differences;
use super::{MergingMethod, TensorVote};
use serde::{Deserialize, Serialize};

/// Between the checkpoint and the mean, by the angle between the models.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelStock {
    /// Whether each row of a matrix has a factor of its own.
    pub per_row: bool,
}

/// How far to go from the checkpoint to the mean, 0 to 1, and the mean cosine.
pub(super) fn factor(vectors: &[&[f64]]) -> (f64, f64) {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let norms: Vec<f64> = vectors.iter().map(|d| dot(d, d).sqrt()).collect();
    let (mut sum, mut pairs) = (0.0, 0.0);
    for (t, d) in vectors.iter().enumerate() {
        for (u, other) in vectors.iter().enumerate().skip(t + 1) {
            let norm = norms[t] * norms[u];
            sum += if norm > 0.0 { dot(d, other) / norm } else { 0.0 };
            pairs += 1.0;
        }
    }
    let cosine = if pairs > 0.0 { sum / pairs } else { 0.0 };
    let models = vectors.len() as f64;
    // Below 0 the quotient is below 0 or, beyond its pole, above 1.
    let factor = if cosine > 0.0 { models * cosine / (1.0 + (models - 1.0) * cosine) } else { 0.0 };
    (factor.min(1.0), cosine)
}

impl MergingMethod for ModelStock {
    fn takes_weights(&self) -> bool {
        false
    }

    fn merge(&self, vote: &TensorVote<'_>) -> Vec<f64> {
        let vectors = differences(vote);
        let base = vote.base.unwrap_or_default();
        let (models, n) = (vectors.len() as f64, base.len());
        let length = if self.per_row { vote.columns } else { n.max(1) };
        let mut merged = Vec::with_capacity(n);
        for start in (0..n).step_by(length) {
            let range = start..(start + length).min(n);
            let parts: Vec<&[f64]> = vectors.iter().map(|d| &d[range.clone()]).collect();
            let (factor, _) = factor(&parts);
            merged.extend(range.map(|at| {
                let mean = vectors.iter().map(|d| d[at]).sum::<f64>() / models;
                f64::from(base[at]) + factor * mean
            }));
        }
        merged
    }
}
