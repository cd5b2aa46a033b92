//! Geometric loss: the geometric mean of the losses is minimised.
//!
//! Formula: minimise `(prod_i l_i)^(1/K)`, so `w_i = GLS / (K l_i)`: every weighted loss is the same.
//!
//! Defaults: none to set. Losses below 1e-8, negative ones included, count as 1e-8.
//!
//! Importance multiplies the weight.
//!
//! Cost: nothing. State: none.
//!
//! When to use: losses in different units, all above 0: multiplying one by a factor changes no ratio of the weighted
//! losses. Tasks that are nearly learned get large weights.
//!
//! Paper: Chennupati et al., "MultiNet++: multi-stream feature aggregation and geometric loss strategy for multi-task
//! learning", CVPR workshops 2019 (arXiv:1904.08492).

use crate::Needs;
use crate::rule::{Present, Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Losses below it count as it.
const SMALLEST_LOSS: f64 = 1e-8;

/// The geometric mean of the losses. Nothing to set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gls {}

impl Rule for Gls {
    const NAME: &'static str = "gls";
    type Memory = ();

    fn needs(&self) -> Needs {
        Needs::Losses
    }

    fn weigh(&self, _memory: &mut (), present: &Present<'_>) -> Vec<f64> {
        let tasks = present.len() as f64;
        let logs: Vec<f64> = present.losses.iter().map(|loss| loss.max(SMALLEST_LOSS).ln()).collect();
        let mean = logs.iter().sum::<f64>() / tasks;
        logs.iter().map(|log| (mean - log).exp() / tasks).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{close, losses_present};

    /// The geometric mean of 1, 2 and 4 is 2.
    #[test]
    fn golden_values() {
        let found = Gls {}.weigh(&mut (), &losses_present(&[1.0, 2.0, 4.0], &[1.0; 3]));
        close(&found, &[2.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0]);
        assert!((found[0] * 1.0 + found[1] * 2.0 + found[2] * 4.0 - 2.0).abs() < 1e-14);
    }
}
