//! Which of several texts belongs to a text: the answer to a question, the ending of a story (multiple choice).
//!
//! Input: a field of text and a field with a list of two or more texts, as many as each row has. The row has a sequence for each of
//! them, `[CLS] text [SEP] choice [SEP]` in BERT, with a segment each; where that is too long, the longer text is cut first.
//! Label: a field with the number of the right choice, counted from 0, with the choice itself, or with its letter (`A` is the
//! first). A row without the field, or with an empty one, is masked.
//!
//! Head: of each sequence the mean of its token states `[tokens, hidden]` (`pooling = "mean"`) or its first token's (`"first"`);
//! dropout and a linear map `[hidden] -> [1]`; softmax over the choices of the row.
//!
//! Loss: cross-entropy, the mean over labelled rows.
//!
//! Scores: `accuracy`. Cost: the trunk reads the text once for each choice; the head is one product `[choices, hidden] x [hidden, 1]`.
//!
//! Papers: Radford et al. 2018, "Improving language understanding by generative pre-training", section 3.3; Zellers et al. 2018,
//! "SWAG".
//!
//! Example: `multiple_choice = { text = "question", choices = "choices", label = "answer" }`
//!
//! Answer: `{"choice", "index", "probability", "probabilities"}`, the last in the order of the choices.

use std::collections::HashMap;

use burn::tensor::Tensor;
use data::{DataError, Faults, InputField, Pack, Row, Split, Value, View};
use model::Parameters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::head::{self, Head};
use crate::pooling::Pooling;
use crate::ragged;
use crate::{Batch, BatchRow, Kind, LabelReport, Loss, Prediction, Scores, Source, TaskError};

const METRICS: &[&str] = &["accuracy"];

/// `multiple_choice = { .. }`: which of several texts belongs to a text.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MultipleChoiceConfig {
    /// The field with the text: a question, the beginning of a story.
    #[serde(default = "text")]
    pub text: String,
    /// The field with the list of texts to choose from.
    #[serde(default = "choices")]
    pub choices: String,
    /// The field with the right one: its number from 0, its text, or its letter.
    #[serde(default = "label")]
    pub label: String,
    /// How the token states of a sequence become one: their mean, or the first token's.
    #[serde(default)]
    pub pooling: Pooling,
    /// Dropout before the last layer, 0 to below 1.
    #[serde(default = "head::usual_dropout")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f32,
}

fn text() -> String {
    "text".into()
}

fn choices() -> String {
    "choices".into()
}

fn label() -> String {
    "label".into()
}

impl MultipleChoiceConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = |name: &str| format!("task.{task}.multiple_choice.{name}");
        TaskError::fraction(|| key("dropout"), self.dropout.into())?;
        if self.text == self.choices {
            let found = format!("{:?}, the same field as `text`", self.choices);
            let expected = "the field with the list of texts to choose from".into();
            return Err(TaskError::Setting { key: key("choices"), found, expected });
        }
        Ok(Box::new(MultipleChoice {
            task: task.to_owned(),
            config: self.clone(),
            main: TaskError::metric(task, METRICS, metric)?,
            head: None,
            targets: HashMap::new(),
        }))
    }
}

/// A task of choosing.
struct MultipleChoice {
    task: String,
    config: MultipleChoiceConfig,
    main: &'static str,
    head: Option<Head>,
    /// Per row the right choice; `None` where the row has no label.
    targets: HashMap<Split, Vec<Option<u32>>>,
}

impl MultipleChoice {
    /// The place of the right choice of a row.
    fn right(&self, row: &Row) -> Result<Option<u32>, DataError> {
        let field = &self.config.label;
        let choices = row.choices(&self.config.choices)?.unwrap_or_default();
        let place = match row.get(field) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Text(text)) if text.is_empty() => return Ok(None),
            Some(Value::Text(text)) => named(text, &choices),
            Some(Value::Number(number)) => (0..choices.len()).position(|place| place as f64 == *number),
            Some(_) => None,
        };
        let expected =
            || format!("a number from 0 to {}, one of the choices, or its letter", choices.len() - 1);
        let found = || row.get(field).map(Value::preview).unwrap_or_default();
        place.map(|place| Some(place as u32)).ok_or_else(|| row.error(field, found(), expected()))
    }

    /// The right choice of each row, or every row whose label cannot be read.
    fn all(&self, rows: &[Row]) -> Result<Vec<Option<u32>>, Vec<DataError>> {
        let mut faults = Faults::new();
        let mut right = Vec::with_capacity(rows.len());
        for row in rows {
            match self.right(row) {
                Ok(place) => right.push(place),
                Err(fault) => faults.push(fault),
            }
        }
        faults.finish(right)
    }

    /// The scores of the choices of some rows, `[choices, 1]` end to end, and how many each row has.
    fn scores(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        rows: &[BatchRow],
    ) -> (Tensor<2>, Vec<usize>) {
        let sequences = rows.iter().map(|at| batch.pack.sequences_of(at.pack_row as usize));
        let lengths = sequences.clone().map(|of_row| of_row.len()).collect();
        let sequences: Vec<u32> = sequences.flatten().map(|sequence| sequence as u32).collect();
        let states = self.config.pooling.pool_of(batch.states, &batch.pack.sequences, &sequences);
        let noise = head::noise(self.config.dropout, &self.task, batch.noise_seed);
        let head = self.head.expect("the head is built before the first batch");
        (head.logits(parameters, states, noise), lengths)
    }
}

