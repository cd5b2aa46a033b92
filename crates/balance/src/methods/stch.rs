//! Smooth Tchebycheff scalarization: a smooth maximum of the losses is minimised.
//!
//! Formula: minimise `mu ln sum_i exp(lambda_i (l_i - ideal) / mu)`, so
//! `w_i = lambda_i softmax(lambda (l - ideal) / mu)_i`. The smaller mu, the more the largest weighted loss dominates.
//! `ideal` is the ideal point, a lower bound of the losses, the same for all tasks.
//!
//! With `warmup_epochs = n > 0` it is the variant of the authors' multi-task code and LibMTL: for n epochs the sum of
//! `ln l_i` is minimised; the next epoch does the same and records each task's mean loss as its nadir; then
//! `K mu ln sum_i exp(lambda_i K ln(l_i / nadir_i) / mu)` is minimised, which does not depend on the units of the
//! losses.
//!
//! Defaults: `mu = 1`, `ideal = 0` and `lambda_i = 1/K` as in TorchJD; `warmup_epochs = 0`, the formula of the paper;
//! LibMTL uses 4.
//!
//! Importance is the preference: `lambda_i = importance_i / sum importance` over the tasks with labels in the step.
//!
//! Cost: none. State: with a warm-up, a mean loss per task and the number of epochs.
//!
//! When to use: when the worst task matters most, or to reach a chosen point of the Pareto front, also where the front
//! is not convex. Losses have to be of the same scale, or use the warm-up.
//!
//! Paper: Lin et al., "Smooth Tchebycheff scalarization for multi-objective optimization", ICML 2024
//! (arXiv:2402.19078).

use crate::method_impl::{ActiveTasks, MethodImpl, State};
use crate::softmax::softmax;
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lower losses count as this one where their logarithm is taken.
const SMALLEST_LOSS: f64 = 1e-8;
/// The largest absolute exponent; larger ones are clamped, so that none is infinite.
const FURTHEST: f64 = 1e300;

/// A smooth maximum of the losses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Stch {
    /// Smoothing: near 0 only the largest loss counts.
    #[schemars(range(min = 0.000001, max = 1000000.0))]
    pub mu: f64,
    /// The ideal point, a lower bound of the losses; unused with a warm-up.
    #[schemars(range(min = -1000000.0, max = 1000000.0))]
    pub ideal: f64,
    /// Epochs with logarithmic losses before the epoch that measures the nadir point; 0: no warm-up.
    #[schemars(range(min = 0, max = 1000000))]
    pub warmup_epochs: u32,
}

impl Default for Stch {
    fn default() -> Self {
        Stch { mu: 1.0, ideal: 0.0, warmup_epochs: 0 }
    }
}

/// The state of [`Stch`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NadirPoint {
    epochs: u64,
    /// Each task's mean loss in the epoch after the warm-up, and the number of its steps.
    means: Vec<f64>,
    steps: Vec<u64>,
}

impl State for NadirPoint {
    fn initial(tasks: usize) -> Self {
        NadirPoint { epochs: 0, means: vec![0.0; tasks], steps: vec![0; tasks] }
    }

    fn is_valid(&self, tasks: usize) -> bool {
        self.means.len() == tasks
            && self.steps.len() == tasks
            && self.means.iter().all(|mean| mean.is_finite())
    }
}

impl MethodImpl for Stch {
    const NAME: &'static str = "stch";
    const USES_PREFERENCES: bool = true;
    type State = NadirPoint;

    fn needs(&self) -> Needs {
        Needs::Losses
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("mu", self.mu, 1e-6, 1e6)?;
        self.setting("ideal", self.ideal, -1e6, 1e6)?;
        self.setting("warmup_epochs", self.warmup_epochs.into(), 0.0, 1e6)
    }

