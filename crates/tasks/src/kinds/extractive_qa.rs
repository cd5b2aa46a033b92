//! The span of a text that answers a question, or that there is none: extractive question answering.
//!
//! Input: two fields of text, a question and a context, read as one row: `[CLS] question [SEP] context [SEP]` in BERT. If a context
//! does not fit into `max_length`, the row has several such sequences, each with a window of the context that shares `overlap`
//! tokens with the window before (a sliding window). Answers: a field with `{text: [..], answer_start: [..]}` or a list of
//! `{text, answer_start}`, starts counted in characters, as in SQuAD; an empty list means that the context has no answer. A row
//! without the field is masked.
//!
//! Head: dropout and a linear layer `[hidden] -> [2]` on each token of the context and on each sequence's first token, which
//! represents "no answer": the logits of the start and of the end of the answer, with a softmax over the sequence.
//!
//! Loss: the mean of the cross-entropies of start and end of the first gold answer, the mean over sequences. A sequence that does
//! not contain the whole answer has the target "no answer". A row of which no sequence contains the whole answer is not trained on,
//! and counted.
//!
//! Decoding: among all sequences the pair of tokens with the highest sum of logits whose end is not before its start and that is
//! at most `max_tokens` long; no answer if the first token's sum is at least as high in every sequence.
//!
//! Scores: `answer_f1` (default), `exact_match`, against all gold answers. Cost: one product `[tokens, hidden] x [hidden, 2]` a
//! step.
//!
//! Papers: Rajpurkar et al. 2016, 2018, "SQuAD"; Devlin et al. 2019, "BERT", section 4.3 (windows and
//! the choice among them are those of its `run_squad.py`).
//!
//! Example: `extractive_qa = { question = "question", context = "context", answers = "answers" }`
//!
//! Answer: `{"answer", "start", "end", "probability"}`, the first three null where there is no answer; `start` and `end`
//! (exclusive) count Unicode characters of the context.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use data::{DataError, Encoded, ErrorList, InputField, NO_WORD_ID, Pack, Row, Split, View};
use model::Parameters;
use model::onnx::{OnnxGraph, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::distillation::{SoftLoss, SoftOutputs, TaughtRow};
use crate::heads::head::{self, LinearHead};
use crate::losses::ragged;
use crate::row_comparison::NO_LABEL;
use crate::targets::gold::{self, GoldAnswer, GoldAnswers, Misplaced};
use crate::task_head::{EncodedHead, Head};
use crate::{
    Batch, BatchRow, GoldIssue, Kind, LabelReport, Loss, ModelInput, OnnxHead, Prediction, RowComparison,
    Scores, SpanAnswer, TaskError, TaskHead, TrunkHandles,
};

const METRICS: &[&str] = &["answer_f1", "exact_match"];

/// `extractive_qa = { .. }`: the span of a context that answers a question.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtractiveQaConfig {
    /// The field with the question.
    #[serde(default = "question")]
    pub question: String,
    /// The field with the text that may contain the answer.
    #[serde(default = "context")]
    pub context: String,
    /// The field with the answers.
    #[serde(default = "answers")]
    pub answers: String,
    /// The maximum number of tokens of an answer.
    #[serde(default = "thirty")]
    #[schemars(range(min = 1))]
    pub max_tokens: usize,
    /// The number of tokens that a window of a long context shares with the window before it; at most half a window.
    #[serde(default = "overlap")]
    pub overlap: usize,
    /// The maximum number of windows of a context; the rest of it is truncated.
    #[serde(default = "parts")]
    #[schemars(range(min = 1))]
    pub max_parts: usize,
    /// Dropout before the last layer, 0 to below 1.
    #[serde(default = "head::default_dropout")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f32,
}

fn question() -> String {
    "question".into()
}

fn context() -> String {
    "context".into()
}

fn answers() -> String {
    "answers".into()
}

fn thirty() -> usize {
    30
}

fn overlap() -> usize {
    64
}

fn parts() -> usize {
    16
}

