//! Layer norm and RMS norm, with dropout and a residual before them, and dropout on its own.

use crate::dropout::DropoutMask;
use crate::uninit::alloc_uninit;
use crate::{CHUNK, ROWS, reduce_partials, simd};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// What the backward needs.
#[derive(Debug)]
pub struct Saved {
    /// The normalised values, `[n, h]`.
    normal: Vec<f32>,
    /// One over each row's standard deviation, `[n]`.
    inverse: Vec<f32>,
}

/// The numbers of a norm.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// `[h]`, what the normalised values are multiplied by.
    pub gamma: &'a [f32],
    /// `[h]`, what is then added; `None` in an RMS norm.
    pub beta: Option<&'a [f32]>,
    /// Added to the variance, or to the mean square.
    pub eps: f32,
}

impl Norm<'_> {
    /// What is taken from a row.
    pub fn kind(&self) -> Kind {
        if self.beta.is_some() { Kind::Layer } else { Kind::Rms }
    }
}

/// What a row is freed of before it is scaled.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// Its mean, and then its standard deviation.
    Layer,
    /// The root of its mean square.
    Rms,
}

/// `y := norm(dropout(y) + residual)`
pub fn forward(y: &mut [f32], residual: Option<&[f32]>, norm: Norm, mask: Option<DropoutMask>) {
    let h = norm.gamma.len();
    if h == 0 {
        return;
    }
    y.par_chunks_mut(ROWS * h).enumerate().for_each(|(chunk, y)| {
        let at = chunk * ROWS * h;
        join(y, residual.map(|r| &r[at..][..y.len()]), mask, at);
        normalise(y, norm);
    });
}

/// [`forward`] that saves what the backward needs.
pub fn forward_and_save(
    y: &mut [f32],
    residual: Option<&[f32]>,
    norm: Norm,
    mask: Option<DropoutMask>,
) -> Saved {
    let h = norm.gamma.len();
    if h == 0 {
        return Saved { normal: vec![], inverse: vec![] };
    }
    assert!(y.len().is_multiple_of(h), "norm: whole rows");
    let mut inverse = vec![0.0; y.len() / h];
    // SAFETY: the chunks cover the whole buffer, `y` is as long, and `normalise_and_save` writes each element.
    let (normal, ()) = unsafe {
        alloc_uninit(y.len(), |normal| {
            let chunks = y.par_chunks_mut(ROWS * h).zip(normal.par_chunks_mut(ROWS * h));
            chunks.zip(inverse.par_chunks_mut(ROWS)).enumerate().for_each(
                |(chunk, ((y, normal), inverse))| {
                    let at = chunk * ROWS * h;
                    join(y, residual.map(|r| &r[at..][..y.len()]), mask, at);
                    normalise_and_save(y, normal, inverse, norm);
                },
            );
        })
    };
    Saved { normal, inverse }
}

/// `d`: gradient of the result, becomes the gradient of the sum. Returns the gradients of scale and shift.
pub fn backward(d: &mut [f32], saved: &Saved, gamma: &[f32], kind: Kind) -> [Vec<f32>; 2] {
    let h = gamma.len();
    if h == 0 {
        return [vec![], vec![]];
    }
    let (rows, chunk) = (2 * ROWS, 2 * ROWS * h);
    let chunks =
        d.par_chunks_mut(chunk).zip(saved.normal.par_chunks(chunk)).zip(saved.inverse.par_chunks(rows));
    let parts = chunks.map(|((d, normal), inverse)| {
        let mut totals = [vec![0.0; h], vec![0.0; h]];
        let [d_gamma, d_beta] = &mut totals;
        differentiate(d, normal, inverse, gamma, kind, d_gamma, d_beta);
        totals
    });
    reduce_partials(h, parts.collect())
}

/// [`backward`] without the gradients of scale and shift.
pub fn input_gradient(d: &mut [f32], saved: &Saved, gamma: &[f32], kind: Kind) {
    let h = gamma.len();
    if h == 0 {
        return;
    }
    let (rows, chunk) = (2 * ROWS, 2 * ROWS * h);
    let chunks =
        d.par_chunks_mut(chunk).zip(saved.normal.par_chunks(chunk)).zip(saved.inverse.par_chunks(rows));
    chunks.for_each(|((d, normal), inverse)| differentiate_input(d, normal, inverse, gamma, kind));
}

/// `x := dropout(x)`, which is also its own backward.
pub fn dropout(x: &mut [f32], mask: DropoutMask) {
    x.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, x)| drop_out(x, mask, chunk * CHUNK));
}

