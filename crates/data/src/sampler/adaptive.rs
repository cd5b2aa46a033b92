//! Samplers that look at how training goes: what they are told, and what they remember.

use serde::{Deserialize, Serialize};

use super::Epoch;

/// What training tells of the corpora, `[c]` each, after a step or an evaluation; `None` where there is nothing to tell.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Mean loss of a step's rows.
    pub loss: Vec<Option<f64>>,
    /// Mean loss on the validation split.
    pub validation_loss: Vec<Option<f64>>,
    /// How far the score on the validation split is from its target, 0 (reached) to 1.
    pub gap: Vec<Option<f64>>,
    /// Mean cosine between the gradients of its tasks and of all others, -1 to 1.
    pub agreement: Vec<Option<f64>>,
}

/// What a sampler remembers of a corpus.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The latest value, or a running mean of values, of what the sampler looks at.
    pub value: Option<f64>,
    /// The mean of the first values.
    pub first: Option<f64>,
    /// How many values there were.
    pub values: u64,
    /// A weight that the sampler keeps; 0 at first.
    pub weight: f64,
}

impl Account {
    /// How many values make [`Account::first`].
    const FIRST: u64 = 10;

    /// Takes a value into the running mean, in which the mean so far keeps this part; the first one is the mean.
    pub(super) fn take(&mut self, value: f64, keep: f64) {
        if !value.is_finite() {
            return;
        }
        self.value = Some(self.value.map_or(value, |mean| keep * mean + (1.0 - keep) * value));
        if self.values < Self::FIRST {
            let n = self.values as f64;
            self.first = Some((self.first.unwrap_or(0.0) * n + value) / (n + 1.0));
        }
        self.values += 1;
    }
}

/// Gives each corpus its share of what is drawn next, from what training told.
pub trait Adaptive {
    /// Whether it can learn from packs of one corpus alone.
    fn one_corpus(&self) -> bool {
        false
    }

    /// Takes in what training tells; `shares` are those that the step was drawn by.
    fn observe(&self, accounts: &mut [Account], seen: &Seen, shares: &[f64]);

    /// Share per corpus (`[c]`) of what is drawn next. The shares sum to 1; a corpus without rows gets 0. A function of its
    /// arguments; with accounts as they are at first, the same for every corpus.
    fn shares(&self, epoch: &Epoch<'_>, accounts: &[Account]) -> Vec<f64>;
}

/// Shares by weight, of corpora that have rows.
pub(super) fn by_weight(epoch: &Epoch<'_>, weight: impl Fn(usize) -> f64) -> Vec<f64> {
    let weights = epoch.rows.iter().enumerate().map(|(c, rows)| if *rows > 0 { weight(c) } else { 0.0 });
    super::normalized(weights.collect())
}

/// The mean of what the corpora with rows have of something; `default` where none has any.
pub(super) fn mean_of(
    epoch: &Epoch<'_>,
    accounts: &[Account],
    of: impl Fn(&Account) -> Option<f64>,
    default: f64,
) -> f64 {
    let with_rows = accounts.iter().zip(epoch.rows).filter(|(_, rows)| **rows > 0);
    let found: Vec<f64> = with_rows.filter_map(|(account, _)| of(account)).collect();
    if found.is_empty() { default } else { found.iter().sum::<f64>() / found.len() as f64 }
}
