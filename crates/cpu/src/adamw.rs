//! The optimizer's pass over a parameter, and the sum of squares for clipping.

use crate::simd;
use rayon::prelude::*;

const CHUNK: usize = 1 << 15;

/// One step of AdamW: its settings and how many steps it makes with this one.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// How much of the first moment stays, usually 0.9.
    pub beta1: f32,
    /// How much of the second moment stays, usually 0.999.
    pub beta2: f32,
    /// Added to the root of the second moment, usually 1e-8.
    pub eps: f32,
    /// Weight decay, apart from the gradient: weights shrink by `learning_rate * weight_decay`.
    pub weight_decay: f32,
    /// Step size.
    pub learning_rate: f32,
    /// What the gradient is multiplied by before anything else: the factor of clipping, 1 without.
    pub grad_scale: f32,
    /// Number of this step, from 1.
    pub step: u32,
}

impl AdamW {
    /// What the moments are divided by because they began at zero: `1 - beta1^time`, `sqrt(1 - beta2^time)`.
    pub fn corrections(&self) -> (f64, f64) {
        let left = |beta: f32| 1.0 - f64::from(beta).powi(self.step as i32);
        (left(self.beta1), left(self.beta2).sqrt())
    }
}

/// One step in place.
pub fn step(step: AdamW, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
    let numbers = Numbers::of(step);
    let moments = m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK));
    let chunks = w.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).zip(moments);
    chunks.for_each(|((w, g), (m, v))| update(w, g, m, v, &numbers));
}

/// The gradient where no row is given, as many numbers at a time.
static NOTHING: [f32; 1 << 12] = [0.0; 1 << 12];

/// One step in place with a gradient that is zero but for some rows, given by their numbers, rising.
pub fn step_rows(step: AdamW, w: &mut [f32], (rows, g): (&[u32], &[f32]), m: &mut [f32], v: &mut [f32]) {
    let h = if rows.is_empty() { w.len() } else { g.len() / rows.len() };
    if h == 0 {
        return;
    }
    let (numbers, table_rows) = (Numbers::of(step), (CHUNK / h).max(1));
    let size = table_rows * h;
    let moments = m.par_chunks_mut(size).zip(v.par_chunks_mut(size));
    let chunks = w.par_chunks_mut(size).zip(moments).enumerate();
    chunks.for_each(|(chunk, (w, (m, v)))| {
        let (first, all) = (chunk * table_rows, w.len());
        let before = |end: usize| rows.partition_point(|row| (*row as usize) < end);
        let mut done = 0;
        let mut to = |end: usize, g: Option<&[f32]>| {
            while done < end {
                let next = if g.is_some() { end } else { end.min(done + NOTHING.len()) };
                let g = g.unwrap_or(&NOTHING[..next - done]);
                update(&mut w[done..next], g, &mut m[done..next], &mut v[done..next], &numbers);
                done = next;
            }
        };
        for at in before(first)..before(first + table_rows) {
            let begin = (rows[at] as usize - first) * h;
            to(begin, None);
            to(begin + h, Some(&g[at * h..][..h]));
        }
        to(all, None);
    });
}

/// The sum of all squares.
pub fn squared_norm(g: &[f32]) -> f64 {
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

impl Numbers {
    fn of(step: AdamW) -> Numbers {
        let (first, second) = step.corrections();
        Numbers {
            step,
            size: (f64::from(step.learning_rate) / first) as f32,
            root: (1.0 / second) as f32,
            shrink: (1.0 - f64::from(step.learning_rate) * f64::from(step.weight_decay)) as f32,
        }
    }
}

simd::simd! {
    fn update(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], numbers: &Numbers) {
        let Numbers { step: AdamW { beta1, beta2, eps, grad_scale: scale, .. }, size, root, shrink } = *numbers;
        for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            let g = g * scale;
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            *w = *w * shrink - size * *m / (v.sqrt() * root + eps);
        }
    }
}
