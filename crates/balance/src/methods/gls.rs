//! Geometric loss strategy: the geometric mean of the losses is minimised.
//!
//! Formula: minimise `(prod_i l_i)^(1/K)`, so `w_i = GLS / (K l_i)`: all weighted losses are equal.
//!
//! Defaults: no settings. Losses below 1e-8, negative ones included, count as 1e-8.
//!
//! Importance multiplies the weight.
//!
//! Cost: none. State: none.
//!
//! When to use: losses in different units, all above 0: rescaling a loss does not change the ratios of the weighted
//! losses. Tasks that are nearly learned get large weights.
//!
//! Paper: Chennupati et al., "MultiNet++: multi-stream feature aggregation and geometric loss strategy for multi-task
//! learning", CVPR workshops 2019 (arXiv:1904.08492).

use crate::Needs;
use crate::method_impl::{ActiveTasks, MethodImpl};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lower losses count as this one.
const SMALLEST_LOSS: f64 = 1e-8;

/// The geometric mean of the losses. It has no settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gls {}

impl MethodImpl for Gls {
    const NAME: &'static str = "gls";
    type State = ();

    fn needs(&self) -> Needs {
        Needs::Losses
    }

    fn weights(&self, _state: &mut (), active: &ActiveTasks<'_>) -> Vec<f64> {
        let tasks = active.len() as f64;
        let logs: Vec<f64> = active.losses.iter().map(|loss| loss.max(SMALLEST_LOSS).ln()).collect();
        let mean = logs.iter().sum::<f64>() / tasks;
        logs.iter().map(|log| (mean - log).exp() / tasks).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{active_with_losses, close};

    /// The geometric mean of 1, 2 and 4 is 2.
    #[test]
    fn golden_values() {
        let found = Gls {}.weights(&mut (), &active_with_losses(&[1.0, 2.0, 4.0], &[1.0; 3]));
        close(&found, &[2.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0]);
        assert!((found[0] * 1.0 + found[1] * 2.0 + found[2] * 4.0 - 2.0).abs() < 1e-14);
    }
}
