//! Draws by a power of the number of rows: from equal (0) to proportional (1).
//!
//! Share of corpus i with n_i rows, exponent alpha from 0 to 1:
//!
//! ```text
//! p_i ~ n_i^alpha
//! ```
//!
//! Options: `alpha` (default 0.5: the square root of the size). Errors: an alpha outside 0 to 1. Cost: none.
//!
//! Use it to reproduce a setting that is given as an exponent, as for multilingual models and in MaChAmp; `temperature`
//! is the same with T = 1/alpha, and has a cap.
//!
//! Paper: van der Goot et al., Massive Choice, Ample Tasks (MaChAmp): A Toolkit for Multi-task Learning in NLP, 2021
//! (arXiv 2005.14672).
//!
//! Example: rows [1000, 10000, 100000] give [0.070610, 0.223289, 0.706101] at alpha = 0.5 and [0.196202, 0.310960,
//! 0.492838] at alpha = 0.2.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Epoch, Sampler, check_range, power_shares};
use crate::DataError;

/// `[sampling.smoothing]`: by a power of the size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Smoothing {
    /// Exponent of the size: 1 draws by size, 0 every corpus equally often. 0.5 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub alpha: f64,
}

impl Default for Smoothing {
    fn default() -> Self {
        Self { alpha: 0.5 }
    }
}

impl Sampler for Smoothing {
    fn shares(&self, epoch: &Epoch<'_>) -> Vec<f64> {
        power_shares(epoch.rows.iter().map(|&n| n as f64), self.alpha)
    }

    fn check(&self, _epochs: usize) -> Result<(), DataError> {
        let good = (0.0..=1.0).contains(&self.alpha);
        check_range("smoothing.alpha", self.alpha, good, "a number from 0 to 1")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{near, only};
    use super::super::{Equal, Proportional};
    use super::*;

    #[test]
    fn golden_values() {
        let at = |alpha| Smoothing { alpha }.shares(&only(&[1_000, 10_000, 100_000]));
        near(&at(0.5), &[0.070610, 0.223289, 0.706101]);
        near(&at(0.2), &[0.196202, 0.310960, 0.492838]);
    }

    #[test]
    fn limits() {
        let epoch = only(&[7, 0, 3, 1_000]);
        near(&Smoothing { alpha: 1.0 }.shares(&epoch), &Proportional {}.shares(&epoch));
        near(&Smoothing { alpha: 0.0 }.shares(&epoch), &Equal {}.shares(&epoch));
    }

    #[test]
    fn ranges() {
        for alpha in [-0.1, 1.1, f64::NAN] {
            let error = Smoothing { alpha }.check(1).unwrap_err().to_string();
            assert!(error.starts_with("sampling.smoothing.alpha: found "), "{error}");
        }
    }
}
