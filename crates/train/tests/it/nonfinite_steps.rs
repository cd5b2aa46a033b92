//! A loss that is not finite changes nothing, names the rows, and stops the run when it happens again and again; on every
//! device.

use crate::job::{bag, bits, devices, job_on, record, settings};
use burn::tensor::Device;
use data::{DataError, Pack, Split, View};
use model::Parameters;
use polytask_train::{Event, RunDir, Start, TrainError, checkpoints};
use serde_json::{Value, json};
use tasks::{
    Batch, BatchRow, LabelReport, Loss, ModelInput, Prediction, RowComparison, Scores, SoftOutputs,
    SoftTargets, TaskHead,
};

/// A head whose loss is infinite wherever one of some rows is in the batch.
struct Poisoned {
    inner: Box<dyn TaskHead>,
    rows: std::ops::Range<u32>,
}

impl TaskHead for Poisoned {
    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>) -> Option<Loss> {
        let mut loss = self.inner.loss(parameters, batch)?;
        if batch.split == Split::Train && batch.rows.iter().any(|r| self.rows.contains(&r.row)) {
            loss.mean = loss.mean.mul_scalar(f32::INFINITY);
        }
        Some(loss)
    }
    fn needs_full_embedding(&self) -> bool {
        self.inner.needs_full_embedding()
    }
    fn encode_targets(&mut self, split: Split, view: &View) -> Result<LabelReport, Vec<DataError>> {
        self.inner.encode_targets(split, view)
    }
    fn labelled(&self, split: Split, row: usize) -> bool {
        self.inner.labelled(split, row)
    }
    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        self.inner.mark_used_tokens(pack, rows, used)
    }
    fn predict(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Prediction> {
        self.inner.predict(parameters, batch)
    }
    fn soft_outputs(&self) -> Result<SoftOutputs, String> {
        self.inner.soft_outputs()
    }
    fn learnable_outputs(&self) -> Result<SoftOutputs, String> {
        self.inner.learnable_outputs()
    }
    fn teacher_answers(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Vec<f32>> {
        self.inner.teacher_answers(parameters, batch)
    }
    fn reorder(&self, answer: &mut [f32], order: &[usize]) {
        self.inner.reorder(answer, order)
    }
    fn learn_from(&mut self, teacher: Option<SoftTargets>) {
        self.inner.learn_from(teacher)
    }
    fn teacher(&self) -> Option<&SoftTargets> {
        self.inner.teacher()
    }
    fn calibrates(&self) -> bool {
        self.inner.calibrates()
    }
    fn calibrate(&mut self, split: Split, predictions: &[(u32, Prediction)]) {
        self.inner.calibrate(split, predictions)
    }
    fn score(&self, split: Split, predictions: &[(u32, Prediction)]) -> Scores {
        self.inner.score(split, predictions)
    }
    fn label_space(&self) -> Value {
        self.inner.label_space()
    }
    fn to_json(&self, prediction: &Prediction, input: ModelInput<'_>) -> Value {
        self.inner.to_json(prediction, input)
    }
    fn probabilities(&self, prediction: &Prediction) -> Option<serde_json::Map<String, Value>> {
        self.inner.probabilities(prediction)
    }
    fn compare(&self, split: Split, view: &View, row: usize, found: &Prediction) -> Option<RowComparison> {
        self.inner.compare(split, view, row, found)
    }
    fn error_measure(&self) -> &'static str {
        self.inner.error_measure()
    }
}

/// The small job, in which some rows of `polarity` are poisoned.
fn poisoned(device: &Device, rows: std::ops::Range<u32>) -> polytask_train::Job {
    let mut job = job_on(device, bag(), 17);
    let slot = job.model.tasks.pop().unwrap();
    assert_eq!(slot.name, "polarity");
    let head = Box::new(Poisoned { inner: slot.head, rows });
    job.model.tasks.push(polytask_train::TaskSlot { head, ..slot });
    job
}

#[test]
fn one_nonfinite_row_is_named_and_skipped() {
    for device in &devices() {
        let settings = settings(json!({
            "train": {"epochs": 2, "tokens_per_batch": 40},
            "balance": {"uncertainty": {}},
        }));
        let dir = tempfile::tempdir().unwrap();
        let (outcome, events) =
            record(&mut poisoned(device, 3..4), &settings, dir.path(), Start::Fresh, None);
        outcome.unwrap();
        let bad: Vec<_> = events
            .iter()
            .filter_map(|e| if let Event::NonFiniteStep(b) = e { Some(b) } else { None })
            .collect();
        assert_eq!(bad.len(), 2, "once an epoch");
        for step in bad {
            assert_eq!((step.in_a_row, step.tasks.len()), (1, 1));
            let error = &step.tasks[0];
            assert_eq!((error.task.as_str(), error.found.as_str()), ("polarity", "loss inf"));
            assert!(error.of <= 5 && error.rows.contains(&"reviews/train.jsonl:4".to_string()), "{error}");
        }
    }
}

#[test]
fn nothing_changes_in_a_nonfinite_step() {
    for device in &devices() {
        let settings = settings(json!({
            "train": {"epochs": 4, "tokens_per_batch": 100000, "max_nonfinite_steps": 3,
                      "gradient_accumulation_steps": 2},
            "balance": {"uncertainty": {}},
        }));
        let dir = tempfile::tempdir().unwrap();
        let mut job = poisoned(device, 0..1000);
        let before = bits(&job.model);
        let (outcome, events) = record(&mut job, &settings, dir.path(), Start::Fresh, None);
        let error = outcome.unwrap_err();
        assert!(matches!(error, TrainError::NonFiniteSteps { in_a_row: 3, .. }), "{error}");
        let message = error.to_string();
        assert!(
            message.contains("task `polarity`: loss inf on 30 row(s): reviews/train.jsonl:"),
            "{message}"
        );
        assert!(before == bits(&job.model), "weights have moved");
        assert_eq!(events.iter().filter(|e| matches!(e, Event::Step(_))).count(), 0);
        assert!(checkpoints(&RunDir::new(dir.path())).unwrap().len() < 3, "no checkpoint of the last step");
    }
}

#[test]
fn nonfinite_weights_are_never_saved() {
    for device in &devices() {
        let mut job = job_on(device, bag(), 17);
        let index = job.model.parameters.find("head.topic.bias").unwrap();
        job.model.parameters.set_data(index, vec![f32::NAN; 2]).unwrap();
        let settings = settings(json!({"train": {"max_steps": 1, "tokens_per_batch": 100000}}));
        let dir = tempfile::tempdir().unwrap();
        let error = record(&mut job, &settings, dir.path(), Start::Fresh, None).0.unwrap_err();
        assert!(matches!(error, TrainError::NonFiniteWeight { .. }), "{error}");
        assert!(checkpoints(&RunDir::new(dir.path())).unwrap().is_empty());
    }
}
