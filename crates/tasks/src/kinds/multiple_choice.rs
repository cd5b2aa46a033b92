//! Which of several choices fits a text: the answer to a question, the ending of a story (multiple choice).
//!
//! Input: a field of text and a field with a list of two or more choices, as many as each row has. The row has a sequence for each
//! choice, `[CLS] text [SEP] choice [SEP]` in BERT, with a segment each; where that is too long, the longer text is truncated first.
//! Label: a field with the index of the correct choice, counted from 0, with the choice itself, or with its letter (`A` is the
//! first). A row without the field, or with an empty one, is masked.
//!
//! Head: for each sequence the mean of its token states `[tokens, hidden]` (`pooling = "mean"`) or its first token's state
//! (`"first"`); dropout and a linear layer `[hidden] -> [1]`; softmax over the choices of the row.
//!
//! Loss: cross-entropy, the mean over labelled rows.
//!
//! Scores: `accuracy`. Cost: the trunk encodes the text once for each choice; the head is one product
//! `[choices, hidden] x [hidden, 1]`.
//!
//! Papers: Radford et al. 2018, "Improving language understanding by generative pre-training", section 3.3; Zellers et al. 2018,
//! "SWAG".
//!
//! Example: `multiple_choice = { text = "question", choices = "choices", label = "answer" }`
//!
//! Answer: `{"choice", "index", "probability", "probabilities"}`, the last in the order of the choices.

use burn::tensor::Tensor;
use data::{DataError, ErrorList, InputField, Pack, Row, Split, Value, View};
use model::Parameters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::heads::head::{self, LinearHead};
use crate::heads::pooling::Pooling;
use crate::losses::ragged;
use crate::task_head::{EncodedHead, Head};
use crate::{
    Batch, BatchRow, Kind, LabelReport, Loss, ModelInput, Prediction, Scores, TaskError, TaskHead,
    TrunkHandles,
};

const METRICS: &[&str] = &["accuracy"];

/// `multiple_choice = { .. }`: which of several choices fits a text.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MultipleChoiceConfig {
    /// The field with the text: a question, the beginning of a story.
    #[serde(default = "text")]
    pub text: String,
    /// The field with the list of choices.
    #[serde(default = "choices")]
    pub choices: String,
    /// The field with the correct choice: its index from 0, its text, or its letter.
    #[serde(default = "label")]
    pub label: String,
    /// The pooling of a sequence's token states: their mean, or the first token's state.
    #[serde(default)]
    pub pooling: Pooling,
    /// Dropout before the last layer, 0 to below 1.
    #[serde(default = "head::default_dropout")]
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
            primary: TaskError::metric(task, METRICS, metric)?,
        }))
    }
}

/// A multiple-choice task.
#[derive(Clone)]
struct MultipleChoice {
    task: String,
    config: MultipleChoiceConfig,
    primary: &'static str,
}

impl MultipleChoice {
    /// The index of the correct choice of a row.
    fn correct_choice(&self, row: &Row) -> Result<Option<u32>, DataError> {
        let field = &self.config.label;
        let choices = row.choices(&self.config.choices)?.unwrap_or_default();
        let index = match row.get(field) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Text(text)) if text.is_empty() => return Ok(None),
            Some(Value::Text(text)) => named(text, &choices),
            Some(Value::Number(number)) => (0..choices.len()).position(|index| index as f64 == *number),
            Some(_) => None,
        };
        let expected =
            || format!("a number from 0 to {}, one of the choices, or its letter", choices.len() - 1);
        let found = || row.get(field).map(Value::preview).unwrap_or_default();
        index.map(|index| Some(index as u32)).ok_or_else(|| row.error(field, found(), expected()))
    }

    /// The correct choice of each row, or every row whose label cannot be read.
    fn correct_choices(&self, rows: &[Row]) -> Result<Vec<Option<u32>>, Vec<DataError>> {
        let mut errors = ErrorList::new();
        let mut right = Vec::with_capacity(rows.len());
        for row in rows {
            match self.correct_choice(row) {
                Ok(choice) => right.push(choice),
                Err(error) => errors.push(error),
            }
        }
        errors.finish(right)
    }
}

/// The index of the choice that a text names: the one choice that equals the text, or else the one with that index or letter.
fn named(text: &str, choices: &[String]) -> Option<usize> {
    let mut equal = (0..choices.len()).filter(|index| choices[*index] == text);
    match (equal.next(), equal.next()) {
        (Some(index), None) => Some(index),
        (Some(_), Some(_)) => None,
        (None, _) => match text.as_bytes() {
            [letter @ b'A'..=b'Z'] => Some(usize::from(letter - b'A')).filter(|index| *index < choices.len()),
            _ => text.parse().ok().filter(|index| *index < choices.len()),
        },
    }
}

impl Kind for MultipleChoice {
    fn input(&self) -> InputField {
        InputField::Choices(self.config.text.clone(), self.config.choices.clone())
    }

