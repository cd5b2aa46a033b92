//! MGDA: the shortest weighted mean of the gradients, which lowers every loss or says that none can be lowered alone.
//!
//! Formula: `w = argmin w^T G w` over `w >= 0, sum w = 1`. The direction `d = J^T w` has `<d, g_i> >= ||d||^2` for every
//! task: no loss goes up, and where d is 0 the point is Pareto-stationary.
//!
//! Defaults: `normalize = "none"`, as LibMTL and TorchJD have it. `"l2"`, `"loss"` and `"loss_l2"` find the shortest mean of
//! the gradients divided by their norm, by their loss, or by both, and go along it, as LibMTL does over all shared
//! parameters: that is what no loss goes up against. (Sener and Koltun's code applies the weights to the gradients as they
//! are.) The optimum is exact (Wolfe's method), not up to 250 steps of Frank and Wolfe.
//!
//! Importance: the guaranteed decrease of a task is in proportion to its importance (the optimum is sought among
//! `g_i / importance_i`). The paper has none; with equal importances this is the paper's method.
//!
//! Cost: the K gradients, and a problem of K x K numbers. State: none.
//!
//! When to use: when no task may pay for another. The shortest mean sides with small gradients: tasks whose gradients are
//! nearly 0, because they are learned or badly scaled, hold up all others. Weights sum to 1, so steps are smaller than
//! those of `equal`.
//!
//! Paper: Desideri, "Multiple-gradient descent algorithm (MGDA) for multiobjective optimization", Comptes Rendus
//! Mathematique 2012; Sener and Koltun, "Multi-task learning as multi-objective optimization", NeurIPS 2018
//! (arXiv:1810.04650).

use crate::rule::{Present, Rule};
use crate::{Needs, solve};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Losses are cut to this range where gradients are divided by them.
const LOSSES: (f64, f64) = (1e-8, 1e100);

/// The shortest weighted mean of the gradients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mgda {
    /// What gradients are divided by while the weights are sought.
    pub normalize: Normalize,
}

/// What [`Mgda`] divides gradients by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// Nothing.
    #[default]
    None,
    /// Their norm.
    L2,
    /// Their task's loss.
    Loss,
    /// Their norm times their task's loss.
    LossL2,
}

impl Rule for Mgda {
    const NAME: &'static str = "mgda";
    const PREFERS: bool = true;
    type Memory = ();

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn weigh(&self, _memory: &mut (), present: &Present<'_>) -> Vec<f64> {
        let mean = present.importance.iter().sum::<f64>() / present.len() as f64;
        let share: Vec<f64> = present.importance.iter().map(|importance| importance / mean).collect();
        let norms: Vec<f64> = present.gramian.norms().iter().map(|norm| norm * present.scale).collect();
        let size = |i: usize| {
            let loss = present.losses[i].abs().clamp(LOSSES.0, LOSSES.1);
            match self.normalize {
                Normalize::None => 1.0,
                Normalize::L2 => norms[i],
                Normalize::Loss => loss,
                Normalize::LossL2 => norms[i] * loss,
            }
        };
        let factors: Vec<f64> = (0..present.len()).map(|i| 1.0 / size(i) / share[i]).collect();
        // To the solver only ratios matter; the largest is 1, so that no product overflows.
        let largest = factors.iter().copied().fold(0.0, f64::max);
        let ratios: Vec<f64> = factors.iter().map(|factor| factor / largest).collect();
        let weights = solve::shortest_mean(&present.gramian.scaled(&ratios));
        weights.iter().zip(factors).map(|(weight, factor)| weight * factor).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{close, present_of, weights, weights_with};

    #[test]
    fn golden_values() {
        let of = |rows: &[&[f64]]| weights(&Mgda::default(), rows);
        close(&of(crate::golden::BASE), &[0.6, 0.4]);
        close(&of(crate::golden::THREE), &[0.521197, 0.167082, 0.311721]);
        close(&of(crate::golden::SCALED), &[0.049774, 0.950226]);
    }

    /// Two orthogonal gradients: shares are as 1 / norm^2 of what is averaged, weights the shares of what was divided.
    #[test]
    fn orthogonal_gradients_have_a_closed_form() {
        let rows: &[&[f64]] = &[&[2.0, 0.0], &[0.0, 1.0]];
        let with = |normalize| Mgda { normalize }.weigh(&mut (), &present_of(rows, &[4.0, 1.0], &[1.0, 1.0]));
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
