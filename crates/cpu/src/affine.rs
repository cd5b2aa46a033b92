//! Scales and shifts of some columns, with vectors for each group of rows; and a scale for each row.

use crate::simd::{add, dot, scale};
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

/// `x[rows, columns] = x[rows, columns] factor + shift`, with a factor and a shift for each group.
pub fn forward(x: &mut [f32], [factor, shift]: [&[f32]; 2], s: &AffineGroups) {
    for g in 0..s.rows.len() {
        let (factor, shift) = (&factor[s.vector(g)], &shift[s.vector(g)]);
        for part in s.parts(g) {
            for ((x, factor), shift) in x[part].iter_mut().zip(factor).zip(shift) {
                *x = *x * factor + shift;
            }
        }
    }
}

/// The gradients of the factors and the shifts from that of the result, `d`.
pub fn vector_gradients(d: &[f32], x: &[f32], s: &AffineGroups) -> [Vec<f32>; 2] {
    let [mut d_factor, mut d_shift] = [(); 2].map(|()| zeros(s.rows.len() * s.columns.len()));
    for g in 0..s.rows.len() {
        let (d_factor, d_shift) = (&mut d_factor[s.vector(g)], &mut d_shift[s.vector(g)]);
        for part in s.parts(g) {
            let (d, x) = (&d[part.clone()], &x[part]);
            d_factor.iter_mut().zip(d.iter().zip(x)).for_each(|(sum, (d, x))| *sum += d * x);
            add(d_shift, d);
        }
    }
    [d_factor, d_shift]
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
