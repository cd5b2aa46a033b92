//! Which of several choices fits a text: the answer to a question, the ending of a story (multiple choice).
//!
//! Input: a field of text and a field with a list of two or more choices, as many as each row has. The row has a sequence for each
//! choice, `[CLS] text [SEP] choice [SEP]` in BERT, with a segment each; where that is too long, the longer text is truncated first.
//! Label: a field with the index of the correct choice, counted from 0, with the choice itself, or with its letter (`A` is the
//! first): one of these for the whole field (`label_is`), by default the one that all training rows can be read as. A row without the
//! field, or with an empty one, is masked.
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
use data::{ChatTemplate, DataError, ErrorList, InputField, Pack, Row, Split, Value, View};
use model::Parameters;
use model::onnx::{OnnxGraph, Value as OnnxValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::distillation::{SoftLoss, SoftOutputs, TaughtRow};
use crate::heads::head::{self, LinearHead};
use crate::heads::pooling::Pooling;
use crate::losses::ragged;
use crate::task_head::{EncodedHead, Head};
use crate::{
    Batch, BatchRow, Kind, LabelReport, Loss, ModelInput, OnnxHead, Prediction, RowComparison, Scores,
    TaskError, TaskHead, TrunkHandles,
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
    /// What the labels are: by default (`"auto"`) the choice's text where every training row has it, else the index, else the letter.
    #[serde(default)]
    pub label_is: LabelIs,
    /// The pooling of a sequence's token states: their mean, or the state of the first or the last token. `mean` by default; `last` on a
    /// decoder, in which only the last token sees all of the sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
    /// Dropout before the last layer, 0 to below 1.
    #[serde(default = "head::default_dropout")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f32,
}

/// How the labels of the whole field say which choice is correct.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LabelIs {
    /// The first of the others that all training rows can be read as.
    #[default]
    Auto,
    /// The text of the choice.
    Text,
    /// The index of the choice, counted from 0.
    Index,
    /// The letter of the choice: `A` is the first.
    Letter,
}

impl LabelIs {
    /// The readings, in the order in which they are tried, with their names.
    const READINGS: [(LabelIs, &str); 3] =
        [(LabelIs::Text, "text"), (LabelIs::Index, "index"), (LabelIs::Letter, "letter")];

