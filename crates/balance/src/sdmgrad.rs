//! SDMGrad: the shortest mean of the gradients, kept near the plain mean, from two independent samples.
//!
//! Formula: `iterations` steps of gradient descent with momentum on w, each `w <- P(w - learning_rate v)`,
//! `v <- momentum v + A (w + lambda w0)`, w0 = 1/K each, P the projection onto the simplex, and `A = J1 J2^T` between the two
//! halves of a step's rows, divided by the square of the mean norm (roots of A's diagonal, negative ones as 0). Then
//! `(w + lambda w0) / (1 + lambda)` are the weights.
//!
//! w goes on from step to step, from 1/K; v starts at 0 in every step. Of a step in which some tasks are absent, the others'
//! w are moved with their sum kept.
//!
//! Defaults: `lambda = 0.3`, `iterations = 20`, `momentum = 0.5` (the authors, LibMTL, TorchJD) and `learning_rate = 5`
//! (LibMTL; TorchJD 10).
//!
//! Importance multiplies the weights that are found.
//!
//! Cost: the K gradients of each half of the rows. State: w.
//!
//! When to use: small packs and conflicts, with the mean loss in view: lambda leads from `modo` (0) to the mean (large).
//!
//! Paper: Xiao, Ban and Ji, "Direction-oriented multi-objective learning: simple and provable stochastic algorithms",
//! NeurIPS 2023 (arXiv:2305.18409).

use crate::modo::{Shares, moved};
use crate::rule::{Present, Rule};
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The shortest mean near the plain mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SdmGrad {
    /// How much the plain mean counts.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub lambda: f64,
    /// How often the weights are moved in a step.
    #[schemars(range(min = 1, max = 1000))]
    pub iterations: u32,
    /// How far, for gradients of norm 1.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub learning_rate: f64,
    /// The share of the last movement that goes on.
    #[schemars(range(min = 0.0, max = 0.99))]
    pub momentum: f64,
}

impl Default for SdmGrad {
    fn default() -> Self {
        SdmGrad { lambda: 0.3, iterations: 20, learning_rate: 5.0, momentum: 0.5 }
    }
}

impl Rule for SdmGrad {
    const NAME: &'static str = "sdmgrad";
    type Memory = Shares;

    fn needs(&self) -> Needs {
        Needs::TwoHalves
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("lambda", self.lambda, 0.0, 1000.0)?;
        self.setting("iterations", self.iterations.into(), 1.0, 1000.0)?;
        self.setting("learning_rate", self.learning_rate, 0.0, 1000.0)?;
        self.setting("momentum", self.momentum, 0.0, 0.99)
    }

    fn weigh(&self, shares: &mut Shares, present: &Present<'_>) -> Vec<f64> {
        let tasks = present.len() as f64;
        let norm = |i: usize| present.halves.at(i, i).max(0.0).sqrt();
        let mean_norm = (0..present.len()).map(|i| norm(i) / tasks).sum::<f64>();
        let with_mean = |w: &[f64]| -> Vec<f64> { w.iter().map(|w| w + self.lambda / tasks).collect() };
        let w = shares.change(present, |mut w| {
            // Without a norm there is nothing to measure by.
            if mean_norm == 0.0 {
                return w;
            }
            let mut speed = vec![0.0; w.len()];
            for _ in 0..self.iterations {
                let slopes = present.halves.times(&with_mean(&w));
                for (speed, slope) in speed.iter_mut().zip(slopes) {
                    *speed = self.momentum * *speed + (slope / mean_norm / mean_norm).clamp(-1e290, 1e290);
                }
                w = moved(&w, &speed, self.learning_rate);
            }
            w
        });
        with_mean(&w).iter().map(|w| w / (1.0 + self.lambda)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{close, fresh, halves_present};

    #[test]
    fn golden_values() {
        let present = halves_present(&[&[1.0, 0.0, 0.0], &[0.0, 0.25, 0.0], &[0.0, 0.0, 0.0]]);
        for learning_rate in [5.0, 10.0] {
            let rule = SdmGrad { iterations: 1, learning_rate, ..SdmGrad::default() };
            close(&rule.weigh(&mut fresh(&rule, 3), &present), &[1.0 / 13.0, 1.0 / 13.0, 11.0 / 13.0]);
        }
    }

    #[test]
    fn a_large_lambda_is_the_mean() {
        let rule = SdmGrad { lambda: 1000.0, ..SdmGrad::default() };
        let found = rule.weigh(&mut fresh(&rule, 2), &halves_present(&[&[9.0, 0.0], &[0.0, 1.0]]));
        assert!(found.iter().all(|w| (w - 0.5).abs() < 1e-3), "{found:?}");
    }
}
