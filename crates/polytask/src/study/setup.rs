//! How a study begins: what its model for all tasks costs, and the config that all its trainings come from.

use super::cost::Measured;
use super::dir::StudyDir;
use crate::commands::{self, train::write};
use crate::config::Config;
use crate::failure::Failure;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Checks that trainings with so many seeds can be held against each other.
///
/// # Errors
/// A budget in seconds, which the machine decides; seeds that no config can have.
pub fn has_equal_seeds(config: &Config, seeds: u64) -> Result<(), Failure> {
    let in_seconds =
        |training: &train::TaskTraining| training.budget.is_some_and(|budget| budget.seconds.is_some());
    if let Some((task, _)) = config.task.iter().find(|(_, task)| in_seconds(&task.training)) {
        return Err(Failure::refused([format!(
            "task.{task}.budget.seconds: what a task learns in that time depends on what else the machine does, so that nothing could be held against it; give a budget in tokens or steps"
        )]));
    }
    // The integers of TOML have a sign.
    if i64::try_from(config.train.seed.saturating_add(seeds)).is_err() {
        return Err(Failure::refused([format!(
            "train.seed = {}: the seeds after it are too large for a config; give a smaller one",
            config.train.seed
        )]));
    }
    Ok(())
}

/// Measures the model for all tasks, on as many threads as each of several trainings would have.
///
/// # Errors
/// Whatever a training would be refused for.
pub fn measure(config: &Config) -> Result<Measured, Failure> {
    let device = commands::open_device(config.train.device)?;
    commands::with_threads(Some(config.train.threads.unwrap_or(1)), || Measured::of(config, &device))
}

/// Makes the directory with the config that all trainings come from. A backbone from scratch has one tokenizer in all of them, trained
/// on the texts of all tasks, so that all begin with the same weights.
///
/// # Errors
/// A directory that holds something or cannot be written.
pub fn begin(
    root: Option<&Path>,
    name: &str,
    definition: &impl Serialize,
    config: &Config,
    measured: &Measured,
) -> Result<StudyDir, Failure> {
    let dir = StudyDir::create(root, name, definition)?;
    let mut config = config.clone();
    if config.tokenizer.as_ref().is_some_and(|own| own.file.is_none()) {
        let file = dir.root().join("tokenizer.json");
        let file = std::path::absolute(&file).map_err(|e| Failure::io("finding", &file, e))?;
        write(&file, measured.tokenizer.to_json().as_bytes())?;
        let file = Some(file.to_string_lossy().into_owned());
        config.tokenizer = Some(data::TokenizerConfig { file, ..Default::default() });
    }
    write(&config_file(&dir), config.resolved_toml().as_bytes())?;
    Ok(dir)
}

/// The config of a study.
pub fn config_file(dir: &StudyDir) -> PathBuf {
    dir.root().join("config.toml")
}
