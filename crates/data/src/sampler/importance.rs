//! Draws by the importance of a corpus's tasks, and optionally by its size.
//!
//! Share of corpus i with n_i rows, w_i the sum of `importance` over its tasks, exponent alpha from 0 to 1:
//!
//! ```text
//! p_i ~ w_i n_i^alpha
//! ```
//!
//! Options: `alpha` (default 0: the size does not matter). Errors: an alpha outside 0 to 1. Cost: none.
//!
//! A corpus whose tasks all have importance 0 is never drawn. Importance still multiplies the loss: a task of
//! importance 2 is then drawn more often, and its loss also counts twice in each step.
//!
//! Use it when the important tasks have small corpora, or when a corpus is annotated for several tasks and should be
//! drawn accordingly. Where all importances are equal and each corpus has one task, it is `equal` (alpha = 0) or
//! `smoothing`.
//!
//! Example: rows [1000, 10000, 100000] and importance [2, 1, 1] give [0.5, 0.25, 0.25] at alpha = 0 and [0.131906,
//! 0.208562, 0.659532] at alpha = 0.5.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Epoch, Sampler, check_range, normalized, power};
use crate::DataError;

/// `[sampling.importance]`: by the tasks' importance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Importance {
    /// Exponent of the size: 0, the default, ignores the size, 1 is proportional to it.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub alpha: f64,
}

impl Sampler for Importance {
    fn shares(&self, epoch: &Epoch<'_>) -> Vec<f64> {
        let corpora = epoch.rows.iter().zip(epoch.importance);
        normalized(corpora.map(|(&n, importance)| importance * power(n as f64, self.alpha)).collect())
    }

    fn check(&self, _epochs: usize) -> Result<(), DataError> {
        let good = (0.0..=1.0).contains(&self.alpha);
        check_range("importance.alpha", self.alpha, good, "a number from 0 to 1")
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
        let error = Importance { alpha: 2.0 }.check(1).unwrap_err().to_string();
        assert_eq!(error, "sampling.importance.alpha: found 2, expected a number from 0 to 1");
    }
}
