//! One pass forward and backward that moves nothing, to see what a pack of some size takes in memory.

use crate::{
    config::Settings,
    job::Job,
    run::step::{PassContext, forward, rows_of_all},
};
use data::{Pack, RowRef, Split};

/// Runs the longest labelled rows of all training views, as many as have so many tokens together, forward and backward through
/// the trunk and every head. Longest rows take most, because attention grows with the square of their length.
pub fn probe_step(job: &Job, settings: &Settings, tokens: usize) {
    let model = &job.model;
    let mut rows: Vec<(usize, RowRef)> = Vec::new();
    for (view, found) in job.views.train.iter().enumerate() {
        let carries =
            |row: usize| model.tasks.iter().any(|t| t.view == view && t.head.labelled(Split::Train, row));
        let labelled = (0..found.encoded.rows()).filter(|row| carries(*row));
        rows.extend(
            labelled.map(|row| (found.encoded.length(row), RowRef { view: view as u32, row: row as u32 })),
        );
    }
    rows.sort_by_key(|(length, row)| (std::cmp::Reverse(*length), row.row, row.view));
    let mut taken = 0;
    let longest = rows.iter().take_while(|(length, _)| {
        let first = taken == 0;
        taken += length;
        first || taken <= tokens
    });
    let rows: Vec<RowRef> = longest.map(|(_, row)| *row).collect();
    if rows.is_empty() {
        return;
    }
    let pack = Pack::drawn(&job.views.train, &rows, settings.train.seed);
    let of_tasks = rows_of_all(model, &pack, Split::Train);
    let seed = |_: &str| settings.train.seed;
    let context = PassContext { dropout_seed: Some(&seed), ..PassContext::EVALUATION };
    let losses = forward(model, &model.parameters, (&pack, None), of_tasks, Split::Train, context);
    let weights = vec![1.0; model.tasks.len()];
    drop(losses.gradients(&weights, 1.0, None));
}
