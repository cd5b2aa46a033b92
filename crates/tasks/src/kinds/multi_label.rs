//! Any number of labels per row: emotions, topics, tags of a ticket.
//!
//! Input: a field of text, two of them (`pair`), or a field of words. Labels: a field with a list of labels, each as in
//! `classification`; with `separator` a text of several (CSV), without it a text is one label. A row without the field,
//! or with an empty text, is masked; an empty list means that no label holds. The label space is the sorted set of the training
//! labels, one or more. Or: a list of fields, `labels = ["toxic", "insult"]`, of which each is a label that holds where the field is 1
//! or true; or `one_hot`, the names of the places of a vector of 0 and 1.
//!
//! Head: the row's token states, of long texts in `windows` too, pooled as in `classification`, dropout, a linear layer `[hidden] -> [labels]`; the sigmoid of
//! each logit `z` is the probability that its label holds.
//!
//! Loss: binary cross-entropy, `-(w y log s(z) + (1 - y) log(1 - s(z)))`, the mean over labelled rows and labels. The positive
//! weight `w` is 1, or `positive_weights`: `"balanced"` is (rows without the label) / (rows with it), counted in training, which
//! gives both sides the same weight. With `focal = g` each summand is multiplied by `(1 - p)^g`, where `p` is the probability of
//! the gold answer, so that labels that are already predicted well count less (Lin et al. 2017, "Focal Loss for Dense Object
//! Detection").
//!
//! Thresholds: a label holds if its probability is at least its threshold. With `thresholds = "tuned"` each label has its own, the
//! one with its best F1 on the validation split, and so the best macro F1 there. The thresholds are tuned once after training, with
//! the exported weights, and stored in the label space, so that the saved model predicts and scores every split with them. During
//! training each evaluation of the validation split tunes its own thresholds, so those scores are slightly optimistic; the test
//! split's are not. Without validation rows the threshold is 0.5.
//!
//! Scores: `macro_f1` (default), `micro_f1`, `sample_f1`, explained under `label_macro_f1`, `label_micro_f1` and `sample_f1`. A
//! label that does not occur in training counts as not found. Cost: one product `[rows, hidden] x [hidden, labels]` a step.
//!
//! Example: `multi_label = { text = "text", labels = "emotions", thresholds = "tuned" }`
//!
//! Answer: `{"labels", "probabilities"}`: the labels that hold in falling order of probability, and the five most probable labels.

use std::collections::BTreeMap;

use data::{
    ChatTemplate, DataError, ErrorList, InputField, Pack, Row, Split, TextWindows, Value, View, is_blank,
};
use model::Parameters;
use model::onnx::{OnnxGraph, Value as OnnxValue};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::distillation::{self, SoftLoss, SoftOutputs, TaughtRow};
use crate::heads::head::{self, LinearHead};
use crate::heads::pooling::Pooling;
use crate::heads::thresholds::{self, Thresholds};
use crate::input;
use crate::losses::{binary, focal, soft};
use crate::row_comparison::NO_LABEL;
use crate::targets::class_weights::ClassWeights;
use crate::targets::labels::{self, Labels, SetTargets, as_label};
use crate::task_head::{EncodedHead, Head};
use crate::{
    Batch, BatchRow, Kind, LabelReport, Loss, ModelInput, OnnxHead, Prediction, RowComparison, Scores,
    TaskError, TaskHead, TrunkHandles,
};

const METRICS: &[&str] = &["macro_f1", "micro_f1", "sample_f1"];

