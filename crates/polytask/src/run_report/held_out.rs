//! `held_out.json` of a run: what the exported model answers on its validation rows. Of each task the confusion of its labels, and the rows
//! that are answered worst.

use crate::commands;
use crate::failure::Failure;
use data::survey::text_of;
use data::{Split, View};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use tasks::{Prediction, RowComparison};
use train::{Job, RunDir, TaskSlot, sampled_predictions};

/// Rows of a corpus that are predicted at most.
pub const MOST_ROWS: usize = 5000;
/// Rows of a task that are listed.
const WORST: usize = 10;
/// Characters of a text that are kept.
const LETTERS: usize = 400;

/// What a model answers on held-out rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// The split.
    pub split: String,
    /// Rows of a corpus that are predicted at most.
    pub most_rows: usize,
    /// Its tasks that have a label in the split, in the order of the config.
    pub tasks: Vec<TaskErrors>,
}

/// The answers of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskErrors {
    /// The task.
    pub task: String,
    /// Its kind.
    pub kind: String,
    /// Rows of the split with a label.
    pub labelled: usize,
    /// Those of them that were predicted, at even distances.
    pub rows: usize,
    /// Those of them whose answer is right in all parts.
    pub correct: usize,
    /// What an error counts.
    pub error_is: String,
    /// The labels of the confusion, sorted; none of kinds without labels.
    pub labels: Vec<String>,
    /// Index of the true label, index of the answered one, how often.
    pub confusion: Vec<(usize, usize, u64)>,
    /// The rows that are answered worst, the worst first.
    pub worst: Vec<WrongRow>,
}

/// A row that is answered wrongly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WrongRow {
    /// `file:line`.
    pub place: String,
    /// Its text, cut where it is long.
    pub text: String,
    /// What is true.
    pub gold: String,
    /// What was answered.
    pub answer: String,
    /// How wrong that is.
    pub error: f64,
}

/// Where it lies in a run.
pub fn path(run: &RunDir) -> PathBuf {
    run.root().join("held_out.json")
}

impl HeldOut {
    /// Reads that of a run; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be read, in words.
    pub fn of(run: &RunDir) -> Result<Option<HeldOut>, String> {
        super::read_json(&path(run))
    }

    /// Predicts the validation rows of a job with its present weights, and writes the outcome. `tokens` go through the model at once.
    /// Does nothing where no validation row has a label, or `stop` is set.
    pub fn write(job: &Job, tokens: usize, run: &RunDir, stop: &AtomicBool) -> Result<(), Failure> {
        let (split, views) = (Split::Validation, &job.views.validation);
        let Some(predictions) = sampled_predictions(&job.model, split, views, tokens, MOST_ROWS, stop) else {
            return Ok(());
        };
        let tasks = job.model.tasks.iter().zip(&predictions);
        let of_task = |(task, found): (&TaskSlot, &Vec<(u32, Prediction)>)| {
            let view = views.get(task.view).filter(|_| !found.is_empty())?;
            Some(task_errors(task, view, found))
        };
        let tasks: Vec<TaskErrors> = tasks.filter_map(of_task).collect();
        if tasks.is_empty() {
            return Ok(());
        }
        let found = HeldOut { split: split.name().into(), most_rows: MOST_ROWS, tasks };
        commands::train::write(&path(run), &serde_json::to_vec(&found).map_err(Failure::failed)?)
    }
}

fn task_errors(task: &TaskSlot, view: &View, predictions: &[(u32, Prediction)]) -> TaskErrors {
    let split = Split::Validation;
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut wrong: Vec<(usize, RowComparison)> = Vec::new();
    let (mut rows, mut correct) = (0, 0);
    for (row, prediction) in predictions {
        let row = *row as usize;
        let Some(mut found) = task.head.compare(split, view, row, prediction) else { continue };
        rows += 1;
        correct += usize::from(found.is_correct);
        for pair in std::mem::take(&mut found.labels) {
            *counts.entry(pair).or_insert(0) += 1;
        }
        if !found.is_correct {
            wrong.push((row, found));
        }
        if wrong.len() > 20 * WORST {
            keep_worst(&mut wrong);
        }
    }
    keep_worst(&mut wrong);
    let mut labels: Vec<String> = counts.keys().flat_map(|(gold, answer)| [gold, answer]).cloned().collect();
    labels.sort();
    labels.dedup();
    let index = |label: &String| labels.binary_search(label).unwrap_or_default();
    let confusion = counts.iter().map(|((gold, answer), n)| (index(gold), index(answer), *n)).collect();
    let worst = wrong.into_iter().map(|(row, found)| WrongRow {
        place: view.rows.get(row).map(|row| row.place.to_string()).unwrap_or_default(),
        text: cut(&text_of(view, row)),
        gold: cut(&found.gold),
        answer: cut(&found.answer),
        error: found.error,
    });
    TaskErrors {
        task: task.name.clone(),
        kind: task.config.kind(&task.name).map(ToString::to_string).unwrap_or_default(),
        labelled: (0..view.rows.len()).filter(|row| task.head.labelled(split, *row)).count(),
        rows,
        correct,
        error_is: task.head.error_measure().into(),
        worst: worst.collect(),
        labels,
        confusion,
    }
}

/// The worst rows first, of equals the first.
fn keep_worst(wrong: &mut Vec<(usize, RowComparison)>) {
    wrong.sort_by(|a, b| b.1.error.total_cmp(&a.1.error).then(a.0.cmp(&b.0)));
    wrong.truncate(WORST);
}

/// The beginning of a long text.
fn cut(text: &str) -> String {
    match text.char_indices().nth(LETTERS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
