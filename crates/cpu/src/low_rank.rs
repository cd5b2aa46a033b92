//! Low-rank updates of groups of rows: `y[rows, columns] += scale (x[rows] A^T) B^T`, with an A and a B for each group.

use crate::matmul::{MatRef, product};
use crate::{simd, uninit::zeros};
use std::ops::Range;

/// What low-rank updates need besides tensors.
#[derive(Clone, Debug)]
pub struct LowRankGroups {
    /// The rows of each group.
    pub rows: Vec<Range<usize>>,
    /// The columns that are updated.
    pub columns: Range<usize>,
    /// Columns of all.
    pub width: usize,
    /// Columns of the input.
    pub inputs: usize,
    /// Rank of an update.
    pub rank: usize,
    /// What updates are multiplied by.
    pub scale: f32,
}

impl LowRankGroups {
    /// How many columns are updated.
    pub fn outputs(&self) -> usize {
        self.columns.len()
    }
}

/// Group `g` of matrices that are stacked `[groups rows, columns]`.
fn part(stacked: &[f32], g: usize, rows: usize, columns: usize) -> MatRef<'_> {
    MatRef::new(&stacked[g * rows * columns..][..rows * columns], rows, columns)
}

/// The Euclidean length of each row of `w + scale b a`: `w` `[out, in]`, `b` `[out, rank]`, `a` `[rank, in]`. Added up in f64.
pub fn row_norms(
    w: &[f32],
    [a, b]: [&[f32]; 2],
    [outputs, inputs, rank]: [usize; 3],
    scale: f32,
) -> Vec<f32> {
    let mut sum = product(MatRef::new(b, outputs, rank), MatRef::new(a, rank, inputs));
    simd::scale(&mut sum, scale);
    simd::add(&mut sum, w);
    sum.chunks_exact(inputs).map(|row| simd::squares(row).sqrt() as f32).collect()
}

/// Updates `y` and returns `x A^T` of all groups, one after the other.
pub fn forward(y: &mut [f32], [x, a, b]: [&[f32]; 3], s: &LowRankGroups) -> Vec<f32> {
    let mut inner = Vec::new();
    for (g, rows) in s.rows.iter().enumerate() {
        let x = MatRef::new(&x[rows.start * s.inputs..rows.end * s.inputs], rows.len(), s.inputs);
        let t = product(x, part(a, g, s.rank, s.inputs).t());
        let update = product(MatRef::new(&t, rows.len(), s.rank), part(b, g, s.outputs(), s.rank).t());
        for (row, update) in rows.clone().zip(update.chunks_exact(s.outputs().max(1))) {
            let y = &mut y[row * s.width + s.columns.start..][..s.outputs()];
            simd::add_scaled(y, s.scale, update);
        }
        inner.extend(t);
    }
    inner
}

/// The gradients of `x`, A and B from that of the result, `d`. `inner` is what [`forward`] returned.
pub fn backward(d: &[f32], [x, a, b]: [&[f32]; 3], inner: &[f32], s: &LowRankGroups) -> [Vec<f32>; 3] {
    let mut d_x = zeros(x.len());
    let (mut d_a, mut d_b) = (Vec::with_capacity(a.len()), Vec::with_capacity(b.len()));
    let mut begin = 0;
    for (g, rows) in s.rows.iter().enumerate() {
        let t = &inner[begin..begin + rows.len() * s.rank];
        begin += t.len();
        let mut d_update = Vec::with_capacity(rows.len() * s.outputs());
        for row in rows.clone() {
            let d = &d[row * s.width + s.columns.start..][..s.outputs()];
            d_update.extend(d.iter().map(|d| d * s.scale));
        }
        let d_update = MatRef::new(&d_update, rows.len(), s.outputs());
        d_b.extend(product(d_update.t(), MatRef::new(t, rows.len(), s.rank)));
        let d_t = product(d_update, part(b, g, s.outputs(), s.rank));
        let d_t = MatRef::new(&d_t, rows.len(), s.rank);
        let own = rows.start * s.inputs..rows.end * s.inputs;
        d_a.extend(product(d_t.t(), MatRef::new(&x[own.clone()], rows.len(), s.inputs)));
        d_x[own].copy_from_slice(&product(d_t, part(a, g, s.rank, s.inputs)));
    }
    [d_x, d_a, d_b]
}
