//! The interfaces of heads: the typed one that a kind implements, and the one that the trainer holds.

use serde_json::json;
use std::collections::HashMap;

use data::{DataError, Pack, Row, Split, View};
use model::Parameters;
use model::onnx::{OnnxGraph, Value};

use crate::distillation::{self, SoftLoss, SoftOutputs, SoftTargets, TaughtRow};
use crate::{Batch, BatchRow, LabelReport, Loss, ModelInput, OnnxHead, Prediction, RowComparison, Scores};

/// The head of a task, with its label space and the encoded targets of splits: from token states to a loss, predictions and
/// scores.
///
/// A split is encoded ([`TaskHead::encode_targets`]) before it is trained on or scored. Predictions need no encoded split; a split
/// that is not encoded has no labelled rows.
pub trait TaskHead: Send + Sync {
    /// Whether [`TaskHead::loss`] uses rows of the token embedding other than those of the pack's tokens, for example for logits
    /// over the vocabulary. Otherwise a training pass holds only the rows of the pack's tokens.
    fn needs_full_embedding(&self) -> bool;

    /// Encodes the targets of a split. A label that does not occur in training is counted in the report, ignored by the loss, and
    /// counted as an error by the scores. A row without a label is ignored by both.
    ///
    /// # Errors
    /// Every row whose label cannot be read.
    fn encode_targets(&mut self, split: Split, view: &View) -> Result<LabelReport, Vec<DataError>>;

    /// Whether a row of a split has a label of this task; or in training the answer of a teacher ([`TaskHead::learn_from`]).
    fn labelled(&self, split: Split, row: usize) -> bool;

