//! MGDA: the minimum-norm point of the convex hull of the gradients, a descent direction for all losses.
//!
//! Formula: `w = argmin w^T G w` over `w >= 0, sum w = 1`. The direction `d = J^T w` satisfies `<d, g_i> >= ||d||^2`
//! for every task: no loss increases, and where d is 0 the point is Pareto-stationary.
//!
//! Defaults: `normalize = "none"`, as in LibMTL and TorchJD. `"l2"`, `"loss"` and `"loss_l2"` find the minimum-norm
//! point of the gradients divided by their norm, by their loss, or by both, and use it as the direction, as LibMTL does
//! over all shared parameters; no loss increases along it. (Sener and Koltun's code applies the weights to the original
//! gradients.) The optimum is exact (Wolfe's method), not the result of up to 250 Frank-Wolfe steps.
//!
//! Importance: the guaranteed decrease of a task is proportional to its importance (the optimum is over
//! `g_i / importance_i`). The paper has none; with equal importances this is the paper's method.
//!
//! Cost: the K task gradients, and a problem over K x K numbers. State: none.
//!
//! When to use: when no task may get worse for another. The minimum-norm point favours small gradients: tasks whose
//! gradients are nearly 0, because they are learned or badly scaled, slow down all others. Weights sum to 1, so steps
//! are smaller than those of `equal`.
//!
//! Paper: Desideri, "Multiple-gradient descent algorithm (MGDA) for multiobjective optimization", Comptes Rendus
//! Mathematique 2012; Sener and Koltun, "Multi-task learning as multi-objective optimization", NeurIPS 2018
//! (arXiv:1810.04650).

use crate::method_impl::{ActiveTasks, MethodImpl};
use crate::{Needs, solve};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The range to which losses are clamped where gradients are divided by them.
const LOSSES: (f64, f64) = (1e-8, 1e100);

/// The minimum-norm point of the convex hull of the gradients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mgda {
    /// The divisor of the gradients in the optimization problem.
    pub normalize: Normalize,
}

/// The divisor of the gradients of [`Mgda`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// No division.
    #[default]
    None,
    /// Their norm.
    L2,
    /// The loss of their task.
    Loss,
    /// Their norm times the loss of their task.
    LossL2,
}

impl MethodImpl for Mgda {
    const NAME: &'static str = "mgda";
    const USES_PREFERENCES: bool = true;
    type State = ();

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn weights(&self, _state: &mut (), active: &ActiveTasks<'_>) -> Vec<f64> {
        let mean = active.importance.iter().sum::<f64>() / active.len() as f64;
        let share: Vec<f64> = active.importance.iter().map(|importance| importance / mean).collect();
        let norms: Vec<f64> = active.gramian.norms().iter().map(|norm| norm * active.scale).collect();
        let size = |i: usize| {
            let loss = active.losses[i].abs().clamp(LOSSES.0, LOSSES.1);
            match self.normalize {
                Normalize::None => 1.0,
                Normalize::L2 => norms[i],
                Normalize::Loss => loss,
                Normalize::LossL2 => norms[i] * loss,
            }
        };
        let factors: Vec<f64> = (0..active.len()).map(|i| 1.0 / size(i) / share[i]).collect();
        // Only ratios matter to the solver; the largest is 1, so that no product overflows.
        let largest = factors.iter().copied().fold(0.0, f64::max);
        let ratios: Vec<f64> = factors.iter().map(|factor| factor / largest).collect();
        let weights = solve::min_norm_point(&active.gramian.scaled(&ratios));
        weights.iter().zip(factors).map(|(weight, factor)| weight * factor).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{active_tasks, close, weights, weights_with};

    #[test]
    fn golden_values() {
        let of = |rows: &[&[f64]]| weights(&Mgda::default(), rows);
        close(&of(crate::test_fixtures::BASE), &[0.6, 0.4]);
        close(&of(crate::test_fixtures::THREE), &[0.521197, 0.167082, 0.311721]);
        close(&of(crate::test_fixtures::SCALED), &[0.049774, 0.950226]);
    }

    /// Two orthogonal gradients: the weights are in proportion to 1 / norm^2 of the divided gradients, then divided, too.
    #[test]
    fn orthogonal_gradients_have_a_closed_form() {
        let rows: &[&[f64]] = &[&[2.0, 0.0], &[0.0, 1.0]];
        let active = active_tasks(rows, &[4.0, 1.0], &[1.0, 1.0]);
        let with = |normalize| Mgda { normalize }.weights(&mut (), &active);
        close(&with(Normalize::None), &[0.2, 0.8]);
        close(&with(Normalize::L2), &[0.25, 0.5]);
        close(&with(Normalize::Loss), &[0.2, 0.2]);
        close(&with(Normalize::LossL2), &[2.0 / 17.0, 1.0 / 17.0]);
    }

    #[test]
    fn importance_is_a_rate_of_decrease() {
        let rows: &[&[f64]] = &[&[2.0, 0.0], &[0.0, 1.0]];
        let found = weights_with(&Mgda::default(), rows, &[3.0, 1.0]);
        // d = (2 w_1, w_2); the decreases are 4 w_1 and w_2.
        assert!((4.0 * found[0] / found[1] - 3.0).abs() < 1e-12, "{found:?}");
    }
}
