//! Gradients of the losses of single rows, which measurements of a model take sums over.

use crate::{
    error::TrainError,
    forward::evaluate::rows_labelled,
    gradients::Gradients,
    job::{Job, TaskSlot},
    run::step::{PassContext, forward},
};
use data::{Pack, RowRef, Split, random};
use std::sync::atomic::{AtomicBool, Ordering};

/// Which rows are measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct DrawnRows {
    /// The split that they are of.
    pub(super) split: Split,
    /// Of each task at most so many.
    pub(super) rows: usize,
    /// What they are drawn by, with the task's name and what the measurement is called.
    pub(super) seed: u64,
    pub(super) name: &'static str,
}

impl DrawnRows {
    /// The labelled rows of a task of a model that are measured, in the order in which they were drawn; none of a task that a teacher alone
    /// has taught, beside others.
    ///
    /// # Errors
    /// [`TrainError::NoLabels`]
    pub(super) fn of_task(&self, job: &Job, task: usize) -> Result<Vec<RowRef>, TrainError> {
        let slot = &job.model.tasks[task];
        let is_mute = |slot: &TaskSlot| slot.config.needs_teacher();
        if is_mute(slot) && !job.model.tasks.iter().all(is_mute) {
            return Ok(Vec::new());
        }
        let count = job.views.of(self.split).get(slot.view).map_or(0, |view| view.encoded.rows());
        let mut labelled: Vec<usize> =
            (0..count).filter(|row| slot.head.labelled(self.split, *row)).collect();
        if labelled.is_empty() {
            return Err(TrainError::NoLabels { task: slot.name.clone() });
        }
        let stream = format!("{} rows of {}", self.name, slot.name);
        random::shuffle(&mut random::stream(self.seed, &stream, 0), &mut labelled);
        labelled.truncate(self.rows);
        let row = |row: usize| RowRef { view: slot.view as u32, row: row as u32 };
        Ok(labelled.into_iter().map(row).collect())
    }
}

/// Calls `take` for labelled rows of every task, each by itself and without dropout, with the index of the task, how many rows are
/// measured of it, and the gradients of the row's loss. False when `stop` is set before the end.
///
/// # Errors
/// [`TrainError::NoLabels`]
pub(super) fn each_row(
    job: &Job,
    drawn: DrawnRows,
    stop: &AtomicBool,
    mut take: impl FnMut(usize, usize, Gradients),
) -> Result<bool, TrainError> {
    for task in 0..job.model.tasks.len() {
        if !each_row_of(job, task, drawn, stop, |rows, gradients| take(task, rows, gradients))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// As [`each_row`] of one task.
///
/// # Errors
/// [`TrainError::NoLabels`]
pub(super) fn each_row_of(
    job: &Job,
    index: usize,
    drawn: DrawnRows,
    stop: &AtomicBool,
    mut take: impl FnMut(usize, Gradients),
) -> Result<bool, TrainError> {
    let DrawnRows { split, seed, name, .. } = drawn;
    let (model, views) = (&job.model, job.views.of(split));
    let rows = drawn.of_task(job, index)?;
    for (number, row) in rows.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let seed = random::derive_seed(seed, &format!("{name} row"), number as u64);
        let pack = Pack::drawn(views, &[*row], seed);
        let mut of_tasks = vec![Vec::new(); model.tasks.len()];
        of_tasks[index] = rows_labelled(&pack, &model.tasks[index], split);
        let context = PassContext::EVALUATION;
        let losses = forward(model, &model.parameters, (&pack, None), of_tasks, split, context);
        let mut weights = vec![0.0; model.tasks.len()];
        weights[index] = 1.0;
        if let Some((gradients, _)) = losses.gradients(&weights, 1.0, None) {
            take(rows.len(), gradients);
        }
    }
    Ok(true)
}
