//! COSMOS: the weighted sum of the losses, with a reward for losses in proportion to the preferences.
//!
//! Formula: minimise `<p, l> - lambda cos(p, l)`, where p are the preferences, so
//! `w_i = p_i - lambda (p_i / (||p|| ||l||) - <p, l> l_i / (||p|| ||l||^3))`. The cosine is over the tasks with labels
//! in the step.
//!
//! Weights may be negative: a loss that is smaller than its preference asks for may increase.
//!
//! Defaults: `lambda = 1`; the paper chooses one for each data set. The paper also samples p in every step and feeds it
//! to the network, to learn the whole Pareto front; here p is fixed.
//!
//! Importance is the preference: `p_i = importance_i`.
//!
//! Cost: none. State: none.
//!
//! When to use: to keep losses of the same scale in a chosen proportion.
//!
//! Paper: Ruchte and Grabocka, "Scalable Pareto front approximation for deep multi-objective learning", ICDM 2021
//! (arXiv:2103.13392).

use crate::gramian::dot;
use crate::method_impl::{ActiveTasks, MethodImpl};
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Norms below it count as 0.
const NOTHING: f64 = 1e-12;

/// Weighted losses in a chosen proportion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cosmos {
    /// Weight of the cosine term against the weighted sum.
    #[schemars(range(min = 0.0, max = 1000000.0))]
    pub lambda: f64,
}

impl Default for Cosmos {
    fn default() -> Self {
        Cosmos { lambda: 1.0 }
    }
}

impl MethodImpl for Cosmos {
    const NAME: &'static str = "cosmos";
    const USES_PREFERENCES: bool = true;
    type State = ();

    fn needs(&self) -> Needs {
        Needs::Losses
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("lambda", self.lambda, 0.0, 1e6)
    }

    fn weights(&self, _state: &mut (), active: &ActiveTasks<'_>) -> Vec<f64> {
        let (preferred, wanted) = unit(&active.importance);
        let (actual, length) = unit(&active.losses);
        // Without a length there is no cosine to improve.
        if preferred <= NOTHING || actual <= NOTHING {
            return active.importance.clone();
        }
        let cosine = dot(&wanted, &length);
        let pull = |i: usize| {
            // What is not preferred is not trained, nor pushed up.
            if active.importance[i] == 0.0 { 0.0 } else { (wanted[i] - cosine * length[i]) / actual }
        };
        (0..active.len()).map(|i| active.importance[i] - self.lambda * pull(i)).collect()
    }
}

/// The norm and the normalized vector, for vectors of any size.
pub(crate) fn unit(x: &[f64]) -> (f64, Vec<f64>) {
    let largest = x.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let scaled: Vec<f64> = x.iter().map(|x| if largest > 0.0 { x / largest } else { 0.0 }).collect();
    let norm = dot(&scaled, &scaled).sqrt();
    (largest * norm, scaled.iter().map(|x| if norm > 0.0 { x / norm } else { 0.0 }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::active_with_losses;

    #[test]
    fn weights_are_the_gradient_of_the_objective() {
        let (preferences, losses) = ([1.0, 2.0, 0.5], [1.0, 0.7, 4.0]);
        for lambda in [0.0, 1.0, 8.0] {
            let objective = |l: &[f64; 3]| {
                let norms = dot(l, l).sqrt() * dot(&preferences, &preferences).sqrt();
                dot(&preferences, l) - lambda * dot(&preferences, l) / norms
            };
            let found = Cosmos { lambda }.weights(&mut (), &active_with_losses(&losses, &preferences));
            for (i, weight) in found.iter().enumerate() {
                let (mut up, mut down) = (losses, losses);
                up[i] += 1e-5;
                down[i] -= 1e-5;
                let slope = (objective(&up) - objective(&down)) / 2e-5;
                assert!((slope - weight).abs() < 1e-8, "lambda {lambda}, task {i}: {slope}, {weight}");
            }
        }
    }
}
