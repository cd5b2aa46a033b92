//! How two marked spans of a text are related, or that they are not (relation classification).
//!
//! Input: a field of text, or of words, and two spans of it, `head` and `tail`, each `[start, end]` with `end` exclusive, in
//! Unicode characters of the text or in words. With `markers = true` the model reads the text with `$` around the head and `#`
//! around the tail. Label: a field of text. A row without it, or with an empty one, is masked; labels are learned from the
//! training rows and sorted.
//!
//! Head: one state for each span: that of the marker before it, or without markers the mean over its tokens. Both side by
//! side, `[2 hidden]`; dropout, a linear map to `[hidden]` and tanh; dropout and a linear map to `[labels]`.
//!
//! Loss: cross-entropy, the mean over labelled rows. A row of which `max_length` cut off a span is not trained on, and
//! counted; its answer is made of what is left.
//!
//! Scores: `directed_f1` (default): macro-F1 over the relation types, in which the directions `NAME(e1,e2)` and `NAME(e2,e1)`
//! of a type are counted together, a wrong direction is wrong, and the label `none` is left out of the mean, as SemEval-2010
//! Task 8 counts; `accuracy`, `macro_f1`, `micro_f1` over all labels. Cost: one product `[rows, 2 hidden] x [2 hidden, hidden]`
//! and one `[rows, hidden] x [hidden, labels]` a step.
//!
//! Papers: Baldini Soares et al. 2019, "Matching the Blanks", section 3.2 (the states of the markers); Wu and He 2019,
//! "Enriching Pre-trained Language Model with Entity Information for Relation Classification" (the markers, the tanh layer).
//!
//! Example: `relation = { text = "text", head = "head", tail = "tail", label = "relation" }`, or of words
//! `relation = { tokens = "tokens", label = "relation" }`
//!
//! Answer: `{"label", "probability", "probabilities"}`, the last with the five most probable labels.

use std::collections::HashMap;

use burn::tensor::Tensor;
use data::{DataError, Faults, InputField, MarkedText, Pack, Part, Row, Split, View};
use kernels::Precision;
use model::{Group, Init, Matrix, Parameters, Vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::head::{self, Head};
use crate::labels::{self, Labels, MASKED, Targets};
use crate::states;
use crate::{Batch, BatchRow, Kind, LabelReport, Loss, Prediction, Scores, Source, TaskError};

const METRICS: &[&str] = &["directed_f1", "accuracy", "macro_f1", "micro_f1"];

/// `relation = { .. }`: how two marked spans of a text are related.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelationConfig {
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
    /// Whether the model reads markers around both spans.
    #[serde(default = "yes")]
    pub markers: bool,
    /// The label of spans that are not related, which `directed_f1` leaves out of its mean.
    #[serde(default = "other")]
    pub none: String,
    /// Dropout before both layers, 0 to below 1.
    #[serde(default = "head::usual_dropout")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f32,
    /// More different labels than this are taken for a mistake, such as a field of free text.
    #[serde(default = "labels::usual_most")]
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

impl RelationConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = |name: &str| format!("task.{task}.relation.{name}");
        let fault = |key: String, found: String, expected: &str| {
            Err(TaskError::Setting { key, found, expected: expected.into() })
        };
        let (text, words) = match (&self.text, &self.tokens) {
            (Some(text), None) => (text, false),
            (None, Some(tokens)) => (tokens, true),
            (text, _) => {
                let found =
                    if text.is_some() { "both `text` and `tokens`" } else { "neither `text` nor `tokens`" };
                let expected = "exactly one of them: the field that the task reads";
                return fault(format!("task.{task}.relation"), found.into(), expected);
            }
        };
        TaskError::fraction(|| key("dropout"), self.dropout.into())?;
        if self.head == self.tail {
            let found = format!("{:?}, the same field as `head`", self.tail);
            return fault(key("tail"), found, "the field with the second span");
        }
        let input = MarkedText {
            text: text.clone(),
            words,
            head: self.head.clone(),
            tail: self.tail.clone(),
            markers: self.markers,
        };
        Ok(Box::new(Relation {
            task: task.to_owned(),
            config: self.clone(),
            input,
            main: TaskError::metric(task, METRICS, metric)?,
            labels: Labels::default(),
            network: None,
            targets: HashMap::new(),
        }))
    }
}

