//! AdamW without a schedule: gradients are taken near a running average of the weights, and the average is the result.
//!
//! Of a parameter there are three sequences: `z` moves by the gradient, `x` is the average of all `z` so far, and `y` lies between
//! them. Steps are made at `y`; evaluations, lookaheads and the saved model have `x`. With the gradient `g` at `y`, the parameter's
//! own count of updates `t` (from 1), the learning rate `r` of its group times the warm-up's factor and `R` the largest `r` so far
//!
//! ```text
//! v <- beta2 v + (1 - beta2) g^2
//! d  = g / (sqrt(v / (1 - beta2^t)) + epsilon) + decay y
//! c  = R^2 / (sum of R^2 over all updates so far, this one included)
//! y <- (1 - c) y + c z + r (beta (1 - c) - 1) d          z <- z - r d
//! x  = (y - (1 - beta) z) / beta
//! ```
//!
//! as `schedulefree.AdamWScheduleFree` has it: `z` begins as the weight. The average needs no falling learning rate and so no
//! number of steps; the factor is `(t + 1) / W` while step `t` (from 0) of `T` is below `W = ceil(warmup_ratio * T)`, and 1
//! afterwards.
//! The default schedule has no effect then, another one is refused. Biases, norms and other vectors do not decay. A parameter without
//! a gradient in a step does not move.
//!
//! Defaults: `learning_rate = 1e-4` for a pretrained backbone, from scratch as AdamW; heads, adapters and a fresh decoder 20 times that on a pretrained backbone and the same on one from scratch,
//! `warmup_ratio = 0.1`, `weight_decay = 0.01`, `beta = 0.9`, `beta2 = 0.999`, `epsilon = 1e-8`. Take AdamW's learning rate or up to ten times it. Cost: two more values per parameter, as AdamW, and one pass
//! over the weights an evaluation.
//! When to use: where the number of steps is open, or where the result shall be good at every step.
//! Paper: Defazio et al., *The Road Less Scheduled*, NeurIPS 2024.

