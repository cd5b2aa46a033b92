//! Gradients of the losses of single rows, which measurements of a model take sums over.

use crate::{
    error::TrainError,
    forward::evaluate::rows_labelled,
    gradients::Gradients,
    job::Job,
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
    let DrawnRows { split, rows, seed, name } = drawn;
    let (model, views) = (&job.model, job.views.of(split));
    for (index, task) in model.tasks.iter().enumerate() {
        let view = views.get(task.view);
        let count = view.map_or(0, |view| view.encoded.rows());
        let mut labelled: Vec<usize> = (0..count).filter(|row| task.head.labelled(split, *row)).collect();
        if labelled.is_empty() {
            return Err(TrainError::NoLabels { task: task.name.clone() });
        }
        random::shuffle(
            &mut random::stream(seed, &format!("{name} rows of {}", task.name), 0),
            &mut labelled,
        );
        labelled.truncate(rows);
        for (number, row) in labelled.iter().enumerate() {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let row = RowRef { view: task.view as u32, row: *row as u32 };
            let seed = random::derive_seed(seed, &format!("{name} row"), number as u64);
            let pack = Pack::drawn(views, &[row], seed);
            let mut of_tasks = vec![Vec::new(); model.tasks.len()];
            of_tasks[index] = rows_labelled(&pack, task, split);
            let context = PassContext::EVALUATION;
            let losses = forward(model, &model.parameters, (&pack, None), of_tasks, split, context);
            let mut weights = vec![0.0; model.tasks.len()];
            weights[index] = 1.0;
            if let Some((gradients, _)) = losses.gradients(&weights, 1.0, None) {
                take(index, labelled.len(), gradients);
            }
        }
    }
    Ok(true)
}