    /// Marks in `used` `[tokens]` the tokens of the pack whose states [`TaskHead::loss`] and [`TaskHead::predict`] use for the given
    /// rows. A batch may then hold only the marked tokens of its rows.
    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]);

    /// The mean loss over the targets (rows, words or tokens) of the batch; `None` where there are none. Only these go through
    /// the head.
    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>) -> Option<Loss>;

    /// What the numbers of this head's answers are of ([`TaskHead::teacher_answers`]).
    ///
    /// # Errors
    /// Why this kind has no such answers, as the end of a sentence.
    fn soft_outputs(&self) -> Result<SoftOutputs, String>;

    /// What it would learn from a teacher's answers; [`TaskHead::soft_outputs`] of the teacher has to name the same.
    ///
    /// # Errors
    /// Why it cannot, as the end of a sentence.
    fn learnable_outputs(&self) -> Result<SoftOutputs, String>;

    /// As a teacher: the answer to each row of the batch, in their order, of which a student learns; empty for a row that it cannot
    /// answer. None at all of a kind without [`TaskHead::soft_outputs`]. Where answers are about tokens, the split has to be encoded.
    fn teacher_answers(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Vec<f32>>;

    /// Puts an answer of a teacher into the order of this head's outputs: `order` gives for each the place in the teacher's
    /// ([`SoftOutputs::places_in`]).
    fn reorder(&self, answer: &mut [f32], order: &[usize]);

    /// Has [`TaskHead::loss`] on the training split go by these answers, too; their rows count as labelled there. `None`: by labels alone.
    fn learn_from(&mut self, teacher: Option<SoftTargets>);

    /// What [`TaskHead::learn_from`] was given.
    fn teacher(&self) -> Option<&SoftTargets>;

    /// One prediction per row of the batch, in their order, whether labelled or not.
    fn predict(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Prediction>;

    /// Whether there is something to fit after training: [`TaskHead::calibrate`].
    fn calibrates(&self) -> bool;

    /// Fits decision thresholds to the predictions of a split, given as (row, prediction). Called once, with the exported weights
    /// and the validation split if there is one. The thresholds are part of [`TaskHead::label_space`], and apply to all later scores
    /// and answers.
    fn calibrate(&mut self, split: Split, predictions: &[(u32, Prediction)]);

    /// The scores of predictions of a split, given as (row, prediction). Rows without a label do not count.
    fn score(&self, split: Split, predictions: &[(u32, Prediction)]) -> Scores;

    /// The primary metric alone: the same number as that of [`TaskHead::score`], without what the others cost. 0 where there is none.
    fn primary_score(&self, split: Split, predictions: &[(u32, Prediction)]) -> f64 {
        let scores = self.score(split, predictions);
        scores.get(&scores.primary).unwrap_or(0.0)
    }

    /// The label space, which is stored with the weights and makes the same head again ([`crate::Kind::init_head`]).
    fn label_space(&self) -> serde_json::Value;

    /// A prediction as the JSON answer that a user gets; an object with `error` where its scores are not finite.
    fn to_json(&self, prediction: &Prediction, input: ModelInput<'_>) -> serde_json::Value;

    /// The probability of every label, in falling order, where an answer lists only the most probable ones; `None` of other kinds.
    fn probabilities(&self, prediction: &Prediction) -> Option<serde_json::Map<String, serde_json::Value>>;

    /// A prediction beside the gold of its row, for lists of errors and confusion matrices. `view` is the one whose targets are those
    /// of the split. `None` for a row without a label, and for a prediction that is not finite.
    fn compare(
        &self,
        split: Split,
        view: &View,
        row: usize,
        prediction: &Prediction,
    ) -> Option<RowComparison>;

    /// What the error of a [`RowComparison`] counts, in words.
    fn error_measure(&self) -> &'static str;

    /// Adds the head to an ONNX graph with the states `[batch, length, hidden]`; `None` for a head whose output has no fixed shape.
    fn onnx(&self, _graph: &mut OnnxGraph, _states: &Value) -> Option<OnnxHead> {
        None
    }
}

/// The head of one kind. [`EncodedHead`] makes a [`TaskHead`] of it, whose methods of the same names say what these do.
pub(crate) trait Head: Send + Sync {
    /// The encoded targets of one split. The default value has no rows.
    type Targets: Default + Send + Sync;

    fn needs_full_embedding(&self) -> bool {
        false
    }

    fn encode_targets(&self, view: &View) -> Result<(Self::Targets, LabelReport), Vec<DataError>>;

    /// False for a row that does not exist.
    fn labelled(targets: &Self::Targets, row: usize) -> bool;

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]);

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, targets: &Self::Targets) -> Option<Loss>;

    fn soft_outputs(&self) -> Result<SoftOutputs, String>;

    fn learnable_outputs(&self) -> Result<SoftOutputs, String> {
        self.soft_outputs()
    }

    /// Targets serve kinds whose answers are about tokens ([`SoftOutputs::by_token`]).
    fn teacher_answers(
        &self,
        _parameters: &Parameters,
        _batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Vec<f32>> {
        Vec::new()
    }

    fn reorder(&self, answer: &mut [f32], order: &[usize]) {
        distillation::reorder_columns(answer, order);
    }

    /// The loss at a teacher's answers to some rows of the batch, at least one; `None` where none of them has a target.
    fn soft_loss(
        &self,
        _parameters: &Parameters,
        _batch: &Batch<'_>,
        _targets: &Self::Targets,
        _taught: &[TaughtRow<'_>],
        _temperature: f32,
    ) -> Option<SoftLoss> {
        None
    }

    /// Whether [`Head::soft_loss`] mixes labels into its targets itself, so that their own loss is not added.
    fn mixes_targets(&self) -> bool {
        false
    }

    /// Targets serve kinds whose predictions compare with them, or start from them.
    fn predict(&self, parameters: &Parameters, batch: &Batch<'_>, targets: &Self::Targets)
    -> Vec<Prediction>;

    fn calibrates(&self) -> bool {
        false
    }

    fn calibrate(&mut self, _targets: &Self::Targets, _predictions: &[(u32, Prediction)]) {}

    /// The validation split may be scored with thresholds of its own until [`Head::calibrate`].
    fn score(&self, split: Split, targets: &Self::Targets, predictions: &[(u32, Prediction)]) -> Scores;

    fn primary_score(&self, split: Split, targets: &Self::Targets, predictions: &[(u32, Prediction)]) -> f64 {
        let scores = self.score(split, targets, predictions);
        scores.get(&scores.primary).unwrap_or(0.0)
    }

    fn label_space(&self) -> serde_json::Value;

    fn to_json(&self, prediction: &Prediction, input: ModelInput<'_>) -> serde_json::Value;

    fn probabilities(&self, _prediction: &Prediction) -> Option<serde_json::Map<String, serde_json::Value>> {
        None
    }

    /// `source` is the row as it was read.
    fn compare(
        &self,
        targets: &Self::Targets,
        row: usize,
        source: &Row,
        prediction: &Prediction,
    ) -> Option<RowComparison>;

    fn error_measure(&self) -> &'static str {
        "probability of the wrong answer"
    }

    fn onnx(&self, _graph: &mut OnnxGraph, _states: &Value) -> Option<OnnxHead> {
        None
    }
}

/// A head and the encoded targets of splits.
pub(crate) struct EncodedHead<H: Head> {
    head: H,
    splits: HashMap<Split, H::Targets>,
    /// The targets of a split that is not encoded.
    no_targets: H::Targets,
    /// What is learned from a teacher.
    teacher: Option<SoftTargets>,
}

impl<H: Head + 'static> EncodedHead<H> {
    /// A head without encoded splits.
    pub fn boxed(head: H) -> Box<dyn TaskHead> {
        Box::new(EncodedHead {
            head,
            splits: HashMap::new(),
            no_targets: H::Targets::default(),
            teacher: None,
        })
    }
}

impl<H: Head> EncodedHead<H> {
    fn targets(&self, split: Split) -> &H::Targets {
        self.splits.get(&split).unwrap_or(&self.no_targets)
    }

    /// What is learned from a teacher in a split.
    fn taught(&self, split: Split) -> Option<&SoftTargets> {
        self.teacher.as_ref().filter(|_| split == Split::Train)
    }
}

impl<H: Head> TaskHead for EncodedHead<H> {
    fn needs_full_embedding(&self) -> bool {
        self.head.needs_full_embedding()
    }

    fn encode_targets(&mut self, split: Split, view: &View) -> Result<LabelReport, Vec<DataError>> {
        let (targets, report) = self.head.encode_targets(view)?;
        self.splits.insert(split, targets);
        Ok(report)
    }

    fn labelled(&self, split: Split, row: usize) -> bool {
        H::labelled(self.targets(split), row)
            || self.taught(split).is_some_and(|teacher| teacher.answers.is_answered(row))
    }

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        self.head.mark_used_tokens(pack, rows, used);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>) -> Option<Loss> {
        let targets = self.targets(batch.split);
        match self.taught(batch.split) {
            None => self.head.loss(parameters, batch, targets),
            Some(teacher) => distillation::loss(&self.head, parameters, batch, targets, teacher),
        }
    }

    fn soft_outputs(&self) -> Result<SoftOutputs, String> {
        self.head.soft_outputs()
    }

    fn learnable_outputs(&self) -> Result<SoftOutputs, String> {
        self.head.learnable_outputs()
    }

    fn teacher_answers(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Vec<f32>> {
        if batch.rows.is_empty() {
            return Vec::new();
        }
        self.head.teacher_answers(parameters, batch, self.targets(batch.split))
    }

    fn reorder(&self, answer: &mut [f32], order: &[usize]) {
        self.head.reorder(answer, order);
    }

    fn learn_from(&mut self, teacher: Option<SoftTargets>) {
        self.teacher = teacher;
    }

    fn teacher(&self) -> Option<&SoftTargets> {
        self.teacher.as_ref()
    }

    fn predict(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Prediction> {
        self.head.predict(parameters, batch, self.targets(batch.split))
    }

    fn calibrates(&self) -> bool {
        self.head.calibrates()
    }

    fn calibrate(&mut self, split: Split, predictions: &[(u32, Prediction)]) {
        let targets = self.splits.get(&split).unwrap_or(&self.no_targets);
        self.head.calibrate(targets, predictions);
    }

    fn score(&self, split: Split, predictions: &[(u32, Prediction)]) -> Scores {
        self.head.score(split, self.targets(split), predictions)
    }

    fn primary_score(&self, split: Split, predictions: &[(u32, Prediction)]) -> f64 {
        self.head.primary_score(split, self.targets(split), predictions)
    }

    fn label_space(&self) -> serde_json::Value {
        self.head.label_space()
    }

    fn to_json(&self, prediction: &Prediction, input: ModelInput<'_>) -> serde_json::Value {
        if !prediction.is_finite() {
            return json!({ "error": "the scores are not finite: the weights of the model have overflowed" });
        }
        self.head.to_json(prediction, input)
    }

    fn probabilities(&self, prediction: &Prediction) -> Option<serde_json::Map<String, serde_json::Value>> {
        self.head.probabilities(prediction)
    }

    fn compare(
        &self,
        split: Split,
        view: &View,
        row: usize,
        prediction: &Prediction,
    ) -> Option<RowComparison> {
        let targets = self.targets(split);
        let source = view.rows.get(row).filter(|_| H::labelled(targets, row) && prediction.is_finite())?;
        self.head.compare(targets, row, source, prediction)
    }

    fn error_measure(&self) -> &'static str {
        self.head.error_measure()
    }

    fn onnx(&self, graph: &mut OnnxGraph, states: &Value) -> Option<OnnxHead> {
        self.head.onnx(graph, states)
    }
}