impl ExtractiveQaConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = |name: &str| format!("task.{task}.extractive_qa.{name}");
        TaskError::fraction(|| key("dropout"), self.dropout.into())?;
        for (name, value) in [("max_tokens", self.max_tokens), ("max_parts", self.max_parts)] {
            if value == 0 {
                let expected = "1 or more".into();
                return Err(TaskError::Setting { key: key(name), found: "0".into(), expected });
            }
        }
        if self.question == self.context {
            let found = format!("{:?}, the same field as `question`", self.context);
            let expected = "the field with the text that may hold the answer".into();
            return Err(TaskError::Setting { key: key("context"), found, expected });
        }
        Ok(Box::new(ExtractiveQa {
            task: task.to_owned(),
            config: self.clone(),
            primary: TaskError::metric(task, METRICS, metric)?,
        }))
    }
}

/// The targets of one split.
#[derive(Default)]
struct QaTargets {
    rows: Arc<[Row]>,
    /// Per row; `None` for one that is not labelled.
    gold: Vec<Option<QaExample>>,
    /// The tokens, with their byte ranges in the context ([`Encoded::offset_mapping`]).
    encoded: Encoded,
}

/// The gold answers of a row.
struct QaExample {
    /// All gold answers; empty if the context has no answer.
    answers: Vec<String>,
    /// For each sequence the first and last token of the first answer, or twice the sequence's first token if the answer is not in
    /// it. Empty if no sequence contains the whole answer.
    tokens: Vec<[u32; 2]>,
}

/// An extractive question answering task.
#[derive(Clone)]
struct ExtractiveQa {
    task: String,
    config: ExtractiveQaConfig,
    primary: &'static str,
}

impl ExtractiveQa {
    /// The gold answers of a row.
    fn gold(&self, row: &Row) -> Result<Option<GoldAnswers>, DataError> {
        let context = row.text(&self.config.context)?.unwrap_or_default();
        gold::answers(row, &self.config.answers, &context)
    }
}

impl Kind for ExtractiveQa {
    fn input(&self) -> InputField {
        InputField::Windows {
            fields: [self.config.question.clone(), self.config.context.clone()],
            overlap: self.config.overlap,
            most: self.config.max_parts,
        }
    }

    fn metrics(&self) -> &'static [&'static str] {
        METRICS
    }

    fn target_fields(&self) -> Vec<String> {
        vec![self.config.answers.clone()]
    }

    fn fit_labels(&self, rows: &[Row]) -> Result<serde_json::Value, Vec<DataError>> {
        let mut errors = ErrorList::new();
        let (mut answered, mut misplaced) = (0, None);
        for row in rows {
            match self.gold(row) {
                Ok(None) => {}
                Ok(Some(gold)) => {
                    answered += usize::from(!gold.answers.is_empty());
                    misplaced = misplaced.or(gold.misplaced.map(|found| (&row.place, found)));
                }
                Err(error) => errors.push(error),
            }
        }
        errors.finish(())?;
        if answered == 0 {
            let field = &self.config.answers;
            let found = match misplaced {
                None => format!("no answer in field {field:?} of {} training rows", rows.len()),
                Some((place, found)) => format!(
                    "no answer in field {field:?} of {} training rows that stands at its start in the context ({place}: {})",
                    rows.len(),
                    found.reason()
                ),
            };
            let key = format!("task.{}.extractive_qa.answers", self.task);
            return Err(vec![DataError::Setting { key, found, expected: "answers to learn from".into() }]);
        }
        Ok(json!({}))
    }

    fn init_head(
        &self,
        label_space: &serde_json::Value,
        trunk: &TrunkHandles<'_>,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn TaskHead>, TaskError> {
        trunk.needs_both_sides("extractive_qa", &self.task, "`no answer` is read off the first token")?;
        TaskError::no_labels(&self.task, label_space, "answers")?;
        let linear = LinearHead::new(parameters, &self.task, trunk.hidden, 2);
        Ok(EncodedHead::boxed(ExtractiveQaHead { kind: self.clone(), linear }))
    }
}

