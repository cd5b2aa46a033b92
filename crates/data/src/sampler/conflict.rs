//! Draws a corpus by the cosine similarity between the gradients of its tasks and those of the other tasks.
//!
//! With a_i the exponential moving average (decay `smoothing`) of the mean cosine similarity between the gradients of
//! the tasks of corpus i and of all tasks of other corpora:
//!
//! ```text
//! prefer = "aligned":  p_i ~ exp(a_i / temperature)        prefer = "conflicting":  p_i ~ exp(-a_i / temperature)
//! ```
//! A corpus without a known cosine gets the mean of the others. With two corpora the shares are equal: the similarity
//! is symmetric.
//!
//! Options: `prefer` (default `"aligned"`), `temperature` (default 0.2; a lower temperature reacts more strongly),
//! `smoothing` (default 0.9). Errors: an option out of range; a balancer that needs losses only, so that no task
//! gradients are computed. Cost: none beyond the balancer's.
//!
//! Use it with `aligned` where some corpora are auxiliary and should help the others, with `conflicting` where tasks
//! that the others dominate should be seen more often.
//!
//! Paper: Wang, Tsvetkov, Neubig, Balancing Training for Multilingual Neural Machine Translation, ACL 2020, where the
//! reward of a corpus is the cosine similarity of its gradient with that of all validation sets; here training
//! gradients are compared, which the balancer has computed anyway.
//!
//! Example: mean cosines 0.1 and -0.1 with temperature 0.2 give shares 0.7311 and 0.2689.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adaptive::{Adaptive, SamplerFeedback, SamplerState, by_weight, mean_of};
use super::{Epoch, check_range};
use crate::DataError;

/// `[sampling.conflict]`: by the cosine similarity between task gradients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Conflict {
    /// Which corpora are drawn more: those whose gradients are `"aligned"` with the others' (default), or `"conflicting"`.
    pub prefer: Preference,
    /// Temperature of the softmax; a lower temperature reacts more strongly. 0.2 by default.
    #[schemars(range(min = 1e-3))]
    pub temperature: f64,
    /// Decay of the moving average: the fraction of the old average that each value keeps; 0.9 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub smoothing: f64,
}

/// Which corpora are drawn more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preference {
    /// Those whose gradients have a high cosine similarity with the others'.
    #[default]
    Aligned,
    /// Those whose gradients have a low cosine similarity with the others'.
    Conflicting,
}

impl Default for Conflict {
    fn default() -> Self {
        Self { prefer: Preference::Aligned, temperature: 0.2, smoothing: 0.9 }
    }
}

impl Adaptive for Conflict {
    fn check(&self) -> Result<(), DataError> {
        let warm = self.temperature >= 1e-3;
        check_range("conflict.temperature", self.temperature, warm, "a number from 0.001")?;
        let smooth = (0.0..1.0).contains(&self.smoothing);
        check_range("conflict.smoothing", self.smoothing, smooth, "a number from 0 to below 1")
    }

    fn needs_task_gradients(&self) -> bool {
        true
    }

    fn observe(&self, states: &mut [SamplerState], feedback: &SamplerFeedback, _: &[f64]) {
        for (state, agreement) in states.iter_mut().zip(&feedback.agreement) {
            agreement.iter().for_each(|agreement| state.update(*agreement, self.smoothing));
        }
    }

    fn shares(&self, epoch: &Epoch<'_>, states: &[SamplerState]) -> Vec<f64> {
        let mean = mean_of(epoch, states, |state| state.value, 0.0);
        let sign = match self.prefer {
            Preference::Aligned => 1.0,
            Preference::Conflicting => -1.0,
        };
        // Relative to the mean, and bounded: a weight of 0 would never be drawn again.
        let strength = |c: usize| sign * (states[c].value.unwrap_or(mean) - mean) / self.temperature;
        by_weight(epoch, |c| strength(c).clamp(-7.0, 7.0).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{near, only};
    use super::*;

    #[test]
    fn aligned_or_conflicting_corpora_are_drawn_more() {
        let mut states = vec![SamplerState::default(); 2];
        let agreement = vec![Some(0.1), Some(-0.1)];
        let feedback = SamplerFeedback { agreement, ..SamplerFeedback::default() };
        Conflict::default().observe(&mut states, &feedback, &[]);
        near(&Conflict::default().shares(&only(&[9, 1]), &states), &[0.731059, 0.268941]);
        let other = Conflict { prefer: Preference::Conflicting, ..Conflict::default() };
        near(&other.shares(&only(&[9, 1]), &states), &[0.268941, 0.731059]);
    }
}
