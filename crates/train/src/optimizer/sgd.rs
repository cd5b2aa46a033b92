//! Gradient descent with momentum.
//!
//! With the gradient `g` of a parameter `w` and the learning rate `r` of its group times the schedule's factor
//!
//! ```text
//! g <- g + decay w
//! m <- momentum m + g
//! w <- w - r m                     or with nesterov w - r (g + momentum m)
//! ```
//!
//! as `torch.optim.SGD` has it: the decay is part of the gradient. Biases, norms and other vectors do not decay. A parameter without
//! a gradient in a step stands still.
//!
//! Defaults: `learning_rate = 0.01`, heads the same, `momentum = 0.9`, `nesterov = false`, `weight_decay = 0`. Cost: one more
//! number per parameter, none without momentum.
//! When to use: small models without attention, and to see whether a method of balancing depends on Adam; transformers learn badly
//! with it.
//! Paper: Sutskever et al., *On the importance of initialization and momentum in deep learning*, ICML 2013.

use super::{Checks, Move, dense};
use crate::{config::Fault, gradients::Gradient};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[optimizer.sgd]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SgdConfig {
    /// The learning rate at its peak; 0.01 by default.
    #[schemars(range(min = 0.0))]
    pub learning_rate: f64,
    /// The learning rate of the heads, if not the same. A task's own `learning_rate` comes first.
    #[schemars(range(min = 0.0))]
    pub head_learning_rate: Option<f64>,
    /// What the learning rate of each layer of the trunk is multiplied by for every layer above it; 1 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub layer_decay: Option<f64>,
    /// How much of the last step is made again; 0.9 by default, 0 for none.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub momentum: f64,
    /// Whether the gradient is taken as where the momentum leads; false by default.
    pub nesterov: bool,
    /// How strongly matrices are drawn to zero, as a part of the gradient; 0 by default.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
}

impl Default for SgdConfig {
    fn default() -> Self {
        SgdConfig {
            learning_rate: 0.01,
            head_learning_rate: None,
            layer_decay: None,
            momentum: 0.9,
            nesterov: false,
            weight_decay: 0.0,
        }
    }
}

impl SgdConfig {
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut checks = Checks::of("sgd", self.learning_rate, self.head_learning_rate, self.layer_decay);
        checks.memory("momentum", self.momentum, "0.9");
        checks.zero_or_more("weight_decay", self.weight_decay, "a number from 0, such as 1e-4");
        checks.faults()
    }

    /// The new weight, and the momentum where there is one.
    pub(super) fn step(
        &self,
        how: &Move,
        w: Tensor<2>,
        gradient: Gradient,
        momentum: Option<Tensor<2>>,
    ) -> (Tensor<2>, Option<Tensor<2>>) {
        let mut g = dense(gradient, w.dims()[0]).mul_scalar(how.scale);
        if how.decay && self.weight_decay > 0.0 {
            g = g + w.clone().mul_scalar(self.weight_decay);
        }
        let Some(m) = momentum else {
            return (w - g.mul_scalar(how.rate), None);
        };
        let m = m.mul_scalar(self.momentum) + g.clone();
        let way = if self.nesterov { g + m.clone().mul_scalar(self.momentum) } else { m.clone() };
        (w - way.mul_scalar(how.rate), Some(m))
    }
}
