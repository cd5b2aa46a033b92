//! One number per row: a rating, a price, a similarity, a sentiment score.
//!
//! Input: a field of text, two of them (`pair`), or a field of words. Value: a field with a number, or a text that is one
//! (CSV has no types). A row without the field, or with an empty text, is masked.
//!
//! Head: the row's token states, of long texts in `windows` too, pooled as in `classification`, dropout, a linear layer `[hidden] -> [1]`.
//!
//! Loss, with the error `e` between output and target: `mse` is `e^2` (default); `huber` is `e^2 / 2` up to `delta` and
//! `delta (|e| - delta / 2)` beyond (Huber 1964, "Robust estimation of a location parameter"), so that a few outliers do
//! not dominate. The mean over labelled rows. Targets are standardised by the mean and the standard deviation of the training
//! values (of the population), so that the losses of tasks in dollars and in stars have a similar scale; both are stored in the
//! label space, and answers and scores are in the field's own unit. `standardise = false` turns it off. `delta` is in units of the
//! target: standard deviations, unless that is off.
//!
//! Scores: `pearson` (default) and `spearman` correlations; also `rmse` in the field's unit, of which lower is better, and which
//! therefore cannot be the primary metric. The correlation of constant predictions is 0. Cost: one product
//! `[rows, hidden] x [hidden, 1]`.
//!
//! Errors: no training value, or all training values equal.
//!
//! Example: `regression = { text = "text", value = "score", loss = "huber" }`
//!
//! Answer: `{"value"}`.

use burn::tensor::{Tensor, TensorData};
use data::{ChatTemplate, DataError, ErrorList, InputField, Pack, Row, Split, TextWindows, View};
use model::Parameters;
use model::onnx::{OnnxGraph, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::distillation::{SoftLoss, SoftOutputs, TaughtRow};
use crate::heads::head::{self, LinearHead};
use crate::heads::pooling::Pooling;
use crate::input;
use crate::task_head::{EncodedHead, Head};
use crate::{
    Batch, BatchRow, Kind, LabelReport, Loss, ModelInput, OnnxHead, Prediction, RowComparison, Scores,
    SummaryStatistics, TaskError, TaskHead, TrunkHandles,
};

const METRICS: &[&str] = &["pearson", "spearman"];

/// `regression = { .. }`: one number per row.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegressionConfig {
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
    /// The field with the number.
    pub value: String,
    /// The pooling of a row's token states: their mean, or the state of the first or the last token. `mean` by default; `last` on a
    /// decoder, in which only the last token sees all of the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
    /// The loss of an error.
    #[serde(default)]
    pub loss: RegressionLoss,
    /// The error at which `huber` turns from quadratic to linear, above 0.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0))]
    pub delta: f32,
    /// Whether targets are standardised by the mean and the standard deviation of the training values.
    #[serde(default = "yes")]
    pub standardise: bool,
    /// Dropout before the last layer, 0 to below 1.
    #[serde(default = "head::default_dropout")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f32,
}

/// The loss of an error, the distance between output and target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RegressionLoss {
    /// Its square.
    #[default]
    Mse,
    /// Half its square up to `delta`, linear beyond.
    Huber,
}

fn one() -> f32 {
    1.0
}

fn yes() -> bool {
    true
}

impl RegressionConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = |name: &str| format!("task.{task}.regression.{name}");
        let kind = format!("task.{task}.regression");
        let (text, pair, tokens) = (self.text.as_ref(), self.pair.as_ref(), self.tokens.as_ref());
        let input = input::of_row(&kind, text, pair, tokens, self.windows)?;
        TaskError::fraction(|| key("dropout"), self.dropout.into())?;
        if !(self.delta.is_finite() && self.delta > 0.0) {
            let (found, expected) = (self.delta.to_string(), "a number above 0".into());
            return Err(TaskError::Setting { key: key("delta"), found, expected });
        }
        Ok(Box::new(Regression {
            task: task.to_owned(),
            config: self.clone(),
            input,
            primary: TaskError::metric(task, METRICS, metric)?,
        }))
    }
}

/// The standardisation of targets: `target = (value - mean) / deviation`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scale {
    mean: f64,
    deviation: f64,
}

impl Default for Scale {
    fn default() -> Self {
        Scale { mean: 0.0, deviation: 1.0 }
    }
}

impl Scale {
    /// The mean and standard deviation of some values.
    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        Scale { mean, deviation: (squares / n).sqrt() }
    }

    fn target(self, value: f64) -> f32 {
        ((value - self.mean) / self.deviation) as f32
    }

    fn value(self, target: f32) -> f64 {
        f64::from(target) * self.deviation + self.mean
    }

    /// Whether it is finite and invertible.
    fn is_valid(self) -> bool {
        self.mean.is_finite() && self.deviation.is_finite() && self.deviation > 0.0
    }
}

