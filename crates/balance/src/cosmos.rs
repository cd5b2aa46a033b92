//! COSMOS: the weighted losses, and a pull towards losses in proportion to the preferences.
//!
//! Formula: minimise `<p, l> - lambda cos(p, l)`, p the preferences, so
//! `w_i = p_i - lambda (p_i / (||p|| ||l||) - <p, l> l_i / (||p|| ||l||^3))`. The cosine is over the tasks that are present.
//!
//! Weights may be negative: a loss that is small beside what its preference asks for may go up.
//!
//! Defaults: `lambda = 1`; the paper chooses one for each data set. The paper also draws p anew in every step and tells the
//! network, to learn the whole Pareto front; here p is fixed.
//!
//! Importance is the preference: `p_i = importance_i`.
//!
//! Cost: nothing. State: none.
//!
//! When to use: to hold losses of one size in a chosen proportion.
//!
//! Paper: Ruchte and Grabocka, "Scalable Pareto front approximation for deep multi-objective learning", ICDM 2021
//! (arXiv:2103.13392).

use crate::gramian::dot;
use crate::rule::{Present, Rule};
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lengths below it count as 0.
const NOTHING: f64 = 1e-12;

/// Weighted losses in a chosen proportion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cosmos {
    /// How much the proportion counts beside the sum.
    #[schemars(range(min = 0.0, max = 1000000.0))]
    pub lambda: f64,
}

impl Default for Cosmos {
    fn default() -> Self {
        Cosmos { lambda: 1.0 }
    }
}

impl Rule for Cosmos {
    const NAME: &'static str = "cosmos";
    const PREFERS: bool = true;
    type Memory = ();

    fn needs(&self) -> Needs {
        Needs::Losses
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("lambda", self.lambda, 0.0, 1e6)
    }

    fn weigh(&self, _memory: &mut (), present: &Present<'_>) -> Vec<f64> {
        let (preferred, wanted) = unit(&present.importance);
        let (actual, length) = unit(&present.losses);
        // Without a length there is no cosine to improve.
        if preferred <= NOTHING || actual <= NOTHING {
            return present.importance.clone();
        }
        let cosine = dot(&wanted, &length);
        let pull = |i: usize| {
            // What is not preferred is not trained, nor pushed up.
            if present.importance[i] == 0.0 { 0.0 } else { (wanted[i] - cosine * length[i]) / actual }
        };
        (0..present.len()).map(|i| present.importance[i] - self.lambda * pull(i)).collect()
    }
}

/// The norm, and the vector at length 1; of any size.
pub(crate) fn unit(x: &[f64]) -> (f64, Vec<f64>) {
    let largest = x.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let scaled: Vec<f64> = x.iter().map(|x| if largest > 0.0 { x / largest } else { 0.0 }).collect();
    let norm = dot(&scaled, &scaled).sqrt();
    (largest * norm, scaled.iter().map(|x| if norm > 0.0 { x / norm } else { 0.0 }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::losses_present;

    #[test]
    fn weights_are_the_gradient_of_the_objective() {
        let (preferences, losses) = ([1.0, 2.0, 0.5], [1.0, 0.7, 4.0]);
        for lambda in [0.0, 1.0, 8.0] {
            let objective = |l: &[f64; 3]| {
                let norms = dot(l, l).sqrt() * dot(&preferences, &preferences).sqrt();
                dot(&preferences, l) - lambda * dot(&preferences, l) / norms
            };
            let found = Cosmos { lambda }.weigh(&mut (), &losses_present(&losses, &preferences));
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
