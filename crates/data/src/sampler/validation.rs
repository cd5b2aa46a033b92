//! Draws a corpus more often, the further its validation score is from its target, or the higher its validation loss.
//!
//! After each evaluation, with s_i the primary metric of a task, t_i its `target` (`[task.NAME] target`, 1 by default),
//! and l_i its validation loss:
//!
//! ```text
//! signal = "score":  g_i = max(0, 1 - s_i / t_i)        signal = "loss":  g_i = l_i
//! p_c ~ (floor m + g_c)^alpha,     g_c = mean of g_i over the tasks of corpus c, weighted by importance, m = mean of g_c
//! ```
//! Until the first evaluation all corpora are drawn equally. A corpus without validation rows gets the mean of the
//! others.
//!
//! Options: `signal` (default `"score"`), `alpha` (default 1; 0 draws all corpora equally), `floor` (default 0.1: the
//! minimum of a corpus that has reached its target, relative to the mean gap). Errors: an alpha or floor below 0; no
//! labelled validation rows. Cost: none beyond the evaluations; set `train.eval_steps` for more than one evaluation an
//! epoch.
//!
//! Use it when you know the score that each task can reach (that of a single-task model, say) and all tasks matter. The
//! share of a task whose target is unreachable keeps growing: give it a target that it can reach.
//!
//! Paper: Gottumukkala, Dua, Singh, Gardner, Dynamic Sampling Strategies for Multi-Task Reading Comprehension, ACL
//! 2020, eq. 1, where t_i is the score of a single-task model and there is no floor.
//!
//! Example: gaps 0.1 and 0.3 (mean 0.2, floor 0.02) give shares 0.12 / 0.44 = 0.2727 and 0.7273.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adaptive::{Adaptive, SamplerFeedback, SamplerState, by_weight, mean_of};
use super::{Epoch, check_range};
use crate::DataError;

/// `[sampling.validation]`: by the gap between validation score and target, or by the validation loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ValidationScore {
    /// The signal: `"score"` (default), the gap between score and target, or `"loss"`.
    pub signal: ValidationSignal,
    /// Exponent of the gap; larger values react more strongly, 0 not at all. 1 by default.
    #[schemars(range(min = 0.0))]
    pub alpha: f64,
    /// The minimum of every corpus, relative to the mean gap; 0.1 by default.
    #[schemars(range(min = 0.0))]
    pub floor: f64,
}

/// The validation result that [`ValidationScore`] uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValidationSignal {
    /// The relative gap between score and target.
    #[default]
    Score,
    /// The loss.
    Loss,
}

impl Default for ValidationScore {
    fn default() -> Self {
        Self { signal: ValidationSignal::Score, alpha: 1.0, floor: 0.1 }
    }
}

impl Adaptive for ValidationScore {
    fn check(&self) -> Result<(), DataError> {
        check_range("validation.alpha", self.alpha, self.alpha >= 0.0, "a number from 0")?;
        check_range("validation.floor", self.floor, self.floor >= 0.0, "a number from 0")
    }

    fn needs_validation(&self) -> bool {
        true
    }

    fn observe(&self, states: &mut [SamplerState], feedback: &SamplerFeedback, _: &[f64]) {
        let values = match self.signal {
            ValidationSignal::Score => &feedback.gap,
            ValidationSignal::Loss => &feedback.validation_loss,
        };
        for (state, value) in states.iter_mut().zip(values) {
            value.iter().for_each(|value| state.update(value.max(0.0), 0.0));
        }
    }

    fn shares(&self, epoch: &Epoch<'_>, states: &[SamplerState]) -> Vec<f64> {
        let mean = mean_of(epoch, states, |state| state.value, 1.0);
        // Where every target is reached, all corpora are drawn equally.
        let floor = if mean > 0.0 { self.floor * mean } else { 1.0 };
        let weights: Vec<f64> =
            states.iter().map(|state| (floor + state.value.unwrap_or(mean)).powf(self.alpha)).collect();
        // Also without a floor no weight is exactly 0, so that the sum is not 0 where every target is reached.
        by_weight(epoch, |c| weights[c].max(f64::MIN_POSITIVE))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{near, only};
    use super::*;

    fn shares(sampler: &ValidationScore, gaps: &[Option<f64>]) -> Vec<f64> {
        let mut states = vec![SamplerState::default(); gaps.len()];
        let feedback = SamplerFeedback { gap: gaps.to_vec(), ..SamplerFeedback::default() };
        sampler.observe(&mut states, &feedback, &[]);
        sampler.shares(&only(&vec![5; gaps.len()]), &states)
    }

    #[test]
    fn larger_gaps_are_drawn_more() {
        near(&shares(&ValidationScore::default(), &[Some(0.1), Some(0.3)]), &[0.272727, 0.727273]);
        // Equation 1 of the paper: scores 50 and 90 where 80 and 92 are reached alone.
        let gaps = [Some(1.0 - 50.0 / 80.0), Some(1.0 - 90.0 / 92.0)];
        let without_floor = ValidationScore { floor: 0.0, ..ValidationScore::default() };
        near(&shares(&without_floor, &gaps), &[0.945205, 0.054795]);
        near(&shares(&ValidationScore::default(), &[None, None]), &[0.5, 0.5]);
        near(&shares(&ValidationScore::default(), &[Some(0.0), Some(0.0)]), &[0.5, 0.5]);
        near(
            &shares(&ValidationScore::default(), &[Some(0.2), None, Some(0.4)]),
            &[0.23 / 0.99, 0.33 / 0.99, 0.43 / 0.99],
        );
    }

    #[test]
    fn losses_are_the_signal_where_configured() {
        let sampler = ValidationScore { signal: ValidationSignal::Loss, alpha: 2.0, floor: 0.0 };
        let mut states = vec![SamplerState::default(); 2];
        let validation_loss = vec![Some(1.0), Some(3.0)];
        let feedback = SamplerFeedback { validation_loss, ..SamplerFeedback::default() };
        sampler.observe(&mut states, &feedback, &[]);
        near(&sampler.shares(&only(&[1, 1]), &states), &[0.1, 0.9]);
    }
}