/// `multi_label = { .. }`: any number of labels per row.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MultiLabelConfig {
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
    /// The field with the labels: a list, or text. Or a list of fields with 0 or 1 (false or true), one for each label.
    pub labels: LabelFields,
    /// The labels in the order of the places of a vector of 0 and 1, where the field holds one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_hot: Vec<String>,
    /// The separator of the labels if they are one text, such as "," in CSV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// The pooling of a row's token states: their mean, or the state of the first or the last token. `mean` by default; `last` on a
    /// decoder, in which only the last token sees all of the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
    /// The weight of positive targets in the loss: `"none"` (1), `"balanced"` (rows without the label / rows with it), or a table
    /// of label = weight (1 for labels that are not named).
    #[serde(default)]
    pub positive_weights: ClassWeights,
    /// The exponent of the focal loss factor `(1 - p)^focal`, which reduces the loss of labels that are predicted well. 0 by default,
    /// the cross-entropy itself; 2 is common.
    #[serde(default, skip_serializing_if = "focal::is_off")]
    #[schemars(range(min = 0.0))]
    pub focal: f32,
    /// The minimum probability of a label that holds: `"tuned"` (one for each label, on the validation split), or a number between
    /// 0 and 1.
    #[serde(default)]
    pub thresholds: Thresholds,
    /// Dropout before the last layer, 0 to below 1.
    #[serde(default = "head::default_dropout")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f32,
    /// The maximum number of different labels. More are an error, since the field probably holds words.
    #[serde(default = "labels::default_max_labels")]
    #[schemars(range(min = 2))]
    pub max_labels: usize,
}

/// Where the labels of a row stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum LabelFields {
    /// In one field.
    One(String),
    /// In one field each: 1 or true where the label of the field's name holds.
    Columns(Vec<String>),
}

impl MultiLabelConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = |name: &str| format!("task.{task}.multi_label.{name}");
        let kind = format!("task.{task}.multi_label");
        let (text, pair, tokens) = (self.text.as_ref(), self.pair.as_ref(), self.tokens.as_ref());
        let input = input::of_row(&kind, text, pair, tokens, self.windows)?;
        TaskError::fraction(|| key("dropout"), self.dropout.into())?;
        self.thresholds.check(|| key("thresholds"))?;
        focal::check(|| key("focal"), self.focal)?;
        self.positive_weights.check(|label| key(&format!("positive_weights.{label}")))?;
        if self.separator.as_ref().is_some_and(String::is_empty) {
            let (found, expected) = ("an empty text".into(), "what stands between two labels".into());
            return Err(TaskError::Setting { key: key("separator"), found, expected });
        }
        if let LabelFields::Columns(columns) = &self.labels {
            let beside = [("separator", self.separator.is_some()), ("one_hot", !self.one_hot.is_empty())];
            if let Some((name, _)) = beside.into_iter().find(|(_, given)| *given) {
                let (found, expected) = ("a value beside a list of fields".into(), "none".into());
                return Err(TaskError::Setting { key: key(name), found, expected });
            }
            if columns.is_empty() {
                let (found, expected) = ("an empty list".into(), "one field or more".into());
                return Err(TaskError::Setting { key: key("labels"), found, expected });
            }
        }
        for (name, names) in [("labels", self.columns()), ("one_hot", &self.one_hot)] {
            let twice = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name));
            if let Some((_, twice)) = twice {
                let (found, expected) = (format!("{twice:?} twice"), "names that differ".into());
                return Err(TaskError::Setting { key: key(name), found, expected });
            }
        }
        Ok(Box::new(MultiLabel {
            task: task.to_owned(),
            config: self.clone(),
            input,
            primary: TaskError::metric(task, METRICS, metric)?,
        }))
    }
}

impl MultiLabelConfig {
    /// The fields that are labels by themselves.
    fn columns(&self) -> &[String] {
        match &self.labels {
            LabelFields::One(_) => &[],
            LabelFields::Columns(columns) => columns,
        }
    }
}

/// The label space, with the tuned thresholds.
#[derive(Debug, Clone)]
struct LabelSpace {
    labels: Labels,
    /// The number of training rows with a list of labels, empty lists included.
    rows: usize,
    /// One for each label, after calibration.
    thresholds: Option<Vec<f32>>,
}

impl LabelSpace {
    /// `{"labels": [..], "counts": [..], "rows": n, "thresholds": null or [..]}`.
    fn to_json(&self) -> serde_json::Value {
        let mut json = self.labels.to_json();
        json["rows"] = self.rows.into();
        json["thresholds"] = json!(self.thresholds);
        json
    }

