//! GradNorm: weights learned so that weighted gradients have equal norms, larger ones for tasks that train slowly.
//!
//! Formula: `w = K softmax(theta)` over the tasks with labels in the step; `n_i = w_i ||g_i||`. The target is
//! `mean(n) r_i^alpha`, where `r_i` is the loss relative to the task's first loss, divided by the mean of these ratios;
//! it is treated as a constant. theta minimises `sum_i |n_i - target_i|`. The weights of a step are computed before
//! theta is updated.
//!
//! Defaults: `alpha = 1.5`, the paper's and LibMTL's. Weights as a softmax, which cannot become negative, are LibMTL's;
//! the paper divides them by their sum. The norms are over all shared parameters, as in LibMTL; the paper uses the last
//! shared layer. They are relative to the longest gradient of the step, so that all steps count equally in Adam's
//! moments (LibMTL: absolute norms). The first loss is that of the task's first step (paper), not the mean of a first
//! epoch (LibMTL). theta is updated by its own Adam with `learning_rate = 0.025`, the paper's for the weights.
//!
//! Importance multiplies the weights; the paper has none.
//!
//! Cost: the K task gradients; only the diagonal of their Gramian is used. State: theta, two Adam moments and the first
//! loss per task.
//!
//! When to use: tasks that train at different speeds. alpha needs tuning: 0 makes the norms equal, high values favour
//! slow tasks. Losses should not be negative; a first loss below 1e-8 counts as 1e-8.
//!
//! Paper: Chen et al., "GradNorm: gradient normalization for adaptive loss balancing in deep multitask networks", ICML
//! 2018 (arXiv:1711.02257).

use crate::adam::AdamScalar;
use crate::gramian::dot;
use crate::method_impl::{ActiveTasks, MethodImpl, State};
use crate::softmax::softmax;
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A lower first loss counts as this one.
const SMALLEST_LOSS: f64 = 1e-8;
/// The largest ratio of losses; larger ones are clamped, so that targets are finite.
const LARGEST_RATIO: f64 = 1e12;

/// Equal norms of the weighted gradients, larger for tasks that train slowly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GradNorm {
    /// Strength of the asymmetry: how much larger the gradient norms of slow tasks should be.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub alpha: f64,
    /// Learning rate of the logarithms of the weights, about their change per step.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub learning_rate: f64,
}

impl Default for GradNorm {
    fn default() -> Self {
        GradNorm { alpha: 1.5, learning_rate: 0.025 }
    }
}

/// The state of [`GradNorm`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Norms {
    theta: Vec<AdamScalar>,
    first_loss: Vec<Option<f64>>,
}

impl State for Norms {
    fn initial(tasks: usize) -> Self {
        Norms { theta: State::initial(tasks), first_loss: vec![None; tasks] }
    }

    fn is_valid(&self, tasks: usize) -> bool {
        let in_range = |loss: &f64| loss.is_finite() && *loss >= SMALLEST_LOSS;
        self.theta.is_valid(tasks)
            && self.first_loss.len() == tasks
            && self.first_loss.iter().flatten().all(in_range)
    }
}

impl MethodImpl for GradNorm {
    const NAME: &'static str = "gradnorm";
    type State = Norms;

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("alpha", self.alpha, 0.0, 10.0)?;
        self.setting("learning_rate", self.learning_rate, 0.0, 1.0)
    }

    fn weights(&self, state: &mut Norms, active: &ActiveTasks<'_>) -> Vec<f64> {
        let tasks = active.len() as f64;
        let theta: Vec<f64> = active.indices.iter().map(|&task| state.theta[task].value).collect();
        let weights: Vec<f64> = softmax(&theta).iter().map(|share| tasks * share).collect();
        let slopes = self.slopes(&weights, state, active);
        // Through the softmax: dw_i / dtheta_j = w_i (1 if i = j) - w_i w_j / K.
        let mean = dot(&slopes, &weights) / tasks;
        for ((&task, slope), weight) in active.indices.iter().zip(slopes).zip(&weights) {
            state.theta[task].descend(weight * (slope - mean), self.learning_rate);
        }
        weights
    }
}

