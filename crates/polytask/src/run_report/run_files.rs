//! What the directory of a run holds of its training and its result, read once.

use super::environment::Environment;
use super::held_out::HeldOut;
use crate::commands::evaluate::{self, SavedScores};
use crate::failure::Failure;
use crate::history::History;
use serde::Deserialize;
use std::path::Path;
use train::RunDir;

/// A run as its files tell it.
pub struct RunFiles {
    /// Its name: that of its directory, or the path where several have the same one.
    pub name: String,
    /// The run.
    pub run: RunDir,
    /// `metrics.jsonl`.
    pub history: History,
    /// `config.toml` as it is.
    pub config_text: String,
    /// The same by its keys.
    pub config: toml::Table,
    /// `data.json`.
    pub data: Option<Data>,
    /// `held_out.json`.
    pub held_out: Option<HeldOut>,
    /// `environment.json`.
    pub environment: Option<Environment>,
    /// What `evaluate` scored last on the test split.
    pub test: Option<SavedScores>,
    /// Files that are damaged, and lines of `metrics.jsonl` that are, in words.
    pub problems: Vec<String>,
}

/// What `data.json` says, as far as reports show it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Data {
    /// Rows and tokens by view and split.
    pub views: Vec<DataView>,
    /// Labels by task and split.
    pub labels: Vec<DataLabels>,
    /// What deserved a look as the run began.
    pub findings: Vec<String>,
}

/// One view in one split.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DataView {
    /// The corpus.
    pub corpus: String,
    /// The split.
    pub split: String,
    /// The tasks that read it.
    pub tasks: Vec<String>,
    /// Rows, and their tokens.
    pub rows: usize,
    /// See `rows`.
    pub tokens: usize,
    /// Rows that were cut.
    pub truncated_rows: usize,
    /// Rows without anything to read.
    pub blank_rows: usize,
    /// Tokens that the vocabulary lacks.
    pub unknown_tokens: usize,
}

/// The labels of one task in one split.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DataLabels {
    /// The task.
    pub task: String,
    /// The split.
    pub split: String,
    /// Rows with a label, and without.
    pub labelled: usize,
    /// See `labelled`.
    pub missing: usize,
    /// Of the rows without a label in training those that a teacher answers.
    pub taught: usize,
    /// How often each label occurs.
    pub counts: Vec<(String, usize)>,
    /// Labels that training never shows.
    pub unseen: std::collections::BTreeMap<String, usize>,
    /// What is probably not meant.
    pub remarks: Vec<String>,
    /// Rows whose gold breaks a rule.
    pub issues: Vec<DataIssue>,
}

/// Rows whose gold breaks a rule.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DataIssue {
    /// What is the matter, said of rows.
    pub what: String,
    /// How many.
    pub rows: usize,
    /// The first of them.
    pub places: Vec<String>,
}

impl RunFiles {
    /// Reads a run.
    ///
    /// # Errors
    /// It is no run, or has no metrics. What else is missing or damaged is left out, and told in `problems`.
    pub fn read(root: &Path) -> Result<RunFiles, Failure> {
        let run = RunDir::new(root);
        let config = match files::read(&run.config()) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Failure::refused([format!(
                    "{} is no run: it has no config.toml (a run is what `train` makes)",
                    root.display()
                )]));
            }
            Err(error) => return Err(Failure::io("reading", &run.config(), error)),
        };
        let history = History::of(&run)?;
        let mut problems = problems_of(&history, &run);
        let mut note = |error: String| problems.push(error);
        let table = config.parse::<toml::Table>().unwrap_or_else(|error| {
            note(format!("{} is damaged: {}", run.config().display(), error.message()));
            toml::Table::new()
        });
        let data = super::read_json(&run.data()).unwrap_or_else(|error| {
            note(error);
            None
        });
        let held_out = HeldOut::of(&run).unwrap_or_else(|error| {
            note(error);
            None
        });
        let environment = Environment::of(&run).unwrap_or_else(|error| {
            note(error);
            None
        });
        let test =
            super::read_json(&evaluate::scores_path(&run, data::Split::Test)).unwrap_or_else(|error| {
                note(error);
                None
            });
        let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
        let name = absolute.file_name().map_or("run".into(), |name| name.to_string_lossy().into_owned());
        Ok(RunFiles {
            name,
            run,
            history,
            config_text: config,
            config: table,
            data,
            held_out,
            environment,
            test,
            problems,
        })
    }

    /// Reads several runs. Those of the same name are called by their paths.
    ///
    /// # Errors
    /// As [`RunFiles::read`].
    pub fn read_all(roots: &[std::path::PathBuf]) -> Result<Vec<RunFiles>, Failure> {
        let mut runs = roots.iter().map(|root| RunFiles::read(root)).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
        for (run, root) in runs.iter_mut().zip(roots) {
            if names.iter().filter(|name| **name == run.name).count() > 1 {
                run.name = root.display().to_string();
            }
        }
        Ok(runs)
    }

    /// The kind of a task by its config; empty where that does not say.
    pub fn kind(&self, task: &str) -> String {
        let held_out = self.held_out.iter().flat_map(|found| &found.tasks).find(|found| found.task == task);
        if let Some(found) = held_out {
            return found.kind.clone();
        }
        let kinds: Vec<&str> = tasks::CATALOGUE.iter().map(|(name, _)| *name).collect();
        let table =
            self.config.get("task").and_then(|tasks| tasks.get(task)).and_then(|task| task.as_table());
        let kind = table.and_then(|table| table.keys().find(|key| kinds.contains(&key.as_str())));
        kind.cloned().unwrap_or_default()
    }

    /// Training rows with a label of a task, or the answer of a teacher.
    pub fn labelled(&self, task: &str) -> Option<usize> {
        let labels = &self.data.as_ref()?.labels;
        let of_task = labels.iter().find(|found| found.task == task && found.split == "train")?;
        Some(of_task.labelled + of_task.taught).filter(|rows| *rows > 0)
    }
}

/// What is the matter with the metrics.
fn problems_of(history: &History, run: &RunDir) -> Vec<String> {
    let path = run.metrics();
    let path = path.display();
    let mut problems = Vec::new();
    if !history.damaged.is_empty() {
        let some: Vec<String> = history.damaged.iter().take(10).map(usize::to_string).collect();
        let more = match history.damaged.len() - some.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        problems.push(format!("{path}: these lines are damaged and left out: {}{more}", some.join(", ")));
    }
    if history.is_torn {
        problems.push(format!(
            "{path}: its last line has no end and is left out: it is being written, or a crash cut it off"
        ));
    }
    if !history.unknown.is_empty() {
        let names: Vec<String> = history.unknown.iter().map(|(name, n)| format!("{name} ({n})")).collect();
        problems.push(format!(
            "{path}: events that this version does not know are left out: {}",
            names.join(", ")
        ));
    }
    problems
}
