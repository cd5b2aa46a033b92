//! The rectified linear unit: `x` above 0, 0 or, if it is leaky, `slope x` below. NaN is kept.

use crate::{CHUNK, simd::simd};
use rayon::prelude::*;

/// `x := relu(x)`; not leaky at slope 0.
pub fn forward(x: &mut [f32], slope: f32) {
    x.par_chunks_mut(CHUNK).for_each(|x| activate(x, slope));
}

/// The gradient of `x` in place of that of `y`, the result.
pub fn backward(d: &mut [f32], y: &[f32], slope: f32) {
    assert_eq!(d.len(), y.len(), "relu: a gradient for each number");
    d.par_chunks_mut(CHUNK).zip(y.par_chunks(CHUNK)).for_each(|(d, y)| differentiate(d, y, slope));
}

/// `x` times the slope; 0 at slope 0, also for infinity.
#[inline(always)]
fn below(x: f32, slope: f32) -> f32 {
    if slope == 0.0 { 0.0 } else { slope * x }
}

simd! {
    fn activate(x: &mut [f32], slope: f32) {
        for x in x {
            *x = if x.is_nan() || *x > 0.0 { *x } else { below(*x, slope) };
        }
    }

    fn differentiate(d: &mut [f32], y: &[f32], slope: f32) {
        for (d, y) in d.iter_mut().zip(y) {
            *d = if y.is_nan() || *y > 0.0 { *d } else { below(*d, slope) };
        }
    }
}
