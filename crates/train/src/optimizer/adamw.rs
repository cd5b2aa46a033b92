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
//! When to use: always, so far.
//! Paper: Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019.

use crate::{
    config::Fault,
    gradients::{Gradient, Gradients},
};
use model::{Group, Parameters, Weight};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
            weight_decay: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }
}

impl AdamWConfig {
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut check = |key: &str, found: f64, good: bool, expected: &str| {
            if !good {
                faults.push(Fault::new(&format!("optimizer.adamw.{key}"), found, expected));
            }
        };
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let head = self.head_learning_rate.unwrap_or(self.learning_rate);
        let (decay, epsilon) = (self.weight_decay, self.epsilon);
        check(
            "learning_rate",
            self.learning_rate,
            positive(self.learning_rate),
            "a number above 0, such as 5e-5",
        );
        check("head_learning_rate", head, positive(head), "a number above 0, such as 1e-3");
        check("weight_decay", decay, decay >= 0.0 && decay.is_finite(), "a number from 0, such as 0.01");
        check(
            "beta1",
            self.beta1,
            (0.0..1.0).contains(&self.beta1),
            "a number from 0 to below 1, such as 0.9",
        );
        check(
            "beta2",
            self.beta2,
            (0.0..1.0).contains(&self.beta2),
            "a number from 0 to below 1, such as 0.999",
        );
        check("epsilon", epsilon, positive(epsilon), "a small number above 0, such as 1e-8");
        faults
    }
}

/// The memory of the optimizer: per parameter the running mean of its gradient, of the squared gradient, and how
/// often it moved. `None` for a parameter that has not moved yet.
#[derive(Debug, Default)]
pub struct Moments {
    of: Vec<Option<Moment>>,
}

/// The memory of one parameter, on the inner device.
#[derive(Debug)]
pub(crate) struct Moment {
    pub(crate) first: Weight,
    pub(crate) second: Weight,
    pub(crate) time: u32,
}

impl Moments {
    /// The memory before the first step.
    pub fn new(parameters: usize) -> Self {
        Moments { of: (0..parameters).map(|_| None).collect() }
    }

    /// The memory out of its parts, one per parameter.
    pub(crate) fn of(of: Vec<Option<Moment>>) -> Self {
        Moments { of }
    }

    /// The parts, one per parameter.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<&Moment>> {
        self.of.iter().map(Option::as_ref)
    }

    /// How often each parameter moved, by name.
    pub(crate) fn updates(&self, parameters: &Parameters) -> BTreeMap<String, u32> {
        let moved = parameters.iter().zip(&self.of);
        moved.filter_map(|(p, moment)| Some((p.name.clone(), moment.as_ref()?.time))).collect()
    }
}

/// Moves every parameter that has a gradient, which is multiplied by `scale` first; `rate` is the learning rate of its group.
pub(super) fn step(
    config: &AdamWConfig,
    parameters: &mut Parameters,
    gradients: Gradients,
    moments: &mut Moments,
    scale: f64,
    rate: impl Fn(&Group) -> f64,
) {
    for (i, (gradient, moment)) in gradients.into_iter().zip(&mut moments.of).enumerate() {
        let Some(gradient) = gradient else { continue };
        let parameter = parameters.parameter(i);
        let decay = if parameter.decay { config.weight_decay } else { 0.0 };
        let learning_rate = rate(&parameter.group);
        let old = moment.take();
        let time = old.as_ref().map_or(0, |m| m.time) + 1;
        let how = kernels::AdamW {
            beta1: config.beta1 as f32,
            beta2: config.beta2 as f32,
            eps: config.epsilon as f32,
            decay: decay as f32,
            learning_rate: learning_rate as f32,
            scale: scale as f32,
            time,
        };
        let weight = parameters.take(i);
        let (first, second) = match old {
            Some(m) => (m.first, m.second),
            None => (zeros_like(&weight), zeros_like(&weight)),
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
        parameters.put(i, weight);
        *moment = Some(Moment { first, second, time });
    }
}

fn zeros_like(weight: &Weight) -> Weight {
    match weight {
        Weight::Vector(t) => Weight::Vector(t.clone().inner().zeros_like()),
        Weight::Matrix(t) => Weight::Matrix(t.clone().inner().zeros_like()),
    }
}
