//! Draws a corpus by how the gradients of its tasks lie to those of the others.
//!
//! With a_i the running mean (each value enters with 1 - `smoothing`) of the mean cosine between the gradients of the tasks of
//! corpus i and of all tasks of other corpora:
//!
//! ```text
//! toward = "agreement":  p_i ~ exp(a_i / temperature)        toward = "conflict":  p_i ~ exp(-a_i / temperature)
//! ```
//! A corpus of which no cosine is known counts as the mean. With two corpora there is nothing to tell apart: each is to the other what
//! the other is to it.
//!
//! Options: `toward` (default `"agreement"`: what helps the others is drawn more), `temperature` (default 0.2; the smaller, the
//! stronger), `smoothing` (default 0.9). Errors: out of range; a balancer that looks at losses only, so that no gradient is
//! compared. Cost: none beyond the balancer's.
//!
//! Use it with `agreement` where some corpora are there to help others, with `conflict` where the tasks that the others push
//! aside are to come more often.
//!
//! Paper: Wang, Tsvetkov, Neubig, Balancing Training for Multilingual Neural Machine Translation, ACL 2020, where the reward of
//! a corpus is the cosine of its gradient with that of all validation sets; here it is that of training gradients, which are
//! known anyway.
//!
//! Example: mean cosines 0.1 and -0.1 with temperature 0.2 give shares 0.7311 and 0.2689.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adaptive::{Account, Adaptive, Seen, by_weight, mean_of};
use super::{Epoch, within};
use crate::DataError;

/// `[sampling.conflict]`: by how gradients lie to each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Conflict {
    /// What is drawn more: what is in `"agreement"` with the others (default), or in `"conflict"`.
    pub toward: Toward,
    /// How weakly it tells; 0.2 by default.
    #[schemars(range(min = 1e-3))]
    pub temperature: f64,
    /// What a running mean keeps at each value; 0.9 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub smoothing: f64,
}

/// Which corpora are drawn more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Toward {
    /// Those whose gradients point where the others' do.
    #[default]
    Agreement,
    /// Those whose gradients point elsewhere.
    Conflict,
}

impl Default for Conflict {
    fn default() -> Self {
        Self { toward: Toward::Agreement, temperature: 0.2, smoothing: 0.9 }
    }
}

impl Conflict {
    /// Checks the options.
    ///
    /// # Errors
    /// A temperature below 0.001; a smoothing that is not from 0 to below 1.
    pub fn check(&self) -> Result<(), DataError> {
        let warm = self.temperature >= 1e-3;
        within("conflict.temperature", self.temperature, warm, "a number from 0.001")?;
        let smooth = (0.0..1.0).contains(&self.smoothing);
        within("conflict.smoothing", self.smoothing, smooth, "a number from 0 to below 1")
    }
}

impl Adaptive for Conflict {
    fn observe(&self, accounts: &mut [Account], seen: &Seen, _: &[f64]) {
        for (account, agreement) in accounts.iter_mut().zip(&seen.agreement) {
            agreement.iter().for_each(|agreement| account.take(*agreement, self.smoothing));
        }
    }

    fn shares(&self, epoch: &Epoch<'_>, accounts: &[Account]) -> Vec<f64> {
        let mean = mean_of(epoch, accounts, |account| account.value, 0.0);
        let sign = match self.toward {
            Toward::Agreement => 1.0,
            Toward::Conflict => -1.0,
        };
        // Relative to the mean, and bounded: an exponential that is 0 would draw nothing ever again.
        let strength = |c: usize| sign * (accounts[c].value.unwrap_or(mean) - mean) / self.temperature;
        by_weight(epoch, |c| strength(c).clamp(-7.0, 7.0).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{near, only};
    use super::*;

    #[test]
    fn agreement_or_conflict_is_drawn_more() {
        let mut accounts = vec![Account::default(); 2];
        let seen = Seen { agreement: vec![Some(0.1), Some(-0.1)], ..Seen::default() };
        Conflict::default().observe(&mut accounts, &seen, &[]);
        near(&Conflict::default().shares(&only(&[9, 1]), &accounts), &[0.731059, 0.268941]);
        let other = Conflict { toward: Toward::Conflict, ..Conflict::default() };
        near(&other.shares(&only(&[9, 1]), &accounts), &[0.268941, 0.731059]);
    }
}
