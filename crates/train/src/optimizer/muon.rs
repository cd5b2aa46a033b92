//! Muon: steps of matrices with all their singular values made about equal, by Newton-Schulz; AdamW for all else.
//!
//! With the gradient `g` of the weight `w` `[n, m]` of a linear layer inside the trunk and the learning rate `r` of its group times the schedule's factor
//!
//! ```text
//! b <- momentum b + (1 - momentum) g
//! X <- (1 - momentum) g + momentum b                  over its norm, transposed if n > m
//! five times: A = X X^T;  X <- 3.4445 X + (-4.775 A + 2.0315 A A) X
//! w <- (1 - r decay) w - r 0.2 sqrt(max(n, m)) X
//! ```
//!
//! as `torch.optim.Muon` has it with `adjust_lr_fn = "match_rms_adamw"`, but in f32: steps are as large as AdamW's, and one learning
//! rate suits both. Embeddings, adapters, heads and vectors move by AdamW with the same rate and decay, `beta1 = 0.9`, `beta2 = 0.999` and
//! `epsilon = 1e-8`; vectors do not decay. A parameter without a gradient in a step does not move.
//!
//! Defaults: `learning_rate = 1e-3`, heads the same, `weight_decay = 0.1`, `momentum = 0.95`. Cost: one more value per weight of these
//! matrices, two for the others, and fifteen products of them a step, which do not depend on the number of tokens.
//! When to use: training transformers from scratch. To fine-tune what AdamW trained, AdamW is better.
//! Paper: Jordan et al., *Muon*, 2024; Liu et al., *Muon is Scalable for LLM Training*, 2025 (the size of steps).

