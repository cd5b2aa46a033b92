//! The scores of each task by the model that it came from, by the merged one, and by the merged one with refitted heads.

use super::inputs::Input;
use crate::commands::evaluate;
use crate::config::Config;
use crate::failure::{FAILED, Failure, REFUSED};
use crate::terminal::output;
use data::Split;
use serde::Serialize;
use train::Model;

/// The scores of a task.
#[derive(Debug, Clone, Serialize)]
pub struct TaskRow {
    /// The task.
    pub task: String,
    /// Its primary metric.
    pub metric: String,
    /// Labelled rows of the split.
    pub rows: usize,
    /// By the model that it came from.
    pub own: f64,
    /// By the merged model.
    pub merged: Option<f64>,
    /// By the merged model with heads that were fitted again.
    pub refitted: Option<f64>,
}

/// Which model has scored tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scored {
    /// The merged one.
    Merged,
    /// That with refitted heads.
    Refitted,
}

/// The tasks of the models whose run and data are there, scored by the model that they came from. What cannot be scored is said.
pub fn own(
    inputs: &[Input],
    split: Split,
    open: &dyn Fn(&Input) -> Result<Model, Failure>,
) -> Result<Vec<TaskRow>, Failure> {
    let mut rows = Vec::new();
    for input in inputs {
        let folder = input.folder.display();
        let Some(config) = &input.config else {
            output::error(format_args!(
                "warning: {folder}: its tasks are not scored: it is a model without its run's config.toml"
            ));
            continue;
        };
        match evaluate::score(config, open(input)?, split) {
            Ok((scored, _)) => rows.extend(scored.tasks.into_iter().map(|scored| TaskRow {
                metric: scored.scores.primary.clone(),
                rows: scored.rows,
                own: scored.primary(),
                merged: None,
                refitted: None,
                task: scored.task,
            })),
            Err(Failure { messages, code: REFUSED | FAILED }) => output::error(format_args!(
                "warning: {folder}: its tasks are not scored: {}",
                messages.join("; ").trim_start_matches("error: ")
            )),
            Err(other) => return Err(other),
        }
    }
    Ok(rows)
}

/// Scores by another model the tasks that have a row already, by the configs of their runs with the names of corpora that this model has:
/// so the rows are those that the models' own scores are of, also where a seed has cut them off.
pub fn add(
    rows: &mut [TaskRow],
    by: Scored,
    (inputs, configs): (&[Input], &[Option<Config>]),
    split: Split,
    open: &dyn Fn() -> Result<Model, Failure>,
) -> Result<(), Failure> {
    for (input, config) in inputs.iter().zip(configs) {
        let Some(config) = config.as_ref().filter(|_| rows.iter().any(|row| input.has_task(&row.task)))
        else {
            continue;
        };
        let mut model = open()?;
        model.tasks.retain(|task| input.has_task(&task.name));
        for scored in evaluate::score(config, model, split)?.0.tasks {
            for row in rows.iter_mut().filter(|row| row.task == scored.task) {
                let place = match by {
                    Scored::Merged => &mut row.merged,
                    Scored::Refitted => &mut row.refitted,
                };
                *place = Some(scored.primary());
            }
        }
    }
    Ok(())
}
