//! A low-rank update of all rows with several second factors, mixed by a gate for each row:
//! `y[:, columns] += scale sum_k g_k (x A^T) B_k^T` with `g = softmax(x R^T)`.

use crate::matmul::{MatRef, product};
use crate::simd::{self, dot};
use crate::uninit::zeros;
use std::ops::Range;

/// What a gated update needs besides tensors.
#[derive(Clone, Debug)]
pub struct GatedLowRankShape {
    /// The columns that are updated.
    pub columns: Range<usize>,
    /// Columns of all.
    pub width: usize,
    /// Columns of the input.
    pub inputs: usize,
    /// Rank of an update.
    pub rank: usize,
    /// How many second factors there are.
    pub experts: usize,
    /// What updates are multiplied by.
    pub scale: f32,
}

impl GatedLowRankShape {
    fn outputs(&self) -> usize {
        self.columns.len()
    }
}

/// What [`forward`] keeps for [`backward`].
pub struct GatedInner {
    /// `x A^T` `[n, rank]`
    t: Vec<f32>,
    /// The gates `[n, experts]`.
    gates: Vec<f32>,
}

impl GatedInner {
    /// `g_k x A^T` side by side, `[n, experts rank]`.
    fn gated(&self, s: &GatedLowRankShape) -> Vec<f32> {
        let mut gated = Vec::with_capacity(self.gates.len() * s.rank);
        for (t, gates) in self.t.chunks_exact(s.rank).zip(self.gates.chunks_exact(s.experts)) {
            gates.iter().for_each(|gate| gated.extend(t.iter().map(|t| gate * t)));
        }
        gated
    }
}

/// Updates `y`. A `[rank, inputs]`, R `[experts, inputs]`, B `[outputs, experts rank]` with the second factors side by side.
pub fn forward(y: &mut [f32], [x, a, router, b]: [&[f32]; 4], s: &GatedLowRankShape) -> GatedInner {
    let n = y.len() / s.width;
    let x = MatRef::new(x, n, s.inputs);
    let t = product(x, MatRef::new(a, s.rank, s.inputs).t());
    let mut gates = product(x, MatRef::new(router, s.experts, s.inputs).t());
    gates.chunks_exact_mut(s.experts).for_each(softmax);
    let inner = GatedInner { t, gates };
    let inside = s.experts * s.rank;
    let gated = inner.gated(s);
    let update = product(MatRef::new(&gated, n, inside), MatRef::new(b, s.outputs(), inside).t());
    for (y, update) in y.chunks_exact_mut(s.width).zip(update.chunks_exact(s.outputs().max(1))) {
        simd::add_scaled(&mut y[s.columns.clone()], s.scale, update);
    }
    inner
}

/// The gradients of `x`, A, R and B from that of the result, `d`.
pub fn backward(
    d: &[f32],
    [x, a, router, b]: [&[f32]; 4],
    inner: &GatedInner,
    s: &GatedLowRankShape,
) -> [Vec<f32>; 4] {
    let (n, inside) = (d.len() / s.width, s.experts * s.rank);
    let mut d_update = Vec::with_capacity(n * s.outputs());
    for d in d.chunks_exact(s.width) {
        d_update.extend(d[s.columns.clone()].iter().map(|d| d * s.scale));
    }
    let d_update = MatRef::new(&d_update, n, s.outputs());
    let gated = inner.gated(s);
    let d_b = product(d_update.t(), MatRef::new(&gated, n, inside));
    let d_gated = product(d_update, MatRef::new(b, s.outputs(), inside));
    let (mut d_t, mut d_logits) = (zeros(n * s.rank), zeros(n * s.experts));
    for row in 0..n {
        let (t, gates) = (&inner.t[row * s.rank..][..s.rank], &inner.gates[row * s.experts..][..s.experts]);
        let d_gated = &d_gated[row * inside..][..inside];
        let d_t = &mut d_t[row * s.rank..][..s.rank];
        for (gate, d) in gates.iter().zip(d_gated.chunks_exact(s.rank)) {
            simd::add_scaled(d_t, *gate, d);
        }
        let of_gates: Vec<f32> = d_gated.chunks_exact(s.rank).map(|d| dot(d, t)).collect();
        let mean = dot(&of_gates, gates);
        let d_logits = d_logits[row * s.experts..][..s.experts].iter_mut();
        d_logits.zip(gates.iter().zip(&of_gates)).for_each(|(d, (gate, of))| *d = gate * (of - mean));
    }
    let (d_t, d_logits) = (MatRef::new(&d_t, n, s.rank), MatRef::new(&d_logits, n, s.experts));
    let x = MatRef::new(x, n, s.inputs);
    let mut d_x = product(d_t, MatRef::new(a, s.rank, s.inputs));
    simd::add(&mut d_x, &product(d_logits, MatRef::new(router, s.experts, s.inputs)));
    [d_x, product(d_t.t(), x), product(d_logits.t(), x), d_b]
}

fn softmax(logits: &mut [f32]) {
    let most = simd::max(logits);
    logits.iter_mut().for_each(|logit| *logit = simd::exp(*logit - most));
    let total = simd::sum(logits);
    simd::scale(logits, 1.0 / total);
}