/// A regression task.
#[derive(Clone)]
struct Regression {
    task: String,
    config: RegressionConfig,
    input: InputField,
    primary: &'static str,
}

impl Regression {
    fn pooling(&self) -> Pooling {
        self.config.pooling.unwrap_or_default()
    }

    /// The number of a row.
    fn value(&self, row: &Row) -> Result<Option<f64>, DataError> {
        row.number(&self.config.value)
    }

    /// The numbers of all rows.
    fn values(&self, rows: &[Row]) -> Result<Vec<Option<f64>>, Vec<DataError>> {
        let mut errors = ErrorList::new();
        let mut values = Vec::with_capacity(rows.len());
        for row in rows {
            match self.value(row) {
                Ok(value) => values.push(value),
                Err(error) => errors.push(error),
            }
        }
        errors.finish(values)
    }

    /// An error of the training values as a whole.
    fn unlearnable(&self, found: String, expected: &str) -> Vec<DataError> {
        let key = format!("task.{}.regression.value", self.task);
        vec![DataError::Setting { key, found, expected: expected.into() }]
    }
}

impl Kind for Regression {
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
        vec![self.config.value.clone()]
    }

    fn fit_labels(&self, rows: &[Row]) -> Result<serde_json::Value, Vec<DataError>> {
        let values: Vec<f64> = self.values(rows)?.into_iter().flatten().collect();
        let field = &self.config.value;
        let Some(first) = values.first() else {
            let found = format!("no number in field {field:?} of {} training rows", rows.len());
            return Err(self.unlearnable(found, "a number in each row to learn from"));
        };
        if values.iter().all(|value| value == first) {
            let found = format!("only the number {first} in {} training rows", rows.len());
            return Err(self.unlearnable(found, "two or more different numbers"));
        }
        let scale = if self.config.standardise { Scale::of(&values) } else { Scale::default() };
        let largest = values.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
        if !(scale.is_valid() && values.iter().all(|value| scale.target(*value).is_finite())) {
            let found = format!("numbers up to {largest:e} in field {field:?}");
            return Err(self.unlearnable(found, "numbers whose squares are in range; rescale the field"));
        }
        Ok(json!(scale))
    }

    fn init_head(
        &self,
        label_space: &serde_json::Value,
        trunk: &TrunkHandles<'_>,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn TaskHead>, TaskError> {
        self.pooling().check(&format!("task.{}.regression.pooling", self.task), trunk)?;
        let error = |reason: String| TaskError::Space { task: self.task.clone(), reason };
        let expected = "expected the numbers \"mean\" and \"deviation\"";
        let scale: Scale = serde_json::from_value(label_space.clone())
            .map_err(|_| error(format!("found {label_space}, {expected}")))?;
        if !scale.is_valid() {
            return Err(error(format!("found {label_space}, expected a deviation above 0")));
        }
        let linear = LinearHead::new(parameters, &self.task, trunk.hidden, 1);
        Ok(EncodedHead::boxed(RegressionHead { kind: self.clone(), scale, linear }))
    }
}

/// The head of a regression task.
struct RegressionHead {
    kind: Regression,
    scale: Scale,
    linear: LinearHead,
}

impl RegressionHead {
    /// The outputs of the head, `[rows, 1]`.
    fn outputs(&self, parameters: &Parameters, batch: &Batch<'_>, pack_rows: &[u32]) -> Tensor<2> {
        let dropout = head::dropout(self.kind.config.dropout, &self.kind.task, batch.dropout_seed);
        self.linear.logits(parameters, self.kind.pooling().pool(batch, pack_rows), dropout)
    }
}

impl RegressionHead {
    /// The loss of each row at a value in the unit of the corpus, `[rows, 1]`.
    fn errors(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        pack_rows: &[u32],
        values: &[f64],
    ) -> Tensor<2> {
        let outputs = self.outputs(parameters, batch, pack_rows);
        let target: Vec<f32> = values.iter().map(|value| self.scale.target(*value)).collect();
        let target = TensorData::new(target, [values.len(), 1]);
        let error = outputs.clone() - Tensor::from_data(target, &outputs.device());
        match self.kind.config.loss {
            RegressionLoss::Mse => error.clone() * error,
            RegressionLoss::Huber => {
                let (distance, delta) = (error.abs(), self.kind.config.delta);
                let quadratic = distance.clone().clamp_max(delta);
                quadratic.clone() * quadratic.clone() * 0.5 + (distance - quadratic) * delta
            }
        }
    }
}

impl Head for RegressionHead {
    /// The value of each row.
    type Targets = Vec<Option<f64>>;

