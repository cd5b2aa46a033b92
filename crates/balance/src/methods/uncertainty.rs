//! Uncertainty weighting: each task learns its observation noise, and noisy tasks get a lower weight.
//!
//! Formula: minimise `sum_i 0.5 exp(-s_i) l_i + 0.5 s_i` over the model and one learned `s_i` per task (the
//! log-variance of the task), so `w_i = 0.5 exp(-s_i)`. The gradient is `0.5 (1 - exp(-s_i) l_i)`: s_i converges to
//! `ln l_i`, where every weighted loss is 0.5. The weight of a step is computed before s_i is updated.
//!
//! Defaults: `initial = 0` as in TorchJD (variance 1, so the first weight is 0.5; LibMTL starts at -0.5, which gives
//! 0.82). s_i is updated in f64 by its own Adam (0.9, 0.999, 1e-8) with `learning_rate = 0.01`. The libraries pass s_i
//! to the optimizer of the model instead; at a fine-tuning learning rate of 5e-5 it would then hardly change within a
//! run.
//!
//! Importance multiplies the weight: `w_i = 0.5 exp(-s_i) x importance_i`; the updates of s_i do not depend on it. A
//! task without labels in a step keeps its s_i and its Adam state; so does one whose loss is NaN or infinite. s_i is
//! clamped to -30 to 30, since a loss of exactly 0 would decrease it without bound.
//!
//! Cost: none. State: s_i, two Adam moments and a step count per task.
//!
//! When to use: losses of different scale or kind (classification beside regression, large beside small label spaces).
//! It lowers the weight of difficult tasks, wanted or not. Losses should not be negative. Where a loss starts in the
//! hundreds, Adam's second moment keeps that first steep gradient for some thousand steps and s_i changes slowly: raise
//! `initial`.
//!
//! Paper: Kendall, Gal and Cipolla, "Multi-task learning using uncertainty to weigh losses", CVPR 2018
//! (arXiv:1705.07115).

use crate::adam::Adam;
use crate::error::in_range;
use crate::method_impl::{Method, check_method_name};
use crate::{BalanceError, Balancer, StepStatistics};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The largest absolute log-variance, so that exponentials are finite.
const BOUND: f64 = 30.0;
/// The largest absolute gradient, so that squares are finite.
const STEEPEST: f64 = 1e100;

/// Weights learned from the observation noise of each task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Uncertainty {
    /// Initial log-variance of each task: 0 gives a first weight of 0.5, lower values give higher weights.
    #[schemars(range(min = -30.0, max = 30.0))]
    pub initial: f64,
    /// Learning rate of the log-variances, about their change per step; 0 keeps the initial values.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub learning_rate: f64,
}

impl Default for Uncertainty {
    fn default() -> Self {
        Uncertainty { initial: 0.0, learning_rate: 0.01 }
    }
}

impl Uncertainty {
    pub(crate) fn build(
        &self,
        tasks: &[&str],
        importance: &[f64],
    ) -> Result<UncertaintyWeights, BalanceError> {
        in_range("balance.uncertainty.initial".to_owned(), self.initial, -BOUND, BOUND)?;
        in_range("balance.uncertainty.learning_rate".to_owned(), self.learning_rate, 0.0, 1.0)?;
        let learned =
            |&task: &&str| LogVariance { task: task.to_owned(), s: self.initial, adam: Adam::default() };
        Ok(UncertaintyWeights {
            importance: importance.to_vec(),
            learning_rate: self.learning_rate,
            learned: tasks.iter().map(learned).collect(),
        })
    }
}

impl Method for Uncertainty {
    fn build_method(&self, tasks: &[&str], importance: &[f64]) -> Result<Box<dyn Balancer>, BalanceError> {
        Ok(Box::new(self.build(tasks, importance)?))
    }
}

pub(crate) struct UncertaintyWeights {
    importance: Vec<f64>,
    learning_rate: f64,
    learned: Vec<LogVariance>,
}

/// The learned log-variance of one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogVariance {
    task: String,
    s: f64,
    adam: Adam,
}

impl LogVariance {
    /// The weight before importance, after which s is updated by one step.
    fn weight(&mut self, loss: f64, learning_rate: f64) -> f64 {
        let precision = (-self.s).exp();
        let gradient = (0.5 * (1.0 - precision * loss)).clamp(-STEEPEST, STEEPEST);
        self.s = (self.s + self.adam.step(gradient, learning_rate)).clamp(-BOUND, BOUND);
        0.5 * precision
    }
}

