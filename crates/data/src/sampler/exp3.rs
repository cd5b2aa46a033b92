//! A multi-armed bandit (Exp3) whose reward is the progress of the losses: what is learned fastest is drawn most.
//!
//! Every pack has rows of one corpus only, drawn by p. With w_i the weights, all 0 at first, and c the number of
//! corpora:
//!
//! ```text
//! p_i = (1 - gamma) exp(w_i) / sum_j exp(w_j) + gamma / c
//! w_i <- w_i + gamma x_i / (c p_i)      for the corpus that was drawn
//! x_i = 1/2 + 1/2 clamp((m_i - l_i) / (scale m_i), -1, 1)
//! ```
//! where l_i is the loss of the step and m_i the exponential moving average (decay `smoothing`) of the earlier losses
//! of that corpus: the reward x is the progress scaled to the unit interval, 1/2 where there is none. The first loss of
//! a corpus gives no reward.
//!
//! Options: `gamma` (default 0.1, above 0 to 1: the fraction of uniform exploration, and the learning rate of the
//! weights), `smoothing` (default 0.9), `scale` (default 0.5: the decrease of the loss, relative to its average, that
//! is full reward). Errors: an option out of range. Cost: none.
//!
//! Use it for many corpora whose usefulness is unknown: corpora that are learned already, and those that cannot be
//! learned, make no progress and are drawn less. It ignores validation scores; `validation` uses them.
//!
//! Papers: Auer et al., The Nonstochastic Multiarmed Bandit Problem, SIAM J. Computing 2002, fig. 1 (Exp3); Graves et
//! al., Automated Curriculum Learning for Neural Networks, ICML 2017 (progress as reward; there within one pack, by a
//! second pass, and rescaled by quantiles).
//!
//! Example: two corpora, gamma 0.1: a full progress (x = 1) of the first, drawn with p = 0.5, makes w = [0.1, 0]
//! and p = [0.5225, 0.4775].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adaptive::{Adaptive, SamplerFeedback, SamplerState};
use super::{Epoch, check_range};
use crate::DataError;

/// `[sampling.exp3]`: a multi-armed bandit over the progress of the losses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Exp3 {
    /// The fraction of uniform exploration, and the learning rate of the weights; 0.1 by default.
    #[schemars(range(min = 1e-4, max = 1.0))]
    pub gamma: f64,
    /// Decay of the moving average of losses: the fraction of the old average that each value keeps; 0.9 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub smoothing: f64,
    /// The decrease of the loss, relative to its average, that is full reward; 0.5 by default.
    #[schemars(range(min = 1e-4))]
    pub scale: f64,
}

impl Default for Exp3 {
    fn default() -> Self {
        Self { gamma: 0.1, smoothing: 0.9, scale: 0.5 }
    }
}

impl Adaptive for Exp3 {
    fn check(&self) -> Result<(), DataError> {
        let mixed = (1e-4..=1.0).contains(&self.gamma);
        check_range("exp3.gamma", self.gamma, mixed, "a number from 0.0001 to 1")?;
        let smooth = (0.0..1.0).contains(&self.smoothing);
        check_range("exp3.smoothing", self.smoothing, smooth, "a number from 0 to below 1")?;
        check_range("exp3.scale", self.scale, self.scale >= 1e-4, "a number from 0.0001")
    }

    fn one_corpus(&self) -> bool {
        true
    }

    fn observe(&self, states: &mut [SamplerState], feedback: &SamplerFeedback, shares: &[f64]) {
        let arms = shares.iter().filter(|share| **share > 0.0).count();
        for ((state, loss), share) in states.iter_mut().zip(&feedback.loss).zip(shares) {
            let Some(loss) = loss.filter(|loss| loss.is_finite()) else { continue };
            if let Some(mean) = state.value.filter(|mean| *mean > 0.0 && *share > 0.0) {
                let progress = ((mean - loss) / (self.scale * mean)).clamp(-1.0, 1.0);
                state.weight += self.gamma * (0.5 + 0.5 * progress) / (arms as f64 * share);
            }
            state.update(loss, self.smoothing);
        }
        // Only differences matter; without this, weights would grow until exp overflows.
        let most = states.iter().map(|state| state.weight).fold(f64::NEG_INFINITY, f64::max);
        states.iter_mut().for_each(|state| state.weight -= most);
    }

    fn shares(&self, epoch: &Epoch<'_>, states: &[SamplerState]) -> Vec<f64> {
        let arms = epoch.rows.iter().filter(|rows| **rows > 0).count().max(1) as f64;
        let best = super::adaptive::by_weight(epoch, |c| states[c].weight.exp());
        let even = |rows: &usize| if *rows > 0 { self.gamma / arms } else { 0.0 };
        best.iter().zip(epoch.rows).map(|(best, rows)| (1.0 - self.gamma) * best + even(rows)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{near, only};
    use super::*;
    use crate::random;

    fn feedback(c: usize, loss: f64, of: usize) -> SamplerFeedback {
        let losses = (0..of).map(|i| (i == c).then_some(loss)).collect();
        SamplerFeedback { loss: losses, ..SamplerFeedback::default() }
    }

    #[test]
    fn full_progress_once() {
        let (sampler, epoch) = (Exp3::default(), only(&[9, 1]));
        let mut states = vec![SamplerState::default(); 2];
        sampler.observe(&mut states, &feedback(0, 2.0, 2), &[0.5, 0.5]);
        near(&sampler.shares(&epoch, &states), &[0.5, 0.5]);
        sampler.observe(&mut states, &feedback(0, 0.5, 2), &[0.5, 0.5]);
        near(&[states[0].weight - states[1].weight], &[0.1]);
        near(&sampler.shares(&epoch, &states), &[0.522481, 0.477519]);
    }

    /// The corpus whose loss still decreases is found among one that is learned and one that is noise.
    #[test]
    fn the_corpus_that_is_being_learned_comes_to_the_front() {
        let (sampler, epoch) = (Exp3::default(), only(&[100, 100, 100]));
        let mut states = vec![SamplerState::default(); 3];
        let (mut rng, mut falling, mut drawn) = (random::stream(3, "bandit", 0), 4.0, [0; 3]);
        for step in 0..2_000 {
            let shares = sampler.shares(&epoch, &states);
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(shares.iter().all(|share| *share >= 0.1 / 3.0 - 1e-12));
            let u = random::uniform01(&mut rng);
            let c = if u < shares[0] {
                0
            } else if u < shares[0] + shares[1] {
                1
            } else {
                2
            };
            drawn[c] += usize::from(step >= 1_000);
            falling *= if c == 1 { 0.97 } else { 1.0 };
            let noise = random::uniform01(&mut rng);
            let loss = [0.1, falling, 2.0 + 0.1 * noise][c];
            sampler.observe(&mut states, &feedback(c, loss, 3), &shares);
        }
        assert!(drawn[1] > 2 * drawn[0].max(drawn[2]), "{drawn:?}");
    }
}
