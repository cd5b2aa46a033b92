//! `polytask train FILE --groups FILE`: a model for each group of tasks, one after the other, each a run in one directory.

use super::train::{name, run_config, write};
use crate::cli;
use crate::config::Config;
use crate::failure::{Failure, INTERRUPTED};
use crate::job::run_lock::RunLock;
use crate::study::Trial;
use crate::study::derive::for_tasks;
use crate::study::groups::Groups;
use crate::terminal::output;
use crate::terminal::progress::Detail;
use burn::tensor::Device;
use std::fs;
use std::path::{Path, PathBuf};
use train::{Outcome, RunDir, Start};

/// Trains what is not trained; the same command again goes on.
pub fn train_groups(args: &cli::Train, file: &Path, groups: &Path) -> Result<u8, Failure> {
    let config = super::load(file, &args.overrides)?;
    let groups = Groups::read(groups, &config)?;
    let root = args.run.clone().unwrap_or_else(|| Path::new("runs").join(format!("{}-groups", name(file))));
    check_names(&groups)?;
    let _lock = directory(&root, &groups)?;
    let device = super::open_device(config.train.device)?;
    for (number, tasks) in groups.groups.iter().enumerate() {
        let run = RunDir::new(root.join(name_of(tasks)));
        let of = groups.groups.len();
        output::line(format_args!(
            "\n  model {} of {of}: {}; {}",
            number + 1,
            tasks.join(", "),
            run.root().display()
        ));
        let config = for_tasks(&config, tasks);
        let outcome = super::with_threads(config.train.threads, || train_one(&config, &device, &run))?;
        if let Outcome::Interrupted { .. } = outcome {
            output::line(format_args!("  saved; go on with the same command, with --run {}", root.display()));
            return Ok(INTERRUPTED);
        }
    }
    Ok(0)
}

fn name_of(tasks: &[String]) -> String {
    Trial::name_of(&tasks.join("+"))
}

/// Each group has a directory of its own.
fn check_names(groups: &Groups) -> Result<(), Failure> {
    let names: Vec<String> = groups.groups.iter().map(|tasks| name_of(tasks)).collect();
    match names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        Some((_, name)) => Err(Failure::refused([format!(
            "two groups would lie in {name}: give the tasks names that differ in letters or digits"
        )])),
        None => Ok(()),
    }
}

fn train_one(config: &Config, device: &Device, run: &RunDir) -> Result<Outcome, Failure> {
    let (_lock, start) = match fs::read_to_string(run.config()) {
        Err(_) => (RunLock::create(run)?, Start::Fresh),
        Ok(found) if found == config.resolved_toml() => (RunLock::existing(run)?, Start::Resume),
        Ok(_) => {
            return Err(Failure::refused([format!(
                "{}: was begun with another config; give another directory with --run",
                run.config().display()
            )]));
        }
    };
    run_config(config, device, run, start, Detail::Tables)
}

/// The directory of the runs, new or with the same groups, locked.
fn directory(root: &Path, groups: &Groups) -> Result<RunLock, Failure> {
    let (run, file): (RunDir, PathBuf) = (RunDir::new(root), root.join("groups.toml"));
    let text = toml::to_string(groups).map_err(Failure::failed)?;
    match fs::read_to_string(&file) {
        Ok(found) if found == text => RunLock::existing(&run),
        Ok(_) => Err(Failure::refused([format!(
            "{}: these models were begun for other groups; give another directory with --run",
            file.display()
        )])),
        Err(_) => {
            let lock = RunLock::create(&run)?;
            write(&file, text.as_bytes())?;
            Ok(lock)
        }
    }
}
