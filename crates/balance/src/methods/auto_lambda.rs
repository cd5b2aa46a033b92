//! Auto-Lambda: the weights that decrease the validation losses most after one step.
//!
//! Formula: `w = K softmax(theta)` over the tasks with labels in the step. After a trial step with the weights w of the
//! last step, the derivative of the summed validation losses with respect to w_i is `-h_i`, up to the learning rate,
//! where `h_i = <g_i, gradient of the summed validation losses after the trial step>`; theta is updated with it by its
//! own Adam. The weights of a step are computed after the update. theta starts at 0, where all weights are 1.
//!
//! The paper computes the same inner products by finite differences, as a Hessian-vector product; here the trainer
//! computes them directly.
//!
//! Defaults: `learning_rate = 0.001` and weights by softmax, as in LibMTL (the authors' code keeps free weights,
//! starting at 0.1).
//!
//! Importance multiplies the weights. All validation losses count equally: for one primary task, leave the validation
//! losses of the others out of the sum.
//!
//! Cost: the K task gradients, and a gradient of validation rows in every step. State: theta, two Adam moments and a
//! step count per task.
//!
//! When to use: auxiliary tasks that may or may not help. It needs validation rows, which are then no longer held out.
//!
//! Paper: Liu et al., "Auto-Lambda: disentangling dynamic task relationships", TMLR 2022 (arXiv:2202.03091).

use crate::adam::AdamScalar;
use crate::gramian::dot;
use crate::method_impl::{ActiveTasks, MethodImpl};
use crate::softmax::softmax;
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Weights that lower the validation losses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AutoLambda {
    /// Learning rate of the logarithms of the weights, about their change per step.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub learning_rate: f64,
}

impl Default for AutoLambda {
    fn default() -> Self {
        AutoLambda { learning_rate: 1e-3 }
    }
}

impl MethodImpl for AutoLambda {
    const NAME: &'static str = "auto_lambda";
    type State = Vec<AdamScalar>;

    fn needs(&self) -> Needs {
        Needs::Lookahead
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("learning_rate", self.learning_rate, 0.0, 1.0)
    }

    fn trial(&self, theta: &Vec<AdamScalar>, active: &[usize]) -> Vec<f64> {
        let values: Vec<f64> = active.iter().map(|&task| theta[task].value).collect();
        softmax(&values).iter().map(|share| active.len() as f64 * share).collect()
    }

    fn weights(&self, theta: &mut Vec<AdamScalar>, active: &ActiveTasks<'_>) -> Vec<f64> {
        let tasks = active.len() as f64;
        let before = self.trial(theta, &active.indices);
        // Only ratios matter to Adam; the largest is 1, so that no product overflows.
        let largest = active.lookahead.iter().fold(0.0, |largest: f64, h| largest.max(h.abs()));
        if largest > 0.0 {
            let gains: Vec<f64> = active.lookahead.iter().map(|h| h / largest).collect();
            let mean = dot(&gains, &before) / tasks;
            for ((&task, gain), weight) in active.indices.iter().zip(gains).zip(&before) {
                theta[task].descend(-weight * (gain - mean), self.learning_rate);
            }
        }
        self.trial(theta, &active.indices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StepStatistics;
    use crate::test_fixtures::balancer;

    /// Two tasks on one parameter x, trained on `(x - 1)^2` and `(x + 1)^2`; validated on `(x - 1)^2` alone.
    #[test]
    fn the_task_that_helps_is_trained() {
        let mut auto = balancer(&AutoLambda { learning_rate: 0.01 }, 2);
        let (mut x, mut weights) = (0.0f64, vec![1.0, 1.0]);
        for _ in 0..2000 {
            let gradients = [2.0 * (x - 1.0), 2.0 * (x + 1.0)];
            let after = x - 0.01 * dot(&weights, &gradients);
            let validation = 2.0 * (after - 1.0);
            let lookahead = gradients.map(|gradient| gradient * validation);
            let losses = [Some((x - 1.0).powi(2)), Some((x + 1.0).powi(2))];
            weights = auto.weights(&StepStatistics {
                losses: &losses,
                lookahead: Some(&lookahead),
                ..StepStatistics::default()
            });
            x -= 0.01 * dot(&weights, &gradients);
        }
        assert!(weights[0] > 1.9 && (x - 1.0).abs() < 0.1, "{weights:?}, {x}");
    }
}
