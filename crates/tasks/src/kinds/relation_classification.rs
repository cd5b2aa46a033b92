//! The relation between two marked spans of a text, or that there is none: relation classification.
//!
//! Input: a field of text, or of words, and two spans of it, `head` and `tail`, each `[start, end]` with `end` exclusive, in
//! Unicode characters of the text or in words. With `markers = true` the model reads the text with `$` around the head and `#`
//! around the tail. Label: a field of text. A row without it, or with an empty one, is masked. The label space is the sorted set of
//! the training labels.
//!
//! Head: one state for each span: that of the marker before it, or without markers the mean over its tokens. Both are concatenated,
//! `[2 hidden]`; dropout, a linear layer to `[hidden]` and tanh; dropout and a linear layer to `[labels]`.
//!
//! Loss: cross-entropy, the mean over labelled rows. A row of which `max_length` truncated a span is not trained on, and
//! counted; its prediction uses the remaining tokens.
//!
//! Scores: `directed_f1` (default): macro-F1 over the relation types, in which the directions `NAME(e1,e2)` and `NAME(e2,e1)`
//! of a type are counted together, a wrong direction is wrong, and the label `none` is left out of the mean, as SemEval-2010
//! Task 8 counts; `accuracy`, `macro_f1`, `micro_f1` over all labels. Cost: one product `[rows, 2 hidden] x [2 hidden, hidden]`
//! and one `[rows, hidden] x [hidden, labels]` a step.
//!
//! Papers: Baldini Soares et al. 2019, "Matching the Blanks", section 3.2 (the states of the markers); Wu and He 2019,
//! "Enriching Pre-trained Language Model with Entity Information for Relation Classification" (the markers, the tanh layer).
//!
//! Example: `relation_classification = { text = "text", head = "head", tail = "tail", label = "relation" }`, or of words
//! `relation_classification = { tokens = "tokens", label = "relation" }`
//!
//! Answer: `{"label", "probability", "probabilities"}`, the last with the five most probable labels.

use burn::tensor::Tensor;
use data::{DataError, EntityMarkers, ErrorList, InputField, Pack, Row, SpanRole, Split, View};
use kernels::Precision;
use model::onnx::{Attribute, OnnxGraph, Value};
use model::{Init, MatrixId, Parameters, VectorId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::distillation::{self, SoftLoss, SoftOutputs, TaughtRow};
use crate::heads::head::{self, LinearHead};
use crate::heads::states;
use crate::losses::soft;
use crate::targets::labels::{self, IGNORE_INDEX, Labels, Targets};
use crate::task_head::{EncodedHead, Head};
use crate::{
    Batch, BatchRow, Kind, LabelReport, Loss, ModelInput, OnnxHead, Prediction, RowComparison, Scores,
    TaskError, TaskHead, TrunkHandles,
};

const METRICS: &[&str] = &["directed_f1", "accuracy", "macro_f1", "micro_f1"];

/// `relation_classification = { .. }`: the relation between two marked spans of a text.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelationClassificationConfig {
    /// The field with the text. Give this or `tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The field with the words, for corpora that come split into words. Give this or `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<String>,
    /// The field with the first span, `[start, end]`, in characters of the text or in words.
    #[serde(default = "head_field")]
    pub head: String,
    /// The field with the second span.
    #[serde(default = "tail_field")]
    pub tail: String,
    /// The field with the relation: text, a number, or true/false.
    pub label: String,
    /// Whether the input has markers around both spans.
    #[serde(default = "yes")]
    pub markers: bool,
    /// The label of spans that are not related, which `directed_f1` leaves out of its mean.
    #[serde(default = "other")]
    pub none: String,
    /// Dropout before both layers, 0 to below 1.
    #[serde(default = "head::default_dropout")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f32,
    /// The maximum number of different labels. More are an error, since the field probably holds free text.
    #[serde(default = "labels::default_max_labels")]
    #[schemars(range(min = 2))]
    pub max_labels: usize,
}