    fn name(self) -> &'static str {
        Self::READINGS.iter().find(|(reading, _)| *reading == self).map_or("auto", |(_, name)| name)
    }

    /// The index of the choice that a label names; `None` if it names none, or several.
    fn choice(self, label: &Value, choices: &[String]) -> Option<usize> {
        match (self, label) {
            (LabelIs::Text, Value::Text(text)) => {
                let mut equal = (0..choices.len()).filter(|index| choices[*index] == *text);
                equal.next().filter(|_| equal.next().is_none())
            }
            (LabelIs::Index, Value::Number(number)) => {
                (0..choices.len()).position(|index| index as f64 == *number)
            }
            (LabelIs::Index, Value::Text(text)) => {
                text.trim().parse().ok().filter(|index| *index < choices.len())
            }
            (LabelIs::Letter, Value::Text(text)) => match text.trim().as_bytes() {
                [letter @ b'A'..=b'Z'] => Some(usize::from(letter - b'A')).filter(|i| *i < choices.len()),
                _ => None,
            },
            _ => None,
        }
    }

    /// What a label may be where there are `choices` choices, for a message.
    fn expected(self, choices: usize) -> String {
        let last = choices.saturating_sub(1);
        match self {
            LabelIs::Auto => {
                format!("a number from 0 to {last}, one of the choices, or its letter, the same for all rows")
            }
            LabelIs::Text => "the text of exactly one of the choices (label_is = \"text\")".into(),
            LabelIs::Index => format!("a number from 0 to {last} (label_is = \"index\")"),
            LabelIs::Letter => "the letter of a choice, A for the first (label_is = \"letter\")".into(),
        }
    }
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
    fn pooling(&self) -> Pooling {
        self.config.pooling.unwrap_or_default()
    }

    /// A row's label and choices; `None` for a row that is not labelled.
    fn label<'a>(&self, row: &'a Row) -> Result<Option<(&'a Value, Vec<String>)>, DataError> {
        let Some(label) = row.get(&self.config.label).filter(|label| !label.is_blank()) else {
            return Ok(None);
        };
        Ok(Some((label, row.choices(&self.config.choices)?.unwrap_or_default())))
    }

    /// The reading of the field: that of the config, or the first that all rows can be read as. `Auto` if there is none.
    fn reading(&self, rows: &[Row]) -> LabelIs {
        if self.config.label_is != LabelIs::Auto {
            return self.config.label_is;
        }
        let fits = |reading: LabelIs| {
            let fits = |(label, choices): (&Value, Vec<String>)| reading.choice(label, &choices).is_some();
            rows.iter().all(|row| self.label(row).is_ok_and(|found| found.is_none_or(fits)))
        };
        let found = LabelIs::READINGS.iter().find(|(reading, _)| fits(*reading));
        found.map_or(LabelIs::Auto, |(reading, _)| *reading)
    }

    /// The correct choice of each row, or every row whose label cannot be read.
    fn correct_choices(&self, rows: &[Row], reading: LabelIs) -> Result<Vec<Option<u32>>, Vec<DataError>> {
        let mut errors = ErrorList::new();
        let mut right = Vec::with_capacity(rows.len());
        for row in rows {
            match self.label(row) {
                Ok(None) => right.push(None),
                Ok(Some((label, choices))) => match reading.choice(label, &choices) {
                    Some(index) => right.push(Some(index as u32)),
                    None => {
                        let expected = reading.expected(choices.len());
                        errors.push(row.error(&self.config.label, label.preview(), expected));
                    }
                },
                Err(error) => errors.push(error),
            }
        }
        errors.finish(right)
    }

    /// The reading in a label space; `None` in one that was stored before there was a choice.
    fn stored_reading(&self, space: &serde_json::Value) -> Result<Option<LabelIs>, TaskError> {
        let error = |reason: String| TaskError::Space { task: self.task.clone(), reason };
        let fields = space.as_object().ok_or_else(|| error(format!("found {space}, expected a table")))?;
        match fields.iter().next() {
            None => Ok(None),
            Some((key, reading)) if key == "label_is" && fields.len() == 1 => {
                serde_json::from_value(reading.clone()).map(Some).map_err(|e| error(e.to_string()))
            }
            Some(_) => Err(error(format!("found {space}, and choices have no labels"))),
        }
    }
}

impl Kind for MultipleChoice {
    fn set_causal(&mut self, _chat_template: Option<&ChatTemplate>) -> Result<(), TaskError> {
        self.config.pooling.get_or_insert(Pooling::Last);
        Ok(())
    }

    fn input(&self) -> InputField {
        InputField::Choices(self.config.text.clone(), self.config.choices.clone())
    }

    fn metrics(&self) -> &'static [&'static str] {
        METRICS
    }

    fn target_fields(&self) -> Vec<String> {
        vec![self.config.label.clone()]
    }

    fn fit_labels(&self, rows: &[Row]) -> Result<serde_json::Value, Vec<DataError>> {
        let reading = self.reading(rows);
        if self.correct_choices(rows, reading)?.iter().any(Option::is_some) {
            return Ok(json!({ "label_is": reading.name() }));
        }
        let found = format!("no label in field {:?} of {} training rows", self.config.label, rows.len());
        let key = format!("task.{}.multiple_choice.label", self.task);
        Err(vec![DataError::Setting { key, found, expected: "right choices to learn from".into() }])
    }

    fn remarks(&self, label_space: &serde_json::Value) -> Vec<String> {
        let reading = label_space["label_is"].as_str().filter(|_| self.config.label_is == LabelIs::Auto);
        reading
            .map(|reading| {
                format!(
                    "its labels are read as the {reading} of the choice, in all rows; `label_is` fixes that"
                )
            })
            .into_iter()
            .collect()
    }

    fn init_head(
        &self,
        label_space: &serde_json::Value,
        trunk: &TrunkHandles<'_>,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn TaskHead>, TaskError> {
        self.pooling().check(&format!("task.{}.multiple_choice.pooling", self.task), trunk)?;
        let reading = self.stored_reading(label_space)?;
        let linear = LinearHead::new(parameters, &self.task, trunk.hidden, 1);
        Ok(EncodedHead::boxed(MultipleChoiceHead { kind: self.clone(), reading, linear }))
    }
}

