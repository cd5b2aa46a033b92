//! Cross-entropy of a softmax with a distribution as the target of each row, at a temperature.

use crate::{ROWS, simd};
use rayon::prelude::*;
use std::sync::Arc;

/// The targets of a cross-entropy that are distributions, and how they count.
#[derive(Clone, Debug)]
pub struct SoftCrossEntropyTargets {
    /// `[n, C]`: the probability of each class.
    pub target: Arc<[f32]>,
    /// `[n]`: the factor of each row's loss.
    pub weight: Arc<[f32]>,
    /// What logits are divided by, above 0.
    pub temperature: f32,
}

/// The sum over rows of `logits` `[n, C]`, `w_i T^2 sum_c t_ic (-log softmax(z_i / T)_c)`, and, if asked for, its gradient
/// `w_i T (softmax(z_i / T)_c sum_k t_ik - t_ic)`.
pub fn forward(logits: &[f32], targets: &SoftCrossEntropyTargets, keep: bool) -> (f32, Option<Vec<f32>>) {
    let n = targets.weight.len();
    let mut gradient = vec![0.0; if keep { logits.len() } else { 0 }];
    if logits.is_empty() {
        return (0.0, keep.then_some(gradient));
    }
    let (count, temperature) = (logits.len() / n, targets.temperature);
    let (chunk, scale) = (ROWS.min(n) * count, 1.0 / temperature);
    let rows = logits.par_chunks(chunk).zip(targets.target.par_chunks(chunk));
    let rows = rows.zip(targets.weight.par_chunks(ROWS.min(n)));
    // Without a gradient to write there is nothing to cut; `chunks` has the same number of pieces either way.
    let mut pieces: Vec<&mut [f32]> = gradient.chunks_mut(chunk).collect();
    pieces.resize_with(n.div_ceil(ROWS.min(n)), Default::default);
    let parts = rows.zip(pieces).map(|(((logits, target), weight), mut gradient)| {
        let mut loss = 0.0;
        for ((z, t), weight) in logits.chunks_exact(count).zip(target.chunks_exact(count)).zip(weight) {
            let most = simd::max(z);
            let log_sum = sum_exp(z, most, scale).ln();
            loss += f64::from(weight * temperature * temperature) * row_loss(z, t, most, scale, log_sum);
            if keep {
                let row;
                (row, gradient) = gradient.split_at_mut(count);
                let all: f32 = t.iter().sum();
                differentiate(row, z, t, most, scale, log_sum, all, weight * temperature);
            }
        }
        loss
    });
    let loss: f64 = parts.collect::<Vec<f64>>().iter().sum();
    (loss as f32, keep.then_some(gradient))
}

simd::simd! {
    /// `sum_c exp((z_c - most) scale)`
    fn sum_exp(z: &[f32], most: f32, scale: f32) -> f32 {
        let (chunks, rest) = z.as_chunks::<16>();
        let mut lanes = [0.0; 16];
        for chunk in chunks {
            for i in 0..16 {
                lanes[i] += simd::exp((chunk[i] - most) * scale);
            }
        }
        lanes.iter().sum::<f32>() + rest.iter().map(|&z| simd::exp((z - most) * scale)).sum::<f32>()
    }

    /// `sum_c t_c (-log p_c)`
    fn row_loss(z: &[f32], t: &[f32], most: f32, scale: f32, log_sum: f32) -> f64 {
        z.iter().zip(t).map(|(z, t)| f64::from(t * (log_sum - (z - most) * scale))).sum()
    }

    /// `row := (p all - t) factor`
    fn differentiate(
        row: &mut [f32],
        z: &[f32],
        t: &[f32],
        most: f32,
        scale: f32,
        log_sum: f32,
        all: f32,
        factor: f32,
    ) {
        for ((row, z), t) in row.iter_mut().zip(z).zip(t) {
            *row = (simd::exp((z - most) * scale - log_sum) * all - t) * factor;
        }
    }
}
