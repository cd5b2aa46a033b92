//! What a model is worth and what it takes: scores, parameters, size on disk, rows per second. One place measures them for all commands
//! that hold models against each other.

use crate::terminal::figures::{bytes, change, count, points, short};
use crate::terminal::table::Table;
use data::{Split, View};
use model::Parameter;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use train::{Job, Model, TaskSlot, evaluate_tasks};

/// What a model takes.
#[derive(Debug, Clone, Serialize)]
pub struct ModelRow {
    /// Its folder.
    pub folder: PathBuf,
    /// Parameters, with heads.
    pub parameters: usize,
    /// Bytes of its files.
    pub bytes: u64,
    /// Rows that were answered in `seconds`, once for each task.
    pub rows: usize,
    /// Rows that went through the trunk: tasks that read a row alike share its pass.
    pub passes: usize,
    /// What its parameters take of memory, in bytes.
    pub memory: usize,
    /// How long that took.
    pub seconds: f64,
}

impl ModelRow {
    /// Rows that it answers in a second; `None` where none were answered.
    pub fn rows_per_second(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.rows as f64 / self.seconds.max(1e-9))
    }

    /// Seconds of a row that is read once, for all tasks of the model that read it so.
    pub fn seconds_per_pass(&self) -> f64 {
        self.seconds / self.passes.max(1) as f64
    }

    /// The sum of several models, as if they were one.
    pub fn sum(models: &[ModelRow]) -> ModelRow {
        ModelRow {
            folder: PathBuf::new(),
            parameters: models.iter().map(|model| model.parameters).sum(),
            bytes: models.iter().map(|model| model.bytes).sum(),
            rows: models.iter().map(|model| model.rows).sum(),
            passes: models.iter().map(|model| model.passes).sum(),
            memory: models.iter().map(|model| model.memory).sum(),
            seconds: models.iter().map(|model| model.seconds).sum(),
        }
    }
}

/// The scores of a task.
#[derive(Debug, Clone)]
pub struct TaskScore {
    /// Its primary metric.
    pub metric: String,
    /// Labelled rows.
    pub rows: usize,
    /// By metric.
    pub values: BTreeMap<String, f64>,
}

/// Scores some tasks of a model on views of the validation split, and what that takes. `folder` is where its files are.
pub fn measure(
    model: &Model,
    wanted: impl Fn(&str) -> bool,
    views: &[View],
    tokens: usize,
    folder: &Path,
) -> (BTreeMap<String, TaskScore>, ModelRow) {
    let began = Instant::now();
    let never = AtomicBool::new(false);
    let found = evaluate_tasks(model, |slot| wanted(&slot.name), Split::Validation, views, tokens, &never);
    let seconds = began.elapsed().as_secs_f64();
    let tasks = found.map(|(evaluation, _)| evaluation.tasks).unwrap_or_default();
    let rows = tasks.iter().map(|task| task.rows).sum();
    let scores = tasks.into_iter().map(|task| {
        let values = task.scores.values.iter().cloned().collect();
        (task.task, TaskScore { metric: task.scores.primary.clone(), rows: task.rows, values })
    });
    let (trunk, heads) = model.sizes();
    let parameters = trunk + heads.values().sum::<usize>();
    let is_read = |index: usize| model.tasks.iter().any(|slot| wanted(&slot.name) && slot.view == index);
    let row = ModelRow {
        folder: folder.into(),
        parameters,
        bytes: folder_bytes(folder),
        rows,
        passes: (0..views.len()).filter(|index| is_read(*index)).map(|i| views[i].encoded.rows()).sum(),
        memory: model.parameters.iter().map(Parameter::bytes).sum(),
        seconds,
    };
    (scores.collect(), row)
}

/// What tells the model in a folder from others: the hash of its manifest, which has the hashes of its files.
///
/// # Errors
/// The manifest cannot be read.
pub fn manifest_hash(folder: &Path) -> std::io::Result<String> {
    let bytes = std::fs::read(folder.join("polytask.json"))?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}

/// The bytes of a model's files, given its folder or its run's.
pub fn folder_bytes(folder: &Path) -> u64 {
    let inside = folder.join("model");
    let mut left = vec![if inside.is_dir() { inside } else { folder.to_path_buf() }];
    let mut sum = 0;
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => left.push(entry.path()),
                Ok(found) => sum += found.len(),
                Err(_) => {}
            }
        }
    }
    sum
}

/// A task's score before and after a command has made a model smaller.
#[derive(Debug, Clone, Serialize)]
pub struct TaskChange {
    /// The task.
    pub task: String,
    /// Its primary metric.
    pub metric: String,
    /// Labelled validation rows.
    pub rows: usize,
    /// The score of the model as it was.
    pub before: f64,
    /// That of the smaller one.
    pub after: f64,
}

/// How often each of two models is timed, in turns; the least time counts.
const TIMINGS: usize = 2;

/// Measures a model before and after, on the validation split. `folders` are where their files are.
pub fn measure_change(
    jobs: [&Job; 2],
    folders: [&Path; 2],
    tokens: usize,
) -> (Vec<TaskChange>, [ModelRow; 2]) {
    let of = |at: usize| {
        measure(&jobs[at].model, |_| true, jobs[at].views.of(Split::Validation), tokens, folders[at])
    };
    let mut found: Vec<[(BTreeMap<String, TaskScore>, ModelRow); 2]> =
        (0..TIMINGS).map(|_| [of(0), of(1)]).collect();
    let least = |at: usize| found.iter().map(|both| both[at].1.seconds).fold(f64::INFINITY, f64::min);
    let seconds = [least(0), least(1)];
    let [(before, mut first), (after, mut second)] = found.swap_remove(0);
    (first.seconds, second.seconds) = (seconds[0], seconds[1]);
    let change = |slot: &TaskSlot| {
        let (was, is) = (before.get(&slot.name)?, after.get(&slot.name)?);
        Some(TaskChange {
            task: slot.name.clone(),
            metric: was.metric.clone(),
            rows: was.rows,
            before: was.values.get(&was.metric).copied()?,
            after: is.values.get(&was.metric).copied()?,
        })
    };
    (jobs[0].model.tasks.iter().filter_map(change).collect(), [first, second])
}

/// A line for each task.
pub fn changes_table(tasks: &[TaskChange]) -> String {
    let mut table = Table::new(&["task", "metric", "rows", "before", "after", "change"]);
    for row in tasks {
        let by = change(row.after - row.before);
        let [before, after] = [row.before, row.after].map(points);
        table.row([row.task.clone(), row.metric.clone(), count(row.rows), before, after, by]);
    }
    table.render()
}

/// A line for each model.
pub fn models_table<'a>(models: impl IntoIterator<Item = (String, &'a ModelRow)>) -> String {
    let mut table = Table::new(&["model", "parameters", "on disk", "in memory", "rows/s"]);
    for (name, of) in models {
        let speed = of.rows_per_second().map_or("-".into(), |speed| count(speed.round() as usize));
        table.row([name, short(of.parameters), bytes(of.bytes as usize), bytes(of.memory), speed]);
    }
    table.render()
}
