//! Equal weighting: every loss counts with its task's importance.
//!
//! Formula: `w_i = importance_i`, so the step minimises `sum_i importance_i l_i`. The weight is 1, not 1/K, as LibMTL has it:
//! with K tasks the shared parameters see the sum of K gradients.
//!
//! Defaults: none to set. Cost: nothing. State: none.
//!
//! When to use: first, always: it is the baseline that any other method must beat, and often does not. Losses of very
//! different size make it favour the largest one.

use crate::{BalanceError, Balancer, Method, Step, fixed_weights, restore_nothing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Every task's loss counts with its importance. Nothing to set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Equal {}

impl Equal {
    pub(crate) fn build(&self, importance: &[f64]) -> EqualWeights {
        EqualWeights { importance: importance.to_vec() }
    }
}

impl Method for Equal {
    fn name(&self) -> &'static str {
        "equal"
    }

    fn at_work(&self, _tasks: &[&str], importance: &[f64]) -> Result<Box<dyn Balancer>, BalanceError> {
        Ok(Box::new(self.build(importance)))
    }
}

pub(crate) struct EqualWeights {
    importance: Vec<f64>,
}

impl Balancer for EqualWeights {
    fn weigh(&mut self, step: &Step<'_>) -> Vec<f64> {
        fixed_weights(&self.importance, step.losses)
    }

    fn state(&self) -> Value {
        json!({ "method": "equal" })
    }

    fn restore(&mut self, state: &Value) -> Result<(), BalanceError> {
        restore_nothing("equal", state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LibMTL's convention: weight 1 each, the sum of the losses.
    #[test]
    fn every_task_counts_once() {
        let mut balancer = Equal::default().build(&[1.0, 1.0, 1.0]);
        assert_eq!(balancer.weights(&[Some(1.0), Some(2.0), Some(4.0)]), [1.0, 1.0, 1.0]);
    }

    #[test]
    fn importance_is_the_weight() {
        let mut balancer = Equal::default().build(&[2.0, 0.5]);
        assert_eq!(balancer.weights(&[Some(7.0), Some(-3.0)]), [2.0, 0.5]);
    }
}
