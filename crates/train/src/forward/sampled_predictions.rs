//! Predictions for the labelled rows of a split, of a large one for some of them: what lists of errors are made of.

use crate::forward::evaluate::{TaskPredictions, labelled, packs, rows_labelled, sort_by_length};
use crate::forward::task_input::TaskInput;
use crate::forward::trunk::{Pass, PassInput, WorkPack};
use crate::job::Model;
use data::{RowRef, Split, View};
use std::sync::atomic::{AtomicBool, Ordering};
use tasks::BatchRow;

/// As [`crate::evaluate`], without scores and losses: the predictions of every task for the rows that carry its labels. Of a view with
/// more such rows than `most` they are the `most` at even distances. `None` when `stop` is set before the end.
pub fn sampled_predictions(
    model: &Model,
    split: Split,
    views: &[View],
    tokens: usize,
    most: usize,
    stop: &AtomicBool,
) -> Option<TaskPredictions> {
    let parameters = model.parameters.inference();
    let rows = labelled(&model.tasks, |_| true, split, views);
    let of_view = |view: usize| rows.iter().filter(move |row| row.view as usize == view).copied();
    let mut rows: Vec<RowRef> =
        (0..views.len()).flat_map(|view| evenly(of_view(view).collect(), most)).collect();
    sort_by_length(&mut rows, views);
    let mut found: TaskPredictions = model.tasks.iter().map(|_| Vec::new()).collect();
    for pack in packs(&rows, views, tokens) {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        let rows: Vec<Vec<BatchRow>> =
            model.tasks.iter().map(|task| rows_labelled(&pack, task, split)).collect();
        let work = WorkPack::new(model, &pack, rows);
        let (Pass { states, pack }, _) = PassInput::evaluation(model, &parameters, &work).run();
        for ((task, rows), found) in model.tasks.iter().zip(&work.rows).zip(&mut found) {
            if !rows.is_empty() {
                let input = TaskInput::new(model, &parameters, task, (&states, &pack), rows);
                let predictions = task.head.predict(&parameters, &input.evaluated(split));
                found.extend(rows.iter().map(|row| row.row).zip(predictions));
            }
        }
    }
    for of_task in &mut found {
        of_task.sort_by_key(|(row, _)| *row);
    }
    Some(found)
}

/// At most `most` of some rows, at even distances.
fn evenly(rows: Vec<RowRef>, most: usize) -> Vec<RowRef> {
    if rows.len() <= most {
        return rows;
    }
    (0..most).map(|i| rows[i * rows.len() / most]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_drawn_at_even_distances() {
        let rows = |n: u32| (0..n).map(|row| RowRef { view: 0, row }).collect::<Vec<_>>();
        let drawn = |n, most| evenly(rows(n), most).iter().map(|row| row.row).collect::<Vec<_>>();
        assert_eq!(drawn(10, 5), [0, 2, 4, 6, 8]);
        assert_eq!(drawn(7, 3), [0, 2, 4]);
        assert_eq!(drawn(3, 5), [0, 1, 2]);
        assert!(drawn(5, 0).is_empty());
    }
}
