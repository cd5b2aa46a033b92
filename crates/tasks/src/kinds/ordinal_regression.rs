//! One of several ordered classes per row: stars, grades, severities.
//!
//! Input: a field of text, two of them (`pair`), or a field of words. Label: a field with one of the classes of `order`,
//! lowest first, as text; a number or truth value counts as its text. A row without the field, or with an empty text, is
//! masked; a label that is not in `order` is an error in every split.
//!
//! Head: the row's token states, of long texts in `windows` too, pooled as in `classification`, dropout, one linear layer with weight `w` `[1, hidden]`, and a bias
//! for each cutpoint between classes, `b` `[classes - 1]`: `P(label above cutpoint k) = s(w x + b[k])` with the sigmoid `s`. All
//! cutpoints share `w`, so that they are parallel. The biases are initialized from the class frequencies in training, `w` uniformly
//! in `+-1/sqrt(hidden)`.
//!
//! Loss: CORAL, the binary cross-entropies of all cutpoints, summed over cutpoints; the mean over labelled rows. At its minimum
//! the biases fall from cutpoint to cutpoint, so that the probabilities fall as well. Where they do not yet, a cutpoint's
//! probability is the minimum of those up to it. The probability of a class is the difference between its two cutpoints, and the
//! answer is the median class: the lowest class with a cumulative probability of at least a half.
//!
//! Scores: `quadratic_kappa` (default), `accuracy`; also `mean_absolute_error` in classes, of which lower is better, and which
//! therefore cannot be the primary metric. Cost: one product `[rows, hidden] x [hidden, classes - 1]` a step.
//!
//! Paper: Cao, Mirjalili and Raschka 2020, "Rank consistent ordinal regression for neural networks with application to age
//! estimation" (CORAL; arXiv 1901.07884), without its importance weights of cutpoints.
//!
//! Example: `ordinal_regression = { text = "text", label = "polarity", order = ["negative", "neutral", "positive"] }`
//!
//! Answer: `{"label", "probability", "probabilities"}`, the last with the five most probable classes.

use burn::tensor::Tensor;
use data::{ChatTemplate, DataError, ErrorList, InputField, Pack, Row, Split, TextWindows, View};
use model::onnx::{OnnxGraph, Value};
use model::{Init, MatrixId, Parameters, VectorId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::distillation::{self, SoftLoss, SoftOutputs, TaughtRow};
use crate::heads::head;
use crate::heads::pooling::Pooling;
use crate::input;
use crate::losses::{binary, soft};
use crate::targets::labels::{IGNORE_INDEX, Labels, Targets, as_label};
use crate::task_head::{EncodedHead, Head};
use crate::{
    Batch, BatchRow, Kind, LabelReport, Loss, ModelInput, OnnxHead, Prediction, RowComparison, Scores,
    TaskError, TaskHead, TrunkHandles,
};

const METRICS: &[&str] = &["quadratic_kappa", "accuracy"];

/// `ordinal_regression = { .. }`: one of several ordered classes per row.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrdinalRegressionConfig {
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
    /// The field with the label: text, a number, or true/false.
    pub label: String,
    /// All classes as text, from the lowest to the highest.
    pub order: Vec<String>,
    /// The pooling of a row's token states: their mean, or the state of the first or the last token. `mean` by default; `last` on a
    /// decoder, in which only the last token sees all of the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
    /// Dropout before the last layer, 0 to below 1.
    #[serde(default = "head::default_dropout")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f32,
}

impl OrdinalRegressionConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = |name: &str| format!("task.{task}.ordinal_regression.{name}");
        let kind = format!("task.{task}.ordinal_regression");
        let (text, pair, tokens) = (self.text.as_ref(), self.pair.as_ref(), self.tokens.as_ref());
        let input = input::of_row(&kind, text, pair, tokens, self.windows)?;
        TaskError::fraction(|| key("dropout"), self.dropout.into())?;
        let order = |found: String, expected: &str| {
            Err(TaskError::Setting { key: key("order"), found, expected: expected.into() })
        };
        if self.order.len() < 2 {
            return order(
                format!("{} classes", self.order.len()),
                "two or more, from the lowest to the highest",
            );
        }
        let twice = |(i, class): &(usize, &String)| self.order[..*i].contains(class);
        if let Some((_, class)) = self.order.iter().enumerate().find(twice) {
            return order(format!("{class:?} twice"), "every class once");
        }
        if self.order.iter().any(String::is_empty) {
            return order("an empty text".into(), "names of classes");
        }
        Ok(Box::new(OrdinalRegression {
            task: task.to_owned(),
            config: self.clone(),
            input,
            primary: TaskError::metric(task, METRICS, metric)?,
            classes: Labels::in_order(self.order.clone(), vec![0; self.order.len()]),
        }))
    }
}

