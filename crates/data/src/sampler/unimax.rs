//! Draws every corpus equally often, but makes at most N passes over each in the run.
//!
//! A budget B of draws is divided among the corpora in ascending order of size. With `left` draws left for `remaining`
//! corpora, corpus i with n_i rows gets
//!
//! ```text
//! u_i = min(left / remaining, N n_i)    and    p_i = u_i / (u_1 + ... + u_c)
//! ```
//!
//! Options: `epochs` (N, default 10: the maximum number of passes over a corpus), `budget` (B, in rows, default the
//! draws of the whole run, `train.epochs` times all rows; set it where `train.max_steps` ends the run much earlier).
//! Errors: a number below 1; without a budget, an N that is not above `train.epochs`, because then every corpus would
//! be limited to the same N and drawn by its size. A budget that is larger than N times all rows has that effect, too.
//! Cost: none.
//!
//! The paper's budget is in characters, this one in rows, since rows are drawn. With a budget in tokens, equal parts of
//! it would not be equal numbers of draws, and N would not be the number of passes that `polytask check` shows.
//!
//! Use it when some corpora are so small that `equal` or a high temperature would overfit them: large ones are drawn
//! equally often, small ones up to the limit, whatever the sizes are.
//!
//! Paper: Chung et al., UniMax: Fairer and more Effective Language Sampling for Large-Scale Multilingual Pretraining,
//! ICLR 2023 (arXiv 2304.09151).
//!
//! Example: rows [1000, 10000, 100000], 3 epochs and N = 10 give [0.030030, 0.300300, 0.669670]: in the run 10, 10 and
//! 2.2 passes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Epoch, Sampler, check_range, normalized};
use crate::DataError;

/// `[sampling.unimax]`: equally often, with a maximum number of passes over each corpus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UniMax {
    /// The maximum number of passes of the run over a corpus; 10 by default. More than `train.epochs`, unless there is a budget.
    #[schemars(range(min = 1.0))]
    pub epochs: f64,
    /// How many rows are drawn in the whole run. Default: `train.epochs` times all rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1.0))]
    pub budget: Option<f64>,
}

impl Default for UniMax {
    fn default() -> Self {
        Self { epochs: 10.0, budget: None }
    }
}

impl Sampler for UniMax {
    fn shares(&self, epoch: &Epoch<'_>) -> Vec<f64> {
        let mut most: Vec<f64> = epoch.rows.iter().map(|&n| n as f64 * self.epochs).collect();
        let all: f64 = epoch.rows.iter().map(|&n| n as f64).sum();
        let level = level(&most, self.budget.unwrap_or(all * epoch.epochs as f64));
        most.iter_mut().for_each(|most| *most = most.min(level));
        normalized(most)
    }

    fn check(&self, epochs: usize) -> Result<(), DataError> {
        let one = "a number of 1 or more";
        check_range("unimax.epochs", self.epochs, self.epochs >= 1.0, one)?;
        match self.budget {
            Some(budget) => check_range("unimax.budget", budget, budget >= 1.0, one),
            None => {
                let expected = format!(
                    "more than the {epochs} of train.epochs, or every corpus is drawn by its size; or give sampling.unimax.budget"
                );
                check_range("unimax.epochs", self.epochs, self.epochs > epochs as f64, &expected)
            }
        }
    }

    fn goes_by_epochs(&self) -> bool {
        self.budget.is_none()
    }
}

/// The draws of every corpus that is not limited by its maximum: from the first corpus on whose maximum is above an equal part of
/// the remaining budget, all get this part. Infinite where every corpus is limited.
fn level(most: &[f64], budget: f64) -> f64 {
    let mut ascending = most.to_vec();
    ascending.sort_by(f64::total_cmp);
    let mut left = budget;
    for (i, most) in ascending.iter().enumerate() {
        let even = left / (ascending.len() - i) as f64;
        if even <= *most {
            return even;
        }
        left -= most;
    }
    f64::INFINITY
}

#[cfg(test)]
mod tests {
    use super::super::tests::{near, only};
    use super::super::{Equal, Proportional};
    use super::*;

    const ROWS: [usize; 3] = [1_000, 10_000, 100_000];

    #[test]
    fn golden_values() {
        // Characters of Swedish, Persian, Estonian, Icelandic and Faroese text: the readme of unimax-sampling.
        let rows = [179_955_884_499, 184_595_788_282, 42_541_080_893, 10_027_573_389, 549_707_867];
        let shares = UniMax { epochs: 4.0, budget: Some(250e9) }.shares(&only(&rows));
        let (rest, small, smallest) = (0.276921166635, 0.160441174224, 0.008795325872);
        let expected = [rest, rest, rest, small, smallest];
        assert!(shares.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12), "{shares:?}");
    }

    #[test]
    fn the_passes_over_a_corpus_are_limited() {
        let shares = UniMax::default().shares(&Epoch { epochs: 3, ..only(&ROWS) });
        near(&shares, &[0.030030, 0.300300, 0.669670]);
        let times: Vec<f64> = shares.iter().zip(ROWS).map(|(p, n)| p * 333_000.0 / n as f64).collect();
        near(&times, &[10.0, 10.0, 2.23]);
    }

    #[test]
    fn limits() {
        let epoch = only(&ROWS);
        let at = |epochs, budget| UniMax { epochs, budget: Some(budget) }.shares(&epoch);
        near(&at(1.0, 3_000.0), &Equal {}.shares(&epoch));
        near(&at(4.0, 1e12), &Proportional {}.shares(&epoch));
    }

    #[test]
    fn ranges() {
        let error = |epochs, budget| UniMax { epochs, budget }.check(3).unwrap_err().to_string();
        assert!(error(0.5, None).starts_with("sampling.unimax.epochs: found 0.5, expected a number of 1"));
        assert!(error(3.0, None).starts_with("sampling.unimax.epochs: found 3, expected more than the 3 of"));
        assert!(error(f64::INFINITY, None).starts_with("sampling.unimax.epochs: found inf"));
        assert!(error(2.0, Some(0.0)).starts_with("sampling.unimax.budget: found 0, expected"));
        UniMax { epochs: 3.0, budget: Some(100.0) }.check(3).unwrap();
        UniMax::default().check(3).unwrap();
    }
}