/// The head of an extractive question answering task.
struct ExtractiveQaHead {
    kind: ExtractiveQa,
    linear: LinearHead,
}

impl ExtractiveQaHead {
    /// The logits of start and end at the given tokens, `[tokens, 2]`.
    fn logits(&self, parameters: &Parameters, batch: &Batch<'_>, tokens: &[u32]) -> Tensor<2> {
        let dropout = head::dropout(self.kind.config.dropout, &self.kind.task, batch.dropout_seed);
        self.linear.logits(parameters, kernels::gather_rows(batch.states.clone(), tokens), dropout)
    }

    /// The best answer of a row, from the logits of each sequence's candidates, two each, and their positions in the sequence.
    fn decode(&self, sequences: &[(&[f32], &[u32])]) -> SpanAnswer {
        let sides: Vec<[Vec<f32>; 2]> =
            sequences.iter().map(|(scores, _)| [side(scores, 0), side(scores, 1)]).collect();
        let none = sides.iter().map(|[begins, ends]| begins[0] + ends[0]).fold(f32::INFINITY, f32::min);
        let mut best = (None, none);
        for (sequence, [begins, ends]) in sides.iter().enumerate() {
            for (first, begin) in begins.iter().enumerate().skip(1) {
                for (last, end) in ends.iter().enumerate().skip(first).take(self.kind.config.max_tokens) {
                    if begin + end > best.1 {
                        best = (Some((sequence, [first, last])), begin + end);
                    }
                }
            }
        }
        if sides.iter().flatten().flatten().any(|logit| !logit.is_finite()) {
            return SpanAnswer { probability: f32::NAN, ..SpanAnswer::default() };
        }
        let probability = |[begins, ends]: &[Vec<f32>; 2], [first, last]: [usize; 2]| {
            ragged::softmax_probability(begins, first) * ragged::softmax_probability(ends, last)
        };
        match best.0 {
            Some((sequence, tokens)) => SpanAnswer {
                tokens: Some(tokens.map(|i| sequences[sequence].1[i])),
                sequence: sequence as u32,
                probability: probability(&sides[sequence], tokens),
            },
            None => {
                let least = sides.iter().map(|sides| probability(sides, [0, 0])).reduce(f32::min);
                SpanAnswer { tokens: None, sequence: 0, probability: least.unwrap_or(0.0) }
            }
        }
    }
}

/// The start logits (side 0) or the end logits (side 1).
fn side(logits: &[f32], side: usize) -> Vec<f32> {
    logits.iter().skip(side).step_by(2).copied().collect()
}

/// Tokens of the pack and their positions in a sequence.
type Candidates = (Vec<u32>, Vec<u32>);

/// The candidates of a sequence, as (token of the pack, position in the sequence): its first token, and the tokens of the context.
fn candidates(pack: &Pack, tokens: Range<usize>) -> impl Iterator<Item = (u32, u32)> {
    let first = tokens.start;
    let is_candidate = move |token: &usize| *token == first || pack.word_ids[*token] != NO_WORD_ID;
    tokens.filter(is_candidate).map(|token| (token as u32, pack.positions[token]))
}

/// The first and last token of an answer in each sequence, or twice the sequence's first token if the answer is not in it. Empty if
/// no sequence contains the whole answer, because the context was `truncated` or has no token for it.
fn tokens_of(answer: &GoldAnswer, sequences: &[&[[u32; 2]]], truncated: bool) -> Vec<[u32; 2]> {
    let whole = |(i, offsets): (usize, &&[[u32; 2]])| {
        let more = [i > 0, truncated || i + 1 < sequences.len()];
        tokens_in(answer, offsets, more)
    };
    let found: Vec<Option<[u32; 2]>> = sequences.iter().enumerate().map(whole).collect();
    if found.iter().all(Option::is_none) {
        return Vec::new();
    }
    found.into_iter().map(Option::unwrap_or_default).collect()
}

