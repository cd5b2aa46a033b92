//! CR-MOGM: a moving average over the steps of the weights of another method.
//!
//! Formula: `w <- alpha w + (1 - alpha) w'`, where w' are the weights of the wrapped method: `[balance.cr_mogm]` with
//! `method = { cagrad = {} }`. A task without labels in a step keeps its average.
//!
//! Defaults: `alpha = 0.9`, and a task's average starts at its first weight, as in TorchJD.
//!
//! Importance is handled by the wrapped method.
//!
//! Cost: that of the wrapped method. State: a weight per task, and the state of the wrapped method.
//!
//! When to use: where the weights of a gradient method vary strongly from step to step with the noise of small batches:
//! the moving average makes such methods converge with stochastic gradients.
//!
//! Paper: Zhou et al., "On the convergence of stochastic multi-objective gradient manipulation and beyond", NeurIPS
//! 2022.

use crate::error::in_range;
use crate::method_impl::{Method, check_method_name};
use crate::{BalanceError, Balancer, BalancerConfig, GradientTransform, Needs, StepStatistics};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A moving average of another method's weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CrMogm {
    /// The method whose weights are averaged: `{ cagrad = {} }`.
    pub method: Box<BalancerConfig>,
    /// Decay of the moving average: the fraction of the old average that each step keeps.
    #[serde(default = "default_alpha")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub alpha: f64,
}

fn default_alpha() -> f64 {
    0.9
}

impl CrMogm {
    pub(crate) fn build(&self, tasks: &[&str], importance: &[f64]) -> Result<Smoothed, BalanceError> {
        in_range("balance.cr_mogm.alpha".to_owned(), self.alpha, 0.0, 1.0)?;
        Ok(Smoothed {
            inner: self
                .method
                .build(tasks, importance)
                .map_err(|error| error.below("balance.cr_mogm.method"))?,
            alpha: self.alpha,
            names: tasks.iter().map(|&task| task.to_owned()).collect(),
            means: vec![None; tasks.len()],
        })
    }
}

impl Method for CrMogm {
    fn build_method(&self, tasks: &[&str], importance: &[f64]) -> Result<Box<dyn Balancer>, BalanceError> {
        Ok(Box::new(self.build(tasks, importance)?))
    }
}

pub(crate) struct Smoothed {
    inner: Box<dyn Balancer>,
    alpha: f64,
    names: Vec<String>,
    /// `None` before a task's first step.
    means: Vec<Option<f64>>,
}

impl Balancer for Smoothed {
    fn needs(&self) -> Needs {
        self.inner.needs()
    }

    fn weights(&mut self, step: &StepStatistics<'_>) -> Vec<f64> {
        let mut weights = self.inner.weights(step);
        let has_gradient = |task: usize| match self.inner.needs() {
            Needs::Losses | Needs::GradientTransform => true,
            Needs::Gramian => step.gramian.is_some_and(|g| g.is_valid(task) && g.at(task, task) > 0.0),
            Needs::IndependentHalves => step.cross_gramian.is_some_and(|a| a.is_valid(task)),
            Needs::Lookahead => step.lookahead.is_some_and(|products| products[task].is_finite()),
        };
        for (task, (weight, mean)) in weights.iter_mut().zip(&mut self.means).enumerate() {
            if step.losses[task].is_some_and(f64::is_finite) && has_gradient(task) {
                *weight = mean.map_or(*weight, |mean| self.alpha * mean + (1.0 - self.alpha) * *weight);
                *mean = Some(*weight);
            }
        }
        weights
    }

    fn trial(&self, losses: &[Option<f64>]) -> Vec<f64> {
        self.inner.trial(losses)
    }

    fn gradient_transform(&mut self) -> Option<&mut dyn GradientTransform> {
        self.inner.gradient_transform()
    }

    fn epoch_end(&mut self) {
        self.inner.epoch_end();
    }

    fn state(&self) -> Value {
        json!({ "method": "cr_mogm", "tasks": self.names, "means": self.means, "inner": self.inner.state() })
    }

    fn restore(&mut self, state: &Value) -> Result<(), BalanceError> {
        check_method_name("cr_mogm", state)?;
        let wrong = |reason: String| BalanceError::State { method: "cr_mogm", reason };
        if state["tasks"] != json!(self.names) {
            let (found, expected) = (&state["tasks"], self.names.join(", "));
            return Err(wrong(format!("it is of the tasks {found}, expected {expected}")));
        }
        let means =
            Vec::<Option<f64>>::deserialize(&state["means"]).map_err(|e| wrong(format!("`means`: {e}")))?;
        if means.len() != self.names.len() || means.iter().flatten().any(|mean| !mean.is_finite()) {
            return Err(wrong("`means` has a number out of range, or too few or too many".to_owned()));
        }
        self.inner.restore(&state["inner"])?;
        self.means = means;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{BASE, SCALED, close, gramian};
    use crate::{CaGrad, Mgda};

    /// MGDA's weights are 0.6 and 0.4 on the first matrix, 0.049774 and 0.950226 on the second.
    #[test]
    fn weights_are_a_moving_mean() {
        let config = CrMogm { method: Box::new(BalancerConfig::Mgda(Mgda::default())), alpha: 0.75 };
        let mut balancer = config.build(&["a", "b"], &[1.0, 1.0]).expect("valid");
        let losses = [Some(1.0), Some(1.0)];
        let mut step = |rows| {
            balancer.weights(&StepStatistics {
                losses: &losses,
                gramian: Some(&gramian(rows)),
                ..StepStatistics::default()
            })
        };
        close(&step(BASE), &[0.6, 0.4]);
        close(&step(SCALED), &[0.75 * 0.6 + 0.25 * 0.049774, 0.75 * 0.4 + 0.25 * 0.950226]);
    }

    #[test]
    fn the_wrapped_method_reads_from_the_config() {
        let config: CrMogm = serde_json::from_value(json!({ "method": { "cagrad": {} } })).expect("valid");
        let method = Box::new(BalancerConfig::CaGrad(CaGrad::default()));
        assert_eq!(config, CrMogm { method, alpha: 0.9 });
        let bad = CrMogm {
            method: Box::new(BalancerConfig::CaGrad(CaGrad { c: -1.0, ..CaGrad::default() })),
            alpha: 0.9,
        };
        let error = bad.build(&["a"], &[1.0]).err().map(|e| e.to_string());
        assert_eq!(
            error.as_deref(),
            Some("balance.cr_mogm.method.cagrad.c = -1, expected a number from 0 to 100")
        );
    }
}
