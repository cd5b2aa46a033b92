//! DualProj: the mean gradient is projected onto the dual cone of all gradients.
//!
//! Formula: `w = argmin v^T G v` over `v >= u`, where u are the preferences: `J^T w` is the projection of `J^T u` onto
//! the dual cone of the gradients, the directions that conflict with none. With `regularization` above 0, G is first
//! divided by its trace and the number is added to its diagonal. Gradient episodic memory (GEM) uses the same projection.
//!
//! Defaults: `regularization = 0`, which is exact, and `u_i = 1/K`. TorchJD adds 1e-4, with which the direction goes
//! against tasks whose gradients are some 30 times shorter than others that oppose them; and gradients of small norm are
//! not treated as 0 (see `upgrad`).
//!
//! Importance is the preference: `u_i = importance_i / K`.
//!
//! Cost: the K task gradients and one problem over K x K numbers. State: none.
//!
//! When to use: as `upgrad`, which favours large gradients less; where the mean conflicts with no gradient, DualProj is
//! the mean. It is cheaper with many tasks.
//!
//! Paper: Lopez-Paz and Ranzato, "Gradient episodic memory for continual learning", NeurIPS 2017 (arXiv:1706.08840); as
//! a method for many losses: Quinton and Rey 2024 (arXiv:2406.16232).

use super::upgrad::regularized;
use crate::method_impl::{ActiveTasks, MethodImpl};
use crate::{BalanceError, Needs, solve};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The mean gradient, projected onto the dual cone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DualProj {
    /// Added to the diagonal of the Gramian, which is normalized to trace 1. Above 0, the direction may go against tasks
    /// whose gradients are short beside the longest.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub regularization: f64,
}

impl Default for DualProj {
    fn default() -> Self {
        DualProj { regularization: 0.0 }
    }
}

impl MethodImpl for DualProj {
    const NAME: &'static str = "dualproj";
    const USES_PREFERENCES: bool = true;
    type State = ();

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("regularization", self.regularization, 0.0, 1.0)
    }

    fn weights(&self, _state: &mut (), active: &ActiveTasks<'_>) -> Vec<f64> {
        solve::dual_cone_projection(&regularized(&active.gramian, self.regularization), &active.preferences())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{BASE, SCALED, THREE, close, weights};

    #[test]
    fn golden_values() {
        let (exact, regularized) = (DualProj::default(), DualProj { regularization: 1e-4 });
        close(&weights(&regularized, BASE), &[0.610921, 0.5]);
        close(&weights(&exact, BASE), &[0.611111, 0.5]);
        close(&weights(&regularized, THREE), &[1.0 / 3.0; 3]);
        close(&weights(&exact, THREE), &[1.0 / 3.0; 3]);
        close(&weights(&regularized, SCALED), &[0.5, 4.90148]);
        close(&weights(&exact, SCALED), &[0.5, 5.0]);
    }
}
