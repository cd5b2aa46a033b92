//! Static weights: one fixed weight per task, set in the config.
//!
//! Formula: `w_i = weights[i] x importance_i`, so a step minimises the sum of `w_i l_i`.
//!
//! Defaults: a task that `weights` does not name has weight 1. Cost: none. State: none.
//!
//! When to use: when good weights are known, from earlier runs or a search. A task's importance also counts in the
//! choice of the best checkpoint; a weight here does not.
//!
//! Errors: a weight for a task that does not exist, a weight outside 0 to 1e9, weights that are all 0. A task of weight
//! 0 is evaluated but not trained.

use crate::error::in_range;
use crate::method_impl::{Method, check_method_name, fixed_weights};
use crate::{BalanceError, Balancer, LARGEST_WEIGHT, StepStatistics};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Fixed weights, set in the config.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Static {
    /// The weight of each task, by its name, from 0 to 1e9: `{ intent = 1.0, slots = 0.5 }`. A task that is not named has
    /// weight 1.
    pub weights: BTreeMap<String, f64>,
}

impl Static {
    pub(crate) fn build(&self, tasks: &[&str], importance: &[f64]) -> Result<StaticWeights, BalanceError> {
        for (name, &found) in &self.weights {
            let key = format!("balance.static.weights.{name}");
            if !tasks.contains(&name.as_str()) {
                let tasks = tasks.iter().map(|&task| task.to_owned()).collect();
                return Err(BalanceError::UnknownTask { key, tasks });
            }
            in_range(key, found, 0.0, LARGEST_WEIGHT)?;
        }
        let weights: Vec<f64> = tasks
            .iter()
            .zip(importance)
            .map(|(&task, importance)| self.weights.get(task).copied().unwrap_or(1.0) * importance)
            .collect();
        if weights.iter().all(|&weight| weight == 0.0) {
            return Err(BalanceError::NothingLearned { key: "balance.static.weights".to_owned() });
        }
        Ok(StaticWeights { weights })
    }
}

impl Method for Static {
    fn build_method(&self, tasks: &[&str], importance: &[f64]) -> Result<Box<dyn Balancer>, BalanceError> {
        Ok(Box::new(self.build(tasks, importance)?))
    }
}

pub(crate) struct StaticWeights {
    weights: Vec<f64>,
}

impl Balancer for StaticWeights {
    fn weights(&mut self, step: &StepStatistics<'_>) -> Vec<f64> {
        fixed_weights(&self.weights, step.losses)
    }

    fn state(&self) -> Value {
        json!({ "method": "static" })
    }

    fn restore(&mut self, state: &Value) -> Result<(), BalanceError> {
        check_method_name("static", state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(of: &[(&str, f64)]) -> Static {
        Static { weights: of.iter().map(|&(name, weight)| (name.to_owned(), weight)).collect() }
    }

    #[test]
    fn written_weights_times_importance() {
        let config = weights(&[("b", 0.25), ("c", 0.0)]);
        let mut balancer = config.build(&["a", "b", "c"], &[1.0, 2.0, 1.0]).expect("valid");
        assert_eq!(balancer.weights_from_losses(&[Some(9.0), Some(9.0), Some(9.0)]), [1.0, 0.5, 0.0]);
    }

    #[test]
    fn errors_name_the_key_and_what_is_allowed() {
        let check = |config: Static, expected: &str| {
            let error = config.build(&["a", "b"], &[1.0, 1.0]).err().map(|e| e.to_string());
            assert_eq!(error.as_deref(), Some(expected));
        };
        check(
            weights(&[("aa", 1.0)]),
            "balance.static.weights.aa: there is no task of that name, expected one of: a, b",
        );
        check(
            weights(&[("b", -1.0)]),
            "balance.static.weights.b = -1, expected a number from 0 to 1000000000",
        );
        check(
            weights(&[("b", f64::NAN)]),
            "balance.static.weights.b = NaN, expected a number from 0 to 1000000000",
        );
        check(
            weights(&[("a", 0.0), ("b", 0.0)]),
            "balance.static.weights: every task has weight 0, so nothing would be learned; give at least one a weight above 0",
        );
    }
}
