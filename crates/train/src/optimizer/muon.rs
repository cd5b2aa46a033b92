//! Muon: steps of matrices with all their singular values made about equal, by Newton-Schulz; AdamW for all else.
//!
//! With the gradient `g` of a matrix `w` `[n, m]` inside the trunk and the learning rate `r` of its group times the schedule's factor
//!
//! ```text
//! b <- momentum b + (1 - momentum) g
//! X <- (1 - momentum) g + momentum b                  over its norm, transposed if n > m
//! five times: A = X X^T;  X <- 3.4445 X + (-4.775 A + 2.0315 A A) X
//! w <- (1 - r decay) w - r 0.2 sqrt(max(n, m)) X
//! ```
//!
//! as `torch.optim.Muon` has it with `adjust_lr_fn = "match_rms_adamw"`, but in f32: steps are as large as AdamW's, and one learning
//! rate suits both. Embeddings, heads and vectors move by AdamW with the same rate and decay, `beta1 = 0.9`, `beta2 = 0.999` and
//! `epsilon = 1e-8`; vectors do not decay. A parameter without a gradient in a step stands still.
//!
//! Defaults: `learning_rate = 1e-3`, heads the same, `weight_decay = 0.1`, `momentum = 0.95`. Cost: one more number per weight of these
//! matrices, two for the others, and fifteen products of them a step, which do not depend on the number of tokens.
//! When to use: training transformers from scratch. To fine-tune what AdamW trained, AdamW is better.
//! Paper: Jordan et al., *Muon*, 2024; Liu et al., *Muon is Scalable for LLM Training*, 2025 (the size of steps).

use super::{AdamWConfig, Checks, Move, dense, norm};
use crate::{config::Fault, gradients::Gradient};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[optimizer.muon]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MuonConfig {
    /// The learning rate at its peak; 1e-3 by default.
    #[schemars(range(min = 0.0))]
    pub learning_rate: f64,
    /// The learning rate of the heads, if not the same. A task's own `learning_rate` comes first.
    #[schemars(range(min = 0.0))]
    pub head_learning_rate: Option<f64>,
    /// What the learning rate of each layer of the trunk is multiplied by for every layer above it; 1 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub layer_decay: Option<f64>,
    /// How strongly matrices are drawn to zero, as a share of the learning rate; 0.1 by default.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// The memory of the mean gradient; 0.95 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub momentum: f64,
}

impl Default for MuonConfig {
    fn default() -> Self {
        MuonConfig {
            learning_rate: 1e-3,
            head_learning_rate: None,
            layer_decay: None,
            weight_decay: 0.1,
            momentum: 0.95,
        }
    }
}

/// The polynomial that lifts small singular values fastest.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.775, 2.0315];
const ROUNDS: usize = 5;
/// Keeps the division by the norm finite.
const EPSILON: f64 = 1e-7;
/// The root mean square of AdamW's usual steps in units of the rate.
const OF_ADAMW: f64 = 0.2;

impl MuonConfig {
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut checks = Checks::of("muon", self.learning_rate, self.head_learning_rate, self.layer_decay);
        checks.zero_or_more("weight_decay", self.weight_decay, "a number from 0, such as 0.1");
        checks.memory("momentum", self.momentum, "0.95");
        checks.faults()
    }

    /// What moves all other parameters.
    pub(super) fn for_others(&self) -> AdamWConfig {
        AdamWConfig { weight_decay: self.weight_decay, ..AdamWConfig::default() }
    }

    /// The new weight and mean gradient.
    pub(super) fn step(
        &self,
        how: &Move,
        w: Tensor<2>,
        gradient: Gradient,
        mean: Tensor<2>,
    ) -> (Tensor<2>, Tensor<2>) {
        let [n, m] = w.dims();
        let g = dense(gradient, n).mul_scalar(how.scale);
        let mean = mean.clone() + (g.clone() - mean).mul_scalar(1.0 - self.momentum);
        let way = g.clone() + (mean.clone() - g).mul_scalar(self.momentum);
        let size = how.rate * OF_ADAMW * (n.max(m) as f64).sqrt();
        (how.decayed(w, self.weight_decay) - orthogonal(way).mul_scalar(size), mean)
    }
}

/// The matrix with the same singular vectors and singular values about 1; only those that were near 0 stay smaller.
fn orthogonal(x: Tensor<2>) -> Tensor<2> {
    let [n, m] = x.dims();
    let mut x = if n > m { x.transpose() } else { x };
    let size = norm(&x).clamp_min(EPSILON);
    x = x / size;
    let [a, b, c] = COEFFICIENTS;
    for _ in 0..ROUNDS {
        let square = x.clone().matmul(x.clone().transpose());
        let inner = square.clone().mul_scalar(b) + square.clone().matmul(square).mul_scalar(c);
        x = x.clone().mul_scalar(a) + inner.matmul(x);
    }
    if n > m { x.transpose() } else { x }
}