/// The layer over both spans, and the one that scores labels.
#[derive(Debug, Clone, Copy)]
struct Network {
    /// `[hidden, 2 hidden]`.
    weight: Matrix,
    /// `[hidden]`.
    bias: Vector,
    out: Head,
}

/// A relation task.
struct Relation {
    task: String,
    config: RelationConfig,
    input: MarkedText,
    main: &'static str,
    labels: Labels,
    network: Option<Network>,
    targets: HashMap<Split, Rows>,
}

/// The labels of one split.
#[derive(Default)]
struct Rows {
    labels: Targets,
    /// Whether both spans of each row have tokens to stand for them.
    whole: Vec<bool>,
}

impl Relation {
    /// The label of a row.
    fn label(&self, row: &Row) -> Result<Option<String>, DataError> {
        labels::of_row(row, &self.config.label, &self.task)
    }

    /// The tokens that stand for head and tail, by their places in a row whose tokens have the word indices `words`.
    fn spans(&self, words: &[u32]) -> [Vec<u32>; 2] {
        let of = |own: [Part; 2]| -> Vec<u32> {
            let is_own = |word: &u32| Part::of(*word).is_some_and(|part| own.contains(&part));
            (0..).zip(words).filter(|(_, word)| is_own(word)).map(|(token, _)| token).collect()
        };
        if self.config.markers {
            // Where the vocabulary makes several tokens of a marker, its first.
            [Part::HeadMarker, Part::TailMarker].map(|marker| of([marker; 2]).into_iter().take(1).collect())
        } else {
            [Part::Head, Part::Tail].map(|span| of([span, Part::Both]))
        }
    }

    /// The tokens of a pack that stand for head and tail of a row.
    fn spans_in(&self, pack: &Pack, at: BatchRow) -> [Vec<u32>; 2] {
        let tokens = at.tokens(pack);
        let begin = tokens.start as u32;
        self.spans(&pack.words[tokens]).map(|span| span.into_iter().map(|token| begin + token).collect())
    }

    /// `[rows, labels]`.
    fn logits(&self, parameters: &Parameters, batch: &Batch<'_>, rows: &[BatchRow]) -> Tensor<2> {
        let Network { weight, bias, out } = self.network.expect("the head is built before the first batch");
        let (heads, tails): (Vec<_>, Vec<_>) =
            rows.iter().map(|at| self.spans_in(batch.pack, *at).into()).unzip();
        let both = [&heads, &tails].map(|spans| states::means(batch.states, spans));
        let noise = |layer: &str| {
            head::noise(self.config.dropout, &format!("{}.{layer}", self.task), batch.noise_seed)
        };
        let both = kernels::dropout(Tensor::cat(both.to_vec(), 1), noise("spans"));
        let (weight, bias) = (parameters.get(weight), parameters.at(bias));
        let hidden = kernels::linear(both, weight, bias, Precision::F32).tanh();
        out.logits(parameters, hidden, noise("out"))
    }
}

impl Kind for Relation {
    fn input(&self) -> InputField {
        InputField::Marked(self.input.clone())
    }

    fn learn(&mut self, rows: &[Row]) -> Result<(), Vec<DataError>> {
        let counted = labels::count(rows, |row| self.label(row))?;
        let labels = Labels::new(counted);
        let key = |name: &str| format!("task.{}.relation.{name}", self.task);
        labels.check(rows, &self.config.label, self.config.max_labels, key, "label")?;
        self.labels = labels;
        Ok(())
    }

    fn space(&self) -> serde_json::Value {
        self.labels.to_json()
    }

    fn restore_space(&mut self, space: &serde_json::Value) -> Result<(), TaskError> {
        self.labels = Labels::from_json(&self.task, space)?;
        Ok(())
    }

