//! Draws by the number of rows, flattened by a temperature: between proportional (1) and equal (infinite).
//!
//! Share of corpus i with n_i rows, temperature T >= 1, scale s > 0 and cap c > 0:
//!
//! ```text
//! p_i ~ min(s n_i, c)^(1/T)
//! ```
//!
//! Options: `temperature` (T, default 2: the square root of the size), `scale` (s, default 1), `cap` (c, default none:
//! the maximum size that counts). Cost: none.
//!
//! Use it when sizes differ by more than about a factor of ten: small corpora are drawn more often than in proportion
//! to their size, but less often than large ones. Start with T = 2; multilingual models often use T = 5. T = 1 with a
//! cap is the examples-proportional mixing of T5. The exponent of `smoothing` is 1/T.
//!
//! Papers: Arivazhagan et al., Massively Multilingual Neural Machine Translation in the Wild, 2019 (arXiv 1907.05019);
//! Raffel et al., Exploring the Limits of Transfer Learning, 2020, section 3.5.2 (arXiv 1910.10683).
//!
//! Example: rows [1000, 10000, 100000] give [0.070610, 0.223289, 0.706101] at T = 2 and [0.196202, 0.310960, 0.492838]
//! at T = 5.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Epoch, Sampler, check_range, power_shares};
use crate::DataError;

/// `[sampling.temperature]`: by size, flattened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Temperature {
    /// Temperature T: 1 draws by size, larger values draw small corpora more often. 2 by default.
    #[serde(default = "two")]
    #[schemars(range(min = 1.0))]
    pub temperature: f64,
    /// Factor on every size before the cap; 1 by default.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0))]
    pub scale: f64,
    /// The maximum size that counts. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub cap: Option<f64>,
}

fn two() -> f64 {
    2.0
}

fn one() -> f64 {
    1.0
}

impl Default for Temperature {
    fn default() -> Self {
        Self { temperature: two(), scale: one(), cap: None }
    }
}

impl Sampler for Temperature {
    fn shares(&self, epoch: &Epoch<'_>) -> Vec<f64> {
        let cap = self.cap.unwrap_or(f64::INFINITY);
        power_shares(epoch.rows.iter().map(|&n| (n as f64 * self.scale).min(cap)), 1.0 / self.temperature)
    }

    fn check(&self, _epochs: usize) -> Result<(), DataError> {
        check_range(
            "temperature.temperature",
            self.temperature,
            self.temperature >= 1.0,
            "a number of 1 or more",
        )?;
        check_range("temperature.scale", self.scale, self.scale > 0.0, "a number above 0")?;
        self.cap.map_or(Ok(()), |cap| check_range("temperature.cap", cap, cap > 0.0, "a number above 0"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{near, only};
    use super::*;

    #[test]
    fn golden_values() {
        let epoch = only(&[1_000, 10_000, 100_000]);
        let at = |temperature| Temperature { temperature, ..Temperature::default() }.shares(&epoch);
        near(&at(2.0), &[0.070610, 0.223289, 0.706101]);
        near(&at(5.0), &[0.196202, 0.310960, 0.492838]);
    }

    #[test]
    fn limits() {
        let epoch = only(&[1_000, 10_000, 100_000]);
        let at = |temperature| Temperature { temperature, ..Temperature::default() }.shares(&epoch);
        near(&at(1.0), &super::super::Proportional {}.shares(&epoch));
        near(&at(1e9), &super::super::Equal {}.shares(&epoch));
        let capped = Temperature { temperature: 1.0, scale: 0.5, cap: Some(5_000.0) };
        near(&capped.shares(&epoch), &[500.0 / 10_500.0, 5_000.0 / 10_500.0, 5_000.0 / 10_500.0]);
    }

    #[test]
    fn ranges() {
        for temperature in [0.5, f64::NAN, f64::INFINITY] {
            let error = Temperature { temperature, ..Temperature::default() }.check(1).unwrap_err();
            assert!(error.to_string().starts_with("sampling.temperature.temperature: found "), "{error}");
        }
        assert!(Temperature { cap: Some(0.0), ..Temperature::default() }.check(1).is_err());
        assert!(Temperature { scale: 0.0, ..Temperature::default() }.check(1).is_err());
    }
}
