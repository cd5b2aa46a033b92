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
//! number of steps; the factor is `(t + 1) / W` while step `t` (from 0) of `T` is below `W = ceil(warmup * T)`, and 1 afterwards.
//! The default schedule has no effect then, another one is refused. Biases, norms and other vectors do not decay. A parameter without a gradient in a step stands still.
//!
//! Defaults: `learning_rate = 1e-4`, heads the same, `warmup = 0.1`, `weight_decay = 0.01`, `beta = 0.9`, `beta2 = 0.999`,
//! `epsilon = 1e-8`. Take AdamW's learning rate or up to ten times it. Cost: two more numbers per parameter, as AdamW, and one pass
//! over the weights an evaluation.
//! When to use: where the number of steps is open, or where the result shall be good at every step.
//! Paper: Defazio et al., *The Road Less Scheduled*, NeurIPS 2024.

use super::{Checks, Move, dense};
use crate::{config::Fault, gradients::Gradient, schedule::warmup_steps};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[optimizer.schedule_free_adamw]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleFreeConfig {
    /// The learning rate after the warm-up; 1e-4 by default. From scratch 2e-3 to 1e-2 is usual.
    #[schemars(range(min = 0.0))]
    pub learning_rate: f64,
    /// The learning rate of the heads, if not the same. A task's own `learning_rate` comes first.
    #[schemars(range(min = 0.0))]
    pub head_learning_rate: Option<f64>,
    /// What the learning rate of each layer of the trunk is multiplied by for every layer above it; 1 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub layer_decay: Option<f64>,
    /// Share of all steps during which the learning rate rises; 0.1 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub warmup: f64,
    /// How strongly matrices are drawn to zero, as a share of the learning rate; 0.01 by default.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// How much of the average there is where gradients are taken; 0.9 by default, 0.95 to 0.98 in long runs.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub beta: f64,
    /// The memory of the mean squared gradient; 0.999 by default.
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
            layer_decay: None,
            warmup: 0.1,
            weight_decay: 0.01,
            beta: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }
}

impl ScheduleFreeConfig {
    pub(super) fn faults(&self) -> Vec<Fault> {
        let (rate, heads) = (self.learning_rate, self.head_learning_rate);
        let mut checks = Checks::of("schedule_free_adamw", rate, heads, self.layer_decay);
        let warmup = (0.0..=1.0).contains(&self.warmup);
        checks.check("warmup", self.warmup, warmup, "a share of all steps from 0 to 1, such as 0.1");
        checks.zero_or_more("weight_decay", self.weight_decay, "a number from 0, such as 0.01");
        let between = self.beta > 0.0 && self.beta < 1.0;
        checks.check("beta", self.beta, between, "a number above 0 and below 1, such as 0.9");
        checks.memory("beta2", self.beta2, "0.999");
        checks.positive("epsilon", self.epsilon, "a small number above 0, such as 1e-8");
        checks.faults()
    }

    /// The factor of the learning rate at `step` (from 0) of `total`.
    pub(super) fn factor(&self, step: usize, total: usize) -> f64 {
        ((step + 1) as f64 / warmup_steps(self.warmup, total).max(1) as f64).min(1.0)
    }

    /// What is remembered of a parameter of this shape: `z`, `v`, and two numbers about its average ([`average`]).
    pub(super) fn memory(&self, shape: &[usize]) -> Vec<Vec<usize>> {
        vec![shape.to_vec(), shape.to_vec(), vec![2]]
    }

    /// The new `y`, and `[z, v, numbers of the average]`.
    pub(super) fn step(
        &self,
        how: &Move,
        y: Tensor<2>,
        gradient: Gradient,
        [z, v, numbers]: [Tensor<2>; 3],
    ) -> (Tensor<2>, [Tensor<2>; 3]) {
        let g = dense(gradient, y.dims()[0]).mul_scalar(how.scale);
        let z = if how.time == 1 { y.clone() } else { z };
        let v = v.mul_scalar(self.beta2) + (g.clone() * g.clone()).mul_scalar(1.0 - self.beta2);
        let correction = 1.0 - self.beta2.powf(f64::from(how.time));
        let mut d = g / v.clone().div_scalar(correction).sqrt().add_scalar(self.epsilon);
        if how.decay && self.weight_decay > 0.0 {
            d = d + y.clone().mul_scalar(self.weight_decay);
        }
        let numbers = average(numbers, how.rate);
        let c = numbers.clone().slice([0..1, 1..2]).recip();
        let along = c.clone().neg().add_scalar(1.0).mul_scalar(self.beta).sub_scalar(1.0);
        let y = y.clone() + (z.clone() - y) * c + d.clone() * along.mul_scalar(how.rate);
        (y, [z - d.mul_scalar(how.rate), v, numbers])
    }

    /// The average `x` out of `y` and `z`.
    pub(super) fn average(&self, y: Tensor<2>, z: Tensor<2>) -> Tensor<2> {
        y.clone() + (z - y).mul_scalar(1.0 - 1.0 / self.beta)
    }
}

/// `[R, n]` after one more update with the learning rate `rate`, from those before it (zeros before the first), `[1, 2]`: the largest
/// rate `R` so far, and `n`, the sum of all `R^2` by the last. Its inverse is the newest `z`'s share in the average.
fn average(numbers: Tensor<2>, rate: f64) -> Tensor<2> {
    let of = |at: usize| numbers.clone().slice([0..1, at..at + 1]);
    let most = of(0).clamp_min(rate);
    // A rate of 0 moves nothing, whatever the share; the bound keeps it a number.
    let grown = of(0) / most.clone().clamp_min(f32::MIN_POSITIVE);
    let count = of(1) * grown.clone() * grown;
    Tensor::cat(vec![most, count.add_scalar(1.0)], 1)
}
