//! One label per row: topic, sentiment, intent.
//!
//! Input: a field of text, two of them (`pair`), or a field of words. Label: a field of text; a number or truth value
//! counts as its text. A row without the field, or with an empty one, is masked. The label space is the sorted set of the
//! training labels.
//!
//! Two texts are one row, `[CLS] text [SEP] pair [SEP]` in BERT, with a segment each; where that is too long, the longer text
//! is truncated first.
//!
//! A text that exceeds `[data] max_length` is truncated; with `windows = { overlap = 32, most = 8 }` (or `{}`) its row has a sequence,
//! with special tokens, for each window of it instead, up to `most`, each sharing `overlap` tokens with the one before it.
//!
//! Head: the row's token states `[tokens, hidden]` are averaged over all its tokens, special tokens included
//! (`pooling = "mean"`), or the state of its first token is taken (`"first"`); in windows that is the mean over the tokens of all
//! windows, so that tokens in two windows count twice, or over their first tokens; then dropout and a linear layer
//! `[hidden] -> [labels]`.
//!
//! Loss: cross-entropy, the mean over labelled rows. With class weights `c` the weighted mean
//! `sum c[y] l / sum c[y]`; `class_weights = "balanced"` is `c[k] = rows / (labels * rows with k)`, counted in training
//! (scikit-learn's formula). With `label_smoothing = a` the target is `1 - a` for the label plus `a / labels` for every
//! one (Szegedy et al. 2016, "Rethinking the Inception Architecture"). With `focal = g` each row's `l` is multiplied by
//! `(1 - p)^g`, where `p` is the probability of its label, so that rows that are already predicted well count less (Lin et al.
//! 2017, "Focal Loss for Dense Object Detection"); class weights apply as before. Focal loss excludes label smoothing.
//!
//! Scores: `accuracy` (default), `macro_f1`, `micro_f1`, `matthews`. A row whose label does not occur in training counts as
//! wrong. Cost: one product `[rows, hidden] x [hidden, labels]` a step.
//!
//! Example: `classification = { text = "text", label = "intent", pooling = "mean" }`, or of two texts
//! `classification = { text = "premise", pair = "hypothesis", label = "label" }`
//!
//! Answer: `{"label", "probability", "probabilities"}`, the last with the five most probable labels.

use data::{ChatTemplate, DataError, ErrorList, InputField, Pack, Row, Split, TextWindows, View};
use model::Parameters;
use model::onnx::{OnnxGraph, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::distillation::{self, SoftLoss, SoftOutputs, TaughtRow};
use crate::heads::head::{self, LinearHead};
use crate::heads::pooling::Pooling;
use crate::input;
use crate::losses::{focal, soft};
use crate::targets::class_weights::ClassWeights;
use crate::targets::labels::{self, IGNORE_INDEX, Labels, Targets};
use crate::task_head::{EncodedHead, Head};
use crate::{
    Batch, BatchRow, Kind, LabelReport, Loss, ModelInput, OnnxHead, Prediction, RowComparison, Scores,
    TaskError, TaskHead, TrunkHandles,
};

const METRICS: &[&str] = &["accuracy", "macro_f1", "micro_f1", "matthews"];

/// `classification = { .. }`: one label per row.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassificationConfig {
    /// The field with the text to read. Give this or `tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The field with a second text, read together with `text`: a hypothesis with its premise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
    /// The field with the words to read, for corpora that come split into words. Give this or `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<String>,
    /// Reads a text longer than `[data] max_length` in several sequences, `{ overlap = 32, most = 8 }` by default with `windows = {}`;
    /// without it such a text is truncated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<TextWindows>,
    /// The field with the label: text, a number, or true/false.
    pub label: String,
    /// The pooling of a row's token states: their mean, or the state of the first or the last token. `mean` by default; `last` on a
    /// decoder, in which only the last token sees all of the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
    /// The weight of each label in the loss: `"none"` (all equal), `"balanced"` (rare labels more, by
    /// rows / (labels * rows with the label)), or a table of label = weight (1 for labels that are not named).
    #[serde(default)]
    pub class_weights: ClassWeights,
    /// The share of the target that is distributed over all labels, 0 to below 1.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub label_smoothing: f32,
    /// The exponent of the focal loss factor `(1 - p)^focal`, which reduces the loss of rows that are predicted well. 0 by default,
    /// the cross-entropy itself; 2 is common.
    #[serde(default, skip_serializing_if = "focal::is_off")]
    #[schemars(range(min = 0.0))]
    pub focal: f32,
    /// Dropout before the last layer, 0 to below 1.
    #[serde(default = "head::default_dropout")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f32,
    /// The maximum number of different labels. More are an error, since the field probably holds free text or scores.
    #[serde(default = "labels::default_max_labels")]
    #[schemars(range(min = 2))]
    pub max_labels: usize,
}

