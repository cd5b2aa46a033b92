//! Draws a corpus the more, the less its training loss has fallen.
//!
//! With l_i(t) the running mean of the losses of corpus i (each value enters with 1 - `smoothing`) and l_i(0) the mean of its
//! first ten:
//!
//! ```text
//! r_i = l_i(t) / l_i(0)    and    p_i ~ r_i^alpha
//! ```
//! A corpus that no step has shown yet counts as the mean.
//!
//! Options: `alpha` (default 1; 0 draws all alike, below 0 what learns fast is drawn more), `smoothing` (default 0.9, from 0 to
//! below 1). Errors: out of range. Cost: none.
//!
//! Use it as GradNorm's idea of equal training rates, with draws in place of weights. A task whose labels are noise has a loss
//! that does not fall, and takes ever more: `validation` with a target, or a budget, holds it.
//!
//! Paper: the rates r_i are those of Chen et al., GradNorm, ICML 2018, eq. 2 (there of losses at single steps, and for weights).
//!
//! Example: losses that fell to 0.2 and to 0.6 of what they were give shares 0.25 and 0.75.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adaptive::{Account, Adaptive, Seen, by_weight, mean_of};
use super::{Epoch, within};
use crate::DataError;

/// `[sampling.loss_ratio]`: by what is left of the first loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LossRatio {
    /// How strongly it tells; 1 by default, 0 not at all.
    pub alpha: f64,
    /// What a running mean keeps at each value; 0.9 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub smoothing: f64,
}

impl Default for LossRatio {
    fn default() -> Self {
        Self { alpha: 1.0, smoothing: 0.9 }
    }
}

impl LossRatio {
    /// Checks the options.
    ///
    /// # Errors
    /// A smoothing that is not from 0 to below 1; an alpha that is no number.
    pub fn check(&self) -> Result<(), DataError> {
        within("loss_ratio.alpha", self.alpha, true, "a number")?;
        let smooth = (0.0..1.0).contains(&self.smoothing);
        within("loss_ratio.smoothing", self.smoothing, smooth, "a number from 0 to below 1")
    }
}

/// What is left of the first loss. A loss that is not above 0 says nothing (negative log-densities).
fn ratio(account: &Account) -> Option<f64> {
    let (value, first) = (account.value?, account.first?);
    (value > 0.0 && first > 0.0).then(|| value / first)
}

impl Adaptive for LossRatio {
    fn observe(&self, accounts: &mut [Account], seen: &Seen, _: &[f64]) {
        for (account, loss) in accounts.iter_mut().zip(&seen.loss) {
            loss.iter().for_each(|loss| account.take(*loss, self.smoothing));
        }
    }

    fn shares(&self, epoch: &Epoch<'_>, accounts: &[Account]) -> Vec<f64> {
        let mean = mean_of(epoch, accounts, ratio, 1.0);
        // No corpus falls out altogether, nor takes all, however far the ratios are apart.
        let weight =
            |c: usize| (ratio(&accounts[c]).unwrap_or(mean) / mean).clamp(1e-3, 1e3).powf(self.alpha);
        by_weight(epoch, weight)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{near, only};
    use super::*;

    #[test]
    fn what_has_fallen_less_is_drawn_more() {
        let sampler = LossRatio { smoothing: 0.0, ..LossRatio::default() };
        let mut accounts = vec![Account::default(); 3];
        let mut tell = |a: f64, b: f64| {
            let seen = Seen { loss: vec![Some(a), Some(b), None], ..Seen::default() };
            sampler.observe(&mut accounts, &seen, &[]);
            accounts.clone()
        };
        (0..10).for_each(|_| drop(tell(2.0, 5.0)));
        let accounts = tell(0.4, 3.0);
        near(&sampler.shares(&only(&[9, 1]), &accounts[..2]), &[0.25, 0.75]);
        near(&sampler.shares(&only(&[9, 1, 4]), &accounts), &[0.2 / 1.2, 0.6 / 1.2, 0.4 / 1.2]);
        let other = LossRatio { alpha: -1.0, smoothing: 0.0 };
        near(&other.shares(&only(&[9, 1]), &accounts[..2]), &[0.75, 0.25]);
    }
}