/// The first and last token of an answer, given the byte range of each token; `None` if a part of the answer is missing. `more`
/// says whether the context has more tokens before and after these.
fn tokens_in(answer: &GoldAnswer, offsets: &[[u32; 2]], more: [bool; 2]) -> Option<[u32; 2]> {
    let [begin, end] = [answer.bytes.start as u32, answer.bytes.end as u32];
    let is_token = |bytes: &[u32; 2]| bytes[0] < bytes[1];
    let overlaps = |bytes: &[u32; 2]| is_token(bytes) && bytes[0] < end && bytes[1] > begin;
    let (first, last) = (offsets.iter().position(overlaps)?, offsets.iter().rposition(overlaps)?);
    // Parts of the answer may lie before the first token of this sequence, or behind its last one.
    let before = more[0] && offsets[first][0] > begin && !offsets[..first].iter().any(is_token);
    let behind = more[1] && offsets[last][1] < end && !offsets[last + 1..].iter().any(is_token);
    (!before && !behind).then_some([first as u32, last as u32])
}

/// The text of an answer.
fn text<'a>(
    context: &'a str,
    offset_mapping: &[&[[u32; 2]]],
    answer: &SpanAnswer,
) -> Option<(Range<usize>, &'a str)> {
    let [first, last] = answer.tokens?;
    let offsets = offset_mapping.get(answer.sequence as usize)?;
    let bytes = offsets.get(first as usize)?[0] as usize..offsets.get(last as usize)?[1] as usize;
    Some((bytes.clone(), context.get(bytes)?))
}

impl Head for ExtractiveQaHead {
    type Targets = QaTargets;

    fn encode_targets(&self, view: &View) -> Result<(Self::Targets, LabelReport), Vec<DataError>> {
        let mut errors = ErrorList::new();
        let mut report = LabelReport { rows: view.rows.len(), ..Default::default() };
        let (mut gold, mut answered) = (Vec::with_capacity(view.rows.len()), 0);
        let mut misplaced: BTreeMap<&str, GoldIssue> = BTreeMap::new();
        let mut with_answers = 0;
        for (i, row) in view.rows.iter().enumerate() {
            let found = match self.kind.gold(row) {
                Ok(found) => found,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            if let Some(found) = &found {
                with_answers += usize::from(!found.answers.is_empty() || found.misplaced.is_some());
                if let Some(reason) = found.misplaced.map(Misplaced::reason) {
                    let issue = || {
                        GoldIssue::new(
                            format!(
                                "have an answer that is not at its start in the context and is left out: {reason}"
                            ),
                            true,
                        )
                    };
                    misplaced.entry(reason).or_insert_with(issue).count(&row.place, true);
                }
            }
            // A row that has answers, none of which stands where it should, is not one without an answer.
            let is_lost = |gold: &GoldAnswers| gold.answers.is_empty() && gold.misplaced.is_some();
            let question =
                found.filter(|gold| !is_lost(gold)).map(|GoldAnswers { answers: found, .. }| {
                    answered += usize::from(!found.is_empty());
                    let offset_mapping = view.encoded.offset_mapping(i);
                    let tokens = match found.first() {
                        None => vec![[0, 0]; offset_mapping.len()],
                        Some(answer) => tokens_of(answer, &offset_mapping, view.encoded.truncated[i] > 0),
                    };
                    report.truncated += usize::from(tokens.is_empty());
                    QaExample { answers: found.into_iter().map(|answer| answer.text).collect(), tokens }
                });
            report.labelled += usize::from(question.is_some());
            gold.push(question);
        }
        errors.finish(())?;
        report.missing = report.rows - report.labelled;
        misplaced.into_values().for_each(|issue| report.add_issue(GoldIssue { of: with_answers, ..issue }));
        let unanswered = report.labelled - answered;
        report.counts = vec![("an answer".into(), answered), ("no answer".into(), unanswered)];
        let (rows, encoded) = (view.rows.clone(), view.encoded.clone());
        Ok((QaTargets { rows, gold, encoded }, report))
    }

    fn labelled(targets: &Self::Targets, row: usize) -> bool {
        targets.gold.get(row).is_some_and(Option::is_some)
    }

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        let tokens =
            rows.iter().flat_map(|at| at.sequences(pack)).flat_map(|tokens| candidates(pack, tokens));
        tokens.for_each(|(token, _)| used[token as usize] = true);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, targets: &Self::Targets) -> Option<Loss> {
        // The candidates of all sequences, how many each has, and which of them are the start and the end of the answer.
        let (mut all, mut lengths, mut gold) = (Vec::new(), Vec::new(), Vec::new());
        for at in batch.rows {
            let question = targets.gold.get(at.row as usize).and_then(Option::as_ref);
            let answers = question.map_or(&[][..], |question| &question.tokens);
            for (sequence, answer) in at.sequences(batch.pack).zip(answers) {
                let (tokens, positions): (Vec<u32>, Vec<u32>) = candidates(batch.pack, sequence).unzip();
                let find =
                    |token: u32| Some(positions.iter().position(|position| *position == token)? as u32);
                if let (Some(begin), Some(end)) = (find(answer[0]), find(answer[1])) {
                    gold.extend([begin, end]);
                    lengths.push(tokens.len());
                    all.extend(tokens);
                }
            }
        }
        if lengths.is_empty() {
            return None;
        }
        let logits = self.logits(parameters, batch, &all);
        Some(Loss { mean: ragged::cross_entropy(logits, &lengths, &gold), num_targets: lengths.len() })
    }