impl Balancer for UncertaintyWeights {
    fn weights(&mut self, step: &StepStatistics<'_>) -> Vec<f64> {
        let losses = step.losses;
        assert_eq!(losses.len(), self.learned.len(), "one loss, or None, per task");
        let tasks = self.learned.iter_mut().zip(&self.importance);
        tasks
            .zip(losses)
            .map(|((learned, importance), loss)| match loss {
                Some(loss) if loss.is_finite() => learned.weight(*loss, self.learning_rate) * importance,
                _ => 0.0,
            })
            .collect()
    }

    fn state(&self) -> Value {
        json!({ "method": "uncertainty", "tasks": self.learned })
    }

    fn restore(&mut self, state: &Value) -> Result<(), BalanceError> {
        check_method_name("uncertainty", state)?;
        let wrong = |reason: String| BalanceError::State { method: "uncertainty", reason };
        let tasks = state.get("tasks").unwrap_or(&Value::Null);
        let saved =
            Vec::<LogVariance>::deserialize(tasks).map_err(|error| wrong(format!("`tasks`: {error}")))?;
        let names = |of: &[LogVariance]| of.iter().map(|l| l.task.as_str()).collect::<Vec<_>>().join(", ");
        if names(&saved) != names(&self.learned) {
            let (found, expected) = (names(&saved), names(&self.learned));
            return Err(wrong(format!("it is of the tasks {found}, expected {expected}")));
        }
        if let Some(bad) = saved.iter().find(|l| !(l.s.abs() <= BOUND && l.adam.is_valid())) {
            return Err(wrong(format!("task {} has a number out of range", bad.task)));
        }
        self.learned = saved;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The objective whose gradients the weights stand for: `sum_i w_i l_i + 0.5 s_i`.
    fn objective(initial: f64, losses: &[f64]) -> f64 {
        let config = Uncertainty { initial, ..Uncertainty::default() };
        let names: Vec<String> = (0..losses.len()).map(|i| format!("t{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut balancer = config.build(&names, &vec![1.0; losses.len()]).expect("valid");
        let s: f64 = balancer.learned.iter().map(|l| 0.5 * l.s).sum();
        let losses: Vec<Option<f64>> = losses.iter().copied().map(Some).collect();
        let weights = balancer.weights_from_losses(&losses);
        weights.iter().zip(losses).map(|(w, l)| w * l.unwrap_or(0.0)).sum::<f64>() + s
    }

    /// TorchJD's start (0) and LibMTL's (-0.5).
    #[test]
    fn objective_has_its_golden_values() {
        assert_eq!(objective(0.0, &[1.0, 2.0, 4.0]), 3.5);
        assert!((objective(-0.5, &[1.0, 2.0, 4.0]) - 5.020524447450448).abs() < 1e-14);
    }

    /// At the optimum s = ln l, where each weighted loss is a half.
    #[test]
    fn weights_settle_where_weighted_losses_are_equal() {
        let losses = [0.05, 1.0, 30.0];
        let config = Uncertainty { learning_rate: 0.02, ..Uncertainty::default() };
        let mut balancer = config.build(&["a", "b", "c"], &[1.0, 1.0, 1.0]).expect("valid");
        let mut weights = Vec::new();
        for _ in 0..5000 {
            weights = balancer.weights_from_losses(&losses.map(Some));
        }
        for (weight, loss) in weights.iter().zip(losses) {
            assert!((weight * loss - 0.5).abs() < 1e-4, "{weight} x {loss}");
        }
    }

    #[test]
    fn importance_multiplies_the_weight_and_nothing_else() {
        let config = Uncertainty::default();
        let mut plain = config.build(&["a", "b"], &[1.0, 1.0]).expect("valid");
        let mut important = config.build(&["a", "b"], &[1.0, 4.0]).expect("valid");
        for i in 0..50 {
            let losses = [Some(1.0 + f64::from(i)), Some(3.0)];
            let (one, four) = (plain.weights_from_losses(&losses), important.weights_from_losses(&losses));
            assert_eq!(four, [one[0], 4.0 * one[1]]);
        }
        assert_eq!(plain.state(), important.state());
    }
}