    fn from_json(task: &str, space: &serde_json::Value) -> Result<Self, TaskError> {
        let error = |reason: String| TaskError::Space { task: task.into(), reason };
        let labels = Labels::any_from_json(task, space)?;
        if labels.len() == 0 {
            return Err(error("found no label".into()));
        }
        let rows = space["rows"].as_u64().ok_or_else(|| error("there is no number \"rows\"".into()))?;
        let found = &space["thresholds"];
        let thresholds: Option<Vec<f32>> = serde_json::from_value(found.clone()).map_err(|_| {
            error(format!("found the thresholds {found}, expected null or a list of numbers"))
        })?;
        if let Some(found) = thresholds.as_ref().filter(|found| found.len() != labels.len()) {
            return Err(error(format!("found {} thresholds for {} labels", found.len(), labels.len())));
        }
        Ok(LabelSpace { labels, rows: rows as usize, thresholds })
    }
}

/// A multi-label classification task.
#[derive(Clone)]
struct MultiLabel {
    task: String,
    config: MultiLabelConfig,
    input: InputField,
    primary: &'static str,
}

impl MultiLabel {
    fn pooling(&self) -> Pooling {
        self.config.pooling.unwrap_or_default()
    }

    fn key(&self, name: &str) -> String {
        format!("task.{}.multi_label.{name}", self.task)
    }

    /// The sorted set of a row's labels; `None` for a row that is not labelled.
    fn set(&self, row: &Row) -> Result<Option<Vec<String>>, DataError> {
        let mut set = match &self.config.labels {
            LabelFields::Columns(columns) => self.set_of_columns(row, columns)?,
            LabelFields::One(field) if self.config.one_hot.is_empty() => self.set_of_field(row, field)?,
            LabelFields::One(field) => self.set_of_vector(row, field)?,
        };
        if let Some(set) = &mut set {
            set.sort_unstable();
            set.dedup();
        }
        Ok(set)
    }

    /// The labels in one field: a list, or text.
    fn set_of_field(&self, row: &Row, field: &str) -> Result<Option<Vec<String>>, DataError> {
        let error =
            |found: String| row.error(field, found, "a list of labels (text, numbers, true or false)");
        Ok(match (row.get(field), &self.config.separator) {
            (None, _) => None,
            (Some(Value::List(items)), _) => {
                let label = |(i, item): (usize, &Value)| {
                    as_label(item)
                        .map_err(|()| error(format!("{} at position {}", item.preview(), i + 1)))
                        .transpose()
                };
                Some(items.iter().enumerate().filter_map(label).collect::<Result<Vec<_>, _>>()?)
            }
            (Some(Value::Text(text)), Some(separator)) if !is_blank(text) => {
                let labels = text.split(separator.as_str()).map(str::trim);
                Some(labels.filter(|label| !is_blank(label)).map(str::to_owned).collect())
            }
            (Some(value), _) => {
                as_label(value).map_err(|()| error(value.preview()))?.map(|label| vec![label])
            }
        })
    }

    /// The labels whose fields hold 1 or true; `None` where all are empty.
    fn set_of_columns(&self, row: &Row, columns: &[String]) -> Result<Option<Vec<String>>, DataError> {
        let (mut set, mut is_labelled) = (Vec::new(), false);
        for column in columns {
            let Some(value) = row.get(column).filter(|value| !value.is_blank()) else { continue };
            let holds =
                truth(value).ok_or_else(|| row.error(column, value.preview(), "0 or 1, false or true"))?;
            is_labelled = true;
            set.extend(holds.then(|| column.clone()));
        }
        Ok(is_labelled.then_some(set))
    }

