//! Draws every corpus by its number of rows: each row once an epoch.
//!
//! Share of corpus i of c corpora with n_i rows:
//!
//! ```text
//! p_i = n_i / (n_1 + ... + n_c)
//! ```
//!
//! Options: none. Cost: none.
//!
//! Use it when the corpora are of similar size, or when all rows are equally important. Where one corpus is many times
//! larger than another, the small one is rarely drawn: see `temperature` and `equal`.
//!
//! Example: rows [1000, 10000, 100000] give [0.009009, 0.090090, 0.900901].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Epoch, Sampler, power_shares};

/// `[sampling.proportional]`: every row once an epoch. It has no options.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proportional {}

impl Sampler for Proportional {
    fn shares(&self, epoch: &Epoch<'_>) -> Vec<f64> {
        power_shares(epoch.rows.iter().map(|&n| n as f64), 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::only;
    use super::*;

    #[test]
    fn by_rows() {
        assert_eq!(Proportional {}.shares(&only(&[1, 3])), [0.25, 0.75]);
    }
}
