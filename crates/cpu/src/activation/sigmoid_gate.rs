//! A gate: `sigmoid(a) b`, element by element.

use crate::{CHUNK, simd};
use rayon::prelude::*;

/// `sigmoid(a) b`
pub fn forward(a: &[f32], b: &[f32]) -> Vec<f32> {
    let mut y = a.to_vec();
    y.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK)).for_each(|(y, b)| gate(y, b));
    y
}

/// The gradients of `a` and `b` from that of the result.
pub fn backward(d: &[f32], a: &[f32], b: &[f32]) -> [Vec<f32>; 2] {
    let (mut d_a, mut d_b) = (a.to_vec(), d.to_vec());
    let chunks = d_a.par_chunks_mut(CHUNK).zip(d_b.par_chunks_mut(CHUNK)).zip(b.par_chunks(CHUNK));
    chunks.for_each(|((d_a, d_b), b)| gate_backward(d_a, d_b, b));
    [d_a, d_b]
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + simd::exp(-x))
}

simd::simd! {
    fn gate(y: &mut [f32], b: &[f32]) {
        for (y, b) in y.iter_mut().zip(b) {
            *y = sigmoid(*y) * b;
        }
    }

    /// `a` becomes its gradient, and `d` that of `b`.
    fn gate_backward(a: &mut [f32], d: &mut [f32], b: &[f32]) {
        for ((a, d), b) in a.iter_mut().zip(d).zip(b) {
            let gate = sigmoid(*a);
            *a = *d * b * gate * (1.0 - gate);
            *d *= gate;
        }
    }
}