fn head_field() -> String {
    "head".into()
}

fn tail_field() -> String {
    "tail".into()
}

fn other() -> String {
    "Other".into()
}

fn yes() -> bool {
    true
}

impl RelationClassificationConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = |name: &str| format!("task.{task}.relation_classification.{name}");
        let error = |key: String, found: String, expected: &str| {
            Err(TaskError::Setting { key, found, expected: expected.into() })
        };
        let (text, words) = match (&self.text, &self.tokens) {
            (Some(text), None) => (text, false),
            (None, Some(tokens)) => (tokens, true),
            (text, _) => {
                let found =
                    if text.is_some() { "both `text` and `tokens`" } else { "neither `text` nor `tokens`" };
                let expected = "exactly one of them: the field that the task reads";
                return error(format!("task.{task}.relation_classification"), found.into(), expected);
            }
        };
        TaskError::fraction(|| key("dropout"), self.dropout.into())?;
        if self.head == self.tail {
            let found = format!("{:?}, the same field as `head`", self.tail);
            return error(key("tail"), found, "the field with the second span");
        }
        let input = EntityMarkers {
            text: text.clone(),
            words,
            head: self.head.clone(),
            tail: self.tail.clone(),
            markers: self.markers,
        };
        Ok(Box::new(RelationClassification {
            task: task.to_owned(),
            config: self.clone(),
            input,
            primary: TaskError::metric(task, METRICS, metric)?,
        }))
    }
}

/// A relation classification task.
#[derive(Clone)]
struct RelationClassification {
    task: String,
    config: RelationClassificationConfig,
    input: EntityMarkers,
    primary: &'static str,
}

/// The labels of one split.
#[derive(Default)]
struct RelationTargets {
    labels: Targets,
    /// Whether both spans of each row have tokens that represent them.
    whole: Vec<bool>,
}

impl RelationClassification {
    /// The label of a row.
    fn label(&self, row: &Row) -> Result<Option<String>, DataError> {
        labels::of_row(row, &self.config.label, &self.task)
    }

    /// The tokens that represent head and tail, as indices in a row whose tokens have the word ids `word_ids`.
    fn spans(&self, word_ids: &[u32]) -> [Vec<u32>; 2] {
        let of = |own: [SpanRole; 2]| -> Vec<u32> {
            let is_own = |word_id: &u32| SpanRole::of(*word_id).is_some_and(|role| own.contains(&role));
            (0..).zip(word_ids).filter(|(_, word_id)| is_own(word_id)).map(|(token, _)| token).collect()
        };
        if self.config.markers {
            // The first token of a marker, if the vocabulary splits it into several.
            let markers = [SpanRole::HeadMarker, SpanRole::TailMarker];
            markers.map(|marker| of([marker; 2]).into_iter().take(1).collect())
        } else {
            [SpanRole::Head, SpanRole::Tail].map(|span| of([span, SpanRole::Both]))
        }
    }

    /// The tokens of a pack that represent head and tail of a row.
    fn spans_in(&self, pack: &Pack, at: BatchRow) -> [Vec<u32>; 2] {
        let tokens = at.tokens(pack);
        let begin = tokens.start as u32;
        self.spans(&pack.word_ids[tokens]).map(|span| span.into_iter().map(|token| begin + token).collect())
    }
}

impl Kind for RelationClassification {
    fn input(&self) -> InputField {
        InputField::Marked(self.input.clone())
    }

