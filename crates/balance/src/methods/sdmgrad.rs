//! SDMGrad: the minimum-norm combination of the gradients, regularized towards their mean, with double sampling.
//!
//! Formula: `iterations` steps of gradient descent with momentum on w, each `w <- P(w - learning_rate v)`,
//! `v <- momentum v + A (w + lambda w0)`, where w0 = 1/K each, P is the projection onto the simplex, and `A = J1 J2^T`
//! is between the two halves of a step's rows, divided by the square of the mean norm (roots of A's diagonal, negative
//! ones as 0). The weights are `(w + lambda w0) / (1 + lambda)`.
//!
//! w continues from step to step, starting at 1/K; v starts at 0 in every step. In a step in which some tasks have no
//! labels, the w of the others is updated with its sum kept.
//!
//! Defaults: `lambda = 0.3`, `iterations = 20`, `momentum = 0.5` (the authors, LibMTL, TorchJD) and `learning_rate = 5`
//! (LibMTL; TorchJD 10).
//!
//! Importance multiplies the weights.
//!
//! Cost: the K task gradients of each half of the rows. State: w.
//!
//! When to use: small batches and conflicting gradients, when the mean loss still matters: lambda interpolates between
//! `modo` (0) and the mean (large).
//!
//! Paper: Xiao, Ban and Ji, "Direction-oriented multi-objective learning: simple and provable stochastic algorithms",
//! NeurIPS 2023 (arXiv:2305.18409).

use super::modo::{Shares, moved};
use crate::method_impl::{ActiveTasks, MethodImpl};
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The minimum-norm combination, regularized towards the mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SdmGrad {
    /// Weight of the mean gradient.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub lambda: f64,
    /// Gradient steps on the weights per training step.
    #[schemars(range(min = 1, max = 1000))]
    pub iterations: u32,
    /// Learning rate of the weights, for gradients of norm 1.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub learning_rate: f64,
    /// Momentum of the gradient steps.
    #[schemars(range(min = 0.0, max = 0.99))]
    pub momentum: f64,
}

impl Default for SdmGrad {
    fn default() -> Self {
        SdmGrad { lambda: 0.3, iterations: 20, learning_rate: 5.0, momentum: 0.5 }
    }
}

impl MethodImpl for SdmGrad {
    const NAME: &'static str = "sdmgrad";
    type State = Shares;

    fn needs(&self) -> Needs {
        Needs::IndependentHalves
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("lambda", self.lambda, 0.0, 1000.0)?;
        self.setting("iterations", self.iterations.into(), 1.0, 1000.0)?;
        self.setting("learning_rate", self.learning_rate, 0.0, 1000.0)?;
        self.setting("momentum", self.momentum, 0.0, 0.99)
    }

    fn weights(&self, shares: &mut Shares, active: &ActiveTasks<'_>) -> Vec<f64> {
        let tasks = active.len() as f64;
        let norm = |i: usize| active.cross_gramian.at(i, i).max(0.0).sqrt();
        let mean_norm = (0..active.len()).map(|i| norm(i) / tasks).sum::<f64>();
        let with_mean = |w: &[f64]| -> Vec<f64> { w.iter().map(|w| w + self.lambda / tasks).collect() };
        let w = shares.change(active, |mut w| {
            // With all norms 0 there is no unit.
            if mean_norm == 0.0 {
                return w;
            }
            let mut speed = vec![0.0; w.len()];
            for _ in 0..self.iterations {
                let slopes = active.cross_gramian.matvec(&with_mean(&w));
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
    use crate::test_fixtures::{active_with_cross_gramian, close, initial};

    #[test]
    fn golden_values() {
        let active = active_with_cross_gramian(&[&[1.0, 0.0, 0.0], &[0.0, 0.25, 0.0], &[0.0, 0.0, 0.0]]);
        for learning_rate in [5.0, 10.0] {
            let settings = SdmGrad { iterations: 1, learning_rate, ..SdmGrad::default() };
            let found = settings.weights(&mut initial(&settings, 3), &active);
            close(&found, &[1.0 / 13.0, 1.0 / 13.0, 11.0 / 13.0]);
        }
    }

    #[test]
    fn a_large_lambda_is_the_mean() {
        let settings = SdmGrad { lambda: 1000.0, ..SdmGrad::default() };
        let active = active_with_cross_gramian(&[&[9.0, 0.0], &[0.0, 1.0]]);
        let found = settings.weights(&mut initial(&settings, 2), &active);
        assert!(found.iter().all(|w| (w - 0.5).abs() < 1e-3), "{found:?}");
    }
}