    /// The labels at the places of a vector that hold 1.
    fn set_of_vector(&self, row: &Row, field: &str) -> Result<Option<Vec<String>>, DataError> {
        let names = &self.config.one_hot;
        let Some(value) = row.get(field) else { return Ok(None) };
        let error = || {
            let expected =
                format!("a list of {} numbers, 0 or 1, one for each name of `one_hot`", names.len());
            row.error(field, value.preview(), expected)
        };
        let Value::List(items) = value else { return Err(error()) };
        if items.len() != names.len() {
            return Err(error());
        }
        let holds = items.iter().map(truth).collect::<Option<Vec<bool>>>().ok_or_else(error)?;
        Ok(Some(names.iter().zip(holds).filter(|(_, holds)| *holds).map(|(name, _)| name.clone()).collect()))
    }

    /// The error that a field holds vectors of 0 and 1 and the config does not say so: every list is of one length, two or more.
    fn vectors(&self, rows: &[Row]) -> Option<DataError> {
        let LabelFields::One(field) = &self.config.labels else { return None };
        let lists = rows.iter().filter_map(|row| match row.get(field) {
            Some(Value::List(items)) => Some((row, items)),
            _ => None,
        });
        let (first, length) = lists.clone().next().map(|(row, items)| (row, items.len()))?;
        let is_bit = |item: &Value| matches!(item, Value::Number(number) if *number == 0.0 || *number == 1.0);
        let all = lists.clone().all(|(_, items)| items.len() == length && items.iter().all(is_bit));
        (self.config.one_hot.is_empty() && length > 1 && all).then(|| {
            let found = format!("vectors of {length} zeros and ones");
            let expected = format!(
                "lists of labels; name the places of the vectors: one_hot = [{}]",
                (1..=length).map(|i| format!("\"label{i}\"")).collect::<Vec<_>>().join(", ")
            );
            first.error(field, found, expected)
        })
    }

    /// Checks that there is a label that holds in some row, and no more than `max_labels`.
    fn check(&self, rows: &[Row], labels: &Labels) -> Result<(), Vec<DataError>> {
        let fields = self.target_fields().join(", ");
        if labels.counts().iter().all(|count| *count == 0) {
            let found = format!("no label in field {fields} of {} training rows", rows.len());
            let expected =
                format!("one label or more; the first row has the fields {}", labels::fields(rows));
            return Err(vec![DataError::Setting { key: self.key("labels"), found, expected }]);
        }
        if labels.len() == 1 {
            return Ok(());
        }
        labels.check(rows, &fields, self.config.max_labels, |name| self.key(name), "labels")
    }

    /// The positive weight of each label.
    fn positive_weights(&self, space: &LabelSpace) -> Option<Vec<f32>> {
        let rows = space.rows as f64;
        let balanced = |count: usize| (rows - count as f64) / count.max(1) as f64;
        self.config.positive_weights.of(&space.labels, balanced)
    }

    /// The key of a positive weight whose label is not in the label space, and what is allowed.
    fn unknown_weight(&self, labels: &Labels) -> Option<(String, String)> {
        let unknown = self.config.positive_weights.unknown(labels)?;
        let key = self.key(&format!("positive_weights.{unknown}"));
        Some((key, format!("one of the labels {}", labels.some())))
    }
}

