//! What turns gradients into new weights. One file each.

mod adafactor;
mod adamw;
mod learning_rates;
mod lion;
mod muon;
mod range_checks;
mod schedule_free;
mod sgd;
mod state;

pub use adafactor::AdafactorConfig;
pub use adamw::AdamWConfig;
pub use learning_rates::LearningRates;
pub use lion::LionConfig;
pub use muon::MuonConfig;
pub use schedule_free::ScheduleFreeConfig;
pub use sgd::SgdConfig;
pub use state::OptimizerState;
pub(crate) use state::ParameterState;

use crate::{
    config::SettingError,
    gradients::{Gradient, Gradients},
};
use burn::tensor::{DType, Device, Tensor};
use kernels::Element;
use model::{Parameter, ParameterTensor, Parameters};
use range_checks::{GroupRates, RangeChecks};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Makes, of `Variant(Config): "name", "file"` lines, [`OptimizerConfig`] and [`CATALOGUE`].
macro_rules! optimizers {
    ($($(#[$doc:meta])* $variant:ident($config:ty): $name:tt, $file:tt;)+) => {
        /// Name and source text of every optimizer; the leading doc comment of a source is its documentation.
        pub const CATALOGUE: &[(&str, &str)] = &[$(($name, include_str!($file)),)+];

        /// The optimizer: `[optimizer.adamw]` and others.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub enum OptimizerConfig {
            $($(#[$doc])* #[serde(rename = $name)] $variant($config),)+
        }

        impl OptimizerConfig {
            /// Its name in the config.
            pub fn name(&self) -> &'static str {
                match self {
                    $(OptimizerConfig::$variant(_) => $name,)+
                }
            }

            fn method(&self) -> &dyn Optimizer {
                match self {
                    $(OptimizerConfig::$variant(config) => config,)+
                }
            }

            /// Every optimizer with its defaults.
            #[cfg(test)]
            fn all() -> Vec<OptimizerConfig> {
                vec![$(OptimizerConfig::$variant(Default::default()),)+]
            }
        }
    };
}

optimizers! {
    /// Adam with decoupled weight decay.
    AdamW(AdamWConfig): "adamw", "adamw.rs";
    /// Gradient descent with momentum.
    Sgd(SgdConfig): "sgd", "sgd.rs";
    /// Steps of one size, in the direction of the sign of the momentum.
    Lion(LionConfig): "lion", "lion.rs";
    /// Adam's second moment from the means of rows and columns.
    Adafactor(AdafactorConfig): "adafactor", "adafactor.rs";
    /// Steps of matrices with equal singular values; AdamW for all else.
    Muon(MuonConfig): "muon", "muon.rs";
    /// AdamW without a schedule: an average of the weights is the result.
    ScheduleFree(ScheduleFreeConfig): "schedule_free_adamw", "schedule_free.rs";
}

/// How many times the learning rate of a pretrained trunk that of heads and adapters is by default, which begin untrained
/// ([`OptimizerConfig::set_default_head_rate`]; measured by `bench/head_rates.py`).
pub const NEW_PARTS: f64 = 20.0;

impl Default for OptimizerConfig {
    fn default() -> Self {
        OptimizerConfig::AdamW(AdamWConfig::default())
    }
}

/// What every optimizer is: the implementation behind a variant of [`OptimizerConfig`].
trait Optimizer {
    /// The learning rates of its table.
    fn rates(&self) -> GroupRates;

    /// Its settings that are out of range.
    fn errors(&self) -> Vec<SettingError>;

    /// The shapes of the slots that it keeps of a parameter.
    fn state_shapes(&self, parameter: &Parameter) -> Vec<Vec<usize>>;

    /// The new weight of one parameter, and its slots.
    fn apply(
        &self,
        update: &ParamUpdate,
        weight: ParameterTensor,
        gradient: Gradient,
        slots: Vec<ParameterTensor>,
    ) -> (ParameterTensor, Vec<ParameterTensor>);

    /// The factor of the learning rates at `step` (from 0) of `total`, where it takes the place of a schedule.
    fn schedule_factor(&self, _step: usize, _total: usize) -> Option<f64> {
        None
    }

    /// The weight that is evaluated and saved, from the one that steps are made at and its slots, where these differ.
    fn averaged(&self, _weight: ParameterTensor, _slots: &[ParameterTensor]) -> Option<ParameterTensor> {
        None
    }

    /// Whether [`Optimizer::averaged`] gives weights.
    fn averages_weights(&self) -> bool {
        false
    }
}

impl OptimizerConfig {
    pub(crate) fn errors(&self) -> Vec<SettingError> {
        self.method().errors()
    }

    /// The learning rates of trunk and heads before the schedule.
    pub fn rates(&self, tasks: impl IntoIterator<Item = (String, Option<f64>)>) -> LearningRates {
        let GroupRates { trunk, heads, adapters, layerwise_lr_decay } = self.method().rates();
        let heads = heads.unwrap_or(trunk);
        let tasks: BTreeMap<String, f64> =
            tasks.into_iter().filter_map(|(name, rate)| Some((name, rate?))).collect();
        LearningRates {
            trunk,
            heads,
            adapters: adapters.unwrap_or(heads),
            decoder: trunk,
            task_adapters: if adapters.is_some() { BTreeMap::new() } else { tasks.clone() },
            tasks,
            layerwise_lr_decay: layerwise_lr_decay.unwrap_or(1.0),
        }
    }

    /// Sets the learning rate, of AdamW and its schedule-free form; the other optimizers have rates of their own kind.
    pub fn set_default_rate(&mut self, rate: f64) {
        match self {
            OptimizerConfig::AdamW(config) => config.learning_rate = rate,
            OptimizerConfig::ScheduleFree(config) => config.learning_rate = rate,
            _ => {}
        }
    }

    /// Gives heads and adapters [`NEW_PARTS`] times the trunk's learning rate where none is set, for a trunk that is trained already.
    /// Of the optimizers only AdamW and its schedule-free form: of the others no factor has been measured.
    pub fn set_default_head_rate(&mut self) {
        let (trunk, heads) = match self {
            OptimizerConfig::AdamW(config) => (config.learning_rate, &mut config.head_learning_rate),
            OptimizerConfig::ScheduleFree(config) => (config.learning_rate, &mut config.head_learning_rate),
            _ => return,
        };
        heads.get_or_insert(NEW_PARTS * trunk);
    }

    /// The factor of the learning rates at `step` (from 0) of `total`, for an optimizer that takes the place of a schedule.
    pub(crate) fn builtin_schedule_factor(&self, step: usize, total: usize) -> Option<f64> {
        self.method().schedule_factor(step, total)
    }

    /// Whether the weights that are evaluated and saved are averages, and not those of any one step.
    pub(crate) fn averages_weights(&self) -> bool {
        self.method().averages_weights()
    }

    /// The weights that are evaluated and saved, where they are not those that steps are made at.
    pub(crate) fn averaged(&self, parameters: &Parameters, state: &OptimizerState) -> Option<Parameters> {
        if !self.averages_weights() {
            return None;
        }
        let mut averaged = parameters.clone();
        for (i, state) in state.iter().enumerate() {
            let Some(state) = state else { continue };
            let weight = parameters.parameter(i).value().clone();
            if let Some(average) = self.method().averaged(weight, &state.slots) {
                averaged.put(i, average);
            }
        }
        Some(averaged)
    }

    /// The shapes of the state of a parameter that is trained; zeros before its first step.
    pub fn state_shapes(&self, parameter: &Parameter) -> Vec<Vec<usize>> {
        self.method().state_shapes(parameter)
    }

    /// Updates every parameter that has a gradient: gradients times `scale`, learning rates times `factor`.
    pub fn step(
        &self,
        parameters: &mut Parameters,
        gradients: Gradients,
        state: &mut OptimizerState,
        rates: &LearningRates,
        scale: f64,
        factor: f64,
    ) {
        let device = parameters.device().clone().inner();
        let rates = rates.of_all(parameters);
        for (i, (gradient, state)) in gradients.into_iter().zip(&mut state.of).enumerate() {
            let Some(gradient) = gradient else { continue };
            let parameter = parameters.parameter(i);
            let old = state.take().unwrap_or_else(|| self.first_state(parameter, &device));
            let update = ParamUpdate::of(parameter, rates[i] * factor, scale, old.step + 1);
            let weight = parameters.take(i);
            let (weight, slots) = self.method().apply(&update, weight, gradient, old.slots);
            parameters.put(i, weight);
            *state = Some(ParameterState { slots, step: update.step });
        }
    }

    /// The parameters that [`OptimizerConfig::step`] would give, while parameters and state stay what they are.
    pub(crate) fn trial(
        &self,
        parameters: &Parameters,
        gradients: Gradients,
        state: &OptimizerState,
        rates: &LearningRates,
        scale: f64,
        factor: f64,
    ) -> Parameters {
        let device = parameters.device().clone().inner();
        let rates = rates.of_all(parameters);
        let mut moved = parameters.clone();
        for (i, (gradient, state)) in gradients.into_iter().zip(&state.of).enumerate() {
            let Some(gradient) = gradient else { continue };
            let parameter = parameters.parameter(i);
            let old = state.clone().unwrap_or_else(|| self.first_state(parameter, &device));
            let update = ParamUpdate::of(parameter, rates[i] * factor, scale, old.step + 1);
            let (weight, _) = self.method().apply(&update, parameter.value().clone(), gradient, old.slots);
            moved.put(i, weight);
        }
        moved
    }

    /// The state of a parameter before its first step.
    fn first_state(&self, parameter: &Parameter, device: &Device) -> ParameterState {
        let zeros = |shape: Vec<usize>| zeros(&shape, device);
        ParameterState { slots: self.state_shapes(parameter).into_iter().map(zeros).collect(), step: 0 }
    }
}

/// How one parameter is updated.
struct ParamUpdate {
    /// Its learning rate.
    rate: f64,
    /// What its gradient is multiplied by.
    scale: f64,
    /// Whether weight decay applies to it.
    decays: bool,
    /// How often it is updated with this step.
    step: u32,
    /// Whether it is the weight of a linear layer inside the trunk.
    is_linear_weight: bool,
}

impl ParamUpdate {
    fn of(parameter: &Parameter, rate: f64, scale: f64, step: u32) -> ParamUpdate {
        let is_linear_weight = parameter.is_linear_weight();
        ParamUpdate { rate, scale, decays: parameter.decay, step, is_linear_weight }
    }

    /// The weight after decoupled weight decay, where it applies.
    fn decayed<E: Element>(&self, w: E, weight_decay: f64) -> E {
        if self.decays && weight_decay > 0.0 { w.mul_scalar(1.0 - self.rate * weight_decay) } else { w }
    }
}

/// Updates a parameter of which one slot of its own shape is kept.
fn with_one_slot(
    weight: ParameterTensor,
    slots: Vec<ParameterTensor>,
    step: impl FnOnce(Tensor<2>, Tensor<2>) -> (Tensor<2>, Tensor<2>),
) -> (ParameterTensor, Vec<ParameterTensor>) {
    let vector = is_vector(&weight);
    let w = matrix(weight);
    let slot = slots.into_iter().next().map_or_else(|| w.zeros_like(), matrix);
    let (w, slot) = step(w, slot);
    (tensor_of(w, vector), vec![tensor_of(slot, vector)])
}

fn is_vector(tensor: &ParameterTensor) -> bool {
    matches!(tensor, ParameterTensor::Vector(_))
}

/// A gradient as a matrix of `rows` rows, a vector as one row.
fn dense(gradient: Gradient, rows: usize) -> Tensor<2> {
    match gradient {
        Gradient::Vector(g) => g.unsqueeze(),
        Gradient::Matrix(g) => g,
        Gradient::Rows { rows: indices, of } => kernels::scatter_add_rows(of, &indices, rows),
    }
}

/// The root of the sum of the squares, `[1, 1]`. On the processor it is added up in f64.
fn norm(x: &Tensor<2>) -> Tensor<2> {
    kernels::squared_norm(x).sqrt().cast(DType::F32).reshape([1, 1])
}

/// A tensor as a matrix on the inner device, a vector as one row.
fn matrix(tensor: ParameterTensor) -> Tensor<2> {
    match tensor {
        ParameterTensor::Vector(w) => w.inner().unsqueeze(),
        ParameterTensor::Matrix(w) => w.inner(),
    }
}

/// Undoes [`matrix`].
fn tensor_of(w: Tensor<2>, vector: bool) -> ParameterTensor {
    if vector { ParameterTensor::Vector(w.squeeze_dim(0)) } else { ParameterTensor::Matrix(w) }
}

fn zeros(shape: &[usize], device: &Device) -> ParameterTensor {
    match *shape {
        [rows, columns] => ParameterTensor::Matrix(Tensor::zeros([rows, columns], device)),
        _ => ParameterTensor::Vector(Tensor::zeros([shape[0]], device)),
    }
}

#[cfg(test)]
mod tests;