    fn metrics(&self) -> &'static [&'static str] {
        METRICS
    }

    fn target_fields(&self) -> Vec<String> {
        vec![self.config.label.clone()]
    }

    fn fit_labels(&self, rows: &[Row]) -> Result<serde_json::Value, Vec<DataError>> {
        let counted = labels::count(rows, |row| self.label(row))?;
        let labels = Labels::new(counted);
        let key = |name: &str| format!("task.{}.relation_classification.{name}", self.task);
        labels.check(rows, &self.config.label, self.config.max_labels, key, "label")?;
        Ok(labels.to_json())
    }

    fn init_head(
        &self,
        label_space: &serde_json::Value,
        trunk: &TrunkHandles<'_>,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn TaskHead>, TaskError> {
        let labels = Labels::from_json(&self.task, label_space)?;
        let hidden = trunk.hidden;
        let bound = || Init::Uniform(1.0 / (2.0 * hidden as f32).sqrt());
        let mut head = parameters.head(&self.task);
        let weight = head.matrix("spans.weight", [hidden, 2 * hidden], bound());
        let bias = head.vector("spans.bias", hidden, bound());
        let out = LinearHead::new(parameters, &self.task, hidden, labels.len());
        Ok(EncodedHead::boxed(RelationClassificationHead { kind: self.clone(), labels, weight, bias, out }))
    }
}

/// The head of a relation classification task: a layer over both spans, and the output layer.
struct RelationClassificationHead {
    kind: RelationClassification,
    labels: Labels,
    /// `[hidden, 2 hidden]`.
    weight: MatrixId,
    /// `[hidden]`.
    bias: VectorId,
    out: LinearHead,
}

impl RelationClassificationHead {
    /// `[rows, labels]`.
    fn logits(&self, parameters: &Parameters, batch: &Batch<'_>, rows: &[BatchRow]) -> Tensor<2> {
        let (heads, tails): (Vec<_>, Vec<_>) =
            rows.iter().map(|at| self.kind.spans_in(batch.pack, *at).into()).unzip();
        let both = [&heads, &tails].map(|spans| states::segment_means(batch.states, spans));
        let dropout = |layer: &str| {
            head::dropout(
                self.kind.config.dropout,
                &format!("{}.{layer}", self.kind.task),
                batch.dropout_seed,
            )
        };
        let both = kernels::dropout(Tensor::cat(both.to_vec(), 1), dropout("spans"));
        let (weight, bias) = (parameters.matrix(self.weight), parameters.vector(self.bias));
        let hidden = kernels::linear(both, weight, bias, Precision::F32).tanh();
        self.out.logits(parameters, hidden, dropout("out"))
    }
}

impl Head for RelationClassificationHead {
    type Targets = RelationTargets;

    fn encode_targets(&self, view: &View) -> Result<(Self::Targets, LabelReport), Vec<DataError>> {
        let mut errors = ErrorList::new();
        let mut report = LabelReport { rows: view.rows.len(), ..Default::default() };
        let mut targets = RelationTargets::default();
        for (i, row) in view.rows.iter().enumerate() {
            match self.kind.label(row) {
                Ok(label) => {
                    let spans = self.kind.spans(&view.encoded.word_ids[view.encoded.row(i)]);
                    let whole = spans.iter().all(|span| !span.is_empty());
                    if label.is_some() {
                        report.labelled += 1;
                        let lost = if view.encoded.truncated[i] > 0 {
                            &mut report.truncated
                        } else {
                            &mut report.without_token
                        };
                        *lost += usize::from(!whole);
                    }
                    targets.labels.push(&self.labels, label.as_deref());
                    targets.whole.push(whole);
                }
                Err(error) => errors.push(error),
            }
        }
        errors.finish(())?;
        report.missing = report.rows - report.labelled;
        (report.counts, report.unseen) = targets.labels.count(&self.labels);
        Ok((targets, report))
    }

