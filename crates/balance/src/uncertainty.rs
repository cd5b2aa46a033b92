//! Uncertainty weighting: each task learns how noisy it is, and noisy tasks count less.
//!
//! Formula: minimise `sum_i 0.5 exp(-s_i) l_i + 0.5 s_i` over the model and over one learned `s_i` a task (the logarithm of
//! the task's variance), so `w_i = 0.5 exp(-s_i)`. The gradient is `0.5 (1 - exp(-s_i) l_i)`: s_i goes towards `ln l_i`,
//! where every weighted loss is 0.5. The weight of a step is the one before s_i moves.
//!
//! Defaults: `initial = 0` as in TorchJD (variance 1, so the first weight is 0.5; LibMTL starts at -0.5, which is 0.82).
//! s_i is moved in f64 by an Adam of its own (0.9, 0.999, 1e-8) with `learning_rate = 0.01`. The libraries hand s_i to the
//! model's optimizer instead; at a fine-tuning rate of 5e-5 it would then hardly leave its start within a run.
//!
//! Importance multiplies the weight: `w_i = 0.5 exp(-s_i) x importance_i`; what s_i learns does not depend on it. A task that
//! is absent from a step keeps its s_i and its Adam state; so does one whose loss is NaN or infinite. s_i stays within -30
//! to 30, which no sensible loss reaches: a loss of exactly 0 would push it down for ever.
//!
//! Cost: nothing. State: s_i and two Adam moments a task, and a count.
//!
//! When to use: losses of different size or kind (classification beside regression, long beside short label spaces). It
//! lowers the weight of the tasks that are hard, wanted or not. Losses should not be negative. Where a loss starts in the
//! hundreds, Adam remembers that first steep gradient for some thousand steps and s_i moves slowly: raise `initial`.
//!
//! Paper: Kendall, Gal and Cipolla, "Multi-task learning using uncertainty to weigh losses", CVPR 2018 (arXiv:1705.07115).

use crate::adam::Adam;
use crate::error::in_range;
use crate::{BalanceError, Balancer, Method, Step, restore_nothing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The learned numbers stay within this of 0, so that their exponentials are finite.
const BOUND: f64 = 30.0;
/// Gradients stay within this of 0, so that their squares are finite.
const STEEPEST: f64 = 1e100;

/// Weights learned from the noise of each task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Uncertainty {
    /// Where each task's log-variance starts: 0 gives a first weight of 0.5, lower values give higher weights.
    #[schemars(range(min = -30.0, max = 30.0))]
    pub initial: f64,
    /// How fast the log-variances move, about the change a step; 0 keeps them where they start.
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
            |&task: &&str| Learned { task: task.to_owned(), s: self.initial, adam: Adam::default() };
        Ok(UncertaintyWeights {
            importance: importance.to_vec(),
            learning_rate: self.learning_rate,
            learned: tasks.iter().map(learned).collect(),
        })
    }
}

impl Method for Uncertainty {
    fn name(&self) -> &'static str {
        "uncertainty"
    }

    fn at_work(&self, tasks: &[&str], importance: &[f64]) -> Result<Box<dyn Balancer>, BalanceError> {
        Ok(Box::new(self.build(tasks, importance)?))
    }
}

pub(crate) struct UncertaintyWeights {
    importance: Vec<f64>,
    learning_rate: f64,
    learned: Vec<Learned>,
}

/// What is learned about one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Learned {
    task: String,
    s: f64,
    adam: Adam,
}

impl Learned {
    /// The weight before importance, after which s moves by one step.
    fn weight(&mut self, loss: f64, learning_rate: f64) -> f64 {
        let precision = (-self.s).exp();
        let gradient = (0.5 * (1.0 - precision * loss)).clamp(-STEEPEST, STEEPEST);
        self.s = (self.s + self.adam.step(gradient, learning_rate)).clamp(-BOUND, BOUND);
        0.5 * precision
    }
}

impl Balancer for UncertaintyWeights {
    fn weigh(&mut self, step: &Step<'_>) -> Vec<f64> {
        let losses = step.losses;
        assert_eq!(losses.len(), self.learned.len(), "one loss, or None, a task");
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
        restore_nothing("uncertainty", state)?;
        let wrong = |reason: String| BalanceError::State { method: "uncertainty", reason };
        let tasks = state.get("tasks").unwrap_or(&Value::Null);
        let saved = Vec::<Learned>::deserialize(tasks).map_err(|error| wrong(format!("`tasks`: {error}")))?;
        let names = |of: &[Learned]| of.iter().map(|l| l.task.as_str()).collect::<Vec<_>>().join(", ");
        if names(&saved) != names(&self.learned) {
            let (found, expected) = (names(&saved), names(&self.learned));
            return Err(wrong(format!("it is of the tasks {found}, expected {expected}")));
        }
        if let Some(bad) = saved.iter().find(|l| !(l.s.abs() <= BOUND && l.adam.is_sound())) {
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
        let weights = balancer.weights(&losses);
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
            weights = balancer.weights(&losses.map(Some));
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
            let (plain, important) = (plain.weights(&losses), important.weights(&losses));
            assert_eq!(important, [plain[0], 4.0 * plain[1]]);
        }
        assert_eq!(plain.state(), important.state());
    }
}
