//! Draws a corpus the more, the further its validation score is from its target, or the higher its validation loss is.
//!
//! After each evaluation, with s_i the main score of a task, t_i its `target` (`[task.NAME] target`, 1 by default), and l_i its
//! validation loss:
//!
//! ```text
//! of = "score":  g_i = max(0, 1 - s_i / t_i)        of = "loss":  g_i = l_i
//! p_c ~ (floor m + g_c)^alpha,     g_c = mean of g_i over the tasks of corpus c, weighted by importance, m = mean of g_c
//! ```
//! Until the first evaluation, and for a corpus without validation rows (which counts as the mean), all are drawn alike.
//!
//! Options: `of` (default `"score"`), `alpha` (default 1; 0 draws all alike), `floor` (default 0.1: what a corpus that has
//! reached its target still gets, as a part of the mean). Errors: an alpha or floor below 0; nothing to evaluate. Cost: none
//! beyond the evaluations; set `train.evaluate_every` for more than one an epoch.
//!
//! Use it when you know what each task can reach (its score alone, say) and care about all of them. With scores, a task whose
//! target is out of reach takes ever more: give it a target that it can reach.
//!
//! Paper: Gottumukkala, Dua, Singh, Gardner, Dynamic Sampling Strategies for Multi-Task Reading Comprehension, ACL 2020, eq. 1,
//! where t_i is the score of a model of that task alone and there is no floor.
//!
//! Example: gaps 0.1 and 0.3 (mean 0.2, floor 0.02) give shares 0.12 / 0.44 = 0.2727 and 0.7273.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adaptive::{Account, Adaptive, Seen, by_weight, mean_of};
use super::{Epoch, within};
use crate::DataError;

/// `[sampling.validation]`: by what is missing in validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Validation {
    /// What is looked at: `"score"` (default), the gap between score and target, or `"loss"`.
    pub of: Measure,
    /// How strongly it tells; 1 by default, 0 not at all.
    #[schemars(range(min = 0.0))]
    pub alpha: f64,
    /// What a corpus gets in any case, as a part of the mean; 0.1 by default.
    #[schemars(range(min = 0.0))]
    pub floor: f64,
}

/// What of an evaluation is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The part of the target that the score has not reached.
    #[default]
    Score,
    /// The loss.
    Loss,
}

impl Default for Validation {
    fn default() -> Self {
        Self { of: Measure::Score, alpha: 1.0, floor: 0.1 }
    }
}

impl Validation {
    /// Checks the options.
    ///
    /// # Errors
    /// An alpha or floor below 0.
    pub fn check(&self) -> Result<(), DataError> {
        within("validation.alpha", self.alpha, self.alpha >= 0.0, "a number from 0")?;
        within("validation.floor", self.floor, self.floor >= 0.0, "a number from 0")
    }
}

impl Adaptive for Validation {
    fn observe(&self, accounts: &mut [Account], seen: &Seen, _: &[f64]) {
        let values = match self.of {
            Measure::Score => &seen.gap,
            Measure::Loss => &seen.validation_loss,
        };
        for (account, value) in accounts.iter_mut().zip(values) {
            value.iter().for_each(|value| account.take(value.max(0.0), 0.0));
        }
    }

    fn shares(&self, epoch: &Epoch<'_>, accounts: &[Account]) -> Vec<f64> {
        let mean = mean_of(epoch, accounts, |account| account.value, 1.0);
        // Where every target is reached, all are drawn alike.
        let floor = if mean > 0.0 { self.floor * mean } else { 1.0 };
        let weights: Vec<f64> =
            accounts.iter().map(|account| (floor + account.value.unwrap_or(mean)).powf(self.alpha)).collect();
        // Without a floor too: a target that is missed by nothing leaves a share of nothing, but not to all.
        by_weight(epoch, |c| weights[c].max(f64::MIN_POSITIVE))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{near, only};
    use super::*;

    fn shares(sampler: &Validation, gaps: &[Option<f64>]) -> Vec<f64> {
        let mut accounts = vec![Account::default(); gaps.len()];
        let seen = Seen { gap: gaps.to_vec(), ..Seen::default() };
        sampler.observe(&mut accounts, &seen, &[]);
        sampler.shares(&only(&vec![5; gaps.len()]), &accounts)
    }

    #[test]
    fn what_is_missing_is_drawn() {
        near(&shares(&Validation::default(), &[Some(0.1), Some(0.3)]), &[0.272727, 0.727273]);
        // Equation 1 of the paper: scores 50 and 90 where 80 and 92 are reached alone.
        let gaps = [Some(1.0 - 50.0 / 80.0), Some(1.0 - 90.0 / 92.0)];
        near(&shares(&Validation { floor: 0.0, ..Validation::default() }, &gaps), &[0.945205, 0.054795]);
        near(&shares(&Validation::default(), &[None, None]), &[0.5, 0.5]);
        near(&shares(&Validation::default(), &[Some(0.0), Some(0.0)]), &[0.5, 0.5]);
        near(
            &shares(&Validation::default(), &[Some(0.2), None, Some(0.4)]),
            &[0.23 / 0.99, 0.33 / 0.99, 0.43 / 0.99],
        );
    }

    #[test]
    fn losses_count_where_they_are_asked_for() {
        let sampler = Validation { of: Measure::Loss, alpha: 2.0, floor: 0.0 };
        let mut accounts = vec![Account::default(); 2];
        let seen = Seen { validation_loss: vec![Some(1.0), Some(3.0)], ..Seen::default() };
        sampler.observe(&mut accounts, &seen, &[]);
        near(&sampler.shares(&only(&[1, 1]), &accounts), &[0.1, 0.9]);
    }
}
