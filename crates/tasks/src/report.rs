//! What is counted of a task on one split: its labels, its loss and its scores.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use data::Place;
use serde::Serialize;

/// A task's loss over one batch.
#[derive(Debug)]
pub struct Loss {
    /// `[1]`, the mean over the targets.
    pub mean: Tensor<1>,
    /// The number of targets (rows, words or tokens).
    pub num_targets: usize,
}

/// Counts of the targets of a split.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LabelReport {
    /// Rows of the split.
    pub rows: usize,
    /// Rows with a label of this task.
    pub labelled: usize,
    /// Rows without one.
    pub missing: usize,
    /// Labels that do not occur in the training split, and how often each occurs here.
    pub unseen: BTreeMap<String, usize>,
    /// The number of labels outside of the label space, because they are too rare in training, or absent.
    pub rare: usize,
    /// How often each label of the space occurs, in its order; in tagging, in words.
    pub counts: Vec<(String, usize)>,
    /// The distribution of the labels, where they are numbers.
    pub numbers: Option<SummaryStatistics>,
    /// Labels lost to truncation: words whose first token was cut off.
    pub truncated: usize,
    /// Labels of words for which the tokenizer has no token at all, such as a lone control character. Like words lost to
    /// truncation, they are not trained on and are scored as `O`.
    pub without_token: usize,
    /// Labels that the task's settings exclude, such as entities of too many words. They are not trained on, and are scored as
    /// not found.
    pub out_of_reach: usize,
    /// Rows whose gold is no valid target of this task.
    pub issues: Vec<GoldIssue>,
}

/// Rows with gold that breaks a rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GoldIssue {
    /// What is the matter, said of "rows": `have tags that ...`.
    pub what: String,
    /// How many rows.
    pub rows: usize,
    /// Of how many to which the rule applies.
    pub of: usize,
    /// Places of the first of them.
    pub places: Vec<String>,
    /// Whether no prediction can be equal to this gold. Where that is so of all rows, there is nothing to learn.
    pub unpredictable: bool,
}

impl GoldIssue {
    /// How many places are named.
    const PLACES: usize = 3;

    /// An issue that no row has yet.
    pub(crate) fn new(what: impl Into<String>, unpredictable: bool) -> Self {
        GoldIssue { what: what.into(), rows: 0, of: 0, places: Vec::new(), unpredictable }
    }

    /// Counts a row to which the rule applies; `broken` says whether it breaks the rule.
    pub(crate) fn count(&mut self, place: &Place, broken: bool) {
        self.of += 1;
        if broken {
            self.rows += 1;
            if self.places.len() < Self::PLACES {
                self.places.push(place.to_string());
            }
        }
    }
}

impl LabelReport {
    /// Adds an issue, if any row has it.
    pub(crate) fn add_issue(&mut self, issue: GoldIssue) {
        if issue.rows > 0 {
            self.issues.push(issue);
        }
    }
}

/// Summary statistics of some numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SummaryStatistics {
    /// Minimum.
    pub min: f64,
    /// Mean.
    pub mean: f64,
    /// Maximum.
    pub max: f64,
    /// Standard deviation of the population.
    pub std: f64,
}

impl SummaryStatistics {
    /// Of some values; `None` where there are none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let min = values.iter().copied().reduce(f64::min)?;
        let max = values.iter().copied().reduce(f64::max)?;
        let mean: f64 = values.iter().map(|value| value / n).sum();
        let variance: f64 = values.iter().map(|value| (value - mean).powi(2) / n).sum();
        Some(SummaryStatistics { min, mean, max, std: variance.sqrt() })
    }
}

/// A task's scores on one split.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    /// The name of the primary one: the task's `metric`, or the kind's first.
    pub primary: String,
    /// All scores by name, the primary one first.
    pub values: Vec<(String, f64)>,
    /// Of scores with settings their signature, by name: what has to be equal for scores to be comparable.
    pub signatures: Vec<(String, String)>,
}

impl Scores {
    /// Scores by name, of which `primary` is moved to the front.
    pub(crate) fn with_primary(primary: &str, mut values: Vec<(String, f64)>) -> Self {
        if let Some(index) = values.iter().position(|(name, _)| name == primary) {
            values[..=index].rotate_right(1);
        }
        Scores { primary: primary.to_owned(), values, signatures: Vec::new() }
    }

    /// The score of that name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
    }
}