impl ClassificationConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = |name: &str| format!("task.{task}.classification.{name}");
        let kind = format!("task.{task}.classification");
        let (text, pair, tokens) = (self.text.as_ref(), self.pair.as_ref(), self.tokens.as_ref());
        let input = input::of_row(&kind, text, pair, tokens, self.windows)?;
        TaskError::fraction(|| key("dropout"), self.dropout.into())?;
        TaskError::fraction(|| key("label_smoothing"), self.label_smoothing.into())?;
        focal::check(|| key("focal"), self.focal)?;
        if self.focal > 0.0 && self.label_smoothing > 0.0 {
            let (key, found) = (key("label_smoothing"), self.label_smoothing.to_string());
            let expected = format!("0 beside focal = {}, or no `focal`", self.focal);
            return Err(TaskError::Setting { key, found, expected });
        }
        self.class_weights.check(|label| key(&format!("class_weights.{label}")))?;
        Ok(Box::new(Classification {
            task: task.to_owned(),
            config: self.clone(),
            input,
            primary: TaskError::metric(task, METRICS, metric)?,
        }))
    }
}

/// A classification task.
#[derive(Clone)]
struct Classification {
    task: String,
    config: ClassificationConfig,
    input: InputField,
    primary: &'static str,
}

impl Classification {
    fn pooling(&self) -> Pooling {
        self.config.pooling.unwrap_or_default()
    }

    /// The label of a row.
    fn label(&self, row: &Row) -> Result<Option<String>, DataError> {
        labels::of_row(row, &self.config.label, &self.task)
    }

    fn key(&self, name: &str) -> String {
        format!("task.{}.classification.{name}", self.task)
    }

    /// The weight of each label in the loss.
    fn class_weights(&self, labels: &Labels) -> Option<Vec<f32>> {
        let (rows, classes) = (labels.counts().iter().sum::<usize>(), labels.len());
        self.config.class_weights.of(labels, |count| rows as f64 / (classes * count.max(1)) as f64)
    }

    /// The key of a class weight whose label is not in the label space, and what is allowed.
    fn unknown_weight(&self, labels: &Labels) -> Option<(String, String)> {
        let unknown = self.config.class_weights.unknown(labels)?;
        let key = self.key(&format!("class_weights.{unknown}"));
        Some((key, format!("one of the labels {}", labels.some())))
    }
}

impl Kind for Classification {
    fn set_causal(&mut self, _chat_template: Option<&ChatTemplate>) -> Result<(), TaskError> {
        self.config.pooling.get_or_insert(Pooling::Last);
        Ok(())
    }

    fn input(&self) -> InputField {
        self.input.clone()
    }

    fn metrics(&self) -> &'static [&'static str] {
        METRICS
    }

    fn target_fields(&self) -> Vec<String> {
        vec![self.config.label.clone()]
    }

    fn fit_labels(&self, rows: &[Row]) -> Result<serde_json::Value, Vec<DataError>> {
        let labels = Labels::new(labels::count(rows, |row| self.label(row))?);
        labels.check(rows, &self.config.label, self.config.max_labels, |name| self.key(name), "label")?;
        if let Some((key, expected)) = self.unknown_weight(&labels) {
            let found = "a label that training never shows".into();
            return Err(vec![DataError::Setting { key, found, expected }]);
        }
        Ok(labels.to_json())
    }

    fn init_head(
        &self,
        label_space: &serde_json::Value,
        trunk: &TrunkHandles<'_>,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn TaskHead>, TaskError> {
        self.pooling().check(&format!("task.{}.classification.pooling", self.task), trunk)?;
        let labels = Labels::from_json(&self.task, label_space)?;
        if let Some((key, expected)) = self.unknown_weight(&labels) {
            let found = "a label that the model does not have".into();
            return Err(TaskError::Setting { key, found, expected });
        }
        let weights = self.class_weights(&labels);
        let linear = LinearHead::new(parameters, &self.task, trunk.hidden, labels.len());
        Ok(EncodedHead::boxed(ClassificationHead { kind: self.clone(), labels, weights, linear }))
    }
}

/// The head of a classification task.
struct ClassificationHead {
    kind: Classification,
    labels: Labels,
    /// Per label, in the order of the space.
    weights: Option<Vec<f32>>,
    linear: LinearHead,
}

impl Head for ClassificationHead {
    type Targets = Targets;

    fn encode_targets(&self, view: &View) -> Result<(Self::Targets, LabelReport), Vec<DataError>> {
        let mut errors = ErrorList::new();
        let mut targets = Targets::default();
        for row in view.rows.iter() {
            match self.kind.label(row) {
                Ok(label) => targets.push(&self.labels, label.as_deref()),
                Err(error) => errors.push(error),
            }
        }
        errors.finish(())?;
        let missing = targets.ids.iter().filter(|id| **id == IGNORE_INDEX).count();
        let (counts, unseen) = targets.count(&self.labels);
        let rows = targets.ids.len();
        let labelled = rows - missing;
        Ok((targets, LabelReport { rows, labelled, missing, unseen, counts, ..Default::default() }))
    }

