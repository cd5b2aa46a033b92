//! Weighted sums of the blocks of columns that a row is made of: what gates make of experts, and stitches of columns.

use crate::{ROWS, reduce_partials, simd};
use rayon::prelude::*;

/// How many blocks a row has, and how many sums are made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mixing {
    /// Blocks of a row of the input.
    pub blocks: usize,
    /// Blocks of a row of the result.
    pub outputs: usize,
    /// Whether one row of weights is for all rows.
    pub shared: bool,
}

impl Mixing {
    fn weights(self) -> usize {
        self.blocks * self.outputs
    }

    /// The weights of row `row`.
    fn of_row(self, w: &[f32], row: usize) -> &[f32] {
        let row = if self.shared { 0 } else { row };
        &w[row * self.weights()..][..self.weights()]
    }
}

/// `y[i, t] = sum_e w[i, t, e] x[i, e]`: `x` `[n, blocks width]`, `w` `[n or 1, outputs blocks]`, result `[n, outputs width]`.
pub fn forward(x: &[f32], w: &[f32], width: usize, s: Mixing) -> Vec<f32> {
    let (of_x, of_y) = (s.blocks * width, s.outputs * width);
    let n = x.len().checked_div(of_x).unwrap_or(0);
    let mut y = vec![0.0; n * of_y];
    y.par_chunks_mut(ROWS * of_y.max(1)).enumerate().for_each(|(chunk, y)| {
        for (i, y) in y.chunks_exact_mut(of_y).enumerate() {
            let row = chunk * ROWS + i;
            let (x, w) = (&x[row * of_x..][..of_x], s.of_row(w, row));
            for (y, w) in y.chunks_exact_mut(width).zip(w.chunks_exact(s.blocks)) {
                for (x, w) in x.chunks_exact(width).zip(w) {
                    simd::add_scaled(y, *w, x);
                }
            }
        }
    });
    y
}

/// The gradient of `x` from that of the result.
pub fn backward_x(d: &[f32], w: &[f32], width: usize, s: Mixing) -> Vec<f32> {
    let (of_x, of_y) = (s.blocks * width, s.outputs * width);
    let n = d.len().checked_div(of_y).unwrap_or(0);
    let mut d_x = vec![0.0; n * of_x];
    d_x.par_chunks_mut(ROWS * of_x.max(1)).enumerate().for_each(|(chunk, d_x)| {
        for (i, d_x) in d_x.chunks_exact_mut(of_x).enumerate() {
            let row = chunk * ROWS + i;
            let (d, w) = (&d[row * of_y..][..of_y], s.of_row(w, row));
            for (d, w) in d.chunks_exact(width).zip(w.chunks_exact(s.blocks)) {
                for (d_x, w) in d_x.chunks_exact_mut(width).zip(w) {
                    simd::add_scaled(d_x, *w, d);
                }
            }
        }
    });
    d_x
}

/// The gradient of `w` from that of the result.
pub fn backward_w(d: &[f32], x: &[f32], width: usize, s: Mixing) -> Vec<f32> {
    let (of_x, of_y, of_w) = (s.blocks * width, s.outputs * width, s.weights());
    let rows = |(d, x): (&[f32], &[f32]), d_w: &mut [f32]| {
        for ((d, x), i) in d.chunks_exact(of_y).zip(x.chunks_exact(of_x)).zip(0..) {
            let at = if s.shared { 0 } else { i * of_w };
            weight_gradients(d, x, width, &mut d_w[at..][..of_w]);
        }
    };
    let chunks = d.par_chunks(ROWS * of_y.max(1)).zip(x.par_chunks(ROWS * of_x.max(1)));
    if s.shared {
        let parts = chunks.map(|chunk| {
            let mut part = vec![0.0; of_w];
            rows(chunk, &mut part);
            [part]
        });
        let [sum] = reduce_partials(of_w, parts.collect());
        return sum;
    }
    let mut d_w = vec![0.0; d.len().checked_div(of_y).unwrap_or(0) * of_w];
    chunks.zip(d_w.par_chunks_mut(ROWS * of_w.max(1))).for_each(|(chunk, d_w)| rows(chunk, d_w));
    d_w
}

/// Row by row `p = softmax(z)`; rows of `width` numbers.
pub fn softmax(z: &mut [f32], width: usize) {
    z.par_chunks_mut(ROWS * width.max(1)).for_each(|z| softmax_rows(z, width));
}

/// `d`: gradient of `p = softmax(z)`, becomes that of `z`.
pub fn softmax_backward(d: &mut [f32], p: &[f32], width: usize) {
    let chunk = ROWS * width.max(1);
    d.par_chunks_mut(chunk).zip(p.par_chunks(chunk)).for_each(|(d, p)| softmax_rows_backward(d, p, width));
}

simd::simd! {
    /// `w[t, e] += d[t] x[e]` of one row.
    fn weight_gradients(d: &[f32], x: &[f32], width: usize, w: &mut [f32]) {
        let blocks = x.len() / width;
        for (d, w) in d.chunks_exact(width).zip(w.chunks_exact_mut(blocks)) {
            for (x, w) in x.chunks_exact(width).zip(w) {
                *w += simd::dot(d, x);
            }
        }
    }

    fn softmax_rows(z: &mut [f32], width: usize) {
        for z in z.chunks_exact_mut(width) {
            let most = simd::max(z);
            for z in z.iter_mut() {
                *z = simd::exp(*z - most);
            }
            let inverse = 1.0 / simd::sum(z);
            for z in z {
                *z *= inverse;
            }
        }
    }

    fn softmax_rows_backward(d: &mut [f32], p: &[f32], width: usize) {
        for (d, p) in d.chunks_exact_mut(width).zip(p.chunks_exact(width)) {
            let mean = simd::dot(d, p);
            for (d, p) in d.iter_mut().zip(p) {
                *d = p * (*d - mean);
            }
        }
    }
}
