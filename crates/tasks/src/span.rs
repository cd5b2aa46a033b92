//! The part of a text that answers a question, or that none does (extractive question answering).
//!
//! Input: two fields of text, a question and a context, read as one row: `[CLS] question [SEP] context [SEP]` in BERT. A context
//! that does not fit into `max_length` is cut. Answers: a field with `{text: [..], answer_start: [..]}` or a list of
//! `{text, answer_start}`, starts counted in characters, as SQuAD has them; none of them: the context has no answer. A row
//! without the field is masked.
//!
//! Head: dropout and a linear map `[hidden] -> [2]` of each token of the context and of the row's first token, which stands for
//! "no answer": the scores of beginning and of ending there, softmax over the row.
//!
//! Loss: the mean of the cross-entropies of beginning and end of the first gold answer, the mean over questions. An answer that
//! was cut off is not trained on, and counted.
//!
//! Decoding: the pair of tokens with the highest sum of scores whose end is not before its beginning and that is at most
//! `max_tokens` long; no answer where the first token's sum is as high.
//!
//! Scores: `answer_f1` (default), `exact_match`, against all gold answers. Cost: one product `[tokens, hidden] x [hidden, 2]` a
//! step.
//!
//! Papers: Rajpurkar et al. 2016, 2018, "SQuAD"; Devlin et al. 2019, "BERT", section 4.3.
//!
//! Example: `span = { question = "question", context = "context", answers = "answers" }`
//!
//! Answer: `{"answer", "start", "end", "probability"}`, the first three null where there is no answer; `start` and `end`
//! (exclusive) count Unicode characters of the context.

use std::collections::HashMap;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use data::{DataError, Faults, InputField, NO_WORD, Pack, Row, Split, View};
use model::Parameters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::gold::{self, Gold};
use crate::head::{self, Head};
use crate::{Batch, BatchRow, Kind, LabelReport, Loss, Prediction, Scores, Source, SpanAnswer, TaskError};

const METRICS: &[&str] = &["answer_f1", "exact_match"];

/// Added to the score of what is no token of a row: its probability is 0.
const NOWHERE: f32 = -1e9;

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

impl SpanConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = |name: &str| format!("task.{task}.span.{name}");
        TaskError::fraction(|| key("dropout"), self.dropout.into())?;
        if self.max_tokens == 0 {
            let expected = "1 or more".into();
            return Err(TaskError::Setting { key: key("max_tokens"), found: "0".into(), expected });
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
    /// Where each row's tokens stand in its context; row `i` has `offsets[i]..offsets[i + 1]` of them.
    places: Vec<[u32; 2]>,
    offsets: Vec<usize>,
}

/// What is right.
struct Question {
    /// All answers that count; none where the context has no answer.
    answers: Vec<String>,
    /// First and last token of the first answer in its row, or twice the first token of the row; `None` if it was cut off.
    tokens: Option<[u32; 2]>,
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

    /// The best answer of a row from the scores of its candidates, two each; `positions` are their places in the row.
    fn decode(&self, scores: &[f32], positions: &[u32]) -> SpanAnswer {
        let side = |side: usize| -> Vec<f32> { scores.iter().skip(side).step_by(2).copied().collect() };
        let (begins, ends) = (side(0), side(1));
        let mut best = (None, begins[0] + ends[0]);
        for (first, begin) in begins.iter().enumerate().skip(1) {
            for (last, end) in ends.iter().enumerate().skip(first).take(self.config.max_tokens) {
                if begin + end > best.1 {
                    best = (Some([first, last]), begin + end);
                }
            }
        }
        let [first, last] = best.0.unwrap_or([0, 0]);
        SpanAnswer {
            tokens: best.0.map(|tokens| tokens.map(|i| positions[i])),
            probability: share(&begins, first) * share(&ends, last),
        }
    }
}

/// The softmax of one of some scores.
fn share(scores: &[f32], of: usize) -> f32 {
    let most = head::largest(scores).1;
    let sum: f32 = scores.iter().map(|score| (score - most).exp()).sum();
    (scores[of] - most).exp() / sum
}

/// What may be answered of a row, as (token of the pack, place in the row): its first token, and those of the context.
fn candidates(pack: &Pack, at: BatchRow) -> impl Iterator<Item = (u32, u32)> {
    let tokens = at.tokens(pack);
    let first = tokens.start;
    let is_candidate = move |token: &usize| *token == first || pack.words[*token] != NO_WORD;
    tokens.filter(is_candidate).map(|token| (token as u32, pack.positions[token]))
}

/// First and last token of an answer; `None` if not all of it is there, because the context was `cut` or has no token for it.
fn tokens_of(answer: &Gold, places: &[[u32; 2]], cut: bool) -> Option<[u32; 2]> {
    let [begin, end] = [answer.bytes.start as u32, answer.bytes.end as u32];
    let overlaps = |place: &[u32; 2]| place[0] < place[1] && place[0] < end && place[1] > begin;
    let (first, last) = (places.iter().position(overlaps)?, places.iter().rposition(overlaps)?);
    // Behind the last token that was kept the answer may have gone on.
    let lost = cut && places[last][1] < end && places[last + 1..].iter().all(|place| place[0] == place[1]);
    (!lost).then_some([first as u32, last as u32])
}

