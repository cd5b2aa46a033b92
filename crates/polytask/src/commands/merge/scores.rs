//! The scores of each task by the model that it came from, by the merged one, and by the merged one with refitted heads.

use super::inputs::Input;
use crate::commands::evaluate;
use crate::config::Config;
use crate::failure::{FAILED, Failure, REFUSED};
use crate::terminal::output;
use data::Split;
use serde::Serialize;
use train::{Model, TaskScores};

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
    configs: &[Option<Config>],
    split: Split,
    open: &dyn Fn(&Input) -> Result<Model, Failure>,
) -> Result<Vec<TaskRow>, Failure> {
    let mut rows = Vec::new();
    for (input, config) in inputs.iter().zip(configs) {
        let folder = input.folder.display();
        let Some(config) = config else {
            output::error(format_args!(
                "warning: {folder}: its tasks are not scored: it is a model without its run's config.toml"
            ));
            continue;
        };
        match score(input, config, split, open(input)?) {
            Ok(scored) => rows.extend(scored.into_iter().map(|scored| TaskRow {
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

/// Scores by another model the tasks that have a row already.
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
        for scored in score(input, config, split, model)? {
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

/// Scores the tasks of a model by its run's config, whose rows are those that its own scores are of.
fn score(input: &Input, config: &Config, split: Split, mut model: Model) -> Result<Vec<TaskScores>, Failure> {
    // A corpus may have another name in the result.
    for slot in &mut model.tasks {
        if let Some(task) = input.manifest.tasks.iter().find(|task| task.name == slot.name) {
            slot.config.corpus.clone_from(&task.table.config.corpus);
        }
    }
    Ok(evaluate::score(config, model, split)?.0.tasks)
}
