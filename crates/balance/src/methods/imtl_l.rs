//! IMTL-L: each task learns a scale that makes its loss as large as the others.
//!
//! Formula: minimise `sum_i exp(s_i) l_i - s_i` over the model and one learned `s_i` per task, so `w_i = exp(s_i)`. The
//! gradient is `exp(s_i) l_i - 1`: s_i converges to `-ln l_i`, where every weighted loss is 1. The weight of a step is
//! computed before s_i is updated.
//!
//! Defaults: s_i starts at 0, as in LibMTL, and is updated in f64 by its own Adam (0.9, 0.999, 1e-8) with
//! `learning_rate = 0.01`; LibMTL passes it to the optimizer of the model (see `uncertainty`). s_i is clamped to -30 to
//! 30.
//!
//! Importance multiplies the weight; the updates of s_i do not depend on it.
//!
//! Cost: none. State: s_i, two Adam moments and a step count per task.
//!
//! When to use: as `uncertainty`, to which it is equivalent with s = -ln(variance), up to the factor 1/2. `imtl` also
//! balances the gradients.
//!
//! Paper: Liu et al., "Towards impartial multi-task learning", ICLR 2021.

use crate::adam::AdamScalar;
use crate::method_impl::{ActiveTasks, MethodImpl};
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Scales learned so that all losses are equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImtlL {
    /// Learning rate of the logarithms of the scales, about their change per step.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub learning_rate: f64,
}

impl Default for ImtlL {
    fn default() -> Self {
        ImtlL { learning_rate: 0.01 }
    }
}

impl MethodImpl for ImtlL {
    const NAME: &'static str = "imtl_l";
    type State = Vec<AdamScalar>;

    fn needs(&self) -> Needs {
        Needs::Losses
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("learning_rate", self.learning_rate, 0.0, 1.0)
    }

    fn weights(&self, learned: &mut Vec<AdamScalar>, active: &ActiveTasks<'_>) -> Vec<f64> {
        scales(learned, active, self.learning_rate)
    }
}

/// `exp(s_i)`, after which s is updated by one step.
pub(crate) fn scales(learned: &mut [AdamScalar], active: &ActiveTasks<'_>, learning_rate: f64) -> Vec<f64> {
    let tasks = active.indices.iter().zip(&active.losses);
    tasks
        .map(|(&task, loss)| {
            let scale = learned[task].value.exp();
            learned[task].descend(scale * loss - 1.0, learning_rate);
            scale
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{balancer, close};
    use crate::{BalancerConfig, Uncertainty};

    /// The gradients at s = 0 are 0, 1 and 3; Adam's first step is the learning rate against their signs.
    #[test]
    fn golden_values() {
        let mut imtl = balancer(&ImtlL::default(), 3);
        let losses = [1.0, 2.0, 4.0].map(Some);
        assert_eq!(imtl.weights_from_losses(&losses), [1.0, 1.0, 1.0]);
        let state = imtl.state();
        for (task, gradient) in [0.0, 1.0, 3.0].into_iter().enumerate() {
            let mean = state["state"][task]["adam"]["mean"].as_f64().expect("a number");
            assert!((mean - 0.1 * gradient).abs() < 1e-15, "{mean}");
        }
        close(&imtl.weights_from_losses(&losses), &[1.0, (-0.01f64).exp(), (-0.01f64).exp()]);
    }

    /// `IMTL-L(s) = 2 UW(-s)`: the same step by step.
    #[test]
    fn it_is_twice_uncertainty_weighting() {
        let mut imtl = balancer(&ImtlL::default(), 2);
        let method = BalancerConfig::Uncertainty(Uncertainty::default());
        let mut uncertainty = method.build(&["a", "b"], &[1.0, 1.0]).expect("valid");
        for step in 0..100 {
            let losses = [Some(0.3), Some(1.0 + f64::from(step))];
            let (ours, half) = (imtl.weights_from_losses(&losses), uncertainty.weights_from_losses(&losses));
            assert!(ours.iter().zip(half).all(|(w, h)| (w / h - 2.0).abs() < 1e-6), "step {step}");
        }
    }
}
