//! IMTL: losses brought to one size (IMTL-L), then equal projections onto their gradients (IMTL-G).
//!
//! Formula: `exp(s_i) l_i` as in `imtl_l`; the direction of `imtl_g` for the gradients of those scaled losses. Equal
//! projections do not depend on the length of the gradients, so the scales decide the direction's length alone:
//! `w_i = v_i / sum_j exp(-s_j) v_j`, `v = G^+ sqrt(diag G)`.
//!
//! Weights may be negative, as those of `imtl_g`.
//!
//! Defaults: as `imtl_l` and `imtl_g`.
//!
//! Importance multiplies the weights that are found; the paper has none.
//!
//! Cost: the K gradients and an eigendecomposition of K x K numbers. State: s_i and two Adam moments a task, and a count.
//!
//! When to use: where `imtl_g`'s direction is right and its length too much under the large gradients.
//!
//! Paper: Liu et al., "Towards impartial multi-task learning", ICLR 2021.

use crate::adam::Learned;
use crate::imtl_g::equal_projections;
use crate::imtl_l::scales;
use crate::rule::{Present, Rule};
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Equal losses, and equal projections onto their gradients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Imtl {
    /// How fast the logarithms of the losses' scales move, about the change a step.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub learning_rate: f64,
}

impl Default for Imtl {
    fn default() -> Self {
        Imtl { learning_rate: 0.01 }
    }
}

impl Rule for Imtl {
    const NAME: &'static str = "imtl";
    type Memory = Vec<Learned>;

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("learning_rate", self.learning_rate, 0.0, 1.0)
    }

    fn weigh(&self, learned: &mut Vec<Learned>, present: &Present<'_>) -> Vec<f64> {
        let scales = scales(learned, present, self.learning_rate);
        equal_projections(&present.gramian, &scales)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{THREE, close, direction, fresh, gramian, present_of};
    use crate::{ImtlG, Needs};

    /// The definition: IMTL-G on the gradients of the scaled losses, times the scales.
    #[test]
    fn it_is_imtl_g_on_scaled_losses() {
        let imtl = Imtl { learning_rate: 0.5 };
        let mut learned = fresh(&imtl, 3);
        let present = present_of(THREE, &[1.0, 5.0, 0.1], &[1.0; 3]);
        close(&imtl.weigh(&mut learned, &present), &ImtlG {}.weigh(&mut (), &present));
        let scales: Vec<f64> = learned.iter().map(|l| l.value.exp()).collect();
        assert!(scales.iter().any(|scale| (scale - 1.0).abs() > 0.3), "{scales:?}");
        let scaled = gramian(THREE).scaled(&scales);
        let inner = equal_projections(&scaled, &[1.0; 3]);
        let expected: Vec<f64> = inner.iter().zip(&scales).map(|(w, scale)| w * scale).collect();
        close(&imtl.weigh(&mut learned, &present), &expected);
        assert_eq!((imtl.needs(), direction(&imtl, THREE).len()), (Needs::Gramian, 4));
    }
}
