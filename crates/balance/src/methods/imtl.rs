//! IMTL: losses scaled to the same size (IMTL-L), then equal projections onto their gradients (IMTL-G).
//!
//! Formula: `exp(s_i) l_i` as in `imtl_l`; the direction of `imtl_g` for the gradients of the scaled losses. Equal
//! projections do not depend on the norms of the gradients, so the scales determine the norm of the direction only:
//! `w_i = v_i / sum_j exp(-s_j) v_j`, `v = G^+ sqrt(diag G)`.
//!
//! Weights may be negative, as in `imtl_g`.
//!
//! Defaults: as `imtl_l` and `imtl_g`.
//!
//! Importance multiplies the weights; the paper has none.
//!
//! Cost: the K task gradients and an eigendecomposition of K x K numbers. State: s_i, two Adam moments and a step count
//! per task.
//!
//! When to use: where the direction of `imtl_g` is right, but its norm depends too much on the large gradients.
//!
//! Paper: Liu et al., "Towards impartial multi-task learning", ICLR 2021.

use super::imtl_g::equal_projections;
use super::imtl_l::scales;
use crate::adam::AdamScalar;
use crate::method_impl::{ActiveTasks, MethodImpl};
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Equal losses, and equal projections onto their gradients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Imtl {
    /// Learning rate of the logarithms of the scales, about their change per step.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub learning_rate: f64,
}

impl Default for Imtl {
    fn default() -> Self {
        Imtl { learning_rate: 0.01 }
    }
}

impl MethodImpl for Imtl {
    const NAME: &'static str = "imtl";
    type State = Vec<AdamScalar>;

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("learning_rate", self.learning_rate, 0.0, 1.0)
    }

    fn weights(&self, learned: &mut Vec<AdamScalar>, active: &ActiveTasks<'_>) -> Vec<f64> {
        let scales = scales(learned, active, self.learning_rate);
        equal_projections(&active.gramian, &scales)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{THREE, active_tasks, close, direction, gramian, initial};
    use crate::{ImtlG, Needs};

    /// The definition: IMTL-G on the gradients of the scaled losses, times the scales.
    #[test]
    fn it_is_imtl_g_on_scaled_losses() {
        let imtl = Imtl { learning_rate: 0.5 };
        let mut learned = initial(&imtl, 3);
        let active = active_tasks(THREE, &[1.0, 5.0, 0.1], &[1.0; 3]);
        close(&imtl.weights(&mut learned, &active), &ImtlG {}.weights(&mut (), &active));
        let scales: Vec<f64> = learned.iter().map(|l| l.value.exp()).collect();
        assert!(scales.iter().any(|scale| (scale - 1.0).abs() > 0.3), "{scales:?}");
        let scaled = gramian(THREE).scaled(&scales);
        let inner = equal_projections(&scaled, &[1.0; 3]);
        let expected: Vec<f64> = inner.iter().zip(&scales).map(|(w, scale)| w * scale).collect();
        close(&imtl.weights(&mut learned, &active), &expected);
        assert_eq!((imtl.needs(), direction(&imtl, THREE).len()), (Needs::Gramian, 4));
    }
}
