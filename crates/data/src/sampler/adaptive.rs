//! Adaptive samplers: the feedback that they get of training, and the state that they keep.

use serde::{Deserialize, Serialize};

use super::Epoch;
use crate::DataError;

/// Feedback of training, `[c]` corpora each, after a step or an evaluation; `None` where there is no value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SamplerFeedback {
    /// Mean loss of the step's rows.
    pub loss: Vec<Option<f64>>,
    /// Mean loss on the validation split.
    pub validation_loss: Vec<Option<f64>>,
    /// Relative gap between the score on the validation split and its target, 0 (reached) to 1.
    pub gap: Vec<Option<f64>>,
    /// Mean cosine similarity between the gradients of its tasks and those of all other tasks, -1 to 1.
    pub agreement: Vec<Option<f64>>,
}

/// The state of an adaptive sampler for one corpus.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerState {
    /// The latest value of the signal, or its exponential moving average.
    pub value: Option<f64>,
    /// The mean of the first ten values.
    pub first: Option<f64>,
    /// The number of values so far.
    pub values: u64,
    /// The bandit weight of the corpus; 0 at first.
    pub weight: f64,
}

impl SamplerState {
    /// How many values make [`SamplerState::first`].
    const FIRST: u64 = 10;

    /// Adds a value to the moving average with decay `keep`; the first value is the average.
    pub(super) fn update(&mut self, value: f64, keep: f64) {
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

/// A sampler whose shares depend on feedback of training.
pub trait Adaptive {
    /// Checks the settings.
    ///
    /// # Errors
    /// The first setting that is out of its range.
    fn check(&self) -> Result<(), DataError>;

    /// Whether it needs packs of one corpus each.
    fn one_corpus(&self) -> bool {
        false
    }

    /// Whether it uses evaluations on the validation split.
    fn needs_validation(&self) -> bool {
        false
    }

    /// Whether it compares the gradients of the tasks.
    fn needs_task_gradients(&self) -> bool {
        false
    }

    /// Updates the states; `shares` are those by which the step was drawn.
    fn observe(&self, states: &mut [SamplerState], feedback: &SamplerFeedback, shares: &[f64]);

    /// The share of each corpus (`[c]`) in the next draws. The shares sum to 1; a corpus without rows gets 0. They are a
    /// function of the arguments; with initial states they are the same for every corpus.
    fn shares(&self, epoch: &Epoch<'_>, states: &[SamplerState]) -> Vec<f64>;
}

/// Shares in proportion to weights, among the corpora that have rows.
pub(super) fn by_weight(epoch: &Epoch<'_>, weight: impl Fn(usize) -> f64) -> Vec<f64> {
    let weights = epoch.rows.iter().enumerate().map(|(c, rows)| if *rows > 0 { weight(c) } else { 0.0 });
    super::normalized(weights.collect())
}

/// The mean of a value over the corpora that have rows and the value; `default` where none has.
pub(super) fn mean_of(
    epoch: &Epoch<'_>,
    states: &[SamplerState],
    of: impl Fn(&SamplerState) -> Option<f64>,
    default: f64,
) -> f64 {
    let with_rows = states.iter().zip(epoch.rows).filter(|(_, rows)| **rows > 0);
    let found: Vec<f64> = with_rows.filter_map(|(state, _)| of(state)).collect();
    if found.is_empty() { default } else { found.iter().sum::<f64>() / found.len() as f64 }
}
