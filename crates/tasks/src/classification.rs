//! One label per row: topic, sentiment, intent.
//!
//! Input: a field of text, or a field of words. Label: a field of text; a number or truth value counts as its text. A row
//! without the field, or with an empty one, is masked. Labels are learned from the training rows and sorted.
//!
//! Head: the row's token states `[tokens, hidden]` are averaged over all its tokens, special ones included
//! (`pooling = "mean"`), or its first token is taken (`"first"`); then dropout and a linear map `[hidden] -> [labels]`.
//!
//! Loss: cross-entropy, the mean over labelled rows. With class weights `c` the weighted mean
//! `sum c[y] l / sum c[y]`; `class_weights = "balanced"` is `c[k] = rows / (labels * rows with k)`, counted in training
//! (scikit-learn's formula). With `label_smoothing = a` the target is `1 - a` for the label plus `a / labels` for every
//! one (Szegedy et al. 2016, "Rethinking the Inception Architecture").
//!
//! Scores: `accuracy` (default), `macro_f1`, `micro_f1`, `matthews`. A row whose label training never showed counts as
//! wrong. Cost: one product `[rows, hidden] x [hidden, labels]` a step.
//!
//! Example: `classification = { text = "text", label = "intent", pooling = "mean" }`
//!
//! Answer: `{"label", "probability", "probabilities"}`, the last with the five most probable labels.

use std::collections::{BTreeMap, HashMap};

use burn::tensor::Tensor;
use data::{DataError, Faults, InputField, Pack, Row, Split, View};
use model::Parameters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::head::{self, Head};
use crate::labels::{Labels, MASKED, Targets, as_label};
use crate::{Batch, BatchRow, Kind, LabelReport, Loss, Prediction, Scores, Source, TaskError};

const METRICS: &[&str] = &["accuracy", "macro_f1", "micro_f1", "matthews"];

/// How many labels an answer lists.
const LISTED: usize = 5;

/// `classification = { .. }`: one label per row.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassificationConfig {
    /// The field with the text to read. Give this or `tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The field with the words to read, for corpora that come split into words. Give this or `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<String>,
    /// The field with the label: text, a number, or true/false.
    pub label: String,
    /// How the token states of a row become one: their mean, or the first token's.
    #[serde(default)]
    pub pooling: Pooling,
    /// How much each label counts in the loss: `"none"` (all the same), `"balanced"` (rare labels more, by
    /// rows / (labels * rows with the label)), or a table of label = weight (labels not named: 1).
    #[serde(default)]
    pub class_weights: ClassWeights,
    /// Share of the target that is spread over all labels, 0 to below 1.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub label_smoothing: f32,
    /// Dropout before the last layer, 0 to below 1.
    #[serde(default = "tenth")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f32,
    /// More different labels than this are taken for a mistake, such as a field of free text or of scores.
    #[serde(default = "thousand")]
    #[schemars(range(min = 2))]
    pub max_labels: usize,
}

/// How the token states of a row become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The mean over all tokens of the row, special tokens included.
    #[default]
    Mean,
    /// The first token (`[CLS]` in BERT).
    First,
}

/// How much each label counts in the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected \"none\", \"balanced\", or a table of label = weight")]
pub enum ClassWeights {
    /// By name.
    Named(NamedWeights),
    /// Label = weight; labels that are not named have weight 1.
    Table(BTreeMap<String, f32>),
}

/// Class weights by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NamedWeights {
    /// Every label the same.
    None,
    /// Rare labels more: rows / (labels * rows with the label).
    Balanced,
}

impl Default for ClassWeights {
    fn default() -> Self {
        ClassWeights::Named(NamedWeights::None)
    }
}

fn tenth() -> f32 {
    0.1
}

fn thousand() -> usize {
    1000
}

impl ClassificationConfig {
    fn input(&self) -> Option<InputField> {
        match (&self.text, &self.tokens) {
            (Some(field), None) => Some(InputField::Text(field.clone())),
            (None, Some(field)) => Some(InputField::Words(field.clone())),
            _ => None,
        }
    }

    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = |name: &str| {
            format!("task.{task}.classification{}{name}", if name.is_empty() { "" } else { "." })
        };
        let setting = |name: &str, found: String, expected: &str| {
            Err(TaskError::Setting { key: key(name), found, expected: expected.into() })
        };
        let Some(input) = self.input() else {
            let found =
                if self.text.is_some() { "both `text` and `tokens`" } else { "neither `text` nor `tokens`" };
            return setting("", found.into(), "exactly one of them: the field that the task reads");
        };
        TaskError::fraction(|| key("dropout"), self.dropout.into())?;
        TaskError::fraction(|| key("label_smoothing"), self.label_smoothing.into())?;
        if let ClassWeights::Table(weights) = &self.class_weights
            && let Some((label, weight)) = weights.iter().find(|(_, w)| !(w.is_finite() && **w >= 0.0))
        {
            return setting(&format!("class_weights.{label}"), weight.to_string(), "a number, 0 or more");
        }
        Ok(Box::new(Classification {
            task: task.to_owned(),
            config: self.clone(),
            input,
            main: TaskError::metric(task, METRICS, metric)?,
            labels: Labels::default(),
            weights: None,
            head: None,
            targets: HashMap::new(),
        }))
    }
}

