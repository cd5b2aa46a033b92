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
//! a gradient in a step does not move.
//!
//! Defaults: `learning_rate = 0.01`, heads the same, `momentum = 0.9`, `nesterov = false`, `weight_decay = 0`. Cost: one more
//! value per parameter, none without momentum.
//! When to use: small models without attention, and to see whether a method of balancing depends on Adam; transformers learn badly
//! with it.
//! Paper: Sutskever et al., *On the importance of initialization and momentum in deep learning*, ICML 2013.

use super::{GroupRates, Optimizer, ParamUpdate, RangeChecks, dense, is_vector, matrix, tensor_of};
use crate::{config::SettingError, gradients::Gradient};
use burn::tensor::Tensor;
use kernels::{Element, Formula};
use model::{Parameter, ParameterTensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[optimizer.sgd]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SgdConfig {
    /// The learning rate at its peak; 0.01 by default.
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
    /// The momentum: how much of the last step is made again; 0.9 by default, 0 for none.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub momentum: f64,
    /// Whether it is Nesterov's momentum; false by default.
    pub nesterov: bool,
    /// The weight decay of matrices, as a part of the gradient; 0 by default.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
}

impl Default for SgdConfig {
    fn default() -> Self {
        SgdConfig {
            learning_rate: 0.01,
            head_learning_rate: None,
            adapter_learning_rate: None,
            layerwise_lr_decay: None,
            momentum: 0.9,
            nesterov: false,
            weight_decay: 0.0,
        }
    }
}

impl Optimizer for SgdConfig {
    fn rates(&self) -> GroupRates {
        GroupRates {
            trunk: self.learning_rate,
            heads: self.head_learning_rate,
            adapters: self.adapter_learning_rate,
            layerwise_lr_decay: self.layerwise_lr_decay,
        }
    }

    fn errors(&self) -> Vec<SettingError> {
        let mut checks = RangeChecks::of("sgd", self.rates());
        checks.coefficient("momentum", self.momentum, "0.9");
        checks.zero_or_more("weight_decay", self.weight_decay, "a number from 0, such as 1e-4");
        checks.errors()
    }

    /// The momentum, where there is one.
    fn state_shapes(&self, parameter: &Parameter) -> Vec<Vec<usize>> {
        if self.momentum == 0.0 { vec![] } else { vec![parameter.shape().to_vec()] }
    }

    fn apply(
        &self,
        update: &ParamUpdate,
        weight: ParameterTensor,
        gradient: Gradient,
        slots: Vec<ParameterTensor>,
    ) -> (ParameterTensor, Vec<ParameterTensor>) {
        let vector = is_vector(&weight);
        let momentum = slots.into_iter().next().map(matrix);
        let (w, momentum) = self.step(update, matrix(weight), gradient, momentum);
        (tensor_of(w, vector), momentum.map(|m| tensor_of(m, vector)).into_iter().collect())
    }
}

impl SgdConfig {
    /// The new weight, and the momentum where there is one.
    fn step(
        &self,
        update: &ParamUpdate,
        w: Tensor<2>,
        gradient: Gradient,
        momentum: Option<Tensor<2>>,
    ) -> (Tensor<2>, Option<Tensor<2>>) {
        let formula = Step { config: self, update };
        let g = dense(gradient, w.dims()[0]);
        match momentum {
            None => {
                let [w] = kernels::elementwise(&formula, [w], [g]);
                (w, None)
            }
            Some(m) => {
                let [w, m] = kernels::elementwise(&formula, [w, m], [g]);
                (w, Some(m))
            }
        }
    }
}

/// The formula of a step, with momentum and without.
struct Step<'a> {
    config: &'a SgdConfig,
    update: &'a ParamUpdate,
}

impl Step<'_> {
    /// The gradient with the decay in it.
    fn decayed<E: Element>(&self, w: &E, g: E) -> E {
        let (g, decay) = (g.mul_scalar(self.update.scale), self.config.weight_decay);
        if self.update.decays && decay > 0.0 { g + w.clone().mul_scalar(decay) } else { g }
    }
}

impl Formula<1, 1> for Step<'_> {
    fn apply<E: Element>(&self, [w]: [E; 1], [g]: [E; 1]) -> [E; 1] {
        let g = self.decayed(&w, g);
        [w - g.mul_scalar(self.update.rate)]
    }
}

impl Formula<2, 1> for Step<'_> {
    fn apply<E: Element>(&self, [w, m]: [E; 2], [g]: [E; 1]) -> [E; 2] {
        let g = self.decayed(&w, g);
        let m = m.mul_scalar(self.config.momentum) + g.clone();
        let direction = match self.config.nesterov {
            true => g + m.clone().mul_scalar(self.config.momentum),
            false => m.clone(),
        };
        [w - direction.mul_scalar(self.update.rate), m]
    }
}
