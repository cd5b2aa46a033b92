//! What a trial gives: `result.json`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A trial that is finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialResult {
    /// Its name.
    pub name: String,
    /// Its tasks, in the order of the config.
    pub tasks: Vec<String>,
    /// Its seed.
    pub seed: u64,
    /// Training rows with a label of each task.
    pub train_rows: BTreeMap<String, usize>,
    /// Epochs that were begun.
    pub epochs: usize,
    /// Steps of the optimizer.
    pub steps: usize,
    /// Tokens trained on.
    pub tokens: u64,
    /// Floating-point operations of the products with the trunk's weights in training, forward and backward.
    pub operations: f64,
    /// Seconds of all steps, without evaluations.
    pub seconds: f64,
    /// Seconds of the whole training, evaluations included.
    pub elapsed: f64,
    /// Threads that it had.
    pub threads: usize,
    /// The largest resident size of the training's process in bytes, where the system reports it.
    pub peak_bytes: Option<usize>,
    /// Parameters of the trunk.
    pub trunk_parameters: usize,
    /// Parameters that each task has to itself.
    pub head_parameters: BTreeMap<String, usize>,
    /// The primary metric of each task on the validation split at the evaluation whose weights are the result; empty without one.
    pub validation: BTreeMap<String, f64>,
    /// The value that chose the result among the evaluations.
    pub validation_value: Option<f64>,
    /// The scores on rows that nothing was trained or chosen on, as far as there are such rows.
    pub scores: Vec<TaskScore>,
    /// What it costs to use the model.
    pub inference: Inference,
    /// Bytes of the model's files; 0 in results of before they were counted.
    #[serde(default)]
    pub bytes: u64,
    /// Of a model that was trained before: what tells it from others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fingerprint: String,
}

impl TrialResult {
    /// The score of a task on its own corpus.
    pub fn score(&self, task: &str) -> Option<&TaskScore> {
        self.scores.iter().find(|score| score.task == task && !score.out_of_domain)
    }

    /// All parameters.
    pub fn parameters(&self) -> usize {
        self.trunk_parameters + self.head_parameters.values().sum::<usize>()
    }
}

/// What it costs to use a model: measured on the rows that were scored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Inference {
    /// Floating-point operations of the products with the trunk's weights for a token, forward.
    pub operations_per_token: f64,
    /// Seconds for a token, heads and metrics included.
    pub seconds_per_token: f64,
}

/// A task's score on the rows of one corpus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskScore {
    /// The task.
    pub task: String,
    /// The corpus: the task's own, or one of its `out_of_domain`.
    pub corpus: String,
    /// See `corpus`.
    pub out_of_domain: bool,
    /// The split: `test`, or `validation` where the corpus has no labelled test rows.
    pub split: String,
    /// The name of the primary metric; higher is better.
    pub metric: String,
    /// Its value.
    pub value: f64,
    /// Labelled rows.
    pub rows: usize,
    /// All scores by name.
    pub scores: BTreeMap<String, f64>,
    /// The primary metric of bootstrap samples of the rows. The rows of a sample depend on the corpus, the split, the number of rows
    /// and the sample's index alone, so that samples of two models have the same rows.
    pub resampled: Vec<f64>,
}