/// A classification task.
struct Classification {
    task: String,
    config: ClassificationConfig,
    input: InputField,
    main: &'static str,
    labels: Labels,
    /// Per label, in the order of the space.
    weights: Option<Vec<f32>>,
    head: Option<Head>,
    targets: HashMap<Split, Targets>,
}

impl Classification {
    /// The label of a row.
    fn label(&self, row: &Row) -> Result<Option<String>, DataError> {
        let Some(value) = row.get(&self.config.label) else { return Ok(None) };
        as_label(value).map_err(|()| {
            let expected = format!("one label (text, a number, true or false) for task {}", self.task);
            row.error(&self.config.label, value.preview(), expected)
        })
    }

    fn key(&self, name: &str) -> String {
        format!("task.{}.classification.{name}", self.task)
    }

    /// The weight of each label in the loss.
    fn class_weights(&self) -> Option<Vec<f32>> {
        match &self.config.class_weights {
            ClassWeights::Named(NamedWeights::None) => None,
            ClassWeights::Named(NamedWeights::Balanced) => {
                let counts = self.labels.counts();
                let rows: usize = counts.iter().sum();
                let weight = |count: &usize| rows as f64 / (counts.len() * (*count).max(1)) as f64;
                Some(counts.iter().map(|count| weight(count) as f32).collect())
            }
            ClassWeights::Table(table) => {
                let weight = |name: &String| table.get(name).copied().unwrap_or(1.0);
                Some(self.labels.names().iter().map(weight).collect())
            }
        }
    }

    /// Class weights may name only labels that there are.
    fn unknown_weight(&self) -> Option<(String, String)> {
        let ClassWeights::Table(table) = &self.config.class_weights else { return None };
        let unknown = table.keys().find(|name| self.labels.id(name).is_none())?;
        Some((
            self.key(&format!("class_weights.{unknown}")),
            format!("one of the labels {}", self.labels.some()),
        ))
    }

    /// The state of each given row of the pack, `[rows, hidden]`; zeros for a row without tokens.
    fn pooled(&self, batch: &Batch<'_>, pack_rows: &[u32]) -> Tensor<2> {
        let offsets = &batch.pack.offsets;
        match self.config.pooling {
            Pooling::Mean => {
                let means = kernels::mean_rows(batch.states.clone(), offsets);
                let all =
                    pack_rows.len() == batch.pack.len() && pack_rows.iter().zip(0..).all(|(a, b)| *a == b);
                if all { means } else { kernels::pick(means, pack_rows) }
            }
            Pooling::First => {
                let length = |row: u32| offsets[row as usize + 1] - offsets[row as usize];
                let filled: Vec<u32> = pack_rows.iter().copied().filter(|row| length(*row) > 0).collect();
                let tokens: Vec<u32> = filled.iter().map(|row| offsets[*row as usize] as u32).collect();
                let states = kernels::pick(batch.states.clone(), &tokens);
                if filled.len() == pack_rows.len() {
                    return states;
                }
                // One token for each filled row and none for the others: their means are these tokens, and zeros.
                let mut ends = vec![0];
                pack_rows.iter().for_each(|row| ends.push(ends[ends.len() - 1] + length(*row).min(1)));
                kernels::mean_rows(states, &ends.into())
            }
        }
    }

    fn head(&self) -> Head {
        self.head.expect("the head is built before the first batch")
    }
}

impl Kind for Classification {
    fn input(&self) -> InputField {
        self.input.clone()
    }

    fn learn(&mut self, rows: &[Row]) -> Result<(), Vec<DataError>> {
        let mut faults = Faults::new();
        let mut counted = BTreeMap::new();
        for row in rows {
            match self.label(row) {
                Ok(Some(label)) => *counted.entry(label).or_insert(0) += 1,
                Ok(None) => {}
                Err(fault) => faults.push(fault),
            }
        }
        faults.finish(())?;
        let labels = Labels::new(counted);
        labels.check(rows, &self.config.label, self.config.max_labels, |name| self.key(name), "label")?;
        self.labels = labels;
        if let Some((key, expected)) = self.unknown_weight() {
            let found = "a label that training never shows".into();
            return Err(vec![DataError::Setting { key, found, expected }]);
        }
        self.weights = self.class_weights();
        Ok(())
    }

    fn space(&self) -> serde_json::Value {
        self.labels.to_json()
    }