use super::{GroupRates, Optimizer, ParamUpdate, RangeChecks, dense, is_vector, matrix, tensor_of};
use crate::{config::SettingError, gradients::Gradient, schedule::warmup_steps};
use burn::tensor::Tensor;
use kernels::{Element, Formula};
use model::{Parameter, ParameterTensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[optimizer.schedule_free_adamw]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleFreeConfig {
    /// The learning rate after the warm-up; 1e-4 by default. From scratch 2e-3 to 1e-2 is usual.
    #[schemars(range(min = 0.0))]
    pub learning_rate: f64,
    /// The learning rate of what begins untrained: heads, adapters and a fresh decoder. On a pretrained backbone 20 times
    /// `learning_rate` by default, from scratch the same. A task's own `head_learning_rate` comes first.
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
    /// The fraction of all steps during which the learning rate rises; 0.1 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub warmup_ratio: f64,
    /// The decoupled weight decay of matrices, as a fraction of the learning rate; 0.01 by default.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// The weight of the average where gradients are taken; 0.9 by default, 0.95 to 0.98 in long runs.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub beta: f64,
    /// The coefficient of the running mean of squared gradients; 0.999 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub beta2: f64,
    /// Keeps the division finite; 1e-8 by default.
    #[schemars(range(min = 0.0))]
    pub epsilon: f64,
}

impl Default for ScheduleFreeConfig {
    fn default() -> Self {
        ScheduleFreeConfig {
            learning_rate: 1e-4,
            head_learning_rate: None,
            adapter_learning_rate: None,
            layerwise_lr_decay: None,
            warmup_ratio: 0.1,
            weight_decay: 0.01,
            beta: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }
}

impl Optimizer for ScheduleFreeConfig {
    fn rates(&self) -> GroupRates {
        GroupRates {
            trunk: self.learning_rate,
            heads: self.head_learning_rate,
            adapters: self.adapter_learning_rate,
            layerwise_lr_decay: self.layerwise_lr_decay,
        }
    }

    fn errors(&self) -> Vec<SettingError> {
        let mut checks = RangeChecks::of("schedule_free_adamw", self.rates());
        let warmup = (0.0..=1.0).contains(&self.warmup_ratio);
        let expected = "a fraction of all steps from 0 to 1, such as 0.1";
        checks.check("warmup_ratio", self.warmup_ratio, warmup, expected);
        checks.zero_or_more("weight_decay", self.weight_decay, "a number from 0, such as 0.01");
        let between = self.beta > 0.0 && self.beta < 1.0;
        checks.check("beta", self.beta, between, "a number above 0 and below 1, such as 0.9");
        checks.coefficient("beta2", self.beta2, "0.999");
        checks.positive("epsilon", self.epsilon, "a small number above 0, such as 1e-8");
        checks.errors()
    }

    /// `z`, `v`, and two values of the average ([`update_average`]).
    fn state_shapes(&self, parameter: &Parameter) -> Vec<Vec<usize>> {
        vec![parameter.shape().to_vec(), parameter.shape().to_vec(), vec![2]]
    }

    fn apply(
        &self,
        update: &ParamUpdate,
        weight: ParameterTensor,
        gradient: Gradient,
        slots: Vec<ParameterTensor>,
    ) -> (ParameterTensor, Vec<ParameterTensor>) {
        let vector = is_vector(&weight);
        let Ok(slots) = <[ParameterTensor; 3]>::try_from(slots) else {
            unreachable!("three tensors are kept of every parameter")
        };
        let (y, [z, v, average]) = self.step(update, matrix(weight), gradient, slots.map(matrix));
        (tensor_of(y, vector), vec![tensor_of(z, vector), tensor_of(v, vector), tensor_of(average, true)])
    }

    fn schedule_factor(&self, step: usize, total: usize) -> Option<f64> {
        Some(((step + 1) as f64 / warmup_steps(self.warmup_ratio, total).max(1) as f64).min(1.0))
    }

    /// The average `x` out of `y` and `z`.
    fn averaged(&self, weight: ParameterTensor, slots: &[ParameterTensor]) -> Option<ParameterTensor> {
        let vector = is_vector(&weight);
        let (y, z) = (matrix(weight), matrix(slots.first()?.clone()));
        let x = y.clone() + (z - y).mul_scalar(1.0 - 1.0 / self.beta);
        Some(tensor_of(x, vector))
    }

    fn averages_weights(&self) -> bool {
        true
    }
}

impl ScheduleFreeConfig {
    /// The new `y`, and `[z, v, values of the average]`.
    fn step(
        &self,
        update: &ParamUpdate,
        y: Tensor<2>,
        gradient: Gradient,
        [z, v, average]: [Tensor<2>; 3],
    ) -> (Tensor<2>, [Tensor<2>; 3]) {
        let g = dense(gradient, y.dims()[0]);
        let z = if update.step == 1 { y.clone() } else { z };
        let average = update_average(average, update.rate);
        let c = average.clone().slice([0..1, 1..2]).recip();
        let along = c.clone().neg().add_scalar(1.0).mul_scalar(self.beta).sub_scalar(1.0);
        let read = [g, c, along.mul_scalar(update.rate)];
        let [y, z, v] = kernels::elementwise(&Step::of(self, update), [y, z, v], read);
        (y, [z, v, average])
    }
}

/// The formula of a step: `y`, `z` and `v` from the gradient, the weight `c` of `z` in the average, and the part of the step that `y`
/// makes itself.
struct Step<'a> {
    config: &'a ScheduleFreeConfig,
    update: &'a ParamUpdate,
    /// What `v` is divided by, for it begins at zeros.
    correction: f64,
}

impl<'a> Step<'a> {
    fn of(config: &'a ScheduleFreeConfig, update: &'a ParamUpdate) -> Self {
        Step { config, update, correction: 1.0 - config.beta2.powf(f64::from(update.step)) }
    }
}

impl Formula<3, 3> for Step<'_> {
    fn apply<E: Element>(&self, [y, z, v]: [E; 3], [g, c, along]: [E; 3]) -> [E; 3] {
        let ScheduleFreeConfig { beta2, epsilon, weight_decay, .. } = *self.config;
        let g = g.mul_scalar(self.update.scale);
        let v = v.mul_scalar(beta2) + (g.clone() * g.clone()).mul_scalar(1.0 - beta2);
        let mut d = g / v.clone().div_scalar(self.correction).sqrt().add_scalar(epsilon);
        if self.update.decays && weight_decay > 0.0 {
            d = d + y.clone().mul_scalar(weight_decay);
        }
        let y = y.clone() + (z.clone() - y) * c + d.clone() * along;
        [y, z - d.mul_scalar(self.update.rate), v]
    }
}

/// `[R, n]` after one more update with the learning rate `rate`, from those before it (zeros before the first), `[1, 2]`: the largest
/// rate `R` so far, and `n`, the sum of all `R^2` by the last. Its inverse is the newest `z`'s weight in the average.
fn update_average(average: Tensor<2>, rate: f64) -> Tensor<2> {
    let value = |i: usize| average.clone().slice([0..1, i..i + 1]);
    let max = value(0).clamp_min(rate);
    // A rate of 0 moves nothing, whatever the weight of `z`; the bound keeps it a number.
    let ratio = value(0) / max.clone().clamp_min(f32::MIN_POSITIVE);
    let count = value(1) * ratio.clone() * ratio;
    Tensor::cat(vec![max, count.add_scalar(1.0)], 1)
}
