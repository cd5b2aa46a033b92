//! Draws by a power of the number of rows that decreases from epoch to epoch: from proportional to nearly equal.
//!
//! Share of corpus i with n_i rows in epoch e (from 1) of E:
//!
//! ```text
//! p_i ~ n_i^alpha    with alpha = 1 - 0.8 (e - 1) / (E - 1)
//! ```
//!
//! So alpha is 1 in the first epoch and 0.2 in the last; in a run of one epoch it is 1. E is `train.epochs`, also where
//! `train.max_steps` ends the run earlier.
//!
//! Options: none. Cost: none. The shares depend on the epoch's index alone, so a resumed run draws the same.
//!
//! Use it when the large corpora should shape the trunk first, and all tasks should be trained equally towards the end,
//! so that the result is not biased to the large ones. This needs several epochs; with one or two use `sqrt`.
//!
//! Paper: Stickland and Murray, BERT and PALs: Projected Attention Layers for Efficient Adaptation in Multi-Task
//! Learning, 2019 (arXiv 1902.02671).
//!
//! Example: rows [1000, 10000, 100000] give [0.048008, 0.191122, 0.760870] in the third epoch of five.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Epoch, Sampler, power_shares};

/// The decrease of the exponent from 1 between the first and the last epoch.
const DECREASE: f64 = 0.8;

/// `[sampling.annealed]`: by size in the first epoch, nearly equally in the last. It has no options.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Annealed {}

impl Sampler for Annealed {
    fn shares(&self, epoch: &Epoch<'_>) -> Vec<f64> {
        let last = epoch.epochs.saturating_sub(1);
        // A stream may be read beyond its last epoch: the shares stay those of the last.
        let done = if last == 0 { 0.0 } else { epoch.index.min(last) as f64 / last as f64 };
        let alpha = 1.0 - DECREASE * done;
        power_shares(epoch.rows.iter().map(|&n| n as f64), alpha)
    }

    fn goes_by_epochs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{near, only};
    use super::super::{Proportional, Smoothing};
    use super::*;

    const ROWS: [usize; 3] = [1_000, 10_000, 100_000];

    fn at(index: usize, epochs: usize) -> Vec<f64> {
        Annealed {}.shares(&Epoch { index, epochs, ..only(&ROWS) })
    }

    #[test]
    fn golden_values() {
        near(&at(2, 5), &[0.048008, 0.191122, 0.760870]);
    }

    #[test]
    fn from_proportional_to_nearly_equal() {
        let by_size = Proportional {}.shares(&only(&ROWS));
        let nearly_equal = Smoothing { alpha: 0.2 }.shares(&only(&ROWS));
        for epochs in [2, 3, 10] {
            near(&at(0, epochs), &by_size);
            near(&at(epochs - 1, epochs), &nearly_equal);
            near(&at(epochs + 3, epochs), &nearly_equal);
            assert!((1..epochs).all(|index| at(index, epochs)[0] > at(index - 1, epochs)[0]));
        }
    }

    #[test]
    fn one_epoch_is_proportional() {
        near(&at(0, 1), &Proportional {}.shares(&only(&ROWS)));
    }
}
