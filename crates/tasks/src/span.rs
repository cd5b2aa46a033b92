//! The part of a text that answers a question, or that none does (extractive question answering).
//!
//! Input: two fields of text, a question and a context, read as one row: `[CLS] question [SEP] context [SEP]` in BERT. Of a context
//! that does not fit into `max_length` the row has several such sequences, each with a part of it that shares `overlap` tokens
//! with the part before (a sliding window). Answers: a field with `{text: [..], answer_start: [..]}` or a list of
//! `{text, answer_start}`, starts counted in characters, as SQuAD has them; none of them: the context has no answer. A row
//! without the field is masked.
//!
//! Head: dropout and a linear map `[hidden] -> [2]` of each token of the context and of each sequence's first token, which stands
//! for "no answer": the scores of beginning and of ending there, softmax over the sequence.
//!
//! Loss: the mean of the cross-entropies of beginning and end of the first gold answer, the mean over sequences; one that does
//! not have the whole answer has none. An answer that no sequence has whole is not trained on, and counted.
//!
//! Decoding: of all sequences the pair of tokens with the highest sum of scores whose end is not before its beginning and that is
//! at most `max_tokens` long; no answer where the first token's sum is as high in every sequence.
//!
//! Scores: `answer_f1` (default), `exact_match`, against all gold answers. Cost: one product `[tokens, hidden] x [hidden, 2]` a
//! step.
//!
//! Papers: Rajpurkar et al. 2016, 2018, "SQuAD"; Devlin et al. 2019, "BERT", section 4.3 (windows and
//! the choice among them are those of its `run_squad.py`).
//!
//! Example: `span = { question = "question", context = "context", answers = "answers" }`
//!
//! Answer: `{"answer", "start", "end", "probability"}`, the first three null where there is no answer; `start` and `end`
//! (exclusive) count Unicode characters of the context.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use data::{DataError, Encoded, Faults, InputField, NO_WORD, Pack, Row, Split, View};
use model::Parameters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::gold::{self, Gold};
use crate::head::{self, Head};
use crate::ragged;
use crate::{Batch, BatchRow, Kind, LabelReport, Loss, Prediction, Scores, Source, SpanAnswer, TaskError};

const METRICS: &[&str] = &["answer_f1", "exact_match"];

/// `span = { .. }`: the part of a context that answers a question.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpanConfig {
    /// The field with the question.
    #[serde(default = "question")]
    pub question: String,
    /// The field with the text that may hold the answer.
    #[serde(default = "context")]
    pub context: String,
    /// The field with the answers.
    #[serde(default = "answers")]
    pub answers: String,
    /// The most tokens that an answer has.
    #[serde(default = "thirty")]
    #[schemars(range(min = 1))]
    pub max_tokens: usize,
    /// Tokens that a part of a long context shares with the part before it; at most half a part.
    #[serde(default = "overlap")]
    pub overlap: usize,
    /// The most parts of a context; what is left of it is cut off.
    #[serde(default = "parts")]
    #[schemars(range(min = 1))]
    pub max_parts: usize,
    /// Dropout before the last layer, 0 to below 1.
    #[serde(default = "head::usual_dropout")]
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

impl SpanConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = |name: &str| format!("task.{task}.span.{name}");
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
        Ok(Box::new(Span {
            task: task.to_owned(),
            config: self.clone(),
            main: TaskError::metric(task, METRICS, metric)?,
            head: None,
            targets: HashMap::new(),
        }))
    }
}

/// The questions of one split.
struct Questions {
    rows: Arc<[Row]>,
    /// Per row; `None` for one that is not labelled.
    gold: Vec<Option<Question>>,
    /// Which places of the context their tokens have ([`Encoded::places`]).
    encoded: Encoded,
}

/// What is right.
struct Question {
    /// All answers that count; none where the context has no answer.
    answers: Vec<String>,
    /// Per sequence first and last token of the first answer, or twice its first token if the answer is not there; none at all
    /// if no sequence has all of the answer.
    tokens: Vec<[u32; 2]>,
}

/// A span task.
struct Span {
    task: String,
    config: SpanConfig,
    main: &'static str,
    head: Option<Head>,
    targets: HashMap<Split, Questions>,
}

impl Span {
    /// The gold answers of a row.
    fn gold(&self, row: &Row) -> Result<Option<Vec<Gold>>, DataError> {
        let context = row.text(&self.config.context)?.unwrap_or_default();
        gold::answers(row, &self.config.answers, context)
    }

    /// Scores of the given tokens, `[tokens, 2]`.
    fn scores(&self, parameters: &Parameters, batch: &Batch<'_>, tokens: &[u32]) -> Tensor<2> {
        let head = self.head.expect("the head is built before the first batch");
        let noise = head::noise(self.config.dropout, &self.task, batch.noise_seed);
        head.logits(parameters, kernels::pick(batch.states.clone(), tokens), noise)
    }

