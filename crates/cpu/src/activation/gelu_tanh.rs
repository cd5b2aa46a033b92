//! The approximation of the GELU with tanh (Hendrycks and Gimpel 2016, equation 2), without a gate: `x sigmoid(2 z)`,
//! `z = sqrt(2 / pi) (x + 0.044715 x^3)`.

use crate::{CHUNK, simd};
use rayon::prelude::*;

/// `x := gelu(x)`
pub fn forward(x: &mut [f32]) {
    x.par_chunks_mut(CHUNK).for_each(activate);
}

/// `d := d gelu'(x)`
pub fn backward(d: &mut [f32], x: &[f32]) {
    assert_eq!(d.len(), x.len(), "gelu_tanh: a gradient for each number");
    d.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(d, x)| differentiate(d, x));
}

/// `sqrt(2 / pi)`
const ROOT: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// The share of `x` that the activation lets through.
#[inline(always)]
pub(super) fn share(x: f32) -> f32 {
    1.0 / (1.0 + simd::exp(-2.0 * ROOT * (x + CUBIC * x * x * x)))
}

/// The share, and the slope of the activation.
#[inline(always)]
pub(super) fn share_and_slope(x: f32) -> [f32; 2] {
    let s = share(x);
    // Far out the share is 0 or 1, and its slope 0: the limits keep infinities out of the product.
    let near = x.clamp(-100.0, 100.0);
    [s, s + 2.0 * ROOT * near * s * (1.0 - s) * (1.0 + 3.0 * CUBIC * near * near)]
}

simd::simd! {
    fn activate(x: &mut [f32]) {
        for x in x {
            *x *= share(*x);
        }
    }

    fn differentiate(d: &mut [f32], x: &[f32]) {
        for (d, x) in d.iter_mut().zip(x) {
            *d *= share_and_slope(*x)[1];
        }
    }
}
