//! Auto-Lambda: the weights that lower the validation losses most after one step.
//!
//! Formula: `w = K softmax(theta)` over the tasks that are present. After a trial step with the weights w of the last step,
//! the validation losses change with w_i as `-h_i`, up to the learning rate, `h_i = <g_i, grad of the summed validation
//! losses after the trial step>`; theta moves against that by an Adam of its own. The weights of a step are those after
//! theta has moved. Starting at 0, all weights are 1.
//!
//! The paper finds the same inner products by finite differences, as a Hessian-vector product; here the trainer forms them.
//!
//! Defaults: `learning_rate = 0.001` and weights by softmax, as in LibMTL (the authors' code keeps free weights, from 0.1).
//!
//! Importance multiplies the weights that are found. All validation losses count the same: for one primary task, leave the
//! others' validation losses out of the sum.
//!
//! Cost: the K gradients, and a gradient of validation rows in every step. State: theta and two Adam moments a task, and a
//! count.
//!
//! When to use: auxiliary tasks that may help or not. It needs validation rows, which are then no longer unseen.
//!
//! Paper: Liu et al., "Auto-Lambda: disentangling dynamic task relationships", TMLR 2022 (arXiv:2202.03091).

use crate::adam::Learned;
use crate::gramian::dot;
use crate::rule::{Present, Rule};
use crate::softmax::softmax;
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What lowers the validation losses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AutoLambda {
    /// How fast the logarithms of the weights move, about the change a step.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub learning_rate: f64,
}

impl Default for AutoLambda {
    fn default() -> Self {
        AutoLambda { learning_rate: 1e-3 }
    }
}

impl Rule for AutoLambda {
    const NAME: &'static str = "auto_lambda";
    type Memory = Vec<Learned>;

    fn needs(&self) -> Needs {
        Needs::Lookahead
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("learning_rate", self.learning_rate, 0.0, 1.0)
    }

    fn trial(&self, theta: &Vec<Learned>, at: &[usize]) -> Vec<f64> {
        let values: Vec<f64> = at.iter().map(|&task| theta[task].value).collect();
        softmax(&values).iter().map(|share| at.len() as f64 * share).collect()
    }

    fn weigh(&self, theta: &mut Vec<Learned>, present: &Present<'_>) -> Vec<f64> {
        let tasks = present.len() as f64;
        let before = self.trial(theta, &present.at);
        // To Adam only ratios matter; the largest is 1, so that no product overflows.
        let largest = present.lookahead.iter().fold(0.0, |largest: f64, h| largest.max(h.abs()));
        if largest > 0.0 {
            let gains: Vec<f64> = present.lookahead.iter().map(|h| h / largest).collect();
            let mean = dot(&gains, &before) / tasks;
            for ((&task, gain), weight) in present.at.iter().zip(gains).zip(&before) {
                theta[task].descend(-weight * (gain - mean), self.learning_rate);
            }
        }
        self.trial(theta, &present.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Step;
    use crate::golden::balancer;

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
            weights = auto.weigh(&Step { losses: &losses, lookahead: Some(&lookahead), ..Step::default() });
            x -= 0.01 * dot(&weights, &gradients);
        }
        assert!(weights[0] > 1.9 && (x - 1.0).abs() < 0.1, "{weights:?}, {x}");
    }
}
