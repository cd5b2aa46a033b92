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
//! in a step (the head of a task that the step has no rows of) does not move: no decay, no moments, no count.
//!
//! Defaults: `learning_rate = 5e-5` for a pretrained backbone, `1e-2` for a bag, `3e-3` for a BERT and `1e-3` for a T5 from scratch; heads, adapters and a fresh decoder 20 times that on a pretrained backbone and the same on one from
//! scratch, `weight_decay = 0.01`, `beta1 = 0.9`, `beta2 = 0.999`, `epsilon = 1e-8`. Cost: two more values per parameter; one pass in place.
//! When to use: always, unless there is a reason for another one.
//! Paper: Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019.

use super::{GroupRates, Optimizer, ParamUpdate, RangeChecks};
use crate::{config::SettingError, gradients::Gradient};
use model::{Parameter, ParameterTensor};
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
    /// The learning rate of what begins untrained: heads, adapters and a fresh decoder. On a pretrained backbone 20 times
    /// `learning_rate` by default, from scratch the same. A task's own `head_learning_rate` comes first.
    #[schemars(range(min = 0.0))]
    pub head_learning_rate: Option<f64>,
    /// The learning rate of what a sharing scheme adds to the trunk (adapters, and what they are mixed by), if not that of heads. PEFT
    /// trains adapters and heads with one rate, of 1e-4 to 1e-3 with AdamW. Where it is set, a task's own `head_learning_rate` is that of
    /// its head alone.
    #[schemars(range(min = 0.0))]
    pub adapter_learning_rate: Option<f64>,
    /// What the learning rate of each layer of the trunk is multiplied by for every layer above it; 1 by default, 0.9 or less
    /// where a pretrained encoder has few rows to learn from.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub layerwise_lr_decay: Option<f64>,
    /// The decoupled weight decay of matrices, as a fraction of the learning rate; 0.01 by default. Biases and
    /// norms never are.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// The coefficient of the running mean of gradients; 0.9 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub beta1: f64,
    /// The coefficient of the running mean of squared gradients; 0.999 by default.
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
            adapter_learning_rate: None,
            layerwise_lr_decay: None,
            weight_decay: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }
}

impl Optimizer for AdamWConfig {
    fn rates(&self) -> GroupRates {
        GroupRates {
            trunk: self.learning_rate,
            heads: self.head_learning_rate,
            adapters: self.adapter_learning_rate,
            layerwise_lr_decay: self.layerwise_lr_decay,
        }
    }

    fn errors(&self) -> Vec<SettingError> {
        let mut checks = RangeChecks::of("adamw", self.rates());
        checks.zero_or_more("weight_decay", self.weight_decay, "a number from 0, such as 0.01");
        checks.coefficient("beta1", self.beta1, "0.9");
        checks.coefficient("beta2", self.beta2, "0.999");
        checks.positive("epsilon", self.epsilon, "a small number above 0, such as 1e-8");
        checks.errors()
    }

    /// Both moments.
    fn state_shapes(&self, parameter: &Parameter) -> Vec<Vec<usize>> {
        vec![parameter.shape().to_vec(), parameter.shape().to_vec()]
    }

    fn apply(
        &self,
        update: &ParamUpdate,
        weight: ParameterTensor,
        gradient: Gradient,
        slots: Vec<ParameterTensor>,
    ) -> (ParameterTensor, Vec<ParameterTensor>) {
        use ParameterTensor::{Matrix, Vector};
        let step = kernels::AdamW {
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            eps: self.epsilon as f32,
            weight_decay: if update.decays { self.weight_decay as f32 } else { 0.0 },
            learning_rate: update.rate as f32,
            grad_scale: update.scale as f32,
            step: update.step,
        };
        let Ok([first, second]) = <[ParameterTensor; 2]>::try_from(slots) else {
            unreachable!("two moments are kept of every parameter")
        };
        match (weight, gradient, first, second) {
            (Vector(w), Gradient::Vector(g), Vector(m), Vector(v)) => {
                let (w, m, v) = kernels::adamw(step, w.inner(), g, m, v);
                (Vector(w), vec![Vector(m), Vector(v)])
            }
            (Matrix(w), gradient, Matrix(m), Matrix(v)) => {
                let (w, m, v) = match gradient {
                    Gradient::Matrix(g) => kernels::adamw(step, w.inner(), g, m, v),
                    Gradient::Rows { rows, of } => kernels::adamw_rows(step, w.inner(), (&rows, of), m, v),
                    Gradient::Vector(_) => unreachable!("a gradient has the rank of its parameter"),
                };
                (Matrix(w), vec![Matrix(m), Matrix(v)])
            }
            _ => unreachable!("a gradient and its moments have the rank of their parameter"),
        }
    }
}
