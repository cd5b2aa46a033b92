//! The optimizer's pass over a parameter, and the sum of squares for clipping.

use super::simd;
use crate::AdamW;
use rayon::prelude::*;

const CHUNK: usize = 1 << 15;

/// One step in place.
pub(crate) fn step(step: AdamW, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
    let (first, second) = step.corrections();
    let numbers = Numbers {
        step,
        size: (f64::from(step.learning_rate) / first) as f32,
        root: (1.0 / second) as f32,
        shrink: (1.0 - f64::from(step.learning_rate) * f64::from(step.decay)) as f32,
    };
    let moments = m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK));
    let chunks = w.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).zip(moments);
    chunks.for_each(|((w, g), (m, v))| update(w, g, m, v, &numbers));
}

/// The sum of all squares.
pub(crate) fn squared_norm(g: &[f32]) -> f64 {
    g.par_chunks(CHUNK).map(simd::squares).collect::<Vec<f64>>().iter().sum()
}

/// What does not change from element to element.
struct Numbers {
    step: AdamW,
    /// The step size, corrected for the first moment's beginning at zero.
    size: f32,
    /// What the root of the second moment is multiplied by, for the same reason.
    root: f32,
    /// What decay leaves of a weight.
    shrink: f32,
}

simd::simd! {
    fn update(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], numbers: &Numbers) {
        let Numbers { step: AdamW { beta1, beta2, eps, scale, .. }, size, root, shrink } = *numbers;
        for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            let g = g * scale;
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            *w = *w * shrink - size * *m / (v.sqrt() * root + eps);
        }
    }
}
