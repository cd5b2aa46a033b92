//! What turns gradients into new weights. One file each.

mod adamw;

pub(crate) use adamw::Moment;
pub use adamw::{AdamWConfig, Moments};

use crate::{config::Fault, gradients::Gradients};
use model::{Group, Parameters};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Name and source text of every optimizer; the leading doc comment of a source is its documentation.
pub const CATALOGUE: &[(&str, &str)] = &[("adamw", include_str!("adamw.rs"))];

/// The optimizer: `[optimizer.adamw]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Optimizing {
    /// Adam with decoupled weight decay.
    #[serde(rename = "adamw")]
    AdamW(AdamWConfig),
}

impl Default for Optimizing {
    fn default() -> Self {
        Optimizing::AdamW(AdamWConfig::default())
    }
}

impl Optimizing {
    pub(crate) fn faults(&self) -> Vec<Fault> {
        match self {
            Optimizing::AdamW(config) => config.faults(),
        }
    }

    /// The learning rates of trunk and heads before the schedule.
    pub fn rates(&self, tasks: impl IntoIterator<Item = (String, Option<f64>)>) -> Rates {
        match self {
            Optimizing::AdamW(config) => Rates {
                trunk: config.learning_rate,
                heads: config.head_learning_rate.unwrap_or(config.learning_rate),
                tasks: tasks.into_iter().filter_map(|(name, rate)| Some((name, rate?))).collect(),
            },
        }
    }

    /// Moves every parameter that has a gradient, in place: gradients times `scale`, learning rates times `factor`.
    pub fn step(
        &self,
        parameters: &mut Parameters,
        gradients: Gradients,
        moments: &mut Moments,
        rates: &Rates,
        scale: f64,
        factor: f64,
    ) {
        match self {
            Optimizing::AdamW(config) => {
                adamw::step(config, parameters, gradients, moments, scale, |group| rates.of(group) * factor)
            }
        }
    }
}

/// Learning rates by group, before the schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates {
    /// Of the trunk.
    pub trunk: f64,
    /// Of heads whose task names none of its own.
    pub heads: f64,
    /// Of the heads of tasks that name their own.
    pub tasks: BTreeMap<String, f64>,
}

impl Rates {
    /// The learning rate of a group.
    pub fn of(&self, group: &Group) -> f64 {
        match group {
            Group::Trunk => self.trunk,
            Group::Task(task) => self.tasks.get(task).copied().unwrap_or(self.heads),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_may_have_its_own_rate() {
        let config =
            AdamWConfig { learning_rate: 1e-4, head_learning_rate: Some(1e-3), ..Default::default() };
        let rates = Optimizing::AdamW(config).rates([("a".into(), None), ("b".into(), Some(5e-3))]);
        let of = |task: &str| rates.of(&Group::Task(task.into()));
        assert_eq!((rates.of(&Group::Trunk), of("a"), of("b")), (1e-4, 1e-3, 5e-3));
    }
}