/// An ordinal regression task.
#[derive(Clone)]
struct OrdinalRegression {
    task: String,
    config: OrdinalRegressionConfig,
    input: InputField,
    primary: &'static str,
    /// The classes in their order, not counted.
    classes: Labels,
}

impl OrdinalRegression {
    fn pooling(&self) -> Pooling {
        self.config.pooling.unwrap_or_default()
    }

    /// The class of a row.
    fn class(&self, row: &Row) -> Result<Option<String>, DataError> {
        let Some(value) = row.get(&self.config.label) else { return Ok(None) };
        let error = || {
            let expected = format!("one of the classes of `order`: {}", self.classes.some());
            row.error(&self.config.label, value.preview(), expected)
        };
        match as_label(value).map_err(|()| error())? {
            Some(class) if self.classes.id(&class).is_none() => Err(error()),
            class => Ok(class),
        }
    }

    /// The classes of all rows.
    fn targets(&self, rows: &[Row]) -> Result<Targets, Vec<DataError>> {
        let mut errors = ErrorList::new();
        let mut targets = Targets::default();
        for row in rows {
            match self.class(row) {
                Ok(class) => targets.push(&self.classes, class.as_deref()),
                Err(error) => errors.push(error),
            }
        }
        errors.finish(targets)
    }
}

impl Kind for OrdinalRegression {
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
        vec![self.config.label.clone()]
    }

    fn fit_labels(&self, rows: &[Row]) -> Result<serde_json::Value, Vec<DataError>> {
        let counts: Vec<usize> =
            self.targets(rows)?.count(&self.classes).0.into_iter().map(|(_, count)| count).collect();
        if counts.iter().filter(|count| **count > 0).count() < 2 {
            return Err(vec![DataError::Setting {
                key: format!("task.{}.ordinal_regression.label", self.task),
                found: format!(
                    "{} labels of one class or none in field {:?} of {} training rows",
                    counts.iter().sum::<usize>(),
                    self.config.label,
                    rows.len()
                ),
                expected: "two or more different classes".into(),
            }]);
        }
        Ok(Labels::in_order(self.config.order.clone(), counts).to_json())
    }

    fn init_head(
        &self,
        label_space: &serde_json::Value,
        trunk: &TrunkHandles<'_>,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn TaskHead>, TaskError> {
        self.pooling().check(&format!("task.{}.ordinal_regression.pooling", self.task), trunk)?;
        let error = |reason: &str| TaskError::Space { task: self.task.clone(), reason: reason.into() };
        if label_space["labels"] != json!(self.config.order) {
            return Err(error("they are not those of `order`"));
        }
        let counts: Vec<usize> = serde_json::from_value(label_space["counts"].clone())
            .map_err(|_| error("there is no list \"counts\" of whole numbers"))?;
        if counts.len() != self.config.order.len() {
            return Err(error("there is not one count for each class"));
        }
        let biases = OrdinalRegressionHead::first_biases(&counts);
        let labels = Labels::in_order(self.config.order.clone(), counts);
        let bound = 1.0 / (trunk.hidden as f32).sqrt();
        let mut head = parameters.head(&self.task);
        Ok(EncodedHead::boxed(OrdinalRegressionHead {
            kind: self.clone(),
            labels,
            weight: head.matrix("weight", [1, trunk.hidden], Init::Uniform(bound)),
            bias: head.vector("bias", biases.len(), Init::Data(biases)),
        }))
    }
}

/// The head of an ordinal regression task.
struct OrdinalRegressionHead {
    kind: OrdinalRegression,
    labels: Labels,
    /// `[1, hidden]`, of all cutpoints.
    weight: MatrixId,
    /// One for each cutpoint.
    bias: VectorId,
}

