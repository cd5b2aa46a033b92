//! What turns gradients into new weights. One file each.

mod adafactor;
mod adamw;
mod checks;
mod lion;
mod memory;
mod muon;
mod rates;
mod schedule_free;
mod sgd;

pub use adafactor::AdafactorConfig;
pub use adamw::AdamWConfig;
pub use lion::LionConfig;
pub(crate) use memory::Moment;
pub use memory::Moments;
pub use muon::MuonConfig;
pub use rates::Rates;
pub use schedule_free::ScheduleFreeConfig;
pub use sgd::SgdConfig;

use crate::{
    config::Fault,
    gradients::{Gradient, Gradients},
};
use burn::tensor::{DType, Device, Tensor};
use checks::Checks;
use model::{Parameter, Parameters, Weight};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Name and source text of every optimizer; the leading doc comment of a source is its documentation.
pub const CATALOGUE: &[(&str, &str)] = &[
    ("adamw", include_str!("adamw.rs")),
    ("sgd", include_str!("sgd.rs")),
    ("lion", include_str!("lion.rs")),
    ("adafactor", include_str!("adafactor.rs")),
    ("muon", include_str!("muon.rs")),
    ("schedule_free_adamw", include_str!("schedule_free.rs")),
];

/// The optimizer: `[optimizer.adamw]` and others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Optimizing {
    /// Adam with decoupled weight decay.
    #[serde(rename = "adamw")]
    AdamW(AdamWConfig),
    /// Gradient descent with momentum.
    Sgd(SgdConfig),
    /// Steps of one size, in the direction of the sign of the momentum.
    Lion(LionConfig),
    /// Adam's second moment from the means of rows and columns.
    Adafactor(AdafactorConfig),
    /// Steps of matrices with equal singular values; AdamW for all else.
    Muon(MuonConfig),
    /// AdamW without a schedule: an average of the weights is the result.
    #[serde(rename = "schedule_free_adamw")]
    ScheduleFree(ScheduleFreeConfig),
}

impl Default for Optimizing {
    fn default() -> Self {
        Optimizing::AdamW(AdamWConfig::default())
    }
}

