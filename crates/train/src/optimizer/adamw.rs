//! Adam with decoupled weight decay.
//!
//! With the gradient `g` of a parameter `w`, the parameter's own count of updates `t` (from 1) and the learning
//! rate `r` of its group times the schedule's factor
//!
//! ```text
//! m <- beta1 m + (1 - beta1) g
//! v <- beta2 v + (1 - beta2) g^2
//! w <- (1 - r decay) w - r (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
//! ```
//!
//! as `torch.optim.AdamW` has it. Biases, norms and other vectors do not decay. A parameter without a gradient
//! in a step (the head of a task that the step has no rows of) stands still: no decay, no moments, no count.
//!
//! Defaults: `learning_rate = 5e-5`, heads the same, `weight_decay = 0.01`, `beta1 = 0.9`, `beta2 = 0.999`,
//! `epsilon = 1e-8`. Cost: two more numbers per parameter; one pass in place.
//! When to use: always, unless there is a reason for another one.
//! Paper: Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019.

use super::{Checks, Move};
use crate::{config::Fault, gradients::Gradient};
use model::Weight;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[optimizer.adamw]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// The learning rate at its peak; 5e-5 by default, which suits a pretrained encoder. From scratch 1e-3 to
    /// 5e-3 is usual.
    #[schemars(range(min = 0.0))]
    pub learning_rate: f64,
    /// The learning rate of the heads, if not the same. A task's own `learning_rate` comes first.
    #[schemars(range(min = 0.0))]
    pub head_learning_rate: Option<f64>,
    /// What the learning rate of each layer of the trunk is multiplied by for every layer above it; 1 by default, 0.9 or less
    /// where a pretrained encoder has few rows to learn from.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub layer_decay: Option<f64>,
    /// How strongly matrices are drawn to zero, as a share of the learning rate; 0.01 by default. Biases and
    /// norms never are.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// The memory of the mean gradient; 0.9 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub beta1: f64,
    /// The memory of the mean squared gradient; 0.999 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub beta2: f64,
    /// Keeps the division finite; 1e-8 by default.
    #[schemars(range(min = 0.0))]
    pub epsilon: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        AdamWConfig {
            learning_rate: 5e-5,
            head_learning_rate: None,
            layer_decay: None,
            weight_decay: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }
}

impl AdamWConfig {
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut checks = Checks::of("adamw", self.learning_rate, self.head_learning_rate, self.layer_decay);
        checks.zero_or_more("weight_decay", self.weight_decay, "a number from 0, such as 0.01");
        checks.memory("beta1", self.beta1, "0.9");
        checks.memory("beta2", self.beta2, "0.999");
        checks.positive("epsilon", self.epsilon, "a small number above 0, such as 1e-8");
        checks.faults()
    }

    /// The new weight, and both moments.
    pub(super) fn step(
        &self,
        how: &Move,
        weight: Weight,
        gradient: Gradient,
        moments: Vec<Weight>,
    ) -> (Weight, Vec<Weight>) {
        let how = kernels::AdamW {
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            eps: self.epsilon as f32,
            decay: if how.decay { self.weight_decay as f32 } else { 0.0 },
            learning_rate: how.rate as f32,
            scale: how.scale as f32,
            time: how.time,
        };
        let Ok([first, second]) = <[Weight; 2]>::try_from(moments) else {
            unreachable!("two moments are kept of every parameter")
        };
        let (weight, first, second) = match (weight, gradient, first, second) {
            (Weight::Vector(w), Gradient::Vector(g), Weight::Vector(m), Weight::Vector(v)) => {
                let (w, m, v) = kernels::adamw(how, w.inner(), g, m, v);
                (Weight::Vector(w), Weight::Vector(m), Weight::Vector(v))
            }
            (Weight::Matrix(w), gradient, Weight::Matrix(m), Weight::Matrix(v)) => {
                let (w, m, v) = match gradient {
                    Gradient::Matrix(g) => kernels::adamw(how, w.inner(), g, m, v),
                    Gradient::Rows { rows, of } => kernels::adamw_rows(how, w.inner(), (&rows, of), m, v),
                    Gradient::Vector(_) => unreachable!("a gradient has the rank of its parameter"),
                };
                (Weight::Matrix(w), Weight::Matrix(m), Weight::Matrix(v))
            }
            _ => unreachable!("a gradient and its moments have the rank of their parameter"),
        };
        (weight, vec![first, second])
    }
}