    fn restore_space(&mut self, space: &serde_json::Value) -> Result<(), TaskError> {
        self.labels = Labels::from_json(&self.task, space)?;
        if let Some((key, expected)) = self.unknown_weight() {
            return Err(TaskError::Setting {
                key,
                found: "a label that the model does not have".into(),
                expected,
            });
        }
        self.weights = self.class_weights();
        Ok(())
    }

    fn labels(&self) -> &[String] {
        self.labels.names()
    }

    fn build(&mut self, parameters: &mut Parameters, hidden: usize) {
        self.head = Some(Head::new(parameters, &self.task, hidden, self.labels.len()));
    }

    fn attach(&mut self, split: Split, view: &View) -> Result<LabelReport, Vec<DataError>> {
        let mut faults = Faults::new();
        let mut targets = Targets::default();
        for row in view.rows.iter() {
            match self.label(row) {
                Ok(label) => targets.push(&self.labels, label.as_deref()),
                Err(fault) => faults.push(fault),
            }
        }
        faults.finish(())?;
        let missing = targets.ids.iter().filter(|id| **id == MASKED).count();
        let (counts, unseen) = targets.count(&self.labels);
        let rows = targets.ids.len();
        self.targets.insert(split, targets);
        Ok(LabelReport { rows, labelled: rows - missing, missing, unseen, counts, ..Default::default() })
    }

    fn labelled(&self, split: Split, row: usize) -> bool {
        self.targets.get(&split).and_then(|t| t.ids.get(row)).is_some_and(|id| *id != MASKED)
    }

    fn reads(&self, pack: &Pack, rows: &[BatchRow], read: &mut [bool]) {
        for at in rows {
            let read = &mut read[at.tokens(pack)];
            match self.config.pooling {
                Pooling::Mean => read.fill(true),
                Pooling::First => read.iter_mut().take(1).for_each(|first| *first = true),
            }
        }
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>) -> Option<Loss> {
        let targets = self.targets.get(&batch.split)?;
        let known = |id: &u32| (*id as usize) < self.labels.len();
        let (pack_rows, ids): (Vec<u32>, Vec<u32>) = batch
            .rows
            .iter()
            .filter_map(|at| {
                targets.ids.get(at.row as usize).copied().filter(known).map(|id| (at.pack_row, id))
            })
            .unzip();
        // Under class weights of 0 a pack may weigh nothing: its mean would be 0 / 0.
        let weighs = |id: &u32| self.weights.as_ref().is_none_or(|w| w[*id as usize] > 0.0);
        if !ids.iter().any(weighs) {
            return None;
        }
        let noise = head::noise(self.config.dropout, &self.task, batch.noise_seed);
        let logits = self.head().logits(parameters, self.pooled(batch, &pack_rows), noise);
        let mean = kernels::cross_entropy(logits, &ids, self.weights.as_deref(), self.config.label_smoothing);
        Some(Loss { mean, items: ids.len() })
    }

    fn predict(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Prediction> {
        if batch.rows.is_empty() {
            return Vec::new();
        }
        let pack_rows: Vec<u32> = batch.rows.iter().map(|at| at.pack_row).collect();
        let logits = self.head().logits(parameters, self.pooled(batch, &pack_rows), None);
        let rows = head::probabilities(logits);
        rows.chunks(self.labels.len()).map(|row| Prediction::Label(row.to_vec())).collect()
    }

    fn score(&self, split: Split, predictions: &[(u32, Prediction)]) -> Scores {
        let (mut gold, mut predicted) = (Vec::new(), Vec::new());
        let targets = self.targets.get(&split);
        for (row, prediction) in predictions {
            let id = targets.and_then(|t| t.ids.get(*row as usize)).filter(|id| **id != MASKED);
            if let (Some(id), Prediction::Label(probabilities)) = (id, prediction) {
                gold.push(*id);
                predicted.push(head::largest(probabilities).0 as u32);
            }
        }
        let classes = self.labels.len() + targets.map_or(0, |t| t.unseen.len());
        Scores::with_main(
            self.main,
            vec![
                ("accuracy".into(), metrics::accuracy(&gold, &predicted)),
                ("macro_f1".into(), metrics::macro_f1(&gold, &predicted, classes)),
                ("micro_f1".into(), metrics::micro_f1(&gold, &predicted)),
                ("matthews".into(), metrics::matthews(&gold, &predicted)),
            ],
        )
    }

    fn explain(&self, prediction: &Prediction, _source: Source<'_>) -> serde_json::Value {
        let Prediction::Label(probabilities) = prediction else { return serde_json::Value::Null };
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
        let name = |i: usize| self.labels.name(i as u32).unwrap_or_default();
        let listed: serde_json::Map<_, _> =
            order.iter().take(LISTED).map(|i| (name(*i).to_owned(), json!(probabilities[*i]))).collect();
        let (best, probability) = head::largest(probabilities);
        json!({ "label": name(best), "probability": probability, "probabilities": listed })
    }

    fn metrics(&self) -> &'static [&'static str] {
        METRICS
    }
}
