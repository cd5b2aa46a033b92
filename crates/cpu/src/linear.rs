//! Linear layers.

use crate::GemmKernel;
use crate::matmul::MatRef;
use crate::{ROWS, reduce_partials, simd};
use rayon::prelude::*;

/// `x w^T (+ b)`: `x` `[n, in]`, `w` `[out, in]`.
pub fn forward(
    x: &[f32],
    w: &[f32],
    b: Option<&[f32]>,
    [n, inputs, outputs]: [usize; 3],
    products: GemmKernel,
) -> Vec<f32> {
    let mut y = products.product(MatRef::new(x, n, inputs), MatRef::new(w, outputs, inputs).t());
    if let Some(b) = b {
        add_bias(&mut y, b);
    }
    y
}

/// `y += b` for each row of `y`, which is as wide as `b`.
pub fn add_bias(y: &mut [f32], b: &[f32]) {
    if !b.is_empty() {
        y.par_chunks_mut(ROWS * b.len()).for_each(|rows| add_to_rows(rows, b));
    }
}

/// Gradient of the input: `dy w`.
pub fn input_gradient(
    dy: &[f32],
    w: &[f32],
    [n, inputs, outputs]: [usize; 3],
    products: GemmKernel,
) -> Vec<f32> {
    products.product(MatRef::new(dy, n, outputs), MatRef::new(w, outputs, inputs))
}

/// Gradient of the weight: `dy^T x`.
pub fn weight_gradient(
    dy: &[f32],
    x: &[f32],
    [n, inputs, outputs]: [usize; 3],
    products: GemmKernel,
) -> Vec<f32> {
    products.product(MatRef::new(dy, n, outputs).t(), MatRef::new(x, n, inputs))
}

/// Gradient of the bias: column sums of `dy`.
pub fn bias_gradient(dy: &[f32], outputs: usize) -> Vec<f32> {
    if outputs == 0 {
        return vec![];
    }
    let parts = dy.par_chunks(4 * ROWS * outputs).map(|rows| {
        let mut total = vec![0.0; outputs];
        rows.chunks_exact(outputs).for_each(|row| simd::add(&mut total, row));
        [total]
    });
    let [total] = reduce_partials(outputs, parts.collect());
    total
}

simd::simd! {
    fn add_to_rows(rows: &mut [f32], b: &[f32]) {
        for row in rows.chunks_exact_mut(b.len()) {
            for (y, b) in row.iter_mut().zip(b) {
                *y += b;
            }
        }
    }
}
