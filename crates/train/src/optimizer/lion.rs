//! Lion: steps of one size, in the direction of the sign of the momentum.
//!
//! With the gradient `g` of a parameter `w` and the learning rate `r` of its group times the schedule's factor
//!
//! ```text
//! w <- (1 - r decay) w - r sign(beta1 m + (1 - beta1) g)
//! m <- beta2 m + (1 - beta2) g
//! ```
//!
//! as the authors' algorithm 2 has it. Biases, norms and other vectors do not decay. A parameter without a gradient in a step
//! does not move.
//!
//! Defaults: `learning_rate = 1e-5`, heads the same, `weight_decay = 0.1`, `beta1 = 0.9`, `beta2 = 0.99`. Every step moves every
//! value by the whole learning rate, so take a third to a tenth of AdamW's and as many times its decay. Cost: one more value per
//! parameter, half of AdamW's memory.
//! When to use: large batches, and where memory is short.
//! Paper: Chen et al., *Symbolic Discovery of Optimization Algorithms*, NeurIPS 2023.

use super::{GroupRates, Optimizer, ParamUpdate, RangeChecks, dense, with_one_slot};
use crate::{config::SettingError, gradients::Gradient};
use burn::tensor::Tensor;
use kernels::{Element, Formula};
use model::{Parameter, ParameterTensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[optimizer.lion]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LionConfig {
    /// The learning rate at its peak; 1e-5 by default. From scratch 1e-4 to
    /// 5e-4 is usual.
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
    /// The weight of the momentum in the direction; 0.9 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub beta1: f64,
    /// The coefficient of the momentum's running mean; 0.99 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub beta2: f64,
}

impl Default for LionConfig {
    fn default() -> Self {
        LionConfig {
            learning_rate: 1e-5,
            head_learning_rate: None,
            adapter_learning_rate: None,
            layerwise_lr_decay: None,
            weight_decay: 0.1,
            beta1: 0.9,
            beta2: 0.99,
        }
    }
}

impl Optimizer for LionConfig {
    fn rates(&self) -> GroupRates {
        GroupRates {
            trunk: self.learning_rate,
            heads: self.head_learning_rate,
            adapters: self.adapter_learning_rate,
            layerwise_lr_decay: self.layerwise_lr_decay,
        }
    }

    fn errors(&self) -> Vec<SettingError> {
        let mut checks = RangeChecks::of("lion", self.rates());
        checks.zero_or_more("weight_decay", self.weight_decay, "a number from 0, such as 0.1");
        checks.coefficient("beta1", self.beta1, "0.9");
        checks.coefficient("beta2", self.beta2, "0.99");
        checks.errors()
    }

    /// The momentum.
    fn state_shapes(&self, parameter: &Parameter) -> Vec<Vec<usize>> {
        vec![parameter.shape().to_vec()]
    }

    fn apply(
        &self,
        update: &ParamUpdate,
        weight: ParameterTensor,
        gradient: Gradient,
        slots: Vec<ParameterTensor>,
    ) -> (ParameterTensor, Vec<ParameterTensor>) {
        with_one_slot(weight, slots, |w, momentum| self.step(update, w, gradient, momentum))
    }
}

impl LionConfig {
    /// The new weight and momentum.
    fn step(
        &self,
        update: &ParamUpdate,
        w: Tensor<2>,
        gradient: Gradient,
        m: Tensor<2>,
    ) -> (Tensor<2>, Tensor<2>) {
        let g = dense(gradient, w.dims()[0]);
        let [w, m] = kernels::elementwise(&Step { config: self, update }, [w, m], [g]);
        (w, m)
    }
}

/// The formula of a step.
struct Step<'a> {
    config: &'a LionConfig,
    update: &'a ParamUpdate,
}

impl Formula<2, 1> for Step<'_> {
    fn apply<E: Element>(&self, [w, m]: [E; 2], [g]: [E; 1]) -> [E; 2] {
        let LionConfig { beta1, beta2, weight_decay, .. } = *self.config;
        let g = g.mul_scalar(self.update.scale);
        let direction = (m.clone().mul_scalar(beta1) + g.clone().mul_scalar(1.0 - beta1)).sign();
        let m = m.mul_scalar(beta2) + g.mul_scalar(1.0 - beta2);
        [self.update.decayed(w, weight_decay) - direction.mul_scalar(self.update.rate), m]
    }
}
