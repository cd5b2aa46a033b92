//! GradNorm: weights learned so that all weighted gradients are equally long, longer for tasks that lag behind.
//!
//! Formula: `w = K softmax(theta)` over the tasks that are present; `n_i = w_i ||g_i||`. The target is `mean(n) r_i^alpha`,
//! `r_i` the loss relative to the task's first one, divided by the mean of these ratios; it counts as constant. theta
//! minimises `sum_i |n_i - target_i|`. The weights of a step are those before theta moves.
//!
//! Defaults: `alpha = 1.5`, the paper's and LibMTL's. Weights as a softmax, which cannot become negative, are LibMTL's; the
//! paper divides them by their sum. The norms are over all shared parameters, as in LibMTL; the paper takes the last shared
//! layer. They are in units of the step's longest gradient, so that no step counts for more in Adam's moments than others
//! (LibMTL: as they are). The first loss is that of the task's first step (paper), not the mean of a first epoch (LibMTL).
//! theta is moved by an Adam of its own with `learning_rate = 0.025`, the paper's for the weights.
//!
//! Importance multiplies the weights that are found; the paper has none.
//!
//! Cost: the K gradients; of their Gramian only the diagonal is looked at. State: theta, two Adam moments and the first
//! loss a task.
//!
//! When to use: tasks that train at different speeds. alpha is to be tuned: 0 makes the norms equal, high values pull the
//! slow tasks. Losses should not be negative; a first loss below 1e-8 counts as that.
//!
//! Paper: Chen et al., "GradNorm: gradient normalization for adaptive loss balancing in deep multitask networks", ICML
//! 2018 (arXiv:1711.02257).

use crate::adam::Learned;
use crate::gramian::dot;
use crate::rule::{Memory, Present, Rule};
use crate::softmax::softmax;
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A first loss below it counts as it.
const SMALLEST_LOSS: f64 = 1e-8;
/// Ratios of losses are cut to it, so that targets are finite.
const LARGEST_RATIO: f64 = 1e12;

/// Equally long weighted gradients, longer for tasks that lag behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GradNorm {
    /// How much longer the gradients of slow tasks are to be.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub alpha: f64,
    /// How fast the logarithms of the weights move, about the change a step.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub learning_rate: f64,
}

impl Default for GradNorm {
    fn default() -> Self {
        GradNorm { alpha: 1.5, learning_rate: 0.025 }
    }
}

/// What [`GradNorm`] keeps.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Norms {
    theta: Vec<Learned>,
    first_loss: Vec<Option<f64>>,
}

impl Memory for Norms {
    fn of_start(tasks: usize) -> Self {
        Norms { theta: Memory::of_start(tasks), first_loss: vec![None; tasks] }
    }

    fn is_sound(&self, tasks: usize) -> bool {
        let in_range = |loss: &f64| loss.is_finite() && *loss >= SMALLEST_LOSS;
        self.theta.is_sound(tasks)
            && self.first_loss.len() == tasks
            && self.first_loss.iter().flatten().all(in_range)
    }
}

impl Rule for GradNorm {
    const NAME: &'static str = "gradnorm";
    type Memory = Norms;

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("alpha", self.alpha, 0.0, 10.0)?;
        self.setting("learning_rate", self.learning_rate, 0.0, 1.0)
    }

    fn weigh(&self, memory: &mut Norms, present: &Present<'_>) -> Vec<f64> {
        let tasks = present.len() as f64;
        let theta: Vec<f64> = present.at.iter().map(|&task| memory.theta[task].value).collect();
        let weights: Vec<f64> = softmax(&theta).iter().map(|share| tasks * share).collect();
        let slopes = self.slopes(&weights, memory, present);
        // Through the softmax: dw_i / dtheta_j = w_i (1 if i = j) - w_i w_j / K.
        let mean = dot(&slopes, &weights) / tasks;
        for ((&task, slope), weight) in present.at.iter().zip(slopes).zip(&weights) {
            memory.theta[task].descend(weight * (slope - mean), self.learning_rate);
        }
        weights
    }
}

impl GradNorm {
    /// The gradient of `sum_i |n_i - target_i|` with respect to the weights; norms in units of the largest gradient's.
    fn slopes(&self, weights: &[f64], memory: &mut Norms, present: &Present<'_>) -> Vec<f64> {
        let norms = present.gramian.norms();
        let mean = dot(weights, &norms) / present.len() as f64;
        let ratio = |(&task, &loss): (&usize, &f64)| {
            let first = *memory.first_loss[task].get_or_insert(loss.max(SMALLEST_LOSS));
            (loss.max(0.0) / first).min(LARGEST_RATIO)
        };
        let ratios: Vec<f64> = present.at.iter().zip(&present.losses).map(ratio).collect();
        let mean_ratio = ratios.iter().sum::<f64>() / present.len() as f64;
        let slope = |i: usize| {
            // All losses at 0 are equally far.
            let rate = if mean_ratio > 0.0 { ratios[i] / mean_ratio } else { 1.0 };
            let over = weights[i] * norms[i] - mean * rate.powf(self.alpha);
            if over == 0.0 { 0.0 } else { norms[i].copysign(over) }
        };
        (0..present.len()).map(slope).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Step;
    use crate::golden::{balancer, fresh, gramian, present_of};

    /// The slopes against finite differences of the objective whose targets are kept.
    #[test]
    fn slopes_are_the_gradient_of_the_objective() {
        let rows: &[&[f64]] = &[&[3.0, 4.0], &[0.0, 2.0], &[1.0, 0.0]];
        let rule = GradNorm::default();
        let mut memory = fresh(&rule, 3);
        let first = present_of(rows, &[2.0, 1.0, 4.0], &[1.0; 3]);
        rule.slopes(&[1.0; 3], &mut memory, &first);
        let now = present_of(rows, &[1.0, 0.9, 1.0], &[1.0; 3]);
        let weights = [0.5, 1.5, 1.0];
        let slopes = rule.slopes(&weights, &mut memory, &now);
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
            weights =
                gradnorm.weigh(&Step { losses: &[Some(1.0); 3], gramian: Some(&gramian), ..Step::default() });
        }
        let norms: Vec<f64> = weights.iter().zip([5.0, 2.0, 1.0]).map(|(w, n)| w * n).collect();
        assert!(norms.iter().all(|n| (n / norms[0] - 1.0).abs() < 0.02), "{norms:?}");
        assert!((weights.iter().sum::<f64>() - 3.0).abs() < 1e-12);
    }
}
