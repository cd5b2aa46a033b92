//! IMTL-L: each task learns the scale at which its loss is as large as the others.
//!
//! Formula: minimise `sum_i exp(s_i) l_i - s_i` over the model and over one learned `s_i` a task, so `w_i = exp(s_i)`. The
//! gradient is `exp(s_i) l_i - 1`: s_i goes towards `-ln l_i`, where every weighted loss is 1. The weight of a step is the
//! one before s_i moves.
//!
//! Defaults: s_i starts at 0, as in LibMTL, and is moved in f64 by an Adam of its own (0.9, 0.999, 1e-8) with
//! `learning_rate = 0.01`; LibMTL hands it to the model's optimizer (see `uncertainty`). s_i stays within -30 to 30.
//!
//! Importance multiplies the weight; what s_i learns does not depend on it.
//!
//! Cost: nothing. State: s_i and two Adam moments a task, and a count.
//!
//! When to use: as `uncertainty`, which is the same with s = -ln(variance) but for the factor 1/2. `imtl` adds the balance
//! of the gradients.
//!
//! Paper: Liu et al., "Towards impartial multi-task learning", ICLR 2021.

use crate::adam::Learned;
use crate::rule::{Present, Rule};
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Scales learned so that all losses are equally large.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImtlL {
    /// How fast the logarithms of the scales move, about the change a step.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub learning_rate: f64,
}

impl Default for ImtlL {
    fn default() -> Self {
        ImtlL { learning_rate: 0.01 }
    }
}

impl Rule for ImtlL {
    const NAME: &'static str = "imtl_l";
    type Memory = Vec<Learned>;

    fn needs(&self) -> Needs {
        Needs::Losses
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("learning_rate", self.learning_rate, 0.0, 1.0)
    }

    fn weigh(&self, learned: &mut Vec<Learned>, present: &Present<'_>) -> Vec<f64> {
        scales(learned, present, self.learning_rate)
    }
}

/// `exp(s_i)`, after which s moves by one step.
pub(crate) fn scales(learned: &mut [Learned], present: &Present<'_>, learning_rate: f64) -> Vec<f64> {
    let tasks = present.at.iter().zip(&present.losses);
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
    use crate::golden::{balancer, close};
    use crate::{Balancing, Uncertainty};

    /// The gradients at s = 0 are 0, 1 and 3; Adam's first step is the learning rate against their signs.
    #[test]
    fn golden_values() {
        let mut imtl = balancer(&ImtlL::default(), 3);
        let losses = [1.0, 2.0, 4.0].map(Some);
        assert_eq!(imtl.weights(&losses), [1.0, 1.0, 1.0]);
        let state = imtl.state();
        for (task, gradient) in [0.0, 1.0, 3.0].into_iter().enumerate() {
            let mean = state["memory"][task]["adam"]["mean"].as_f64().expect("a number");
            assert!((mean - 0.1 * gradient).abs() < 1e-15, "{mean}");
        }
        close(&imtl.weights(&losses), &[1.0, (-0.01f64).exp(), (-0.01f64).exp()]);
    }

    /// `IMTL-L(s) = 2 UW(-s)`: the same step by step.
    #[test]
    fn it_is_twice_uncertainty_weighting() {
        let mut imtl = balancer(&ImtlL::default(), 2);
        let method = Balancing::Uncertainty(Uncertainty::default());
        let mut uncertainty = method.build(&["a", "b"], &[1.0, 1.0]).expect("valid");
        for step in 0..100 {
            let losses = [Some(0.3), Some(1.0 + f64::from(step))];
            let (ours, half) = (imtl.weights(&losses), uncertainty.weights(&losses));
            assert!(ours.iter().zip(half).all(|(w, h)| (w / h - 2.0).abs() < 1e-6), "step {step}");
        }
    }
}