    fn weights(&self, nadir: &mut NadirPoint, active: &ActiveTasks<'_>) -> Vec<f64> {
        let sum: f64 = active.importance.iter().sum();
        // All importances are 0: no task of this step is trained.
        if sum <= 0.0 {
            return vec![0.0; active.len()];
        }
        let lambda: Vec<f64> = active.importance.iter().map(|importance| importance / sum).collect();
        if self.warmup_epochs == 0 {
            return self.smooth(&lambda, active.losses.iter().map(|loss| loss - self.ideal));
        }
        let losses: Vec<f64> = active.losses.iter().map(|loss| loss.max(SMALLEST_LOSS)).collect();
        let tasks = active.len() as f64;
        if nadir.epochs <= self.warmup_epochs.into() {
            if nadir.epochs == u64::from(self.warmup_epochs) {
                for (&task, loss) in active.indices.iter().zip(&losses) {
                    nadir.steps[task] = nadir.steps[task].saturating_add(1);
                    let share = 1.0 / nadir.steps[task] as f64;
                    nadir.means[task] += loss * share - nadir.means[task] * share;
                }
            }
            return lambda.iter().zip(losses).map(|(lambda, loss)| tasks * lambda / loss).collect();
        }
        // A task that was absent in the measuring epoch has its first loss as its nadir.
        let relative = active.indices.iter().zip(&losses).map(|(&task, loss)| {
            if nadir.steps[task] == 0 {
                (nadir.steps[task], nadir.means[task]) = (1, *loss);
            }
            tasks * (loss / nadir.means[task].max(SMALLEST_LOSS)).ln()
        });
        let smooth = self.smooth(&lambda, relative);
        smooth.iter().zip(losses).map(|(weight, loss)| tasks * weight / loss * tasks).collect()
    }

    fn epoch_end(&self, nadir: &mut NadirPoint) {
        nadir.epochs = nadir.epochs.saturating_add(1);
    }
}

impl Stch {
    /// `lambda_i softmax(lambda x / mu)_i`.
    fn smooth(&self, lambda: &[f64], x: impl Iterator<Item = f64>) -> Vec<f64> {
        let exponents: Vec<f64> = lambda
            .iter()
            .zip(x)
            .map(|(lambda, x)| (lambda * x / self.mu).clamp(-FURTHEST, FURTHEST))
            .collect();
        // A task of importance 0 is no candidate for the largest.
        let candidates: Vec<f64> = exponents
            .iter()
            .zip(lambda)
            .map(|(&x, &lambda)| if lambda > 0.0 { x } else { f64::NEG_INFINITY })
            .collect();
        lambda.iter().zip(softmax(&candidates)).map(|(lambda, share)| lambda * share).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{active_with_losses, balancer, close, initial};

    /// The objective, whose gradient the weights are: `mu ln sum exp(l_i / 3 mu)` is 1.33346505 and 1.96529453.
    #[test]
    fn golden_values() {
        let losses = [1.0, 2.0, 4.0];
        for (mu, golden) in [(0.1, 1.3334650499220457), (1.0, 1.9652945321522335)] {
            let objective = |l: &[f64; 3]| mu * l.iter().map(|l| (l / 3.0 / mu).exp()).sum::<f64>().ln();
            assert!((objective(&losses) - golden).abs() < 1e-9);
            let settings = Stch { mu, ..Stch::default() };
            let found = settings.weights(&mut initial(&settings, 3), &active_with_losses(&losses, &[1.0; 3]));
            for (i, weight) in found.iter().enumerate() {
                let (mut up, mut down) = (losses, losses);
                up[i] += 1e-5;
                down[i] -= 1e-5;
                let slope = (objective(&up) - objective(&down)) / 2e-5;
                assert!((slope - weight).abs() < 1e-8, "mu {mu}, task {i}: {slope}, {weight}");
            }
        }
    }

    /// LibMTL's variant with nadir 1: the shares of 1, 2 and 4 times K, each over its loss.
    #[test]
    fn golden_values_after_the_warm_up() {
        let mut stch = balancer(&Stch { warmup_epochs: 1, ..Stch::default() }, 3);
        assert_eq!(stch.weights_from_losses(&[Some(8.0), Some(4.0), None]), [1.0 / 8.0, 1.0 / 4.0, 0.0]);
        stch.epoch_end();
        // The nadir is the mean of 0.5 and 1.5.
        stch.weights_from_losses(&[Some(0.5); 3]);
        assert_eq!(stch.weights_from_losses(&[Some(1.5); 3]), [1.0 / 1.5; 3]);
        stch.epoch_end();
        let weights = stch.weights_from_losses(&[Some(1.0), Some(2.0), Some(4.0)]);
        close(&weights, &[0.428571, 0.857143 / 2.0, 1.714286 / 4.0]);
    }

    #[test]
    fn importance_is_the_preference() {
        let settings = Stch::default();
        let active = active_with_losses(&[1.0, 3.0], &[3.0, 1.0]);
        let found = settings.weights(&mut initial(&settings, 2), &active);
        // lambda l = 0.75 for both.
        close(&found, &[0.375, 0.125]);
    }
}
