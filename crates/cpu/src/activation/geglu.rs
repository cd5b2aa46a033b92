//! The gated GELU of T5 (Shazeer 2020): `gelu(a) b` with the GELU's approximation `x sigmoid(2 z)`,
//! `z = sqrt(2 / pi) (x + 0.044715 x^3)`, which is the one with tanh.

use crate::{CHUNK, simd};
use rayon::prelude::*;

/// `gelu(a) b`
pub fn forward(a: &[f32], b: &[f32]) -> Vec<f32> {
    let mut y = a.to_vec();
    y.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK)).for_each(|(y, b)| geglu(y, b));
    y
}

/// The gradients of `a` and of `b` from that of the result.
pub fn backward(d: &[f32], a: &[f32], b: &[f32]) -> [Vec<f32>; 2] {
    let (mut d_a, mut d_b) = (b.to_vec(), a.to_vec());
    let chunks = d_a.par_chunks_mut(CHUNK).zip(d_b.par_chunks_mut(CHUNK)).zip(d.par_chunks(CHUNK));
    chunks.for_each(|((d_a, d_b), d)| geglu_backward_chunk(d_a, d_b, d));
    [d_a, d_b]
}

/// `sqrt(2 / pi)`
const ROOT: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// The share of `x` that the activation lets through.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + simd::exp(-2.0 * ROOT * (x + CUBIC * x * x * x)))
}

simd::simd! {
    fn geglu(y: &mut [f32], b: &[f32]) {
        for (y, b) in y.iter_mut().zip(b) {
            *y = *y * sigmoid(*y) * b;
        }
    }

    /// `d_a` holds `b` and `d_b` holds `a` to begin with.
    fn geglu_backward_chunk(d_a: &mut [f32], d_b: &mut [f32], d: &[f32]) {
        for ((d_a, d_b), d) in d_a.iter_mut().zip(d_b.iter_mut()).zip(d) {
            let (b, x) = (*d_a, *d_b);
            let s = sigmoid(x);
            // Far out the share is 0 or 1, and its slope 0: the limits keep infinities out of the product.
            let near = x.clamp(-100.0, 100.0);
            let slope = s + 2.0 * ROOT * near * s * (1.0 - s) * (1.0 + 3.0 * CUBIC * near * near);
            *d_a = d * b * slope;
            *d_b = d * x * s;
        }
    }
}