impl Optimizing {
    /// Its name in the config.
    pub fn name(&self) -> &'static str {
        match self {
            Optimizing::AdamW(_) => "adamw",
            Optimizing::Sgd(_) => "sgd",
            Optimizing::Lion(_) => "lion",
            Optimizing::Adafactor(_) => "adafactor",
            Optimizing::Muon(_) => "muon",
            Optimizing::ScheduleFree(_) => "schedule_free_adamw",
        }
    }

    pub(crate) fn faults(&self) -> Vec<Fault> {
        match self {
            Optimizing::AdamW(config) => config.faults(),
            Optimizing::Sgd(config) => config.faults(),
            Optimizing::Lion(config) => config.faults(),
            Optimizing::Adafactor(config) => config.faults(),
            Optimizing::Muon(config) => config.faults(),
            Optimizing::ScheduleFree(config) => config.faults(),
        }
    }

    /// The learning rates of trunk and heads before the schedule.
    pub fn rates(&self, tasks: impl IntoIterator<Item = (String, Option<f64>)>) -> Rates {
        let (trunk, heads, layer_decay) = match self {
            Optimizing::AdamW(c) => (c.learning_rate, c.head_learning_rate, c.layer_decay),
            Optimizing::Sgd(c) => (c.learning_rate, c.head_learning_rate, c.layer_decay),
            Optimizing::Lion(c) => (c.learning_rate, c.head_learning_rate, c.layer_decay),
            Optimizing::Adafactor(c) => (c.learning_rate, c.head_learning_rate, c.layer_decay),
            Optimizing::Muon(c) => (c.learning_rate, c.head_learning_rate, c.layer_decay),
            Optimizing::ScheduleFree(c) => (c.learning_rate, c.head_learning_rate, c.layer_decay),
        };
        Rates {
            trunk,
            heads: heads.unwrap_or(trunk),
            tasks: tasks.into_iter().filter_map(|(name, rate)| Some((name, rate?))).collect(),
            layer_decay: layer_decay.unwrap_or(1.0),
        }
    }

    /// The factor of the learning rates at `step` (from 0) of `total`, for an optimizer that takes the place of a schedule.
    pub(crate) fn own_factor(&self, step: usize, total: usize) -> Option<f64> {
        match self {
            Optimizing::ScheduleFree(config) => Some(config.factor(step, total)),
            _ => None,
        }
    }

    /// The weights that are evaluated and saved, where they are not those that steps are made at.
    pub(crate) fn averaged(&self, parameters: &Parameters, moments: &Moments) -> Option<Parameters> {
        let Optimizing::ScheduleFree(config) = self else { return None };
        let mut averaged = parameters.clone();
        for (i, moment) in moments.iter().enumerate() {
            let Some(z) = moment.and_then(|moment| moment.parts.first()) else { continue };
            let y = parameters.parameter(i).value().clone();
            let vector = matches!(y, Weight::Vector(_));
            averaged.put(i, weight_of(config.average(matrix(y), matrix(z.clone())), vector));
        }
        Some(averaged)
    }

    /// The shapes of what is remembered of a parameter that moves; zeros before its first step.
    pub fn memory(&self, parameter: &Parameter) -> Vec<Vec<usize>> {
        let whole = || parameter.shape().to_vec();
        match (self, parameter.shape()) {
            (Optimizing::Sgd(config), _) if config.momentum == 0.0 => vec![],
            (Optimizing::Sgd(_) | Optimizing::Lion(_), _) => vec![whole()],
            (Optimizing::Adafactor(_), [rows, columns]) => vec![vec![*rows], vec![*columns]],
            (Optimizing::Adafactor(_), _) => vec![whole()],
            (Optimizing::Muon(_), _) if parameter.is_map() => vec![whole()],
            (Optimizing::ScheduleFree(config), shape) => config.memory(shape),
            (Optimizing::AdamW(_) | Optimizing::Muon(_), _) => vec![whole(), whole()],
        }
    }

    /// Moves every parameter that has a gradient: gradients times `scale`, learning rates times `factor`.
    pub fn step(
        &self,
        parameters: &mut Parameters,
        gradients: Gradients,
        moments: &mut Moments,
        rates: &Rates,
        scale: f64,
        factor: f64,
    ) {
        let device = parameters.device().clone().inner();
        let rates = rates.of_all(parameters);
        for (i, (gradient, moment)) in gradients.into_iter().zip(&mut moments.of).enumerate() {
            let Some(gradient) = gradient else { continue };
            let parameter = parameters.parameter(i);
            let old = moment.take().unwrap_or_else(|| {
                let zeros = |shape: Vec<usize>| zeros(&shape, &device);
                Moment { parts: self.memory(parameter).into_iter().map(zeros).collect(), time: 0 }
            });
            let time = old.time + 1;
            let how = Move { rate: rates[i] * factor, scale, decay: parameter.decay, time };
            let by_muon = parameter.is_map();
            let weight = parameters.take(i);
            let (weight, parts) = self.moved(&how, by_muon, weight, gradient, old.parts);
            parameters.put(i, weight);
            *moment = Some(Moment { parts, time });
        }
    }

    /// The new weight of one parameter and what is remembered of it.
    fn moved(
        &self,
        how: &Move,
        by_muon: bool,
        weight: Weight,
        gradient: Gradient,
        parts: Vec<Weight>,
    ) -> (Weight, Vec<Weight>) {
        match self {
            Optimizing::AdamW(config) => config.step(how, weight, gradient, parts),
            Optimizing::Muon(config) if !by_muon => config.for_others().step(how, weight, gradient, parts),
            Optimizing::Muon(config) => {
                with_one(weight, parts, |w, mean| config.step(how, w, gradient, mean))
            }
            Optimizing::Lion(config) => with_one(weight, parts, |w, m| config.step(how, w, gradient, m)),
            Optimizing::ScheduleFree(config) => {
                let vector = matches!(weight, Weight::Vector(_));
                let Ok(parts) = <[Weight; 3]>::try_from(parts) else {
                    unreachable!("three tensors are kept of every parameter")
                };
                let (y, [z, v, numbers]) = config.step(how, matrix(weight), gradient, parts.map(matrix));
                let parts = vec![weight_of(z, vector), weight_of(v, vector), weight_of(numbers, true)];
                (weight_of(y, vector), parts)
            }
            Optimizing::Sgd(config) => {
                let vector = matches!(weight, Weight::Vector(_));
                let momentum = parts.into_iter().next().map(matrix);
                let (w, momentum) = config.step(how, matrix(weight), gradient, momentum);
                (weight_of(w, vector), momentum.map(|m| weight_of(m, vector)).into_iter().collect())
            }
            Optimizing::Adafactor(config) => {
                let vector = matches!(weight, Weight::Vector(_));
                let mut memory: Vec<Tensor<2>> = parts.into_iter().map(matrix).collect();
                if let [rows, _] = &mut memory[..] {
                    *rows = rows.clone().transpose();
                }
                let (w, memory) = config.step(how, matrix(weight), gradient, memory);
                let flat = |part: Tensor<2>| {
                    let [n, m] = part.dims();
                    weight_of(part.reshape([1, n * m]), true)
                };
                (weight_of(w, vector), memory.into_iter().map(flat).collect())
            }
        }
    }
}

