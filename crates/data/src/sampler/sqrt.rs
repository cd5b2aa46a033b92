//! Draws by the square root of the number of rows: halfway between proportional and equal.
//!
//! Share of corpus i with n_i rows:
//!
//! ```text
//! p_i ~ n_i^(1/2)
//! ```
//!
//! Options: none. Cost: none.
//!
//! A corpus that is a hundred times larger is drawn ten times as often. Use it first when sizes differ by more than
//! about a factor of ten. It is `temperature` at T = 2 and `smoothing` at alpha = 0.5, without a hyperparameter.
//!
//! Example: rows [1000, 10000, 100000] give [0.070610, 0.223289, 0.706101].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Epoch, Sampler, normalized};

/// `[sampling.sqrt]`: by the square root of the size. It has no options.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sqrt {}

impl Sampler for Sqrt {
    fn shares(&self, epoch: &Epoch<'_>) -> Vec<f64> {
        // Not `powf(0.5)`, whose last bit may differ.
        normalized(epoch.rows.iter().map(|&n| (n as f64).sqrt()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{near, only};
    use super::*;

    #[test]
    fn golden_values() {
        near(&Sqrt {}.shares(&only(&[1_000, 10_000, 100_000])), &[0.070610, 0.223289, 0.706101]);
    }
}
