//! ConFIG: the direction with equal cosine similarities to all gradients.
//!
//! Formula: U the gradients at norm 1, `v = U^+ 1`; the direction is `v / ||v||`, its norm the sum of the gradients'
//! projections onto it, `sum_i <g_i, v> / ||v||`. In weights, with H the cosine matrix: `c = H^+ 1`,
//! `w_i = norm c_i / (||g_i|| ||v||)`. Where gradients cancel, v and all weights are 0.
//!
//! Weights may be negative where gradients are nearly parallel.
//!
//! Defaults: no settings. Eigenvalues of H below 1e-10 of the largest count as 0.
//!
//! Importance replaces the 1 (TorchJD's preference vector): the cosine similarity with a task's gradient is
//! proportional to its importance.
//!
//! Cost: the K task gradients and an eigendecomposition of K x K numbers. State: none.
//!
//! When to use: conflicting gradients of losses of different scale, as in physics-informed networks: no loss increases
//! while the gradients are linearly independent, whatever their norms.
//!
//! Paper: Liu et al., "ConFIG: towards conflict-free training of physics informed neural networks", ICLR 2025
//! (arXiv:2408.11104).

use super::imtl_g::towards;
use crate::Needs;
use crate::gramian::dot;
use crate::method_impl::{ActiveTasks, MethodImpl};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Squared norms below this count as 0; the vectors they come from have norm 1.
const NOTHING: f64 = 1e-20;

/// Equal cosine similarities with all gradients. It has no settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConFig {}

impl MethodImpl for ConFig {
    const NAME: &'static str = "config";
    const USES_PREFERENCES: bool = true;
    type State = ();

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn weights(&self, _state: &mut (), active: &ActiveTasks<'_>) -> Vec<f64> {
        let largest = active.importance.iter().copied().fold(0.0, f64::max);
        let aims: Vec<f64> = active.importance.iter().map(|importance| importance / largest).collect();
        let units = towards(&active.gramian, &aims);
        let products = active.gramian.cosine_matrix().matvec(&units);
        let square = dot(&units, &products);
        if square <= NOTHING {
            return vec![0.0; active.len()];
        }
        let norms = active.gramian.norms();
        let length = dot(&norms, &products) / square;
        units.iter().zip(norms).map(|(unit, norm)| length * unit / norm).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{BASE, SCALED, THREE, close, direction, weights, weights_with};

    #[test]
    fn golden_values() {
        close(&direction(&ConFig {}, BASE), &[0.158809, 2.070607, 2.070607]);
        close(&direction(&ConFig {}, THREE), &[2.979185, 0.467062, 2.809843, -0.456986]);
        close(&direction(&ConFig {}, SCALED), &[1.568019, 3.785534]);
    }

    #[test]
    fn importance_is_the_cosine() {
        let found = weights_with(&ConFig {}, BASE, &[1.0, 3.0]);
        let gramian = crate::test_fixtures::gramian(BASE);
        let cosines: Vec<f64> =
            gramian.matvec(&found).iter().zip(gramian.norms()).map(|(p, n)| p / n).collect();
        assert!((cosines[1] / cosines[0] - 3.0).abs() < 1e-9, "{cosines:?}");
    }

    #[test]
    fn gradients_that_cancel_have_no_direction() {
        assert_eq!(weights(&ConFig {}, &[&[1.0, 2.0], &[-2.0, -4.0]]), [0.0, 0.0]);
    }
}