impl Kind for MultiLabel {
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
        match &self.config.labels {
            LabelFields::One(field) => vec![field.clone()],
            LabelFields::Columns(columns) => columns.clone(),
        }
    }

    fn remarks(&self, label_space: &serde_json::Value) -> Vec<String> {
        match label_space["labels"].as_array().map(Vec::as_slice) {
            Some([label]) => vec![format!("it has the one label {label}: a question of yes or no")],
            _ => Vec::new(),
        }
    }

    fn fit_labels(&self, rows: &[Row]) -> Result<serde_json::Value, Vec<DataError>> {
        if let Some(error) = self.vectors(rows) {
            return Err(vec![error]);
        }
        let mut errors = ErrorList::new();
        // Every place of a vector and every field is a label, also one that never holds.
        let given = self.config.columns().iter().chain(&self.config.one_hot);
        let mut counted: BTreeMap<String, usize> = given.map(|name| (name.clone(), 0)).collect();
        let mut labelled = 0;
        for row in rows {
            match self.set(row) {
                Ok(set) => {
                    labelled += usize::from(set.is_some());
                    set.into_iter().flatten().for_each(|label| *counted.entry(label).or_insert(0) += 1);
                }
                Err(error) => errors.push(error),
            }
        }
        errors.finish(())?;
        let labels = Labels::new(counted);
        self.check(rows, &labels)?;
        if let Some((key, expected)) = self.unknown_weight(&labels) {
            let found = "a label that training never shows".into();
            return Err(vec![DataError::Setting { key, found, expected }]);
        }
        Ok(LabelSpace { labels, rows: labelled, thresholds: None }.to_json())
    }

    fn init_head(
        &self,
        label_space: &serde_json::Value,
        trunk: &TrunkHandles<'_>,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn TaskHead>, TaskError> {
        self.pooling().check(&format!("task.{}.multi_label.pooling", self.task), trunk)?;
        let space = LabelSpace::from_json(&self.task, label_space)?;
        if let Some((key, expected)) = self.unknown_weight(&space.labels) {
            let found = "a label that the model does not have".into();
            return Err(TaskError::Setting { key, found, expected });
        }
        let weights = self.positive_weights(&space);
        let linear = LinearHead::new(parameters, &self.task, trunk.hidden, space.labels.len());
        Ok(EncodedHead::boxed(MultiLabelHead { kind: self.clone(), space, weights, linear }))
    }
}

/// The head of a multi-label classification task.
struct MultiLabelHead {
    kind: MultiLabel,
    space: LabelSpace,
    /// Per label, in the order of the space.
    weights: Option<Vec<f32>>,
    linear: LinearHead,
}

impl MultiLabelHead {
    /// The thresholds for every split, given or tuned; `None` if they have still to be tuned.
    fn fixed_thresholds(&self) -> Option<Vec<f32>> {
        let given = self.kind.config.thresholds.given().map(|value| vec![value; self.space.labels.len()]);
        given.or_else(|| self.space.thresholds.clone())
    }

    /// The best threshold of each label for these predictions; `None` if no row is labelled.
    fn tuned(&self, targets: &SetTargets, predictions: &[(u32, Prediction)]) -> Option<Vec<f32>> {
        let (gold, probabilities) = labelled_predictions(targets, predictions);
        let scored = |label: usize| {
            let rows = gold.iter().zip(&probabilities);
            rows.map(|(gold, p)| (p[label], gold.contains(&(label as u32)))).collect()
        };
        let labels = (0..self.space.labels.len()).into_par_iter();
        (!gold.is_empty()).then(|| labels.map(|label| thresholds::best(scored(label))).collect())
    }
}

/// Whether a value says that a label holds.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number(number) if *number == 0.0 || *number == 1.0 => Some(*number == 1.0),
        Value::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "0" | "0.0" | "false" => Some(false),
            "1" | "1.0" | "true" => Some(true),
            _ => None,
        },
        _ => None,
    }
}

/// Gold labels and predicted probabilities of the rows that have both.
fn labelled_predictions<'a>(
    targets: &'a SetTargets,
    predictions: &'a [(u32, Prediction)],
) -> (Vec<&'a [u32]>, Vec<&'a [f32]>) {
    let both = predictions.iter().filter_map(|(row, prediction)| match prediction {
        Prediction::Labels(probabilities) => Some((targets.row(*row as usize)?, probabilities.as_slice())),
        _ => None,
    });
    both.unzip()
}

/// The labels whose probabilities reach their thresholds.
fn above_threshold(probabilities: &[f32], thresholds: &[f32]) -> Vec<u32> {
    let all = (0..).zip(probabilities.iter().zip(thresholds));
    all.filter_map(|(label, (p, threshold))| (p >= threshold).then_some(label)).collect()
}

impl Head for MultiLabelHead {
    type Targets = SetTargets;

