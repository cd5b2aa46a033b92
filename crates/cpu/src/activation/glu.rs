//! Gated linear units (Shazeer 2020): `activation(a) b`, where the activation is `x` times the share of it that passes.

use super::gelu::{normal_cdf, times_density};
use super::gelu_tanh;
use crate::{CHUNK, simd};
use rayon::prelude::*;

/// The activation of a gated linear unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Glu {
    /// The exact GELU `x Phi(x)`: GEGLU.
    Gelu,
    /// The GELU's approximation with tanh, which is `x sigmoid(2 z)` with `z = sqrt(2 / pi) (x + 0.044715 x^3)`.
    GeluTanh,
    /// `x sigmoid(x)`: SwiGLU.
    Silu,
}

/// `activation(a) b`
pub fn forward(a: &[f32], b: &[f32], activation: Glu) -> Vec<f32> {
    let mut y = a.to_vec();
    y.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK)).for_each(|(y, b)| glu(y, b, activation));
    y
}

/// The gradients of `a` and of `b` from that of the result.
pub fn backward(d: &[f32], a: &[f32], b: &[f32], activation: Glu) -> [Vec<f32>; 2] {
    let (mut d_a, mut d_b) = (b.to_vec(), a.to_vec());
    let chunks = d_a.par_chunks_mut(CHUNK).zip(d_b.par_chunks_mut(CHUNK)).zip(d.par_chunks(CHUNK));
    chunks.for_each(|((d_a, d_b), d)| glu_backward(d_a, d_b, d, activation));
    [d_a, d_b]
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + simd::exp(-x))
}

/// The share and the slope of the activation: what `x` is multiplied by, and the derivative.
#[inline(always)]
fn silu(x: f32) -> [f32; 2] {
    let s = sigmoid(x);
    [s, s + x.clamp(-100.0, 100.0) * s * (1.0 - s)]
}

#[inline(always)]
fn gelu(x: f32) -> [f32; 2] {
    let p = normal_cdf(x);
    [p, p + times_density(x)]
}

/// `y`, which holds `a`, becomes the result.
#[inline(always)]
fn gate(y: &mut [f32], b: &[f32], share: impl Fn(f32) -> f32) {
    for (y, b) in y.iter_mut().zip(b) {
        *y = *y * share(*y) * b;
    }
}

/// `d_a` holds `b` and `d_b` holds `a` to begin with.
#[inline(always)]
fn gate_backward(d_a: &mut [f32], d_b: &mut [f32], d: &[f32], of: impl Fn(f32) -> [f32; 2]) {
    for ((d_a, d_b), d) in d_a.iter_mut().zip(d_b.iter_mut()).zip(d) {
        let (b, x) = (*d_a, *d_b);
        let [share, slope] = of(x);
        *d_a = d * b * slope;
        *d_b = d * x * share;
    }
}

simd::simd! {
    fn glu(y: &mut [f32], b: &[f32], activation: Glu) {
        match activation {
            Glu::Gelu => gate(y, b, normal_cdf),
            Glu::GeluTanh => gate(y, b, gelu_tanh::share),
            Glu::Silu => gate(y, b, sigmoid),
        }
    }

    fn glu_backward(d_a: &mut [f32], d_b: &mut [f32], d: &[f32], activation: Glu) {
        match activation {
            Glu::Gelu => gate_backward(d_a, d_b, d, gelu),
            Glu::GeluTanh => gate_backward(d_a, d_b, d, gelu_tanh::share_and_slope),
            Glu::Silu => gate_backward(d_a, d_b, d, silu),
        }
    }
}
