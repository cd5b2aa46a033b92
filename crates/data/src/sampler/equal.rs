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
//! An epoch has as many draws as all corpora have rows, so a small corpus is gone through several times an epoch (in a new
//! order each time) and a large one only in part; its next epoch goes on where it stopped. Use it when every task matters
//! alike and the small corpora do not overfit; else `temperature` lies between this and `proportional`.
//!
//! Example: rows [1000, 10000, 100000] give [1/3, 1/3, 1/3].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Epoch, Sampler, normalized};

/// `[sampling.equal]`: every corpus equally often. It has no options.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Equal {}

impl Sampler for Equal {
    fn shares(&self, epoch: &Epoch<'_>) -> Vec<f64> {
        normalized(epoch.rows.iter().map(|&n| if n > 0 { 1.0 } else { 0.0 }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::only;
    use super::*;

    #[test]
    fn among_those_that_have_rows() {
        assert_eq!(Equal {}.shares(&only(&[1, 0, 300])), [0.5, 0.0, 0.5]);
    }
}