simd::simd! {
    /// `y := dropout(y) + residual`, where `y` begins at element `at`.
    fn join(y: &mut [f32], residual: Option<&[f32]>, mask: Option<DropoutMask>, at: usize) {
        match (residual, mask) {
            (Some(residual), Some(mask)) => {
                for (i, (y, r)) in y.iter_mut().zip(residual).enumerate() {
                    *y = *y * mask.factor(at + i) + r;
                }
            }
            (Some(residual), None) => {
                for (y, r) in y.iter_mut().zip(residual) {
                    *y += r;
                }
            }
            (None, Some(mask)) => {
                for (i, y) in y.iter_mut().enumerate() {
                    *y *= mask.factor(at + i);
                }
            }
            (None, None) => {}
        }
    }

    fn normalise(y: &mut [f32], norm: Norm<'_>) {
        for y in y.chunks_exact_mut(norm.gamma.len()) {
            let inverse = centre(y, norm);
            match norm.beta {
                Some(beta) => {
                    for ((y, gamma), beta) in y.iter_mut().zip(norm.gamma).zip(beta) {
                        *y = *y * inverse * gamma + beta;
                    }
                }
                None => {
                    for (y, gamma) in y.iter_mut().zip(norm.gamma) {
                        *y = *y * inverse * gamma;
                    }
                }
            }
        }
    }

    fn normalise_and_save(y: &mut [f32], normal: &mut [MaybeUninit<f32>], inverse: &mut [f32], norm: Norm<'_>) {
        let h = norm.gamma.len();
        let rows = y.chunks_exact_mut(h).zip(normal.chunks_exact_mut(h)).zip(inverse);
        for ((y, normal), inverse) in rows {
            *inverse = centre(y, norm);
            let row = y.iter_mut().zip(normal).zip(norm.gamma);
            match norm.beta {
                Some(beta) => {
                    for (((y, normal), gamma), beta) in row.zip(beta) {
                        let value = *y * *inverse;
                        normal.write(value);
                        *y = value * gamma + beta;
                    }
                }
                None => {
                    for ((y, normal), gamma) in row {
                        let value = *y * *inverse;
                        normal.write(value);
                        *y = value * gamma;
                    }
                }
            }
        }
    }

    fn differentiate(
        d: &mut [f32],
        normal: &[f32],
        inverse: &[f32],
        gamma: &[f32],
        kind: Kind,
        d_gamma: &mut [f32],
        d_beta: &mut [f32],
    ) {
        let h = gamma.len();
        for ((d, normal), inverse) in d.chunks_exact_mut(h).zip(normal.chunks_exact(h)).zip(inverse) {
            let totals = d_gamma.iter_mut().zip(d_beta.iter_mut());
            for (((d, normal), gamma), (d_gamma, d_beta)) in d.iter_mut().zip(normal).zip(gamma).zip(totals) {
                *d_gamma += *d * normal;
                *d_beta += *d;
                *d *= gamma;
            }
            through_normal(d, normal, *inverse, kind);
        }
    }

    fn differentiate_input(d: &mut [f32], normal: &[f32], inverse: &[f32], gamma: &[f32], kind: Kind) {
        let h = gamma.len();
        for ((d, normal), inverse) in d.chunks_exact_mut(h).zip(normal.chunks_exact(h)).zip(inverse) {
            for (d, gamma) in d.iter_mut().zip(gamma) {
                *d *= gamma;
            }
            through_normal(d, normal, *inverse, kind);
        }
    }

    fn drop_out(x: &mut [f32], mask: DropoutMask, at: usize) {
        for (i, x) in x.iter_mut().enumerate() {
            *x *= mask.factor(at + i);
        }
    }
}

/// The gradient of a row from that of its normalised values, in place.
#[inline(always)]
fn through_normal(d: &mut [f32], normal: &[f32], inverse: f32, kind: Kind) {
    let h = d.len() as f32;
    let mean = if kind == Kind::Layer { simd::sum(d) / h } else { 0.0 };
    let slope = simd::dot(d, normal) / h;
    for (d, normal) in d.iter_mut().zip(normal) {
        *d = (*d - mean - normal * slope) * inverse;
    }
}

/// Takes the mean away in a layer norm; returns one over the root of what is then the mean square.
#[inline(always)]
fn centre(row: &mut [f32], norm: Norm<'_>) -> f32 {
    if norm.beta.is_some() {
        let mean = simd::sum(row) / row.len() as f32;
        for x in row.iter_mut() {
            *x -= mean;
        }
    }
    1.0 / (simd::dot(row, row) / row.len() as f32 + norm.eps).sqrt()
}
