//! Draws every corpus equally often, however large it is.
//!
//! Share of corpus i of c corpora that have rows:
//!
//! ```text
//! p_i = 1 / c
//! ```
//!
//! Options: none. Cost: none.
//!
//! An epoch has as many draws as all corpora have rows, so an epoch makes several passes over a small corpus (each in a
//! new order) and less than one over a large corpus; the next epoch continues where it stopped. Use it when all tasks
//! are equally important and the small corpora do not overfit; otherwise `temperature` lies between this and
//! `proportional`.
//!
//! Example: rows [1000, 10000, 100000] give [1/3, 1/3, 1/3].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Epoch, Sampler, power_shares};

/// `[sampling.equal]`: every corpus equally often. It has no options.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Equal {}

impl Sampler for Equal {
    fn shares(&self, epoch: &Epoch<'_>) -> Vec<f64> {
        power_shares(epoch.rows.iter().map(|&n| n as f64), 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::only;
    use super::*;

    #[test]
    fn among_the_corpora_that_have_rows() {
        assert_eq!(Equal {}.shares(&only(&[1, 0, 300])), [0.5, 0.0, 0.5]);
    }
}