    fn labels(&self) -> &[String] {
        self.labels.names()
    }

    fn build(&mut self, parameters: &mut Parameters, hidden: usize) {
        let group = Group::Task(self.task.clone());
        let bound = || Init::Uniform(1.0 / (2.0 * hidden as f32).sqrt());
        let name = |part: &str| format!("head.{}.spans.{part}", self.task);
        let weight = parameters.matrix(&group, &name("weight"), [hidden, 2 * hidden], bound());
        let bias = parameters.vector(&group, &name("bias"), hidden, bound());
        let out = Head::new(parameters, &self.task, hidden, self.labels.len());
        self.network = Some(Network { weight, bias, out });
    }

    fn attach(&mut self, split: Split, view: &View) -> Result<LabelReport, Vec<DataError>> {
        let mut faults = Faults::new();
        let mut report = LabelReport { rows: view.rows.len(), ..Default::default() };
        let mut targets = Rows::default();
        for (i, row) in view.rows.iter().enumerate() {
            match self.label(row) {
                Ok(label) => {
                    let spans = self.spans(&view.encoded.words[view.encoded.row(i)]);
                    let whole = spans.iter().all(|span| !span.is_empty());
                    if label.is_some() {
                        report.labelled += 1;
                        let lost = if view.encoded.cut[i] > 0 {
                            &mut report.truncated
                        } else {
                            &mut report.without_token
                        };
                        *lost += usize::from(!whole);
                    }
                    targets.labels.push(&self.labels, label.as_deref());
                    targets.whole.push(whole);
                }
                Err(fault) => faults.push(fault),
            }
        }
        faults.finish(())?;
        report.missing = report.rows - report.labelled;
        (report.counts, report.unseen) = targets.labels.count(&self.labels);
        self.targets.insert(split, targets);
        Ok(report)
    }

    fn labelled(&self, split: Split, row: usize) -> bool {
        self.targets.get(&split).and_then(|t| t.labels.ids.get(row)).is_some_and(|id| *id != MASKED)
    }

    fn reads(&self, pack: &Pack, rows: &[BatchRow], read: &mut [bool]) {
        let tokens = rows.iter().flat_map(|at| self.spans_in(pack, *at)).flatten();
        tokens.for_each(|token| read[token as usize] = true);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>) -> Option<Loss> {
        let targets = self.targets.get(&batch.split)?;
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
        Some(Loss { mean: kernels::cross_entropy(logits, &ids, None, 0.0), items: ids.len() })
    }

    fn predict(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Prediction> {
        if batch.rows.is_empty() {
            return Vec::new();
        }
        let rows = head::probabilities(self.logits(parameters, batch, batch.rows));
        rows.chunks(self.labels.len()).map(|row| Prediction::Label(row.to_vec())).collect()
    }

    fn score(&self, split: Split, predictions: &[(u32, Prediction)]) -> Scores {
        let empty = Rows::default();
        let targets = &self.targets.get(&split).unwrap_or(&empty).labels;
        let (gold, predicted) = targets.scored(predictions);
        let names = |ids: &[u32]| -> Vec<&str> {
            ids.iter().map(|id| targets.name(&self.labels, *id).unwrap_or_default()).collect()
        };
        let classes = self.labels.len() + targets.unseen.len();
        let directed = metrics::directed_f1(&names(&gold), &names(&predicted), &self.config.none);
        Scores::with_main(
            self.main,
            vec![
                ("directed_f1".into(), directed),
                ("accuracy".into(), metrics::accuracy(&gold, &predicted)),
                ("macro_f1".into(), metrics::macro_f1(&gold, &predicted, classes)),
                ("micro_f1".into(), metrics::micro_f1(&gold, &predicted)),
            ],
        )
    }

    fn explain(&self, prediction: &Prediction, _source: Source<'_>) -> serde_json::Value {
        self.labels.answer(prediction)
    }

    fn metrics(&self) -> &'static [&'static str] {
        METRICS
    }
}
