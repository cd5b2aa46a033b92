//! The exact GELU `x Phi(x)` and its slope `Phi(x) + x phi(x)`.

use crate::uninit::alloc_uninit;
use crate::{CHUNK, ROWS, reduce_partials, simd};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// `x := gelu(x + bias)`
pub fn forward(x: &mut [f32], bias: &[f32]) {
    if !bias.is_empty() {
        x.par_chunks_mut(ROWS * bias.len()).for_each(|x| activate(x, bias));
    }
}

/// `x := gelu'(x + bias)`; returns `gelu(x + bias)`.
pub fn forward_and_derivative(x: &mut [f32], bias: &[f32]) -> Vec<f32> {
    if bias.is_empty() {
        return vec![];
    }
    assert!(x.len().is_multiple_of(bias.len()), "gelu: whole rows");
    let chunk = ROWS * bias.len();
    // SAFETY: the chunks cover the whole buffer, `x` is as long, and `activate_and_derivative` writes each element.
    let (y, ()) = unsafe {
        alloc_uninit(x.len(), |y| {
            let chunks = y.par_chunks_mut(chunk).zip(x.par_chunks_mut(chunk));
            chunks.for_each(|(y, x)| activate_and_derivative(y, x, bias));
        })
    };
    y
}

/// `d := d * derivative`; returns the column sums of the new `d`, the gradient of the bias.
pub fn backward(d: &mut [f32], derivative: &[f32], width: usize) -> Vec<f32> {
    if width == 0 {
        return vec![];
    }
    let chunk = 4 * ROWS * width;
    let parts = d.par_chunks_mut(chunk).zip(derivative.par_chunks(chunk)).map(|(d, derivative)| {
        let mut total = vec![0.0; width];
        multiply(d, derivative, &mut total);
        [total]
    });
    let [total] = reduce_partials(width, parts.collect());
    total
}

/// [`backward`] without the gradient of the bias.
pub fn input_gradient(d: &mut [f32], derivative: &[f32]) {
    d.par_chunks_mut(CHUNK)
        .zip(derivative.par_chunks(CHUNK))
        .for_each(|(d, derivative)| scale(d, derivative));
}

/// `erf(x)` to one unit in the last place (N. Juffa's minimax polynomials), both branches always computed.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let (t, s) = (x.abs(), x * x);
    let mut far = -1.728_534_7e-5 * t + 3.831_971_3e-4;
    far = far * s + (-3.883_964_4e-3 * t + 2.425_462_2e-2);
    far = far * t - 1.067_778_8e-1;
    far = far * t - 6.348_467e-1;
    far = far * t - 1.287_175_1e-1;
    let far = (1.0 - simd::exp(far * t - t)).copysign(x);
    let mut near = -5.967_617e-4;
    for c in [4.991_194e-3, -2.676_813_5e-2, 1.128_199_3e-1, -3.761_253_4e-1, 1.283_791_7e-1] {
        near = near * s + c;
    }
    if t > 0.927_734_4 { far } else { near * x + x }
}

/// The normal distribution function.
#[inline(always)]
pub(crate) fn normal_cdf(x: f32) -> f32 {
    0.5 + 0.5 * erf(x * std::f32::consts::FRAC_1_SQRT_2)
}

/// `x` times the normal density; beyond 13 it is less than 1e-35, whatever `x`.
#[inline(always)]
pub(super) fn times_density(x: f32) -> f32 {
    let x = x.clamp(-13.0, 13.0);
    0.398_942_3 * x * simd::exp(-0.5 * x * x)
}

simd::simd! {
    fn activate(x: &mut [f32], bias: &[f32]) {
        for row in x.chunks_exact_mut(bias.len()) {
            for (x, b) in row.iter_mut().zip(bias) {
                let z = *x + b;
                *x = z * normal_cdf(z);
            }
        }
    }

    fn activate_and_derivative(y: &mut [MaybeUninit<f32>], x: &mut [f32], bias: &[f32]) {
        for (y, x) in y.chunks_exact_mut(bias.len()).zip(x.chunks_exact_mut(bias.len())) {
            for ((y, x), b) in y.iter_mut().zip(x).zip(bias) {
                let z = *x + b;
                let p = normal_cdf(z);
                *x = p + times_density(z);
                y.write(z * p);
            }
        }
    }

    fn scale(d: &mut [f32], derivative: &[f32]) {
        for (d, derivative) in d.iter_mut().zip(derivative) {
            *d *= derivative;
        }
    }

    fn multiply(d: &mut [f32], derivative: &[f32], total: &mut [f32]) {
        let width = total.len();
        for (d, derivative) in d.chunks_exact_mut(width).zip(derivative.chunks_exact(width)) {
            for ((d, derivative), total) in d.iter_mut().zip(derivative).zip(total.iter_mut()) {
                *d *= derivative;
                *total += *d;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten times finer than f32: Simpson's rule over the density, step by step from zero.
    fn reference(limit: f64, step: f64) -> Vec<(f64, f64, f64)> {
        let phi = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
        let mut total = 0.5;
        let points = (0..(limit / step) as usize).map(|i| i as f64 * step);
        points
            .map(|x| {
                let here = (x, total, phi(x));
                total += step / 6.0 * (phi(x) + 4.0 * phi(x + step / 2.0) + phi(x + step));
                here
            })
            .collect()
    }

    #[test]
    fn gelu_and_slope_are_exact_to_single_precision() {
        let mut worst = [0.0f64; 2];
        for (x, p, phi) in reference(12.0, 1.0 / 1024.0) {
            for (x, p) in [(x, p), (-x, 1.0 - p)] {
                let mut derivative = [x as f32];
                let y = forward_and_derivative(&mut derivative, &[0.0])[0];
                let mut same = [x as f32];
                forward(&mut same, &[0.0]);
                assert_eq!(same[0], y);
                worst[0] = worst[0].max((f64::from(y) - x * p).abs() / (1.0 + x.abs()));
                worst[1] = worst[1].max((f64::from(derivative[0]) - (p + x * phi)).abs());
            }
        }
        assert!(worst[0] < 1.2e-7 && worst[1] < 3e-7, "{worst:?}");
    }

    #[test]
    fn far_out_and_not_a_number() {
        for (x, y, k) in [(1e30f32, 1e30f32, 1.0f32), (-1e30, 0.0, 0.0), (0.0, 0.0, 0.5), (-40.0, 0.0, 0.0)] {
            let mut derivative = [x];
            assert_eq!(forward_and_derivative(&mut derivative, &[0.0]), [y], "{x}");
            assert!((derivative[0] - k).abs() < 1e-30, "{x}: {}", derivative[0]);
        }
        let mut derivative = [f32::NAN];
        assert!(forward_and_derivative(&mut derivative, &[0.0])[0].is_nan() && derivative[0].is_nan());
    }
}