/// The text of an answer.
fn text<'a>(
    context: &'a str,
    places: &[[u32; 2]],
    answer: &SpanAnswer,
) -> Option<(std::ops::Range<usize>, &'a str)> {
    let [first, last] = answer.tokens?;
    let bytes = places.get(first as usize)?[0] as usize..places.get(last as usize)?[1] as usize;
    Some((bytes.clone(), context.get(bytes)?))
}

impl Kind for Span {
    fn input(&self) -> InputField {
        InputField::Pair(self.config.question.clone(), self.config.context.clone())
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
                let tokens = match found.first() {
                    None => Some([0, 0]),
                    Some(answer) => tokens_of(answer, view.encoded.places(i), view.encoded.cut[i] > 0),
                };
                report.truncated += usize::from(tokens.is_none());
                Question { answers: found.into_iter().map(|answer| answer.text).collect(), tokens }
            });
            report.labelled += usize::from(question.is_some());
            gold.push(question);
        }
        faults.finish(())?;
        report.missing = report.rows - report.labelled;
        let unanswered = report.labelled - answered;
        report.counts = vec![("an answer".into(), answered), ("no answer".into(), unanswered)];
        let (places, offsets) = (view.encoded.places.clone(), view.encoded.offsets.clone());
        self.targets.insert(split, Questions { rows: view.rows.clone(), gold, places, offsets });
        Ok(report)
    }

    fn labelled(&self, split: Split, row: usize) -> bool {
        self.targets.get(&split).and_then(|t| t.gold.get(row)).is_some_and(Option::is_some)
    }

    fn reads(&self, pack: &Pack, rows: &[BatchRow], read: &mut [bool]) {
        let tokens = rows.iter().flat_map(|at| candidates(pack, *at));
        tokens.for_each(|(token, _)| read[token as usize] = true);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>) -> Option<Loss> {
        let targets = self.targets.get(&batch.split)?;
        // Per row its candidates, and which of them begin and end the answer.
        let mut rows: Vec<(Vec<u32>, [u32; 2])> = Vec::new();
        for at in batch.rows {
            let gold = targets.gold.get(at.row as usize).and_then(|gold| gold.as_ref()?.tokens);
            let (tokens, positions): (Vec<u32>, Vec<u32>) = candidates(batch.pack, *at).unzip();
            let find = |token: u32| Some(positions.iter().position(|position| *position == token)? as u32);
            if let Some([begin, end]) = gold
                && let (Some(begin), Some(end)) = (find(begin), find(end))
            {
                rows.push((tokens, [begin, end]));
            }
        }
        let width = rows.iter().map(|(tokens, _)| tokens.len()).max()?;
        let all: Vec<u32> = rows.iter().flat_map(|(tokens, _)| tokens.iter().copied()).collect();
        let scores = self.scores(parameters, batch, &all);
        // A matrix with a row for each beginning and each end, filled up with what has no probability.
        let (mut index, mut filled, mut next) = (Vec::new(), Vec::new(), 0);
        for (tokens, _) in &rows {
            let length = tokens.len() as u32;
            index.extend((0..width as u32).map(|i| next + i.min(length - 1)));
            let row = (0..width as u32).map(|i| if i < length { 0.0 } else { NOWHERE });
            filled.extend(row.clone().chain(row));
            next += length;
        }
        let n = rows.len();
        let by_row =
            kernels::pick(scores, &index).reshape([n, width, 2]).swap_dims(1, 2).reshape([2 * n, width]);
        let filled = Tensor::from_data(TensorData::new(filled, [2 * n, width]), &by_row.device());
        let gold: Vec<u32> = rows.iter().flat_map(|(_, gold)| *gold).collect();
        Some(Loss { mean: kernels::cross_entropy(by_row + filled, &gold, None, 0.0), items: n })
    }

    fn predict(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Prediction> {
        let rows: Vec<(Vec<u32>, Vec<u32>)> =
            batch.rows.iter().map(|at| candidates(batch.pack, *at).unzip()).collect();
        let all: Vec<u32> = rows.iter().flat_map(|(tokens, _)| tokens.iter().copied()).collect();
        if all.is_empty() {
            return vec![Prediction::Span(SpanAnswer::default()); rows.len()];
        }
        let scores = head::on_host(self.scores(parameters, batch, &all));
        let mut left = scores.as_slice();
        rows.iter()
            .map(|(_, positions)| {
                let (own, rest) = left.split_at(2 * positions.len());
                left = rest;
                let answer = if own.is_empty() { SpanAnswer::default() } else { self.decode(own, positions) };
                Prediction::Span(answer)
            })
            .collect()
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
                let places =
                    targets.places.get(targets.offsets[row]..targets.offsets[row + 1]).unwrap_or_default();
                let context = targets.rows[row].text(&self.config.context).ok().flatten().unwrap_or_default();
                gold.push(question.answers.clone());
                predicted
                    .push(text(context, places, answer).map(|(_, text)| text.to_owned()).unwrap_or_default());
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