impl GradNorm {
    /// The gradient of `sum_i |n_i - target_i|` with respect to the weights; norms relative to the largest gradient's.
    fn slopes(&self, weights: &[f64], state: &mut Norms, active: &ActiveTasks<'_>) -> Vec<f64> {
        let norms = active.gramian.norms();
        let mean = dot(weights, &norms) / active.len() as f64;
        let ratio = |(&task, &loss): (&usize, &f64)| {
            let first = *state.first_loss[task].get_or_insert(loss.max(SMALLEST_LOSS));
            (loss.max(0.0) / first).min(LARGEST_RATIO)
        };
        let ratios: Vec<f64> = active.indices.iter().zip(&active.losses).map(ratio).collect();
        let mean_ratio = ratios.iter().sum::<f64>() / active.len() as f64;
        let slope = |i: usize| {
            // With all losses at 0, all rates are equal.
            let rate = if mean_ratio > 0.0 { ratios[i] / mean_ratio } else { 1.0 };
            let over = weights[i] * norms[i] - mean * rate.powf(self.alpha);
            if over == 0.0 { 0.0 } else { norms[i].copysign(over) }
        };
        (0..active.len()).map(slope).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StepStatistics;
    use crate::test_fixtures::{active_tasks, balancer, gramian, initial};

    /// The slopes against finite differences of the objective with constant targets.
    #[test]
    fn slopes_are_the_gradient_of_the_objective() {
        let rows: &[&[f64]] = &[&[3.0, 4.0], &[0.0, 2.0], &[1.0, 0.0]];
        let settings = GradNorm::default();
        let mut state = initial(&settings, 3);
        let first = active_tasks(rows, &[2.0, 1.0, 4.0], &[1.0; 3]);
        settings.slopes(&[1.0; 3], &mut state, &first);
        let now = active_tasks(rows, &[1.0, 0.9, 1.0], &[1.0; 3]);
        let weights = [0.5, 1.5, 1.0];
        let slopes = settings.slopes(&weights, &mut state, &now);
        let norms = [1.0, 0.4, 0.2];
        let mean = (0.5 + 0.6 + 0.2) / 3.0;
        let ratios = [0.5, 0.9, 0.25];
        let target: Vec<f64> = ratios.iter().map(|r| mean * (r * 3.0 / 1.65f64).powf(1.5)).collect();
        let objective = |w: &[f64]| -> f64 { (0..3).map(|i| (w[i] * norms[i] - target[i]).abs()).sum() };
        for i in 0..3 {
            let (mut up, mut down) = (weights, weights);
            up[i] += 1e-6;
            down[i] -= 1e-6;
            let slope = (objective(&up) - objective(&down)) / 2e-6;
            assert!((slope - slopes[i]).abs() < 1e-8, "task {i}: {slope}, {}", slopes[i]);
        }
    }

    #[test]
    fn norms_become_equal_with_alpha_zero() {
        let rows: &[&[f64]] = &[&[3.0, 4.0], &[0.0, 2.0], &[1.0, 0.0]];
        let mut gradnorm = balancer(&GradNorm { alpha: 0.0, learning_rate: 0.001 }, 3);
        let gramian = gramian(rows);
        let mut weights = Vec::new();
        for _ in 0..6000 {
            weights = gradnorm.weights(&StepStatistics {
                losses: &[Some(1.0); 3],
                gramian: Some(&gramian),
                ..StepStatistics::default()
            });
        }
        let norms: Vec<f64> = weights.iter().zip([5.0, 2.0, 1.0]).map(|(w, n)| w * n).collect();
        assert!(norms.iter().all(|n| (n / norms[0] - 1.0).abs() < 0.02), "{norms:?}");
        assert!((weights.iter().sum::<f64>() - 3.0).abs() < 1e-12);
    }
}