use super::{AdamWConfig, GroupRates, Optimizer, ParamUpdate, RangeChecks, dense, norm, with_one_slot};
use crate::{config::SettingError, gradients::Gradient};
use burn::tensor::Tensor;
use kernels::{Element, Formula};
use model::{Parameter, ParameterTensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[optimizer.muon]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MuonConfig {
    /// The learning rate at its peak; 1e-3 by default.
    #[schemars(range(min = 0.0))]
    pub learning_rate: f64,
    /// The learning rate of what begins untrained (heads, adapters and a fresh decoder), if not the same. A task's own
    /// `head_learning_rate` comes first.
    #[schemars(range(min = 0.0))]
    pub head_learning_rate: Option<f64>,
    /// The learning rate of what a sharing scheme adds to the trunk (adapters, and what they are mixed by), if not that of heads. PEFT
    /// trains adapters and heads with one rate, of 1e-4 to 1e-3 with AdamW. Where it is set, a task's own `head_learning_rate` is that of
    /// its head alone.
    #[schemars(range(min = 0.0))]
    pub adapter_learning_rate: Option<f64>,
    /// What the learning rate of each layer of the trunk is multiplied by for every layer above it; 1 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub layerwise_lr_decay: Option<f64>,
    /// The decoupled weight decay of matrices, as a fraction of the learning rate; 0.1 by default.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// The coefficient of the running mean of gradients; 0.95 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub momentum: f64,
}

impl Default for MuonConfig {
    fn default() -> Self {
        MuonConfig {
            learning_rate: 1e-3,
            head_learning_rate: None,
            adapter_learning_rate: None,
            layerwise_lr_decay: None,
            weight_decay: 0.1,
            momentum: 0.95,
        }
    }
}

/// The polynomial that lifts small singular values fastest.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.775, 2.0315];
const ITERATIONS: usize = 5;
/// Keeps the division by the norm finite.
const EPSILON: f64 = 1e-7;
/// The root mean square of a typical step of AdamW in units of the rate.
const ADAMW_RMS: f64 = 0.2;

impl Optimizer for MuonConfig {
    fn rates(&self) -> GroupRates {
        GroupRates {
            trunk: self.learning_rate,
            heads: self.head_learning_rate,
            adapters: self.adapter_learning_rate,
            layerwise_lr_decay: self.layerwise_lr_decay,
        }
    }

    fn errors(&self) -> Vec<SettingError> {
        let mut checks = RangeChecks::of("muon", self.rates());
        checks.zero_or_more("weight_decay", self.weight_decay, "a number from 0, such as 0.1");
        checks.coefficient("momentum", self.momentum, "0.95");
        checks.errors()
    }

    /// The mean gradient, or what AdamW keeps.
    fn state_shapes(&self, parameter: &Parameter) -> Vec<Vec<usize>> {
        match parameter.is_linear_weight() {
            true => vec![parameter.shape().to_vec()],
            false => self.adamw().state_shapes(parameter),
        }
    }

    fn apply(
        &self,
        update: &ParamUpdate,
        weight: ParameterTensor,
        gradient: Gradient,
        slots: Vec<ParameterTensor>,
    ) -> (ParameterTensor, Vec<ParameterTensor>) {
        if !update.is_linear_weight {
            return self.adamw().apply(update, weight, gradient, slots);
        }
        with_one_slot(weight, slots, |w, mean| self.step(update, w, gradient, mean))
    }
}

impl MuonConfig {
    /// The optimizer of all other parameters.
    fn adamw(&self) -> AdamWConfig {
        AdamWConfig { weight_decay: self.weight_decay, ..AdamWConfig::default() }
    }

    /// The new weight and mean gradient.
    fn step(
        &self,
        update: &ParamUpdate,
        w: Tensor<2>,
        gradient: Gradient,
        mean: Tensor<2>,
    ) -> (Tensor<2>, Tensor<2>) {
        let [n, m] = w.dims();
        let mix = Mix { momentum: self.momentum, scale: update.scale };
        let [direction, mean] = kernels::elementwise(&mix, [dense(gradient, n), mean], []);
        let size = update.rate * ADAMW_RMS * (n.max(m) as f64).sqrt();
        let step = Step { update, weight_decay: self.weight_decay, size };
        let [w] = kernels::elementwise(&step, [w], [orthogonalized(direction)]);
        (w, mean)
    }
}

/// From a gradient and the mean of those before it: the direction and the new mean.
struct Mix {
    momentum: f64,
    scale: f64,
}

impl Formula<2, 0> for Mix {
    fn apply<E: Element>(&self, [g, mean]: [E; 2], []: [E; 0]) -> [E; 2] {
        let g = g.mul_scalar(self.scale);
        let mean = mean.clone() + (g.clone() - mean).mul_scalar(1.0 - self.momentum);
        [g.clone() + (mean.clone() - g).mul_scalar(self.momentum), mean]
    }
}

/// The weight after a step of a size in a direction.
struct Step<'a> {
    update: &'a ParamUpdate,
    weight_decay: f64,
    size: f64,
}

impl Formula<1, 1> for Step<'_> {
    fn apply<E: Element>(&self, [w]: [E; 1], [direction]: [E; 1]) -> [E; 1] {
        [self.update.decayed(w, self.weight_decay) - direction.mul_scalar(self.size)]
    }
}

/// `a x + b y`
struct Weighted([f64; 2]);

impl Formula<1, 1> for Weighted {
    fn apply<E: Element>(&self, [x]: [E; 1], [y]: [E; 1]) -> [E; 1] {
        [x.mul_scalar(self.0[0]) + y.mul_scalar(self.0[1])]
    }
}

/// The matrix with the same singular vectors and singular values about 1; only those that were near 0 stay smaller.
fn orthogonalized(x: Tensor<2>) -> Tensor<2> {
    let [n, m] = x.dims();
    let mut x = if n > m { x.transpose() } else { x };
    let size = norm(&x).clamp_min(EPSILON);
    x = x / size;
    let [a, b, c] = COEFFICIENTS;
    for _ in 0..ITERATIONS {
        let square = x.clone().matmul(x.clone().transpose());
        let fourth = square.clone().matmul(square.clone());
        let [inner] = kernels::elementwise(&Weighted([b, c]), [square], [fourth]);
        let product = inner.matmul(x.clone());
        [x] = kernels::elementwise(&Weighted([a, 1.0]), [x], [product]);
    }
    if n > m { x.transpose() } else { x }
}