impl OrdinalRegressionHead {
    /// The initial bias of each cutpoint: the logit of the share of training labels above it, with half a label added to both sides.
    fn first_biases(counts: &[usize]) -> Vec<f32> {
        let all: usize = counts.iter().sum();
        let above = counts.iter().scan(all, |left, count| {
            *left -= count;
            Some(*left)
        });
        let logit = |above: usize| ((above as f64 + 0.5) / ((all - above) as f64 + 0.5)).ln() as f32;
        above.take(counts.len() - 1).map(logit).collect()
    }

    /// The logits of the cutpoints, `[rows, classes - 1]`.
    fn logits(&self, parameters: &Parameters, batch: &Batch<'_>, pack_rows: &[u32]) -> Tensor<2> {
        let dropout = head::dropout(self.kind.config.dropout, &self.kind.task, batch.dropout_seed);
        let states = kernels::dropout(self.kind.pooling().pool(batch, pack_rows), dropout);
        // The same weights for every cutpoint.
        let weight = parameters.matrix(self.weight).repeat_dim(0, self.labels.len() - 1);
        kernels::linear(states, weight, parameters.vector(self.bias), kernels::Precision::F32)
    }

    /// The median class.
    fn median(probabilities: &[f32]) -> usize {
        let up_to = probabilities.iter().scan(0.0, |sum, p| {
            *sum += p;
            Some(*sum)
        });
        up_to.take(probabilities.len() - 1).filter(|sum| *sum < 0.5).count()
    }
}

/// The probability of each class from the probability of being above each cutpoint.
fn class_probabilities(above: &[f32]) -> Vec<f32> {
    let mut left = 1.0f32;
    let mut classes: Vec<f32> = above
        .iter()
        .map(|above| {
            let before = left;
            left = left.min(*above);
            before - left
        })
        .collect();
    classes.push(left);
    classes
}

impl Head for OrdinalRegressionHead {
    type Targets = Targets;

    fn encode_targets(&self, view: &View) -> Result<(Self::Targets, LabelReport), Vec<DataError>> {
        let targets = self.kind.targets(&view.rows)?;
        let rows = targets.ids.len();
        let missing = targets.ids.iter().filter(|id| **id == IGNORE_INDEX).count();
        let (counts, _) = targets.count(&self.labels);
        let labelled = rows - missing;
        Ok((targets, LabelReport { rows, labelled, missing, counts, ..Default::default() }))
    }