    fn metrics(&self) -> &'static [&'static str] {
        METRICS
    }

    fn fit_labels(&self, rows: &[Row]) -> Result<serde_json::Value, Vec<DataError>> {
        if self.correct_choices(rows)?.iter().any(Option::is_some) {
            return Ok(json!({}));
        }
        let found = format!("no label in field {:?} of {} training rows", self.config.label, rows.len());
        let key = format!("task.{}.multiple_choice.label", self.task);
        Err(vec![DataError::Setting { key, found, expected: "right choices to learn from".into() }])
    }

    fn init_head(
        &self,
        label_space: &serde_json::Value,
        trunk: &TrunkHandles<'_>,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn TaskHead>, TaskError> {
        TaskError::no_labels(&self.task, label_space, "choices")?;
        let linear = LinearHead::new(parameters, &self.task, trunk.hidden, 1);
        Ok(EncodedHead::boxed(MultipleChoiceHead { kind: self.clone(), linear }))
    }
}

/// The head of a multiple-choice task.
struct MultipleChoiceHead {
    kind: MultipleChoice,
    linear: LinearHead,
}

impl MultipleChoiceHead {
    /// The logits of the choices of some rows, `[choices, 1]` end to end, and the number of choices of each row.
    fn logits(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        rows: &[BatchRow],
    ) -> (Tensor<2>, Vec<usize>) {
        let sequences = rows.iter().map(|at| batch.pack.sequences_of(at.pack_row as usize));
        let lengths = sequences.clone().map(|of_row| of_row.len()).collect();
        let sequences: Vec<u32> = sequences.flatten().map(|sequence| sequence as u32).collect();
        let states = self.kind.config.pooling.pool_of(batch.states, &batch.pack.sequences, &sequences);
        let dropout = head::dropout(self.kind.config.dropout, &self.kind.task, batch.dropout_seed);
        (self.linear.logits(parameters, states, dropout), lengths)
    }
}

impl Head for MultipleChoiceHead {
    /// The index of the correct choice of each row; `None` for a row without a label.
    type Targets = Vec<Option<u32>>;

    fn encode_targets(&self, view: &View) -> Result<(Self::Targets, LabelReport), Vec<DataError>> {
        let right = self.kind.correct_choices(&view.rows)?;
        let (rows, labelled) = (right.len(), right.iter().flatten().count());
        let mut counts: Vec<(String, usize)> = Vec::new();
        for index in right.iter().flatten().map(|index| *index as usize) {
            let next = counts.len();
            counts.extend((next..=index).map(|index| (format!("choice {index}"), 0)));
            counts[index].1 += 1;
        }
        let missing = rows - labelled;
        Ok((right, LabelReport { rows, labelled, missing, counts, ..Default::default() }))
    }

    fn labelled(targets: &Self::Targets, row: usize) -> bool {
        targets.get(row).is_some_and(Option::is_some)
    }

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        let sequences = rows.iter().flat_map(|at| at.sequences(pack));
        sequences.for_each(|tokens| self.kind.config.pooling.mark_used(&mut used[tokens]));
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, targets: &Self::Targets) -> Option<Loss> {
        let known = |at: &BatchRow| Some((*at, (*targets.get(at.row as usize)?)?));
        let (rows, right): (Vec<BatchRow>, Vec<u32>) = batch.rows.iter().filter_map(known).unzip();
        if rows.is_empty() {
            return None;
        }
        let (logits, lengths) = self.logits(parameters, batch, &rows);
        Some(Loss { mean: ragged::cross_entropy(logits, &lengths, &right), num_targets: rows.len() })
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
        let (logits, lengths) = self.logits(parameters, batch, batch.rows);
        let logits = head::to_host_vec(logits);
        let mut left = logits.as_slice();
        let of_row = |length: &usize| {
            let (own, rest) = left.split_at(*length);
            left = rest;
            Prediction::Label((0..own.len()).map(|choice| ragged::softmax_probability(own, choice)).collect())
        };
        lengths.iter().map(of_row).collect()
    }

    fn score(&self, _split: Split, targets: &Self::Targets, predictions: &[(u32, Prediction)]) -> Scores {
        let (mut gold, mut predicted) = (Vec::new(), Vec::new());
        for (row, prediction) in predictions {
            let right = targets.get(*row as usize).copied().flatten();
            if let (Some(right), Prediction::Label(probabilities)) = (right, prediction) {
                gold.push(right);
                predicted.push(head::argmax(probabilities).0 as u32);
            }
        }
        Scores::with_primary(
            self.kind.primary,
            vec![("accuracy".into(), metrics::accuracy(&gold, &predicted))],
        )
    }

    fn label_space(&self) -> serde_json::Value {
        json!({})
    }

    fn to_json(&self, prediction: &Prediction, input: ModelInput<'_>) -> serde_json::Value {
        let (Prediction::Label(probabilities), ModelInput::Choices(choices)) = (prediction, input) else {
            return serde_json::Value::Null;
        };
        let (index, probability) = head::argmax(probabilities);
        json!({
            "choice": choices.get(index),
            "index": index,
            "probability": probability,
            "probabilities": probabilities,
        })
    }
}
