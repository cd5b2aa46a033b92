//! ConFIG: the direction whose cosines with all gradients are equal, as long as the gradients' projections onto it.
//!
//! Formula: U the gradients at length 1, `v = U^+ 1`; the direction is `v / ||v||`, its length `sum_i <g_i, v> / ||v||`. In
//! weights, with H the cosines: `c = H^+ 1`, `w_i = length c_i / (||g_i|| ||v||)`. Where gradients cancel, v and all weights
//! are 0.
//!
//! Weights may be negative where gradients are nearly parallel.
//!
//! Defaults: none to set. Eigenvalues of H below 1e-10 of the largest count as 0.
//!
//! Importance takes the place of the 1 (TorchJD's preference vector): the cosine with a task's gradient is in proportion
//! to its importance.
//!
//! Cost: the K gradients and an eigendecomposition of K x K numbers. State: none.
//!
//! When to use: conflicts between losses of different size, as in physics-informed networks: no loss goes up while the
//! gradients are independent, whatever their sizes.
//!
//! Paper: Liu et al., "ConFIG: towards conflict-free training of physics informed neural networks", ICLR 2025
//! (arXiv:2408.11104).

use crate::Needs;
use crate::gramian::dot;
use crate::imtl_g::towards;
use crate::rule::{Present, Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Squared lengths below this count as 0; the numbers they come from are about 1.
const NOTHING: f64 = 1e-20;

/// Equal cosines with all gradients. Nothing to set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConFig {}

impl Rule for ConFig {
    const NAME: &'static str = "config";
    const PREFERS: bool = true;
    type Memory = ();

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn weigh(&self, _memory: &mut (), present: &Present<'_>) -> Vec<f64> {
        let largest = present.importance.iter().copied().fold(0.0, f64::max);
        let aims: Vec<f64> = present.importance.iter().map(|importance| importance / largest).collect();
        let units = towards(&present.gramian, &aims);
        let products = present.gramian.of_units().times(&units);
        let square = dot(&units, &products);
        if square <= NOTHING {
            return vec![0.0; present.len()];
        }
        let norms = present.gramian.norms();
        let length = dot(&norms, &products) / square;
        units.iter().zip(norms).map(|(unit, norm)| length * unit / norm).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{BASE, SCALED, THREE, close, direction, weights, weights_with};

    #[test]
    fn golden_values() {
        close(&direction(&ConFig {}, BASE), &[0.158809, 2.070607, 2.070607]);
        close(&direction(&ConFig {}, THREE), &[2.979185, 0.467062, 2.809843, -0.456986]);
        close(&direction(&ConFig {}, SCALED), &[1.568019, 3.785534]);
    }

    #[test]
    fn importance_is_the_cosine() {
        let found = weights_with(&ConFig {}, BASE, &[1.0, 3.0]);
        let gramian = crate::golden::gramian(BASE);
        let cosines: Vec<f64> =
            gramian.times(&found).iter().zip(gramian.norms()).map(|(p, n)| p / n).collect();
        assert!((cosines[1] / cosines[0] - 3.0).abs() < 1e-9, "{cosines:?}");
    }

    #[test]
    fn gradients_that_cancel_have_no_direction() {
        assert_eq!(weights(&ConFig {}, &[&[1.0, 2.0], &[-2.0, -4.0]]), [0.0, 0.0]);
    }
}
