//! FairGrad: alpha-fair decreases of the losses, from the largest sum to the best for the worst-off task.
//!
//! Formula: the weights w with `(G w)_i = w_i^(-1/alpha)`, `w > 0`: `d = J^T w` maximises the sum of the utilities
//! `x^(1 - alpha) / (1 - alpha)` (at 1: `ln x`) of the decreases. Near 0 all weights become 1; alpha = 1 is Nash-MTL
//! without scaling down the norm; large alphas maximise the smallest decrease.
//!
//! Defaults: `alpha = 1`, LibMTL's. The solution is exact for every alpha (Newton's method along a path from 1); the
//! libraries use least squares from random starts.
//!
//! Importance multiplies the weights; the paper has none.
//!
//! Cost: the K task gradients and some tens of systems of K equations; a few hundred where an alpha near
//! the ends of its range meets gradients of very different length. State: none.
//!
//! When to use: to choose between total and even progress by one number. The norm of the direction is that of the
//! gradients to the power of `(1 - alpha) / (1 + alpha)`: at 1 it is always sqrt(K).
//!
//! Paper: Ban and Ji, "Fair resource allocation in multi-task learning", ICML 2024 (arXiv:2402.15638).

use crate::method_impl::{ActiveTasks, MethodImpl};
use crate::{BalanceError, Needs, solve};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Alpha-fair decreases of the losses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FairGrad {
    /// Degree of fairness: 1 is proportional fairness, larger values favour the worst-off task.
    #[schemars(range(min = 0.1, max = 20.0))]
    pub alpha: f64,
}

impl Default for FairGrad {
    fn default() -> Self {
        FairGrad { alpha: 1.0 }
    }
}

impl MethodImpl for FairGrad {
    const NAME: &'static str = "fairgrad";
    type State = ();

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("alpha", self.alpha, 0.1, 20.0)
    }

    fn weights(&self, _state: &mut (), active: &ActiveTasks<'_>) -> Vec<f64> {
        // With all gradients s times as long, weights are s^(-2 alpha / (1 + alpha)) times as large.
        let unit = active.scale.powf(-2.0 * self.alpha / (1.0 + self.alpha));
        solve::nash_bargaining(&active.gramian, self.alpha).iter().map(|weight| weight * unit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{BASE, SCALED, THREE, close, weights};

    #[test]
    fn golden_values() {
        let check = |alpha: f64, base: &[f64], three: &[f64], scaled: &[f64]| {
            close(&weights(&FairGrad { alpha }, BASE), base);
            close(&weights(&FairGrad { alpha }, THREE), three);
            close(&weights(&FairGrad { alpha }, SCALED), scaled);
        };
        check(0.5, &[0.742828, 0.525393], &[0.70326, 0.460826, 0.53169], &[0.279, 3.01065]);
        check(1.0, &[0.591461, 0.407071], &[0.572063, 0.311981, 0.399261], &[0.184776, 2.613126]);
        check(2.0, &[0.471363, 0.319454], &[0.462684, 0.211007, 0.303395], &[0.16725, 2.855963]);
        check(5.0, &[0.375942, 0.25231], &[0.373078, 0.142589, 0.232616], &[0.184529, 3.410145]);
    }
}
