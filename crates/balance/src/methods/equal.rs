//! Equal weighting: every task's loss is weighted by its importance.
//!
//! Formula: `w_i = importance_i`, so a step minimises `sum_i importance_i l_i`. The weight is 1, not 1/K, as in LibMTL:
//! with K tasks the shared parameters get the sum of K gradients.
//!
//! Defaults: no settings. Cost: none. State: none.
//!
//! When to use: as the baseline, which other methods often do not beat. With losses of very different scale, the task
//! with the largest loss dominates.

use crate::method_impl::{Method, check_method_name, fixed_weights};
use crate::{BalanceError, Balancer, StepStatistics};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Every task's loss is weighted by its importance. It has no settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Equal {}

impl Equal {
    pub(crate) fn build(&self, importance: &[f64]) -> EqualWeights {
        EqualWeights { importance: importance.to_vec() }
    }
}

impl Method for Equal {
    fn build_method(&self, _tasks: &[&str], importance: &[f64]) -> Result<Box<dyn Balancer>, BalanceError> {
        Ok(Box::new(self.build(importance)))
    }
}

pub(crate) struct EqualWeights {
    importance: Vec<f64>,
}

impl Balancer for EqualWeights {
    fn weights(&mut self, step: &StepStatistics<'_>) -> Vec<f64> {
        fixed_weights(&self.importance, step.losses)
    }

    fn state(&self) -> Value {
        json!({ "method": "equal" })
    }

    fn restore(&mut self, state: &Value) -> Result<(), BalanceError> {
        check_method_name("equal", state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LibMTL's convention: weight 1 each, the sum of the losses.
    #[test]
    fn every_task_counts_once() {
        let mut balancer = Equal::default().build(&[1.0, 1.0, 1.0]);
        assert_eq!(balancer.weights_from_losses(&[Some(1.0), Some(2.0), Some(4.0)]), [1.0, 1.0, 1.0]);
    }

    #[test]
    fn importance_is_the_weight() {
        let mut balancer = Equal::default().build(&[2.0, 0.5]);
        assert_eq!(balancer.weights_from_losses(&[Some(7.0), Some(-3.0)]), [2.0, 0.5]);
    }
}