    /// Starts and ends are tokens, so that there are no outputs to be named.
    fn soft_outputs(&self) -> Result<SoftOutputs, String> {
        Ok(SoftOutputs { columns: Vec::new(), by_token: true, needs_label: false })
    }

    fn reorder(&self, _answer: &mut [f32], _order: &[usize]) {}

    /// The logits of start and end of each candidate of each sequence.
    fn teacher_answers(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Vec<f32>> {
        let tokens = |at: &BatchRow| -> Vec<u32> {
            let sequences = at.sequences(batch.pack).flat_map(|tokens| candidates(batch.pack, tokens));
            sequences.map(|(token, _)| token).collect()
        };
        let rows: Vec<Vec<u32>> = batch.rows.iter().map(tokens).collect();
        let all: Vec<u32> = rows.iter().flatten().copied().collect();
        if all.is_empty() {
            return vec![Vec::new(); rows.len()];
        }
        let logits = head::to_host_vec(self.logits(parameters, batch, &all));
        let mut left = logits.as_slice();
        let of_row = |tokens: &Vec<u32>| {
            let (own, rest) = left.split_at(2 * tokens.len());
            left = rest;
            own.to_vec()
        };
        rows.iter().map(of_row).collect()
    }

    fn soft_loss(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
        taught: &[TaughtRow<'_>],
        temperature: f32,
    ) -> Option<SoftLoss> {
        let (mut all, mut lengths) = (Vec::new(), Vec::new());
        let (mut answers, mut weights) = (Vec::new(), Vec::new());
        for row in taught {
            let mut left = row.answer;
            for sequence in row.at.sequences(batch.pack) {
                let tokens: Vec<u32> = candidates(batch.pack, sequence).map(|(token, _)| token).collect();
                let Some((own, rest)) = left.split_at_checked(2 * tokens.len()) else { break };
                left = rest;
                if !tokens.is_empty() {
                    lengths.push(tokens.len());
                    answers.extend(own);
                    // The mean of start and end, as of the loss at labels.
                    weights.push(row.weight / 2.0);
                    all.extend(tokens);
                }
            }
        }
        if lengths.is_empty() {
            return None;
        }
        let logits = self.logits(parameters, batch, &all);
        let sum = ragged::soft_cross_entropy(logits, &lengths, &answers, &weights, temperature);
        Some(SoftLoss { sum, num_targets: lengths.len() })
    }

    fn predict(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Prediction> {
        let sequences = |at: &BatchRow| -> Vec<Candidates> {
            at.sequences(batch.pack).map(|tokens| candidates(batch.pack, tokens).unzip()).collect()
        };
        let rows: Vec<Vec<Candidates>> = batch.rows.iter().map(sequences).collect();
        let all: Vec<u32> = rows.iter().flatten().flat_map(|(tokens, _)| tokens.iter().copied()).collect();
        if all.is_empty() {
            return vec![Prediction::Span(SpanAnswer::default()); rows.len()];
        }
        let scores = head::to_host_vec(self.logits(parameters, batch, &all));
        let mut left = scores.as_slice();
        let answer = |sequences: &Vec<Candidates>| {
            let mut of_row: Vec<(&[f32], &[u32])> = Vec::with_capacity(sequences.len());
            for (_, positions) in sequences.iter().filter(|(tokens, _)| !tokens.is_empty()) {
                let (own, rest) = left.split_at(2 * positions.len());
                left = rest;
                of_row.push((own, positions));
            }
            Prediction::Span(if of_row.is_empty() { SpanAnswer::default() } else { self.decode(&of_row) })
        };
        rows.iter().map(answer).collect()
    }

    fn score(&self, _split: Split, targets: &Self::Targets, predictions: &[(u32, Prediction)]) -> Scores {
        let (mut gold, mut predicted) = (Vec::new(), Vec::new());
        for (row, prediction) in predictions {
            let row = *row as usize;
            let (Some(Some(question)), Prediction::Span(answer)) = (targets.gold.get(row), prediction) else {
                continue;
            };
            let offset_mapping = targets.encoded.offset_mapping(row);
            let context =
                targets.rows[row].text(&self.kind.config.context).ok().flatten().unwrap_or_default();
            gold.push(question.answers.clone());
            let found = text(&context, &offset_mapping, answer).map(|(_, text)| text.to_owned());
            predicted.push(found.unwrap_or_default());
        }
        Scores::with_primary(
            self.kind.primary,
            vec![
                ("answer_f1".into(), metrics::answer_f1(&gold, &predicted)),
                ("exact_match".into(), metrics::exact_match(&gold, &predicted)),
            ],
        )
    }

    fn onnx(&self, graph: &mut OnnxGraph, states: &Value) -> Option<OnnxHead> {
        Some(OnnxHead::of_tokens(self.linear.onnx(graph, states), 2, "softmax_over_context"))
    }

    fn label_space(&self) -> serde_json::Value {
        json!({})
    }

    fn to_json(&self, prediction: &Prediction, input: ModelInput<'_>) -> serde_json::Value {
        let (Prediction::Span(answer), ModelInput::Pair { second, offset_mapping }) = (prediction, input)
        else {
            return serde_json::Value::Null;
        };
        let found = text(second, offset_mapping, answer);
        let characters = |bytes: usize| second.get(..bytes).map_or(0, |part| part.chars().count());
        json!({
            "answer": found.as_ref().map(|(_, text)| text),
            "start": found.as_ref().map(|(bytes, _)| characters(bytes.start)),
            "end": found.as_ref().map(|(bytes, _)| characters(bytes.end)),
            "probability": answer.probability,
        })
    }

    fn compare(
        &self,
        targets: &Self::Targets,
        row: usize,
        source: &Row,
        prediction: &Prediction,
    ) -> Option<RowComparison> {
        let (Some(Some(question)), Prediction::Span(answer)) = (targets.gold.get(row), prediction) else {
            return None;
        };
        let offset_mapping = targets.encoded.offset_mapping(row);
        let context = source.text(&self.kind.config.context).ok().flatten().unwrap_or_default();
        let found = text(&context, &offset_mapping, answer).map(|(_, text)| text.to_owned());
        let gold = question.answers.first().cloned();
        let is_correct = metrics::exact_match(
            std::slice::from_ref(&question.answers),
            &[found.clone().unwrap_or_default()],
        ) == 1.0;
        let kind = |text: &Option<String>| if text.is_some() { "an answer" } else { "no answer" }.to_owned();
        let labels = vec![(kind(&gold), kind(&found))];
        let [gold, found] = [gold, found].map(|text| text.unwrap_or_else(|| NO_LABEL.to_owned()));
        Some(RowComparison {
            labels,
            ..RowComparison::of_text(gold, found, is_correct, answer.probability.into())
        })
    }
}
