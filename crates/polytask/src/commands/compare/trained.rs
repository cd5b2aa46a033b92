//! Models that were trained before, which join a comparison: distilled, pruned, quantized ones.

use super::contestants::TOGETHER;
use crate::config::Config;
use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use train::{Model, RunDir};

/// A contestant whose models were trained before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trained {
    /// Its name.
    pub name: String,
    /// A run for each seed.
    pub runs: Vec<PathBuf>,
}

/// Reads `NAME=RUN,RUN`.
///
/// # Errors
/// What is not of this form; two of one name; a directory that is not there.
pub fn parse(given: &[String]) -> Result<Vec<Trained>, Failure> {
    let refused = |reason: String| Failure::refused([format!("--trained: {reason}")]);
    let mut found: Vec<Trained> = Vec::new();
    for text in given {
        let (name, runs) = text
            .split_once('=')
            .filter(|(name, runs)| !name.is_empty() && !runs.is_empty())
            .ok_or_else(|| {
            refused(format!("found {text}, expected NAME=RUN, or NAME=RUN,RUN with a run for each seed"))
        })?;
        if found.iter().any(|known| known.name == name) {
            return Err(refused(format!("{name} is given twice; give each a name of its own")));
        }
        // A study may be resumed from another directory.
        let absolute = |run: &str| std::path::absolute(run).map_err(|e| refused(format!("{run}: {e}")));
        let runs = runs.split(',').map(absolute).collect::<Result<_, _>>()?;
        found.push(Trained { name: name.to_owned(), runs });
    }
    Ok(found)
}

/// Refuses what cannot be held against the others.
///
/// # Errors
/// Not a run for each seed; a run without a model; a model of tasks that the config lacks.
pub fn check(trained: &[Trained], seeds: u64, config: &Config) -> Result<(), Failure> {
    for Trained { name, runs } in trained {
        let refused = |reason: String| Err(Failure::refused([format!("--trained {name}: {reason}")]));
        if name == TOGETHER || name == super::contestants::ALONE {
            return refused("the name is that of the models that are trained here; take another".into());
        }
        if runs.len() as u64 != seeds {
            return refused(format!(
                "found {}, expected a run for each of {seeds} seeds, or --seeds {}",
                runs.len(),
                runs.len()
            ));
        }
        let mut of_first: Option<Vec<String>> = None;
        for run in runs {
            let tasks = tasks(run)?;
            if let Some(task) = tasks.iter().find(|task| config.task.get(task).is_none()) {
                return refused(format!("{} does {task}, which the config lacks", run.display()));
            }
            if of_first.get_or_insert_with(|| tasks.clone()) != &tasks {
                return refused(format!("{} does other tasks than {}", run.display(), runs[0].display()));
            }
        }
    }
    Ok(())
}

/// The tasks of the model in a run.
pub fn tasks(run: &std::path::Path) -> Result<Vec<String>, Failure> {
    let dir = RunDir::new(run).model();
    let (manifest, _) = Model::read_manifest(&dir).map_err(|e| Failure::refused([e]))?;
    Ok(manifest.tasks.into_iter().map(|task| task.name).collect())
}