    fn labelled(targets: &Self::Targets, row: usize) -> bool {
        targets.ids.get(row).is_some_and(|id| *id != IGNORE_INDEX)
    }

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        self.kind.pooling().mark_used_tokens(pack, rows, used);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, targets: &Self::Targets) -> Option<Loss> {
        let class = |at: &BatchRow| {
            let id = *targets.ids.get(at.row as usize)?;
            (id != IGNORE_INDEX).then_some((at.pack_row, id))
        };
        let (pack_rows, classes): (Vec<u32>, Vec<u32>) = batch.rows.iter().filter_map(class).unzip();
        if classes.is_empty() {
            return None;
        }
        let cutpoints = self.labels.len() - 1;
        let above = |class: &u32| {
            let class = *class as usize;
            (0..cutpoints).map(move |cutpoint| if class > cutpoint { 1.0 } else { 0.0 })
        };
        let above: Vec<f32> = classes.iter().flat_map(above).collect();
        let logits = self.logits(parameters, batch, &pack_rows);
        // The sum over cutpoints is their mean times their number.
        let mean = binary::cross_entropy(logits, above, None).mean() * cutpoints as f32;
        Some(Loss { mean, num_targets: classes.len() })
    }

    fn soft_outputs(&self) -> Result<SoftOutputs, String> {
        // An output is a cutpoint: the same labels in another order have other ones.
        let cutpoint = |pair: &[String]| format!("{} < {}", pair[0], pair[1]);
        let columns = self.labels.names().windows(2).map(cutpoint).collect();
        Ok(SoftOutputs { columns, by_token: false, needs_label: false })
    }

    fn teacher_answers(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Vec<f32>> {
        let pack_rows: Vec<u32> = batch.rows.iter().map(|at| at.pack_row).collect();
        let logits = head::to_host_vec(self.logits(parameters, batch, &pack_rows));
        logits.chunks(self.labels.len() - 1).map(<[f32]>::to_vec).collect()
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
        let logits = self.logits(parameters, batch, &pack_rows);
        let (answers, weights) = distillation::joined(taught);
        let sum = soft::sigmoid(logits, &answers, &weights, temperature);
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
        let above = head::sigmoids(self.logits(parameters, batch, &pack_rows));
        let rows = above.chunks(self.labels.len() - 1);
        let of_row = |above: &[f32]| match above.iter().any(|probability| probability.is_nan()) {
            true => vec![f32::NAN; above.len() + 1],
            false => class_probabilities(above),
        };
        rows.map(|above| Prediction::Label(of_row(above))).collect()
    }

    fn score(&self, _split: Split, targets: &Self::Targets, predictions: &[(u32, Prediction)]) -> Scores {
        let both = predictions.iter().filter_map(|(row, prediction)| match prediction {
            Prediction::Label(probabilities) => {
                let id = *targets.ids.get(*row as usize)?;
                (id != IGNORE_INDEX).then(|| (id, Self::median(probabilities) as u32))
            }
            _ => None,
        });
        let (gold, predicted): (Vec<u32>, Vec<u32>) = both.unzip();
        Scores::with_primary(
            self.kind.primary,
            vec![
                ("quadratic_kappa".into(), metrics::quadratic_kappa(&gold, &predicted)),
                ("accuracy".into(), metrics::accuracy(&gold, &predicted)),
                ("mean_absolute_error".into(), metrics::mean_absolute_error(&gold, &predicted)),
            ],
        )
    }

    /// The logits of the cutpoints.
    fn onnx(&self, graph: &mut OnnxGraph, states: &Value) -> Option<OnnxHead> {
        let pooled = self.kind.pooling().onnx(graph, states);
        let score = graph.product(&pooled, self.weight);
        let bias = graph.vector(self.bias);
        let logits = graph.add(&score, &bias);
        Some(OnnxHead::of_rows(logits, self.labels.len() - 1, "cumulative_sigmoid"))
    }

    fn label_space(&self) -> serde_json::Value {
        self.labels.to_json()
    }

    fn probabilities(&self, prediction: &Prediction) -> Option<serde_json::Map<String, serde_json::Value>> {
        self.labels.probabilities(prediction)
    }

    fn to_json(&self, prediction: &Prediction, _input: ModelInput<'_>) -> serde_json::Value {
        let Prediction::Label(probabilities) = prediction else { return serde_json::Value::Null };
        let class = Self::median(probabilities);
        json!({
            "label": self.labels.name(class as u32).unwrap_or_default(),
            "probability": probabilities[class],
            "probabilities": self.labels.most_probable(probabilities),
        })
    }

    fn compare(
        &self,
        targets: &Self::Targets,
        row: usize,
        _source: &Row,
        prediction: &Prediction,
    ) -> Option<RowComparison> {
        let Prediction::Label(probabilities) = prediction else { return None };
        let (gold, found) = (*targets.ids.get(row)?, Self::median(probabilities) as u32);
        let probability = f64::from(*probabilities.get(found as usize)?);
        // Of two answers that are as far off, the surer one is worse.
        let error = f64::from(gold.abs_diff(found)) + probability.min(1.0) / 2.0;
        Some(RowComparison::of_label(targets.name(&self.labels, gold)?, self.labels.name(found)?, error))
    }

    fn error_measure(&self) -> &'static str {
        "classes between answer and gold, and half the probability of the answer"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_in_order_even_if_cutpoints_are_not() {
        assert_eq!(class_probabilities(&[0.75, 0.25]), [0.25, 0.5, 0.25]);
        assert_eq!(class_probabilities(&[0.25, 0.75]), [0.75, 0.0, 0.25]);
        assert!(class_probabilities(&[0.3, 0.9, 0.1, 0.2]).iter().all(|p| *p >= 0.0));
    }

    #[test]
    fn the_median_is_the_number_of_cutpoints_that_are_probably_below() {
        let median = |above: &[f32]| OrdinalRegressionHead::median(&class_probabilities(above));
        assert_eq!(median(&[0.75, 0.625, 0.25]), 2);
        assert_eq!((median(&[0.25, 0.125]), median(&[1.0, 1.0])), (0, 2));
        assert_eq!(median(&[f32::NAN, f32::NAN]), 2);
    }
}
