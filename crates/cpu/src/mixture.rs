//! Weights of a mixture for each row, from logits.

use crate::simd::{dot, exp, max, sum};

/// How the weights of a row follow from its logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MixtureWeights {
    /// `softmax(logits / temperature)`
    Softmax {
        /// What the logits are divided by.
        temperature: f32,
    },
    /// `sigmoid(logits) / (sum sigmoid(logits) + eps)`
    Sigmoid {
        /// Keeps the division finite.
        eps: f32,
    },
}

/// The weights `[n, width]` of logits `[n, width]`.
pub fn forward(logits: &[f32], width: usize, of: MixtureWeights) -> Vec<f32> {
    let mut weights = logits.to_vec();
    for row in weights.chunks_exact_mut(width.max(1)) {
        let total = match of {
            MixtureWeights::Softmax { temperature } => {
                let most = max(row);
                row.iter_mut().for_each(|x| *x = exp((*x - most) / temperature));
                sum(row)
            }
            MixtureWeights::Sigmoid { eps } => {
                row.iter_mut().for_each(|x| *x = sigmoid(*x));
                sum(row) + eps
            }
        };
        row.iter_mut().for_each(|x| *x /= total);
    }
    weights
}

/// The gradient of the logits from that of the weights, `d`.
pub fn backward(d: &[f32], logits: &[f32], weights: &[f32], width: usize, of: MixtureWeights) -> Vec<f32> {
    let mut d_logits = Vec::with_capacity(d.len());
    let rows = d.chunks_exact(width.max(1)).zip(logits.chunks_exact(width.max(1)));
    for ((d, logits), weights) in rows.zip(weights.chunks_exact(width.max(1))) {
        let mean = dot(d, weights);
        match of {
            MixtureWeights::Softmax { temperature } => {
                d_logits.extend(d.iter().zip(weights).map(|(d, w)| w * (d - mean) / temperature));
            }
            MixtureWeights::Sigmoid { eps } => {
                let z: Vec<f32> = logits.iter().map(|x| sigmoid(*x)).collect();
                let total = sum(&z) + eps;
                d_logits.extend(d.iter().zip(&z).map(|(d, z)| (d - mean) / total * z * (1.0 - z)));
            }
        }
    }
    d_logits
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}