    fn labelled(targets: &Self::Targets, row: usize) -> bool {
        targets.ids.get(row).is_some_and(|id| *id != IGNORE_INDEX)
    }

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        self.kind.pooling().mark_used_tokens(pack, rows, used);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, targets: &Self::Targets) -> Option<Loss> {
        let known = |id: &u32| (*id as usize) < self.labels.len();
        let (pack_rows, ids): (Vec<u32>, Vec<u32>) = batch
            .rows
            .iter()
            .filter_map(|at| {
                targets.ids.get(at.row as usize).copied().filter(known).map(|id| (at.pack_row, id))
            })
            .unzip();
        // With class weights of 0 a pack may have no weight at all: its mean would be 0 / 0.
        let weighs = |id: &u32| self.weights.as_ref().is_none_or(|w| w[*id as usize] > 0.0);
        if !ids.iter().any(weighs) {
            return None;
        }
        let dropout = head::dropout(self.kind.config.dropout, &self.kind.task, batch.dropout_seed);
        let logits = self.linear.logits(parameters, self.kind.pooling().pool(batch, &pack_rows), dropout);
        let weights = self.weights.as_deref();
        let mean = match self.kind.config.focal {
            0.0 => kernels::cross_entropy(logits, &ids, weights, self.kind.config.label_smoothing),
            gamma => focal::of_classes(logits, &ids, weights, gamma),
        };
        Some(Loss { mean, num_targets: ids.len() })
    }

    fn soft_outputs(&self) -> Result<SoftOutputs, String> {
        Ok(SoftOutputs::of(self.labels.names()))
    }

    fn teacher_answers(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Vec<f32>> {
        let pack_rows: Vec<u32> = batch.rows.iter().map(|at| at.pack_row).collect();
        let logits = self.linear.logits(parameters, self.kind.pooling().pool(batch, &pack_rows), None);
        head::to_host_vec(logits).chunks(self.labels.len()).map(<[f32]>::to_vec).collect()
    }

    fn soft_loss(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
        taught: &[TaughtRow<'_>],
        temperature: f32,
    ) -> Option<SoftLoss> {
        let pack_rows: Vec<u32> = taught.iter().map(|row| row.at.pack_row).collect();
        let dropout = head::dropout(self.kind.config.dropout, &self.kind.task, batch.dropout_seed);
        let logits = self.linear.logits(parameters, self.kind.pooling().pool(batch, &pack_rows), dropout);
        let (answers, weights) = distillation::joined(taught);
        let sum = soft::softmax(logits, &answers, weights, temperature);
        Some(SoftLoss { sum, num_targets: taught.len() })
    }

    fn predict(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Prediction> {
        if batch.rows.is_empty() {
            return Vec::new();
        }
        let pack_rows: Vec<u32> = batch.rows.iter().map(|at| at.pack_row).collect();
        let logits = self.linear.logits(parameters, self.kind.pooling().pool(batch, &pack_rows), None);
        let rows = head::probabilities(logits);
        rows.chunks(self.labels.len()).map(|row| Prediction::Label(row.to_vec())).collect()
    }

    fn score(&self, _split: Split, targets: &Self::Targets, predictions: &[(u32, Prediction)]) -> Scores {
        let (gold, predicted) = targets.scored(predictions);
        let classes = self.labels.len() + targets.unseen.len();
        Scores::with_primary(
            self.kind.primary,
            vec![
                ("accuracy".into(), metrics::accuracy(&gold, &predicted)),
                ("macro_f1".into(), metrics::macro_f1(&gold, &predicted, classes)),
                ("micro_f1".into(), metrics::micro_f1(&gold, &predicted)),
                ("matthews".into(), metrics::matthews(&gold, &predicted)),
            ],
        )
    }

    fn onnx(&self, graph: &mut OnnxGraph, states: &Value) -> Option<OnnxHead> {
        let pooled = self.kind.pooling().onnx(graph, states);
        Some(OnnxHead::of_rows(self.linear.onnx(graph, &pooled), self.labels.len(), "softmax"))
    }

    fn label_space(&self) -> serde_json::Value {
        self.labels.to_json()
    }

    fn probabilities(&self, prediction: &Prediction) -> Option<serde_json::Map<String, serde_json::Value>> {
        self.labels.probabilities(prediction)
    }

    fn to_json(&self, prediction: &Prediction, _input: ModelInput<'_>) -> serde_json::Value {
        self.labels.answer(prediction)
    }

    fn compare(
        &self,
        targets: &Self::Targets,
        row: usize,
        _source: &Row,
        prediction: &Prediction,
    ) -> Option<RowComparison> {
        targets.compare(&self.labels, row, prediction)
    }
}
