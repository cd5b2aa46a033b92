//! DB-MTL: logarithms of the losses, and gradients brought to the length of the longest.
//!
//! Formula: `h_i = g_i / (l_i + 1e-8)`, the gradient of `ln(l_i + 1e-8)`; `d = sum_i max_j ||h_j|| / ||h_i|| h_i`. In
//! weights: `w_i = max_j ||h_j|| / ||g_i||`. The paper also smooths the gradients over the steps, which needs a buffer of
//! K gradients; here it is left out (its beta = 0).
//!
//! Defaults: `log_losses = true`, as in the authors' code and LibMTL. Without, gradients are brought to one length as they
//! are. A loss below 0 counts as 0.
//!
//! Importance multiplies the weights that are found; the paper has none.
//!
//! Cost: the K gradients; of their Gramian only the diagonal is looked at. State: none.
//!
//! When to use: losses of very different size. All tasks then push equally hard, also those that are learned, so the
//! learning rate's schedule has to end the training.
//!
//! Paper: Lin et al., "Dual-balancing for multi-task learning", 2023 (arXiv:2308.12029).

use crate::Needs;
use crate::rule::{Present, Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps the logarithm finite.
const EPSILON: f64 = 1e-8;

/// Log-losses whose gradients are equally long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DbMtl {
    /// Whether the logarithms of the losses are taken, or the losses themselves.
    pub log_losses: bool,
}

impl Default for DbMtl {
    fn default() -> Self {
        DbMtl { log_losses: true }
    }
}

impl Rule for DbMtl {
    const NAME: &'static str = "db_mtl";
    type Memory = ();

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn weigh(&self, _memory: &mut (), present: &Present<'_>) -> Vec<f64> {
        let norms = present.gramian.norms();
        let slope = |loss: &f64| if self.log_losses { 1.0 / (loss.max(0.0) + EPSILON) } else { 1.0 };
        let lengths = norms.iter().zip(&present.losses).map(|(norm, loss)| norm * slope(loss));
        let longest = lengths.fold(0.0, f64::max);
        norms.iter().map(|norm| longest / norm).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{BASE, SCALED, THREE, close, present_of, weights};

    #[test]
    fn golden_values() {
        let plain = DbMtl { log_losses: false };
        close(&weights(&plain, BASE), &[1.452966, 1.0]);
        close(&weights(&plain, THREE), &[1.581139, 1.167748, 1.0]);
        close(&weights(&plain, SCALED), &[1.0, 14.142136]);
    }

    #[test]
    fn logarithms_decide_the_length_but_not_the_ratio() {
        let rows: &[&[f64]] = &[&[3.0, 4.0], &[0.0, 2.0]];
        // The log-gradients have norms 5 / 10 and 2 / 0.5.
        let found = DbMtl::default().weigh(&mut (), &present_of(rows, &[10.0, 0.5], &[1.0, 1.0]));
        close(&found, &[4.0 / 5.0, 4.0 / 2.0]);
    }
}