    fn labelled(targets: &Self::Targets, row: usize) -> bool {
        targets.labels.ids.get(row).is_some_and(|id| *id != IGNORE_INDEX)
    }

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        let tokens = rows.iter().flat_map(|at| self.kind.spans_in(pack, *at)).flatten();
        tokens.for_each(|token| used[token as usize] = true);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, targets: &Self::Targets) -> Option<Loss> {
        let known = |at: &BatchRow| {
            let row = at.row as usize;
            let id = *targets.labels.ids.get(row)?;
            ((id as usize) < self.labels.len() && targets.whole[row]).then_some((*at, id))
        };
        let (rows, ids): (Vec<BatchRow>, Vec<u32>) = batch.rows.iter().filter_map(known).unzip();
        if rows.is_empty() {
            return None;
        }
        let logits = self.logits(parameters, batch, &rows);
        Some(Loss { mean: kernels::cross_entropy(logits, &ids, None, 0.0), num_targets: ids.len() })
    }

    fn soft_outputs(&self) -> Result<SoftOutputs, String> {
        Ok(SoftOutputs::of(self.labels.names()))
    }

    /// None for a row of which a span is cut off.
    fn teacher_answers(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Vec<f32>> {
        let logits = head::to_host_vec(self.logits(parameters, batch, batch.rows));
        let rows = batch.rows.iter().zip(logits.chunks(self.labels.len()));
        let of_row = |(at, logits): (&BatchRow, &[f32])| {
            let is_whole = self.kind.spans_in(batch.pack, *at).iter().all(|span| !span.is_empty());
            if is_whole { logits.to_vec() } else { Vec::new() }
        };
        rows.map(of_row).collect()
    }

    fn soft_loss(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        targets: &Self::Targets,
        taught: &[TaughtRow<'_>],
        temperature: f32,
    ) -> Option<SoftLoss> {
        let is_whole = |row: &&TaughtRow<'_>| targets.whole.get(row.at.row as usize) == Some(&true);
        let whole = taught.iter().filter(is_whole);
        let rows: Vec<BatchRow> = whole.clone().map(|row| row.at).collect();
        if rows.is_empty() {
            return None;
        }
        let (answers, weights) = distillation::joined(whole);
        let logits = self.logits(parameters, batch, &rows);
        let sum = soft::softmax(logits, &answers, weights, temperature);
        Some(SoftLoss { sum, num_targets: rows.len() })
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
        let rows = head::probabilities(self.logits(parameters, batch, batch.rows));
        rows.chunks(self.labels.len()).map(|row| Prediction::Label(row.to_vec())).collect()
    }

    fn score(&self, _split: Split, targets: &Self::Targets, predictions: &[(u32, Prediction)]) -> Scores {
        let targets = &targets.labels;
        let (gold, predicted) = targets.scored(predictions);
        let names = |ids: &[u32]| -> Vec<&str> {
            ids.iter().map(|id| targets.name(&self.labels, *id).unwrap_or_default()).collect()
        };
        let classes = self.labels.len() + targets.unseen.len();
        let directed = metrics::directed_f1(&names(&gold), &names(&predicted), &self.kind.config.none);
        Scores::with_primary(
            self.kind.primary,
            vec![
                ("directed_f1".into(), directed),
                ("accuracy".into(), metrics::accuracy(&gold, &predicted)),
                ("macro_f1".into(), metrics::macro_f1(&gold, &predicted, classes)),
                ("micro_f1".into(), metrics::micro_f1(&gold, &predicted)),
            ],
        )
    }

    /// Two more inputs have a 1 for each token of a span, or for the marker before it.
    fn onnx(&self, graph: &mut OnnxGraph, states: &Value) -> Option<OnnxHead> {
        let [head, tail] = ["head_mask", "tail_mask"].map(|input| graph.mean_of(states, input));
        let both = graph.node("Concat", &[&head, &tail], &[("axis", Attribute::Int(-1))]);
        let hidden = graph.head_linear(&both, self.weight, self.bias);
        let hidden = graph.node("Tanh", &[&hidden], &[]);
        let output = OnnxHead::of_rows(self.out.onnx(graph, &hidden), self.labels.len(), "softmax");
        Some(output.with("inputs", json!(["head_mask", "tail_mask"])))
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
        targets.labels.compare(&self.labels, row, prediction)
    }
}
