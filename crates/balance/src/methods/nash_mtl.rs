//! Nash-MTL: the Nash bargaining solution over the update direction.
//!
//! Formula: the weights a with `G a = 1 / a`, `a > 0`: they maximise the product of the decreases `<d, g_i>` over all
//! directions of one norm (the Nash bargaining solution). Then `d = J^T a` is scaled down to `max_norm` if it is
//! longer. At the solution its norm is sqrt(K), so with the default every direction has norm 1.
//!
//! Defaults: `max_norm = 1`, and the equations are solved in every step, as in the authors' code for the toy problem.
//! The solution is exact (Newton's method); the libraries stop after 20 convex-concave steps.
//!
//! Importance multiplies the weights; the paper has none.
//!
//! Cost: the K task gradients and about ten systems of K equations. State: none.
//!
//! When to use: losses of different scale or unit: a loss multiplied by s gets a weight divided by s, and nothing else
//! changes. Where gradients cancel there is no solution; the weights are then large and the direction is short.
//!
//! Paper: Navon et al., "Multi-task learning as a bargaining game", ICML 2022 (arXiv:2202.01017).

use crate::method_impl::{ActiveTasks, MethodImpl};
use crate::{BalanceError, Needs, solve};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Nash bargaining solution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NashMtl {
    /// Maximum norm of the direction; a longer one is scaled down to it.
    #[schemars(range(min = 0.000001, max = 1000000.0))]
    pub max_norm: f64,
}

impl Default for NashMtl {
    fn default() -> Self {
        NashMtl { max_norm: 1.0 }
    }
}

impl MethodImpl for NashMtl {
    const NAME: &'static str = "nash_mtl";
    type State = ();

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("max_norm", self.max_norm, 1e-6, 1e6)
    }

    fn weights(&self, _state: &mut (), active: &ActiveTasks<'_>) -> Vec<f64> {
        let weights = solve::nash_bargaining(&active.gramian, 1.0);
        let norm = active.gramian.quadratic_form(&weights).sqrt();
        let shrink = if norm > self.max_norm { self.max_norm / norm } else { 1.0 };
        weights.iter().map(|weight| weight * shrink / active.scale).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{BASE, SCALED, THREE, close, weights};

    #[test]
    fn golden_values() {
        let free = NashMtl { max_norm: 100.0 };
        close(&weights(&free, BASE), &[0.591461, 0.407071]);
        close(&weights(&free, THREE), &[0.572063, 0.311981, 0.399261]);
        close(&weights(&free, SCALED), &[0.184776, 2.613126]);
        close(&weights(&NashMtl::default(), BASE), &[0.418226, 0.287843]);
        close(&weights(&NashMtl::default(), THREE), &[0.330281, 0.180122, 0.230513]);
        close(&weights(&NashMtl::default(), SCALED), &[0.130656, 1.847759]);
    }

    #[test]
    fn a_loss_in_another_unit_changes_nothing_else() {
        let plain = weights(&NashMtl::default(), &[&[1.0, 2.0], &[-1.0, 1.0]]);
        let other = weights(&NashMtl::default(), &[&[1e6, 2e6], &[-1.0, 1.0]]);
        assert!((other[0] * 1e6 / plain[0] - 1.0).abs() < 1e-12 && (other[1] / plain[1] - 1.0).abs() < 1e-12);
    }
}
