//! Random weights: drawn anew in every step.
//!
//! Formula: `w = softmax(z)`, where z has K independent standard normal entries (K the tasks with labels in the step);
//! weights sum to 1. On losses (`on = "losses"`) this is RLW. On gradients (`on = "gradients"`) it is RGW: only the
//! shared parameters are affected by the weights, and each head gets the gradient of its own task.
//!
//! Defaults: `on = "losses"`, as LibMTL's RLW, and `seed = 0`. A draw is a function of seed, step and task name, so it
//! depends neither on threads nor on the order of tasks in the config.
//!
//! Importance multiplies the weight.
//!
//! Cost: none on losses; the K task gradients otherwise. State: the number of steps.
//!
//! When to use: as a baseline. A balancing method that does not beat it helps by the noise of its weights only.
//!
//! Paper: Lin et al., "Reasonable effectiveness of random weighting: a litmus test for multi-task learning", TMLR 2022
//! (arXiv:2111.10603).

use crate::Needs;
use crate::method_impl::{ActiveTasks, MethodImpl};
use crate::random::normal;
use crate::softmax::softmax;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Random weights, drawn anew in every step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Random {
    /// Whether losses or gradients are weighted.
    pub on: On,
    /// Random seed, from 0 to 4294967295.
    pub seed: u32,
}

/// The quantities that [`Random`] weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// The losses: shared parameters and heads.
    #[default]
    Losses,
    /// The gradients of the shared parameters.
    Gradients,
}

impl MethodImpl for Random {
    const NAME: &'static str = "random";
    /// The number of steps so far.
    type State = u64;

    fn needs(&self) -> Needs {
        match self.on {
            On::Losses => Needs::Losses,
            On::Gradients => Needs::Gramian,
        }
    }

    fn weights(&self, steps: &mut u64, active: &ActiveTasks<'_>) -> Vec<f64> {
        let drawn: Vec<f64> = active.names.iter().map(|name| normal(self.seed, *steps, name)).collect();
        *steps = steps.wrapping_add(1);
        softmax(&drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{THREE, active_tasks, active_with_losses};

    #[test]
    fn weights_sum_to_one_and_average_to_the_same() {
        let config = Random { seed: 5, ..Random::default() };
        let mut balancer = config.build(&["a", "b", "c"], &[1.0; 3]).expect("valid");
        let mut sums = [0.0; 3];
        for _ in 0..20_000 {
            let weights = balancer.weights_from_losses(&[Some(1.0); 3]);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-14);
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight / 20_000.0);
        }
        assert!(sums.iter().all(|mean| (mean - 1.0 / 3.0).abs() < 5e-3), "{sums:?}");
    }

    #[test]
    fn losses_and_gradients_get_the_same_draws() {
        let on = |on, active: &ActiveTasks<'_>| Random { on, seed: 1 }.weights(&mut 7, active);
        let losses = on(On::Losses, &active_with_losses(&[1.0; 3], &[1.0; 3]));
        assert_eq!(losses, on(On::Gradients, &active_tasks(THREE, &[1.0; 3], &[1.0; 3])));
        assert_ne!(
            losses,
            Random { on: On::Losses, seed: 2 }.weights(&mut 7, &active_with_losses(&[1.0; 3], &[1.0; 3]))
        );
    }
}
