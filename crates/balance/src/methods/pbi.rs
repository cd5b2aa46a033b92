//! Penalty boundary intersection: along the ray of the preferences, with a penalty for the distance to it.
//!
//! Formula: minimise `d1 + theta d2`, where `d1 = <l, p> / ||p||` is the length of the projection onto the preferences
//! p, and `d2 = ||l - d1 p / ||p|| ||` the distance to their ray; so
//! `w_i = p_i / ||p|| + theta (l_i - d1 p_i / ||p||) / d2`. On the ray, where d2 has no gradient, the second term is 0.
//!
//! Weights may be negative: a loss that is smaller than its preference asks for may increase.
//!
//! Defaults: `theta = 5`, the paper's. The ideal point is 0.
//!
//! Importance is the preference: losses converge to values in proportion to p, so a task of higher importance ends with
//! the higher loss; for a lower loss give it a lower importance. This is the paper's meaning of the weight vector.
//!
//! Cost: none. State: none.
//!
//! When to use: to reach a chosen point of the Pareto front with losses of the same scale, also where the front is not
//! convex.
//!
//! Paper: Zhang and Li, "MOEA/D: a multiobjective evolutionary algorithm based on decomposition", IEEE Transactions on
//! Evolutionary Computation 2007.

use super::cosmos::unit;
use crate::gramian::dot;
use crate::method_impl::{ActiveTasks, MethodImpl};
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A smaller distance to the ray, relative to the losses, counts as 0.
const NOTHING: f64 = 1e-12;

/// Along the ray of the preferences, with a penalty for the distance to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pbi {
    /// Weight of the distance to the ray.
    #[schemars(range(min = 0.0, max = 1000000.0))]
    pub theta: f64,
}

impl Default for Pbi {
    fn default() -> Self {
        Pbi { theta: 5.0 }
    }
}

impl MethodImpl for Pbi {
    const NAME: &'static str = "pbi";
    const USES_PREFERENCES: bool = true;
    type State = ();

    fn needs(&self) -> Needs {
        Needs::Losses
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("theta", self.theta, 0.0, 1e6)
    }

    fn weights(&self, _state: &mut (), active: &ActiveTasks<'_>) -> Vec<f64> {
        let (_, line) = unit(&active.importance);
        // The gradient of the distance depends on the losses' direction only.
        let (_, losses) = unit(&active.losses);
        let along = dot(&losses, &line);
        let (distance, away) =
            unit(&losses.iter().zip(&line).map(|(l, p)| l - along * p).collect::<Vec<_>>());
        let weight = |i: usize| match active.importance[i] {
            // What is not preferred is not trained.
            0.0 => 0.0,
            _ if distance <= NOTHING => line[i],
            _ => line[i] + self.theta * away[i],
        };
        (0..active.len()).map(weight).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::active_with_losses;

    #[test]
    fn weights_are_the_gradient_of_the_objective() {
        let (preferences, losses) = ([1.0, 2.0, 0.5], [1.0, 0.7, 4.0]);
        let line = unit(&preferences).1;
        let objective = |l: &[f64; 3]| {
            let along = dot(l, &line);
            let away: Vec<f64> = l.iter().zip(&line).map(|(l, p)| l - along * p).collect();
            along + 5.0 * dot(&away, &away).sqrt()
        };
        let found = Pbi::default().weights(&mut (), &active_with_losses(&losses, &preferences));
        for (i, weight) in found.iter().enumerate() {
            let (mut up, mut down) = (losses, losses);
            up[i] += 1e-5;
            down[i] -= 1e-5;
            let slope = (objective(&up) - objective(&down)) / 2e-5;
            assert!((slope - weight).abs() < 1e-7, "task {i}: {slope}, {weight}");
        }
    }

    #[test]
    fn on_the_line_only_the_line_counts() {
        let found = Pbi::default().weights(&mut (), &active_with_losses(&[3.0, 4.0], &[0.3, 0.4]));
        assert!((found[0] - 0.6).abs() < 1e-12 && (found[1] - 0.8).abs() < 1e-12, "{found:?}");
    }
}