    fn encode_targets(&self, view: &View) -> Result<(Self::Targets, LabelReport), Vec<DataError>> {
        let targets = self.kind.values(&view.rows)?;
        let values: Vec<f64> = targets.iter().copied().flatten().collect();
        let (rows, labelled) = (targets.len(), values.len());
        let numbers = SummaryStatistics::of(&values);
        let missing = rows - labelled;
        Ok((targets, LabelReport { rows, labelled, missing, numbers, ..Default::default() }))
    }

    fn labelled(targets: &Self::Targets, row: usize) -> bool {
        targets.get(row).is_some_and(Option::is_some)
    }

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        self.kind.pooling().mark_used_tokens(pack, rows, used);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, targets: &Self::Targets) -> Option<Loss> {
        let labelled = |at: &BatchRow| Some((at.pack_row, (*targets.get(at.row as usize)?)?));
        let (pack_rows, values): (Vec<u32>, Vec<f64>) = batch.rows.iter().filter_map(labelled).unzip();
        if values.is_empty() {
            return None;
        }
        let mean = self.errors(parameters, batch, &pack_rows, &values).mean();
        Some(Loss { mean, num_targets: values.len() })
    }

    fn soft_outputs(&self) -> Result<SoftOutputs, String> {
        Ok(SoftOutputs::of(&["value".to_owned()]))
    }

    /// In the unit of the corpus, since a student has a scale of its own.
    fn teacher_answers(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Vec<f32>> {
        let pack_rows: Vec<u32> = batch.rows.iter().map(|at| at.pack_row).collect();
        let outputs = head::to_host_vec(self.outputs(parameters, batch, &pack_rows));
        outputs.into_iter().map(|output| vec![self.scale.value(output) as f32]).collect()
    }

    fn mixes_targets(&self) -> bool {
        true
    }

    /// At the mean of label and answer, as in BAM.
    fn soft_loss(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        targets: &Self::Targets,
        taught: &[TaughtRow<'_>],
        _temperature: f32,
    ) -> Option<SoftLoss> {
        let mixed = |row: &TaughtRow<'_>| {
            let answer = f64::from(row.answer[0]);
            let label = targets.get(row.at.row as usize).copied().flatten().unwrap_or(answer);
            let weight = f64::from(row.weight);
            (1.0 - weight) * label + weight * answer
        };
        let pack_rows: Vec<u32> = taught.iter().map(|row| row.at.pack_row).collect();
        let values: Vec<f64> = taught.iter().map(mixed).collect();
        let sum = self.errors(parameters, batch, &pack_rows, &values).sum();
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
        let outputs = head::to_host_vec(self.outputs(parameters, batch, &pack_rows));
        outputs.into_iter().map(|output| Prediction::Number(self.scale.value(output))).collect()
    }

    fn score(&self, _split: Split, targets: &Self::Targets, predictions: &[(u32, Prediction)]) -> Scores {
        let both = predictions.iter().filter_map(|(row, prediction)| match prediction {
            Prediction::Number(number) => Some(((*targets.get(*row as usize)?)?, *number)),
            _ => None,
        });
        let (gold, predicted): (Vec<f64>, Vec<f64>) = both.unzip();
        Scores::with_primary(
            self.kind.primary,
            vec![
                ("pearson".into(), metrics::pearson(&gold, &predicted)),
                ("spearman".into(), metrics::spearman(&gold, &predicted)),
                ("rmse".into(), metrics::rmse(&gold, &predicted)),
            ],
        )
    }

    /// In the unit of the corpus.
    fn onnx(&self, graph: &mut OnnxGraph, states: &Value) -> Option<OnnxHead> {
        let pooled = self.kind.pooling().onnx(graph, states);
        let output = self.linear.onnx(graph, &pooled);
        let value = graph.scaled(&output, [self.scale.deviation as f32, self.scale.mean as f32]);
        Some(OnnxHead::of_rows(value, 1, "none"))
    }

    fn label_space(&self) -> serde_json::Value {
        json!(self.scale)
    }

    fn to_json(&self, prediction: &Prediction, _input: ModelInput<'_>) -> serde_json::Value {
        match prediction {
            Prediction::Number(number) => json!({ "value": number }),
            _ => serde_json::Value::Null,
        }
    }

    fn compare(
        &self,
        targets: &Self::Targets,
        row: usize,
        _source: &Row,
        prediction: &Prediction,
    ) -> Option<RowComparison> {
        let (Prediction::Number(number), Some(Some(gold))) = (prediction, targets.get(row)) else {
            return None;
        };
        let written = |value: f64| format!("{value:.4}");
        Some(RowComparison::of_text(written(*gold), written(*number), gold == number, (gold - number).abs()))
    }

    fn error_measure(&self) -> &'static str {
        "distance from the gold, in the unit of the field"
    }
}