/// How one parameter moves.
struct Move {
    /// Its learning rate.
    rate: f64,
    /// What its gradient is multiplied by.
    scale: f64,
    /// Whether it decays.
    decay: bool,
    /// How often it moves with this step.
    time: u32,
}

impl Move {
    /// The weight drawn to zero, where it decays.
    fn decayed(&self, w: Tensor<2>, decay: f64) -> Tensor<2> {
        if self.decay && decay > 0.0 { w.mul_scalar(1.0 - self.rate * decay) } else { w }
    }
}

/// Moves a parameter of which one tensor of its own shape is remembered.
fn with_one(
    weight: Weight,
    parts: Vec<Weight>,
    step: impl FnOnce(Tensor<2>, Tensor<2>) -> (Tensor<2>, Tensor<2>),
) -> (Weight, Vec<Weight>) {
    let vector = matches!(weight, Weight::Vector(_));
    let w = matrix(weight);
    let part = parts.into_iter().next().map_or_else(|| w.zeros_like(), matrix);
    let (w, part) = step(w, part);
    (weight_of(w, vector), vec![weight_of(part, vector)])
}

/// A gradient as a matrix of `rows` rows, a vector as one row.
fn dense(gradient: Gradient, rows: usize) -> Tensor<2> {
    match gradient {
        Gradient::Vector(g) => g.unsqueeze(),
        Gradient::Matrix(g) => g,
        Gradient::Rows { rows: numbers, of } => kernels::spread(of, &numbers, rows),
    }
}

/// The root of the sum of the squares, `[1, 1]`. On the processor it is added up in f64.
fn norm(x: &Tensor<2>) -> Tensor<2> {
    kernels::squared_norm(x).sqrt().cast(DType::F32).reshape([1, 1])
}

/// A tensor as a matrix on the inner device, a vector as one row.
fn matrix(weight: Weight) -> Tensor<2> {
    match weight {
        Weight::Vector(w) => w.inner().unsqueeze(),
        Weight::Matrix(w) => w.inner(),
    }
}

/// Undoes [`matrix`].
fn weight_of(w: Tensor<2>, vector: bool) -> Weight {
    if vector { Weight::Vector(w.squeeze_dim(0)) } else { Weight::Matrix(w) }
}

fn zeros(shape: &[usize], device: &Device) -> Weight {
    match *shape {
        [rows, columns] => Weight::Matrix(Tensor::zeros([rows, columns], device)),
        _ => Weight::Vector(Tensor::zeros([shape[0]], device)),
    }
}

#[cfg(test)]
mod tests;