    fn encode_targets(&self, view: &View) -> Result<(Self::Targets, LabelReport), Vec<DataError>> {
        let mut errors = ErrorList::new();
        let mut targets = SetTargets::default();
        let mut report = LabelReport { rows: view.rows.len(), ..Default::default() };
        for row in view.rows.iter() {
            match self.kind.set(row) {
                Ok(set) => {
                    report.labelled += usize::from(set.is_some());
                    targets.push_row(&self.space.labels, set.as_deref());
                }
                Err(error) => errors.push(error),
            }
        }
        errors.finish(())?;
        report.missing = report.rows - report.labelled;
        (report.counts, report.unseen) = targets.labels.count(&self.space.labels);
        Ok((targets, report))
    }

    fn labelled(targets: &Self::Targets, row: usize) -> bool {
        targets.row(row).is_some()
    }

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        self.kind.pooling().mark_used_tokens(pack, rows, used);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, targets: &Self::Targets) -> Option<Loss> {
        let row = |at: &BatchRow| Some((at.pack_row, targets.row(at.row as usize)?));
        let (pack_rows, sets): (Vec<u32>, Vec<&[u32]>) = batch.rows.iter().filter_map(row).unzip();
        if sets.is_empty() {
            return None;
        }
        let labels = self.space.labels.len();
        let mut holds = vec![0.0; sets.len() * labels];
        for (set, holds) in sets.iter().zip(holds.chunks_mut(labels)) {
            // Labels that do not occur in training have no output.
            let known = set.iter().filter(|id| (**id as usize) < labels);
            known.for_each(|id| holds[*id as usize] = 1.0);
        }
        let dropout = head::dropout(self.kind.config.dropout, &self.kind.task, batch.dropout_seed);
        let logits = self.linear.logits(parameters, self.kind.pooling().pool(batch, &pack_rows), dropout);
        let gamma = self.kind.config.focal;
        let factors = (gamma > 0.0).then(|| focal::of_answers(logits.clone(), &holds, gamma));
        let each = binary::cross_entropy(logits, holds, self.weights.as_deref());
        let mean = match factors {
            Some(factors) => (each * factors).mean(),
            None => each.mean(),
        };
        Some(Loss { mean, num_targets: sets.len() })
    }

    fn soft_outputs(&self) -> Result<SoftOutputs, String> {
        Ok(SoftOutputs::of(self.space.labels.names()))
    }

    fn teacher_answers(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Vec<f32>> {
        let pack_rows: Vec<u32> = batch.rows.iter().map(|at| at.pack_row).collect();
        let logits = self.linear.logits(parameters, self.kind.pooling().pool(batch, &pack_rows), None);
        head::to_host_vec(logits).chunks(self.space.labels.len()).map(<[f32]>::to_vec).collect()
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
        // The mean over labels, as of the loss at labels.
        let sum = soft::sigmoid(logits, &answers, &weights, temperature) / self.space.labels.len() as f32;
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
        let rows = head::sigmoids(logits);
        rows.chunks(self.space.labels.len()).map(|row| Prediction::Labels(row.to_vec())).collect()
    }

    fn calibrates(&self) -> bool {
        self.kind.config.thresholds.given().is_none()
    }

    fn calibrate(&mut self, targets: &Self::Targets, predictions: &[(u32, Prediction)]) {
        self.space.thresholds = self.tuned(targets, predictions);
    }

    fn score(&self, split: Split, targets: &Self::Targets, predictions: &[(u32, Prediction)]) -> Scores {
        let fresh = || (split == Split::Validation).then(|| self.tuned(targets, predictions)).flatten();
        let untuned = || vec![thresholds::UNTUNED; self.space.labels.len()];
        let thresholds = self.fixed_thresholds().or_else(fresh).unwrap_or_else(untuned);
        let (gold, probabilities) = labelled_predictions(targets, predictions);
        let gold: Vec<Vec<u32>> = gold.into_iter().map(<[u32]>::to_vec).collect();
        let predicted = probabilities.into_iter().map(|p| above_threshold(p, &thresholds));
        let predicted: Vec<Vec<u32>> = predicted.collect();
        let labels = self.space.labels.len() + targets.labels.unseen.len();
        Scores::with_primary(
            self.kind.primary,
            vec![
                ("macro_f1".into(), metrics::label_macro_f1(&gold, &predicted, labels)),
                ("micro_f1".into(), metrics::label_micro_f1(&gold, &predicted, labels)),
                ("sample_f1".into(), metrics::sample_f1(&gold, &predicted)),
            ],
        )
    }

    fn onnx(&self, graph: &mut OnnxGraph, states: &OnnxValue) -> Option<OnnxHead> {
        let pooled = self.kind.pooling().onnx(graph, states);
        let logits = self.linear.onnx(graph, &pooled);
        let thresholds =
            self.fixed_thresholds().unwrap_or_else(|| vec![thresholds::UNTUNED; self.space.labels.len()]);
        let head = OnnxHead::of_rows(logits, self.space.labels.len(), "sigmoid");
        Some(head.with("thresholds", json!(thresholds)))
    }

    fn label_space(&self) -> serde_json::Value {
        self.space.to_json()
    }

    fn probabilities(&self, prediction: &Prediction) -> Option<serde_json::Map<String, serde_json::Value>> {
        self.space.labels.probabilities(prediction)
    }

    fn to_json(&self, prediction: &Prediction, _input: ModelInput<'_>) -> serde_json::Value {
        let Prediction::Labels(probabilities) = prediction else { return serde_json::Value::Null };
        let untuned = || vec![thresholds::UNTUNED; self.space.labels.len()];
        let thresholds = self.fixed_thresholds().unwrap_or_else(untuned);
        let mut labels = above_threshold(probabilities, &thresholds);
        labels.sort_by(|a, b| probabilities[*b as usize].total_cmp(&probabilities[*a as usize]));
        let names: Vec<&str> = labels.iter().filter_map(|label| self.space.labels.name(*label)).collect();
        json!({ "labels": names, "probabilities": self.space.labels.most_probable(probabilities) })
    }

    fn compare(
        &self,
        targets: &Self::Targets,
        row: usize,
        _source: &Row,
        prediction: &Prediction,
    ) -> Option<RowComparison> {
        let (Prediction::Labels(probabilities), Some(gold)) = (prediction, targets.row(row)) else {
            return None;
        };
        let untuned = || vec![thresholds::UNTUNED; self.space.labels.len()];
        let found = above_threshold(probabilities, &self.fixed_thresholds().unwrap_or_else(untuned));
        let name = |id: &u32| targets.labels.name(&self.space.labels, *id).unwrap_or_default().to_owned();
        let missed = gold.iter().filter(|id| !found.contains(id));
        let spurious = found.iter().filter(|id| !gold.contains(id));
        let probability = |id: &u32| probabilities.get(*id as usize).map_or(0.0, |p| f64::from(*p));
        let error = missed
            .clone()
            .map(|id| 1.0 - probability(id))
            .chain(spurious.clone().map(probability))
            .fold(0.0, f64::max);
        let both = gold.iter().filter(|id| found.contains(id)).map(|id| (name(id), name(id)));
        let labels = both
            .chain(missed.map(|id| (name(id), NO_LABEL.to_owned())))
            .chain(spurious.map(|id| (NO_LABEL.to_owned(), name(id))));
        let names = |ids: &[u32]| match ids {
            [] => NO_LABEL.to_owned(),
            _ => ids.iter().map(name).collect::<Vec<_>>().join(", "),
        };
        let is_correct = gold.len() == found.len() && gold.iter().all(|id| found.contains(id));
        Some(RowComparison {
            labels: labels.collect(),
            ..RowComparison::of_text(names(gold), names(&found), is_correct, error)
        })
    }

    fn error_measure(&self) -> &'static str {
        "greatest probability of a spurious label or of the absence of a missed one"
    }
}
