//! A bandit that draws what is learned fastest: Exp3 over the progress of the losses.
//!
//! Every pack has rows of one corpus alone, drawn by p. With w_i the weights, all 0 at first, and c the number of corpora:
//!
//! ```text
//! p_i = (1 - gamma) exp(w_i) / sum_j exp(w_j) + gamma / c
//! w_i <- w_i + gamma x_i / (c p_i)      for the corpus that was drawn
//! x_i = 1/2 + 1/2 clamp((m_i - l_i) / (scale m_i), -1, 1)
//! ```
//! where l_i is the loss of the step and m_i the running mean of the losses of that corpus before it (each value enters with
//! 1 - `smoothing`): x is the progress in the unit interval, 1/2 where there is none. The first loss of a corpus is no progress.
//!
//! Options: `gamma` (default 0.1, above 0 to 1: how much is drawn evenly, and how fast weights move), `smoothing` (default
//! 0.9), `scale` (default 0.5: the progress, as a part of the mean, that counts as full). Errors: out of range. Cost: none.
//!
//! Use it for many corpora of which nobody knows which are worth their time now: what is learned, and what cannot be learned,
//! makes no progress and is drawn less. It does not know what you want to be good at; `validation` does.
//!
//! Papers: Auer et al., The Nonstochastic Multiarmed Bandit Problem, SIAM J. Computing 2002, fig. 1 (Exp3); Graves et al.,
//! Automated Curriculum Learning for Neural Networks, ICML 2017 (progress as reward; there within one pack, by a second
//! pass, and rescaled by quantiles).
//!
//! Example: two corpora, gamma 0.1: a full progress (x = 1) of the first, drawn with p = 0.5, makes w = [0.1, 0] and
//! p = [0.5225, 0.4775].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adaptive::{Account, Adaptive, Seen};
use super::{Epoch, within};
use crate::DataError;

/// `[sampling.exp3]`: a bandit over the progress of the losses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Exp3 {
    /// How much is drawn evenly, and how fast weights move; 0.1 by default.
    #[schemars(range(min = 1e-4, max = 1.0))]
    pub gamma: f64,
    /// What a running mean of losses keeps at each value; 0.9 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub smoothing: f64,
    /// The fall of the loss, as a part of its mean, that is full progress; 0.5 by default.
    #[schemars(range(min = 1e-4))]
    pub scale: f64,
}

impl Default for Exp3 {
    fn default() -> Self {
        Self { gamma: 0.1, smoothing: 0.9, scale: 0.5 }
    }
}

impl Exp3 {
    /// Checks the options.
    ///
    /// # Errors
    /// A gamma that is not from 0.0001 to 1, a smoothing that is not from 0 to below 1, a scale below 0.0001.
    pub fn check(&self) -> Result<(), DataError> {
        let mixed = (1e-4..=1.0).contains(&self.gamma);
        within("exp3.gamma", self.gamma, mixed, "a number from 0.0001 to 1")?;
        let smooth = (0.0..1.0).contains(&self.smoothing);
        within("exp3.smoothing", self.smoothing, smooth, "a number from 0 to below 1")?;
        within("exp3.scale", self.scale, self.scale >= 1e-4, "a number from 0.0001")
    }
}

impl Adaptive for Exp3 {
    fn one_corpus(&self) -> bool {
        true
    }

    fn observe(&self, accounts: &mut [Account], seen: &Seen, shares: &[f64]) {
        let arms = shares.iter().filter(|share| **share > 0.0).count();
        for ((account, loss), share) in accounts.iter_mut().zip(&seen.loss).zip(shares) {
            let Some(loss) = loss.filter(|loss| loss.is_finite()) else { continue };
            if let Some(mean) = account.value.filter(|mean| *mean > 0.0 && *share > 0.0) {
                let progress = ((mean - loss) / (self.scale * mean)).clamp(-1.0, 1.0);
                account.weight += self.gamma * (0.5 + 0.5 * progress) / (arms as f64 * share);
            }
            account.take(loss, self.smoothing);
        }
        // Only differences count; without this, weights would grow out of what exp can take.
        let most = accounts.iter().map(|account| account.weight).fold(f64::NEG_INFINITY, f64::max);
        accounts.iter_mut().for_each(|account| account.weight -= most);
    }

    fn shares(&self, epoch: &Epoch<'_>, accounts: &[Account]) -> Vec<f64> {
        let arms = epoch.rows.iter().filter(|rows| **rows > 0).count().max(1) as f64;
        let best = super::adaptive::by_weight(epoch, |c| accounts[c].weight.exp());
        let even = |rows: &usize| if *rows > 0 { self.gamma / arms } else { 0.0 };
        best.iter().zip(epoch.rows).map(|(best, rows)| (1.0 - self.gamma) * best + even(rows)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{near, only};
    use super::*;
    use crate::random;

    fn told(c: usize, loss: f64, of: usize) -> Seen {
        let losses = (0..of).map(|i| (i == c).then_some(loss)).collect();
        Seen { loss: losses, ..Seen::default() }
    }

    #[test]
    fn full_progress_once() {
        let (sampler, epoch) = (Exp3::default(), only(&[9, 1]));
        let mut accounts = vec![Account::default(); 2];
        sampler.observe(&mut accounts, &told(0, 2.0, 2), &[0.5, 0.5]);
        near(&sampler.shares(&epoch, &accounts), &[0.5, 0.5]);
        sampler.observe(&mut accounts, &told(0, 0.5, 2), &[0.5, 0.5]);
        near(&[accounts[0].weight - accounts[1].weight], &[0.1]);
        near(&sampler.shares(&epoch, &accounts), &[0.522481, 0.477519]);
    }

    /// What still falls is found among what is learned and what is noise.
    #[test]
    fn the_corpus_that_is_being_learned_comes_to_the_front() {
        let (sampler, epoch) = (Exp3::default(), only(&[100, 100, 100]));
        let mut accounts = vec![Account::default(); 3];
        let (mut rng, mut falling, mut drawn) = (random::stream(3, "bandit", 0), 4.0, [0; 3]);
        for step in 0..2_000 {
            let shares = sampler.shares(&epoch, &accounts);
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(shares.iter().all(|share| *share >= 0.1 / 3.0 - 1e-12));
            let u = random::unit(&mut rng);
            let c = if u < shares[0] {
                0
            } else if u < shares[0] + shares[1] {
                1
            } else {
                2
            };
            drawn[c] += usize::from(step >= 1_000);
            falling *= if c == 1 { 0.97 } else { 1.0 };
            let noise = random::unit(&mut rng);
            let loss = [0.1, falling, 2.0 + 0.1 * noise][c];
            sampler.observe(&mut accounts, &told(c, loss, 3), &shares);
        }
        assert!(drawn[1] > 2 * drawn[0].max(drawn[2]), "{drawn:?}");
    }
}