    /// The best answer of a row; of each sequence the scores of its candidates, two each, and their places in it.
    fn decode(&self, sequences: &[(&[f32], &[u32])]) -> SpanAnswer {
        let sides: Vec<[Vec<f32>; 2]> =
            sequences.iter().map(|(scores, _)| [side(scores, 0), side(scores, 1)]).collect();
        let none = sides.iter().map(|[begins, ends]| begins[0] + ends[0]).fold(f32::INFINITY, f32::min);
        let mut best = (None, none);
        for (sequence, [begins, ends]) in sides.iter().enumerate() {
            for (first, begin) in begins.iter().enumerate().skip(1) {
                for (last, end) in ends.iter().enumerate().skip(first).take(self.config.max_tokens) {
                    if begin + end > best.1 {
                        best = (Some((sequence, [first, last])), begin + end);
                    }
                }
            }
        }
        let probability = |[begins, ends]: &[Vec<f32>; 2], [first, last]: [usize; 2]| {
            ragged::share(begins, first) * ragged::share(ends, last)
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

/// Every other score, from the first or the second on.
fn side(scores: &[f32], side: usize) -> Vec<f32> {
    scores.iter().skip(side).step_by(2).copied().collect()
}

/// Tokens of the pack and their places in a sequence.
type Candidates = (Vec<u32>, Vec<u32>);

/// What may be answered of a sequence, as (token of the pack, place in the sequence): its first token, and those of the context.
fn candidates(pack: &Pack, tokens: Range<usize>) -> impl Iterator<Item = (u32, u32)> {
    let first = tokens.start;
    let is_candidate = move |token: &usize| *token == first || pack.words[*token] != NO_WORD;
    tokens.filter(is_candidate).map(|token| (token as u32, pack.positions[token]))
}

/// First and last token of an answer in each sequence, or twice its first token if the answer is not there; none at all if no
/// sequence has all of the answer, because the context was `cut` or has no token for it.
fn tokens_of(answer: &Gold, sequences: &[&[[u32; 2]]], cut: bool) -> Vec<[u32; 2]> {
    let whole = |(i, places): (usize, &&[[u32; 2]])| {
        let more = [i > 0, cut || i + 1 < sequences.len()];
        tokens_in(answer, places, more)
    };
    let found: Vec<Option<[u32; 2]>> = sequences.iter().enumerate().map(whole).collect();
    if found.iter().all(Option::is_none) {
        return Vec::new();
    }
    found.into_iter().map(Option::unwrap_or_default).collect()
}

/// First and last token of an answer; `None` if not all of it is there. `more` says whether the context has more tokens before
/// and after these.
fn tokens_in(answer: &Gold, places: &[[u32; 2]], more: [bool; 2]) -> Option<[u32; 2]> {
    let [begin, end] = [answer.bytes.start as u32, answer.bytes.end as u32];
    let is_token = |place: &[u32; 2]| place[0] < place[1];
    let overlaps = |place: &[u32; 2]| is_token(place) && place[0] < end && place[1] > begin;
    let (first, last) = (places.iter().position(overlaps)?, places.iter().rposition(overlaps)?);
    // Before the first token that is here, and behind the last, the answer may have gone on.
    let before = more[0] && places[first][0] > begin && !places[..first].iter().any(is_token);
    let behind = more[1] && places[last][1] < end && !places[last + 1..].iter().any(is_token);
    (!before && !behind).then_some([first as u32, last as u32])
}

/// The text of an answer.
fn text<'a>(
    context: &'a str,
    places: &[&[[u32; 2]]],
    answer: &SpanAnswer,
) -> Option<(Range<usize>, &'a str)> {
    let [first, last] = answer.tokens?;
    let places = places.get(answer.sequence as usize)?;
    let bytes = places.get(first as usize)?[0] as usize..places.get(last as usize)?[1] as usize;
    Some((bytes.clone(), context.get(bytes)?))
}

impl Kind for Span {
    fn input(&self) -> InputField {
        InputField::Windows {
            fields: [self.config.question.clone(), self.config.context.clone()],
            overlap: self.config.overlap,
            most: self.config.max_parts,
        }
    }

    fn learn(&mut self, rows: &[Row]) -> Result<(), Vec<DataError>> {
        let mut faults = Faults::new();
        let mut answered = 0;
        for row in rows {
            match self.gold(row) {
                Ok(gold) => answered += usize::from(gold.is_some_and(|gold| !gold.is_empty())),
                Err(fault) => faults.push(fault),
            }
        }
        faults.finish(())?;
        if answered == 0 {
            let found =
                format!("no answer in field {:?} of {} training rows", self.config.answers, rows.len());
            let key = format!("task.{}.span.answers", self.task);
            return Err(vec![DataError::Setting { key, found, expected: "answers to learn from".into() }]);
        }
        Ok(())
    }

    fn space(&self) -> serde_json::Value {
        json!({})
    }

    fn restore_space(&mut self, space: &serde_json::Value) -> Result<(), TaskError> {
        if space.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok(());
        }
        let reason = format!("found {space}, and answers have no labels");
        Err(TaskError::Space { task: self.task.clone(), reason })
    }

    fn labels(&self) -> &[String] {
        &[]
    }

    fn build(&mut self, parameters: &mut Parameters, hidden: usize) {
        self.head = Some(Head::new(parameters, &self.task, hidden, 2));
    }

    fn attach(&mut self, split: Split, view: &View) -> Result<LabelReport, Vec<DataError>> {
        let mut faults = Faults::new();
        let mut report = LabelReport { rows: view.rows.len(), ..Default::default() };
        let (mut gold, mut answered) = (Vec::with_capacity(view.rows.len()), 0);
        for (i, row) in view.rows.iter().enumerate() {
            let found = match self.gold(row) {
                Ok(found) => found,
                Err(fault) => {
                    faults.push(fault);
                    continue;
                }
            };
            let question = found.map(|found| {
                answered += usize::from(!found.is_empty());
                let places = view.encoded.places(i);
                let tokens = match found.first() {
                    None => vec![[0, 0]; places.len()],
                    Some(answer) => tokens_of(answer, &places, view.encoded.cut[i] > 0),
                };
                report.truncated += usize::from(tokens.is_empty());
                Question { answers: found.into_iter().map(|answer| answer.text).collect(), tokens }
            });
            report.labelled += usize::from(question.is_some());
            gold.push(question);
        }
        faults.finish(())?;
        report.missing = report.rows - report.labelled;
        let unanswered = report.labelled - answered;
        report.counts = vec![("an answer".into(), answered), ("no answer".into(), unanswered)];
        let (rows, encoded) = (view.rows.clone(), view.encoded.clone());
        self.targets.insert(split, Questions { rows, gold, encoded });
        Ok(report)
    }

    fn labelled(&self, split: Split, row: usize) -> bool {
        self.targets.get(&split).and_then(|t| t.gold.get(row)).is_some_and(Option::is_some)
    }

    fn reads(&self, pack: &Pack, rows: &[BatchRow], read: &mut [bool]) {
        let tokens =
            rows.iter().flat_map(|at| at.sequences(pack)).flat_map(|tokens| candidates(pack, tokens));
        tokens.for_each(|(token, _)| read[token as usize] = true);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>) -> Option<Loss> {
        let targets = self.targets.get(&batch.split)?;
        // The candidates of all sequences, how many each has, and which of them begin and end the answer.
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
        let scores = self.scores(parameters, batch, &all);
        Some(Loss { mean: ragged::cross_entropy(scores, &lengths, &gold), items: lengths.len() })
    }

    fn predict(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Prediction> {
        let sequences = |at: &BatchRow| -> Vec<Candidates> {
            at.sequences(batch.pack).map(|tokens| candidates(batch.pack, tokens).unzip()).collect()
        };
        let rows: Vec<Vec<Candidates>> = batch.rows.iter().map(sequences).collect();
        let all: Vec<u32> = rows.iter().flatten().flat_map(|(tokens, _)| tokens.iter().copied()).collect();
        if all.is_empty() {
            return vec![Prediction::Span(SpanAnswer::default()); rows.len()];
        }
        let scores = head::on_host(self.scores(parameters, batch, &all));
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

    fn score(&self, split: Split, predictions: &[(u32, Prediction)]) -> Scores {
        let (mut gold, mut predicted) = (Vec::new(), Vec::new());
        if let Some(targets) = self.targets.get(&split) {
            for (row, prediction) in predictions {
                let row = *row as usize;
                let (Some(Some(question)), Prediction::Span(answer)) = (targets.gold.get(row), prediction)
                else {
                    continue;
                };
                let places = targets.encoded.places(row);
                let context = targets.rows[row].text(&self.config.context).ok().flatten().unwrap_or_default();
                gold.push(question.answers.clone());
                predicted.push(
                    text(context, &places, answer).map(|(_, text)| text.to_owned()).unwrap_or_default(),
                );
            }
        }
        Scores::with_main(
            self.main,
            vec![
                ("answer_f1".into(), metrics::answer_f1(&gold, &predicted)),
                ("exact_match".into(), metrics::exact_match(&gold, &predicted)),
            ],
        )
    }

    fn explain(&self, prediction: &Prediction, source: Source<'_>) -> serde_json::Value {
        let (Prediction::Span(answer), Source::Pair { second, places }) = (prediction, source) else {
            return serde_json::Value::Null;
        };
        let found = text(second, places, answer);
        let characters = |bytes: usize| second.get(..bytes).map_or(0, |part| part.chars().count());
        json!({
            "answer": found.as_ref().map(|(_, text)| text),
            "start": found.as_ref().map(|(bytes, _)| characters(bytes.start)),
            "end": found.as_ref().map(|(bytes, _)| characters(bytes.end)),
            "probability": answer.probability,
        })
    }

    fn metrics(&self) -> &'static [&'static str] {
        METRICS
    }
}
