//! Draws by what the tasks of a corpus count, and not, or not only, by its size.
//!
//! Share of corpus i with n_i rows, w_i the sum of `importance` over its tasks, exponent alpha from 0 to 1:
//!
//! ```text
//! p_i ~ w_i n_i^alpha
//! ```
//!
//! Options: `alpha` (default 0: the size does not matter). Errors: an alpha outside 0 to 1. Cost: none.
//!
//! A corpus whose tasks all have importance 0 is never drawn. Importance keeps its place in the loss: a task of importance 2
//! is then seen more often, and counts double in each step where it is seen.
//!
//! Use it when the tasks that matter have the small corpora, or when a corpus is annotated for several tasks and should be
//! drawn accordingly. Where all importances are equal and each corpus has one task it is `equal`, or `smoothing`.
//!
//! Example: rows [1000, 10000, 100000] and importance [2, 1, 1] give [0.5, 0.25, 0.25] at alpha = 0 and [0.131906, 0.208562,
//! 0.659532] at alpha = 0.5.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Epoch, Sampler, normalized, power, within};
use crate::DataError;

/// `[sampling.importance]`: by the tasks' importance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Importance {
    /// The exponent of the size: 0, the default, leaves size out, 1 counts every row.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub alpha: f64,
}

impl Importance {
    /// Checks the exponent's range.
    ///
    /// # Errors
    /// An exponent outside 0 to 1.
    pub fn check(&self) -> Result<(), DataError> {
        let good = (0.0..=1.0).contains(&self.alpha);
        within("importance.alpha", self.alpha, good, "a number from 0 to 1")
    }
}

impl Sampler for Importance {
    fn shares(&self, epoch: &Epoch<'_>) -> Vec<f64> {
        let corpora = epoch.rows.iter().zip(epoch.importance);
        normalized(corpora.map(|(&n, importance)| importance * power(n, self.alpha)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{near, only};
    use super::*;

    fn at(alpha: f64, importance: &[f64]) -> Vec<f64> {
        Importance { alpha }.shares(&Epoch { importance, ..only(&[1_000, 10_000, 100_000]) })
    }

    #[test]
    fn by_importance_and_size() {
        near(&at(0.0, &[2.0, 1.0, 1.0]), &[0.5, 0.25, 0.25]);
        near(&at(0.5, &[2.0, 1.0, 1.0]), &[0.131906, 0.208562, 0.659532]);
        near(&at(1.0, &[100.0, 10.0, 1.0]), &[1.0 / 3.0; 3]);
    }

    #[test]
    fn without_importance_a_corpus_is_not_drawn() {
        near(&at(0.0, &[0.0, 1.0, 3.0]), &[0.0, 0.25, 0.75]);
        near(&at(0.5, &[0.0; 3]), &[0.0; 3]);
    }

    #[test]
    fn ranges() {
        let error = Importance { alpha: 2.0 }.check().unwrap_err().to_string();
        assert_eq!(error, "sampling.importance.alpha: found 2, expected a number from 0 to 1");
    }
}
