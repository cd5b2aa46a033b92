//! The rectified linear unit, `max(x, 0)`, and the leaky one, `x` above 0 and `slope x` below. NaN is kept.

use crate::simd::simd;
use rayon::prelude::*;

/// Numbers that one parallel task takes at a time.
const CHUNK: usize = 1 << 14;

/// `x := relu(x)`
pub fn forward(x: &mut [f32]) {
    x.par_chunks_mut(CHUNK).for_each(activate);
}

/// `d := d` where `y`, the result, is above 0 or NaN; 0 elsewhere.
pub fn backward(d: &mut [f32], y: &[f32]) {
    assert_eq!(d.len(), y.len(), "relu: a gradient for each number");
    d.par_chunks_mut(CHUNK).zip(y.par_chunks(CHUNK)).for_each(|(d, y)| pass(d, y));
}

/// `x := leaky_relu(x)`
pub fn leaky_forward(x: &mut [f32], slope: f32) {
    x.par_chunks_mut(CHUNK).for_each(|x| leaky_activate(x, slope));
}

/// `d := slope d` where `y`, the result, is not above 0. The slope must be above 0.
pub fn leaky_backward(d: &mut [f32], y: &[f32], slope: f32) {
    assert_eq!(d.len(), y.len(), "leaky_relu: a gradient for each number");
    d.par_chunks_mut(CHUNK).zip(y.par_chunks(CHUNK)).for_each(|(d, y)| leaky_pass(d, y, slope));
}

simd! {
    fn activate(x: &mut [f32]) {
        for x in x {
            *x = if x.is_nan() || *x > 0.0 { *x } else { 0.0 };
        }
    }

    fn pass(d: &mut [f32], y: &[f32]) {
        for (d, y) in d.iter_mut().zip(y) {
            *d = if y.is_nan() || *y > 0.0 { *d } else { 0.0 };
        }
    }

    fn leaky_activate(x: &mut [f32], slope: f32) {
        for x in x {
            *x = if *x > 0.0 { *x } else { slope * *x };
        }
    }

    fn leaky_pass(d: &mut [f32], y: &[f32], slope: f32) {
        for (d, y) in d.iter_mut().zip(y) {
            *d = if *y > 0.0 { *d } else { slope * *d };
        }
    }
}
