//! Scales of some columns about centers, with a vector for each group of rows; scales of rows; weighted sums of matrices.

use crate::simd::{add_scaled, dot, scale};
use crate::uninit::zeros;
use std::ops::Range;

/// What [`forward`] needs besides tensors.
#[derive(Clone, Debug)]
pub struct AffineGroups {
    /// The rows of each group; groups are apart from each other.
    pub rows: Vec<Range<usize>>,
    /// The columns that are changed.
    pub columns: Range<usize>,
    /// Columns of all.
    pub width: usize,
    /// Where among the centers those of the columns begin.
    pub centers_from: usize,
}

impl AffineGroups {
    /// The columns of a row that are changed, for each row of group `g`.
    fn parts(&self, g: usize) -> impl Iterator<Item = Range<usize>> + '_ {
        let of = |row| row * self.width + self.columns.start..row * self.width + self.columns.end;
        self.rows[g].clone().map(of)
    }

    /// The vector of group `g` among those of all, one after the other.
    fn vector(&self, g: usize) -> Range<usize> {
        g * self.columns.len()..(g + 1) * self.columns.len()
    }
}

/// `x[rows, columns] = factor x[rows, columns] + (1 - factor) center`, with a factor for each group.
pub fn forward(x: &mut [f32], [factor, center]: [&[f32]; 2], s: &AffineGroups) {
    let center = &center[s.centers_from..][..s.columns.len()];
    for g in 0..s.rows.len() {
        let factor = &factor[s.vector(g)];
        for part in s.parts(g) {
            for ((x, factor), center) in x[part].iter_mut().zip(factor).zip(center) {
                *x = *x * factor + (1.0 - factor) * center;
            }
        }
    }
}

/// The gradient of the factors from that of the result, `d`.
pub fn factor_gradient(d: &[f32], [x, center]: [&[f32]; 2], s: &AffineGroups) -> Vec<f32> {
    let center = &center[s.centers_from..][..s.columns.len()];
    let mut d_factor = zeros(s.rows.len() * s.columns.len());
    for g in 0..s.rows.len() {
        let d_factor = &mut d_factor[s.vector(g)];
        for part in s.parts(g) {
            let (d, x) = (&d[part.clone()], &x[part]);
            for (i, sum) in d_factor.iter_mut().enumerate() {
                *sum += d[i] * (x[i] - center[i]);
            }
        }
    }
    d_factor
}

/// The gradient of the centers, of so many, from that of the result, `d`.
pub fn center_gradient(d: &[f32], factor: &[f32], centers: usize, s: &AffineGroups) -> Vec<f32> {
    let mut d_center = zeros(centers);
    for g in 0..s.rows.len() {
        let factor = &factor[s.vector(g)];
        for part in s.parts(g) {
            let sums = d_center[s.centers_from..].iter_mut().zip(factor);
            sums.zip(&d[part]).for_each(|((sum, factor), d)| *sum += (1.0 - factor) * d);
        }
    }
    d_center
}

/// Makes of the gradient of the result, `d`, that of `x`.
pub fn input_gradient(d: &mut [f32], factor: &[f32], s: &AffineGroups) {
    for g in 0..s.rows.len() {
        let factor = &factor[s.vector(g)];
        for part in s.parts(g) {
            d[part].iter_mut().zip(factor).for_each(|(d, factor)| *d *= factor);
        }
    }
}

/// Multiplies row `i` of `x` `[n, width]` by `factor[i]`.
pub fn scale_rows(x: &mut [f32], factor: &[f32], width: usize) {
    for (x, factor) in x.chunks_exact_mut(width.max(1)).zip(factor) {
        scale(x, *factor);
    }
}

/// The gradient of the factors of [`scale_rows`] from that of its result, `d`.
pub fn row_factor_gradient(d: &[f32], x: &[f32], n: usize, width: usize) -> Vec<f32> {
    let rows = d.chunks_exact(width.max(1)).zip(x.chunks_exact(width.max(1)));
    let mut gradient: Vec<f32> = rows.map(|(d, x)| dot(d, x)).collect();
    gradient.resize(n, 0.0);
    gradient
}

/// `sum_k weights_k parts_k` of parts of one size, one after the other.
pub fn weighted_mix(weights: &[f32], parts: &[f32]) -> Vec<f32> {
    let size = parts.len() / weights.len().max(1);
    let mut sum = zeros(size);
    weights.iter().zip(parts.chunks_exact(size.max(1))).for_each(|(w, part)| add_scaled(&mut sum, *w, part));
    sum
}

/// The gradients of the weights and the parts of [`weighted_mix`] from that of the sum, `d`.
pub fn weighted_mix_backward(d: &[f32], weights: &[f32], parts: &[f32]) -> [Vec<f32>; 2] {
    let mut d_weights: Vec<f32> = parts.chunks_exact(d.len().max(1)).map(|part| dot(d, part)).collect();
    d_weights.resize(weights.len(), 0.0);
    let d_parts = weights.iter().flat_map(|w| d.iter().map(move |d| w * d)).collect();
    [d_weights, d_parts]
}