/// The place of the choice that a text names: the one choice that is the text, or else the one of that number or letter.
fn named(text: &str, choices: &[String]) -> Option<usize> {
    let mut equal = (0..choices.len()).filter(|place| choices[*place] == text);
    match (equal.next(), equal.next()) {
        (Some(place), None) => Some(place),
        (Some(_), Some(_)) => None,
        (None, _) => match text.as_bytes() {
            [letter @ b'A'..=b'Z'] => Some(usize::from(letter - b'A')).filter(|place| *place < choices.len()),
            _ => text.parse().ok().filter(|place| *place < choices.len()),
        },
    }
}

impl Kind for MultipleChoice {
    fn input(&self) -> InputField {
        InputField::Choices(self.config.text.clone(), self.config.choices.clone())
    }

    fn learn(&mut self, rows: &[Row]) -> Result<(), Vec<DataError>> {
        if self.all(rows)?.iter().any(Option::is_some) {
            return Ok(());
        }
        let found = format!("no label in field {:?} of {} training rows", self.config.label, rows.len());
        let key = format!("task.{}.multiple_choice.label", self.task);
        Err(vec![DataError::Setting { key, found, expected: "right choices to learn from".into() }])
    }

    fn space(&self) -> serde_json::Value {
        json!({})
    }

    fn restore_space(&mut self, space: &serde_json::Value) -> Result<(), TaskError> {
        if space.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok(());
        }
        let reason = format!("found {space}, and choices have no labels");
        Err(TaskError::Space { task: self.task.clone(), reason })
    }

    fn labels(&self) -> &[String] {
        &[]
    }

    fn build(&mut self, parameters: &mut Parameters, hidden: usize) {
        self.head = Some(Head::new(parameters, &self.task, hidden, 1));
    }

    fn attach(&mut self, split: Split, view: &View) -> Result<LabelReport, Vec<DataError>> {
        let right = self.all(&view.rows)?;
        let (rows, labelled) = (right.len(), right.iter().flatten().count());
        let mut counts: Vec<(String, usize)> = Vec::new();
        for place in right.iter().flatten().map(|place| *place as usize) {
            let next = counts.len();
            counts.extend((next..=place).map(|place| (format!("choice {place}"), 0)));
            counts[place].1 += 1;
        }
        self.targets.insert(split, right);
        Ok(LabelReport { rows, labelled, missing: rows - labelled, counts, ..Default::default() })
    }

    fn labelled(&self, split: Split, row: usize) -> bool {
        self.targets.get(&split).and_then(|right| right.get(row)).is_some_and(Option::is_some)
    }

    fn reads(&self, pack: &Pack, rows: &[BatchRow], read: &mut [bool]) {
        let sequences = rows.iter().flat_map(|at| at.sequences(pack));
        sequences.for_each(|tokens| self.config.pooling.reads_of(&mut read[tokens]));
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>) -> Option<Loss> {
        let targets = self.targets.get(&batch.split)?;
        let known = |at: &BatchRow| Some((*at, (*targets.get(at.row as usize)?)?));
        let (rows, right): (Vec<BatchRow>, Vec<u32>) = batch.rows.iter().filter_map(known).unzip();
        if rows.is_empty() {
            return None;
        }
        let (scores, lengths) = self.scores(parameters, batch, &rows);
        Some(Loss { mean: ragged::cross_entropy(scores, &lengths, &right), items: rows.len() })
    }

    fn predict(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Prediction> {
        if batch.rows.is_empty() {
            return Vec::new();
        }
        let (scores, lengths) = self.scores(parameters, batch, batch.rows);
        let scores = head::on_host(scores);
        let mut left = scores.as_slice();
        let of_row = |length: &usize| {
            let (own, rest) = left.split_at(*length);
            left = rest;
            Prediction::Label((0..own.len()).map(|choice| ragged::share(own, choice)).collect())
        };
        lengths.iter().map(of_row).collect()
    }

    fn score(&self, split: Split, predictions: &[(u32, Prediction)]) -> Scores {
        let (mut gold, mut predicted) = (Vec::new(), Vec::new());
        for (row, prediction) in predictions {
            let right = self.targets.get(&split).and_then(|right| *right.get(*row as usize)?);
            if let (Some(right), Prediction::Label(probabilities)) = (right, prediction) {
                gold.push(right);
                predicted.push(head::largest(probabilities).0 as u32);
            }
        }
        Scores::with_main(self.main, vec![("accuracy".into(), metrics::accuracy(&gold, &predicted))])
    }

    fn explain(&self, prediction: &Prediction, source: Source<'_>) -> serde_json::Value {
        let (Prediction::Label(probabilities), Source::Choices(choices)) = (prediction, source) else {
            return serde_json::Value::Null;
        };
        let (index, probability) = head::largest(probabilities);
        json!({
            "choice": choices.get(index),
            "index": index,
            "probability": probability,
            "probabilities": probabilities,
        })
    }

    fn metrics(&self) -> &'static [&'static str] {
        METRICS
    }
}
