//! Random weights: drawn anew in every step.
//!
//! Formula: `w = softmax(z)`, z of K independent standard normal numbers (K the tasks that are present); weights sum to 1.
//! On losses (`on = "losses"`) it is RLW, on gradients (`on = "gradients"`) RGW, where only the shared parameters feel the
//! weights and each head takes its own task's gradient.
//!
//! Defaults: `on = "losses"`, as LibMTL's RLW, and `seed = 0`. A draw is a function of seed, step and task name, so it does
//! not depend on threads or on the order in the config.
//!
//! Importance multiplies the weight.
//!
//! Cost: nothing on losses; the K gradients otherwise. State: how many steps there were.
//!
//! When to use: as the baseline that a balancing method has to beat to have shown that it is its weights that help and
//! not their noise.
//!
//! Paper: Lin et al., "Reasonable effectiveness of random weighting: a litmus test for multi-task learning", TMLR 2022
//! (arXiv:2111.10603).

use crate::Needs;
use crate::random::normal;
use crate::rule::{Present, Rule};
use crate::softmax::softmax;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Weights drawn in every step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Random {
    /// What is weighted.
    pub on: On,
    /// Decides the draws, from 0 to 4294967295.
    pub seed: u32,
}

/// What [`Random`] weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// The losses: shared parameters and heads.
    #[default]
    Losses,
    /// The gradients of the shared parameters.
    Gradients,
}

impl Rule for Random {
    const NAME: &'static str = "random";
    /// How many steps there were.
    type Memory = u64;

    fn needs(&self) -> Needs {
        match self.on {
            On::Losses => Needs::Losses,
            On::Gradients => Needs::Gramian,
        }
    }

    fn weigh(&self, steps: &mut u64, present: &Present<'_>) -> Vec<f64> {
        let drawn: Vec<f64> = present.names.iter().map(|name| normal(self.seed, *steps, name)).collect();
        *steps = steps.wrapping_add(1);
        softmax(&drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{THREE, losses_present};

    #[test]
    fn weights_sum_to_one_and_average_to_the_same() {
        let config = Random { seed: 5, ..Random::default() };
        let mut balancer = config.build(&["a", "b", "c"], &[1.0; 3]).expect("valid");
        let mut sums = [0.0; 3];
        for _ in 0..20_000 {
            let weights = balancer.weights(&[Some(1.0); 3]);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-14);
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight / 20_000.0);
        }
        assert!(sums.iter().all(|mean| (mean - 1.0 / 3.0).abs() < 5e-3), "{sums:?}");
    }

    #[test]
    fn losses_and_gradients_get_the_same_draws() {
        let on = |on, present: &Present<'_>| Random { on, seed: 1 }.weigh(&mut 7, present);
        let losses = on(On::Losses, &losses_present(&[1.0; 3], &[1.0; 3]));
        assert_eq!(losses, on(On::Gradients, &crate::golden::present_of(THREE, &[1.0; 3], &[1.0; 3])));
        assert_ne!(
            losses,
            Random { on: On::Losses, seed: 2 }.weigh(&mut 7, &losses_present(&[1.0; 3], &[1.0; 3]))
        );
    }
}
