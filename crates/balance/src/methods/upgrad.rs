//! UPGrad: every gradient is projected onto the dual cone of all gradients, then the mean is taken.
//!
//! Formula: `w = sum_i argmin v^T G v` over `v >= u_i e_i`, where u are the preferences; each term is the projection of
//! gradient i onto the dual cone of all gradients, the directions that conflict with none. With `regularization` above 0,
//! G is first divided by its trace and the number is added to its diagonal.
//!
//! Defaults: `regularization = 0`, the paper's formula, which is solved exactly, and `u_i = 1/K`. TorchJD, by the
//! authors of the method, adds 1e-4 for the sake of its solver. That fails tasks with short gradients: where the longest
//! gradient is 30 times as long as one that it opposes, the number is as large as the square of the short one, and the
//! direction goes against that task (a cosine of -0.1; at 100 times -0.7). TorchJD also treats all gradients as 0 where
//! the trace is below 1e-4; here only a trace of 0 is 0, since gradients this small are common late in training.
//!
//! Importance is the preference: `u_i = importance_i / K`.
//!
//! Cost: the K task gradients and K problems over K x K numbers. State: none.
//!
//! When to use: conflicting gradients, when no loss may increase, with steps in proportion
//! to each gradient: scaling a loss scales its part of the direction. With two tasks it is PCGrad divided by two.
//!
//! Paper: Quinton and Rey, "Jacobian descent for multi-objective optimization", 2024 (arXiv:2406.16232).

use crate::method_impl::{ActiveTasks, MethodImpl};
use crate::{BalanceError, Gramian, Needs, solve};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The mean of the gradients, each projected onto the dual cone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpGrad {
    /// Added to the diagonal of the Gramian, which is normalized to trace 1. Above 0, the direction may go against tasks
    /// whose gradients are short beside the longest.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub regularization: f64,
}

impl Default for UpGrad {
    fn default() -> Self {
        UpGrad { regularization: 0.0 }
    }
}

impl MethodImpl for UpGrad {
    const NAME: &'static str = "upgrad";
    const USES_PREFERENCES: bool = true;
    type State = ();

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("regularization", self.regularization, 0.0, 1.0)
    }

    fn weights(&self, _state: &mut (), active: &ActiveTasks<'_>) -> Vec<f64> {
        let gramian = regularized(&active.gramian, self.regularization);
        let mut weights = vec![0.0; active.len()];
        for (i, share) in active.preferences().into_iter().enumerate() {
            let mut least = vec![0.0; active.len()];
            least[i] = share;
            let found = solve::dual_cone_projection(&gramian, &least);
            weights.iter_mut().zip(found).for_each(|(weight, part)| *weight += part);
        }
        weights
    }
}

/// The Gramian normalized to trace 1, with `regularization` added to its diagonal.
pub(crate) fn regularized(gramian: &Gramian, regularization: f64) -> Gramian {
    let trace: f64 = (0..gramian.tasks()).map(|i| gramian.at(i, i)).sum();
    gramian.scaled(&vec![1.0 / trace.sqrt(); gramian.tasks()]).add_diagonal(regularization)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{BASE, SCALED, THREE, close, weights, weights_with};

    #[test]
    fn golden_values() {
        let check = |rows: &[&[f64]], regularized: &[f64], exact: &[f64], summed: &[f64]| {
            close(&weights(&UpGrad { regularization: 1e-4 }, rows), regularized);
            close(&weights(&UpGrad::default(), rows), exact);
            let ones = vec![rows.len() as f64; rows.len()];
            close(&weights_with(&UpGrad::default(), rows, &ones), summed);
        };
        check(BASE, &[1.110921, 0.789431], &[1.111111, 0.789474], &[2.222222, 1.578947]);
        let summed = [1.815385, 1.107692, 1.466667];
        check(THREE, &[0.604983, 0.369234, 0.488856], &[0.605128, 0.369231, 0.488889], &summed);
        check(SCALED, &[0.524997, 5.40148], &[0.525, 5.5], &[1.05, 11.0]);
    }
}