/// The head of a multiple-choice task.
struct MultipleChoiceHead {
    kind: MultipleChoice,
    /// How labels are read; by the rows at hand where it was not stored.
    reading: Option<LabelIs>,
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
        let states = self.kind.pooling().pool_of(batch.states, &batch.pack.sequences, &sequences);
        let dropout = head::dropout(self.kind.config.dropout, &self.kind.task, batch.dropout_seed);
        (self.linear.logits(parameters, states, dropout), lengths)
    }
}

impl Head for MultipleChoiceHead {
    /// The index of the correct choice of each row; `None` for a row without a label.
    type Targets = Vec<Option<u32>>;

    fn encode_targets(&self, view: &View) -> Result<(Self::Targets, LabelReport), Vec<DataError>> {
        let reading = self.reading.unwrap_or_else(|| self.kind.reading(&view.rows));
        let right = self.kind.correct_choices(&view.rows, reading)?;
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
        sequences.for_each(|tokens| self.kind.pooling().mark_used(&mut used[tokens]));
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

    /// A row has choices of its own: there are no outputs to be named.
    fn soft_outputs(&self) -> Result<SoftOutputs, String> {
        Ok(SoftOutputs { columns: Vec::new(), by_token: false, needs_label: false })
    }

    fn reorder(&self, _answer: &mut [f32], _order: &[usize]) {}

    fn teacher_answers(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Vec<f32>> {
        let (logits, lengths) = self.logits(parameters, batch, batch.rows);
        let logits = head::to_host_vec(logits);
        let mut left = logits.as_slice();
        let of_row = |length: &usize| {
            let (own, rest) = left.split_at(*length);
            left = rest;
            own.to_vec()
        };
        lengths.iter().map(of_row).collect()
    }

    fn soft_loss(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
        taught: &[TaughtRow<'_>],
        temperature: f32,
    ) -> Option<SoftLoss> {
        let choices = |at: BatchRow| batch.pack.sequences_of(at.pack_row as usize).len();
        let same = taught.iter().filter(|row| row.answer.len() == choices(row.at));
        let rows: Vec<BatchRow> = same.clone().map(|row| row.at).collect();
        if rows.is_empty() {
            return None;
        }
        let (logits, lengths) = self.logits(parameters, batch, &rows);
        let answers: Vec<f32> = same.clone().flat_map(|row| row.answer.iter().copied()).collect();
        let weights: Vec<f32> = same.map(|row| row.weight).collect();
        let sum = ragged::soft_cross_entropy(logits, &lengths, &answers, &weights, temperature);
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

    /// A row of the batch is a choice.
    fn onnx(&self, graph: &mut OnnxGraph, states: &OnnxValue) -> Option<OnnxHead> {
        let pooled = self.kind.pooling().onnx(graph, states);
        Some(OnnxHead::of_rows(self.linear.onnx(graph, &pooled), 1, "softmax_over_choices"))
    }

    fn label_space(&self) -> serde_json::Value {
        self.reading.map_or_else(|| json!({}), |reading| json!({ "label_is": reading.name() }))
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

    fn compare(
        &self,
        targets: &Self::Targets,
        row: usize,
        source: &Row,
        prediction: &Prediction,
    ) -> Option<RowComparison> {
        let Prediction::Label(probabilities) = prediction else { return None };
        let gold = (*targets.get(row)?)?;
        let (best, probability) = head::argmax(probabilities);
        let name = |choice: usize| format!("choice {choice}");
        let found = RowComparison::of_label(&name(gold as usize), &name(best), probability.into());
        let choices = source.choices(&self.kind.config.choices).ok().flatten().unwrap_or_default();
        let text = |choice: usize| {
            choices.get(choice).map_or_else(|| name(choice), |text| format!("{choice}: {text}"))
        };
        Some(RowComparison { gold: text(gold as usize), answer: text(best), ..found })
    }
}
