//! The directory of a study, which belongs to one process at a time, and what was asked for.

use super::{Trial, TrialResult};
use crate::commands::train::write;
use crate::config::Config;
use crate::failure::Failure;
use crate::job::measured::manifest_hash;
use crate::job::run_lock::RunLock;
use crate::run_report::environment::Environment;
use burn::tensor::Device;
use serde::{Serialize, de::DeserializeOwned};
use std::fs;
use std::path::{Path, PathBuf};
use train::RunDir;

/// A study's directory, locked.
pub struct StudyDir {
    root: PathBuf,
    _lock: RunLock,
}

impl StudyDir {
    /// A new study: in `dir`, which is empty or not there, or in `runs/NAME`, numbered where that is taken. `definition` is kept for
    /// [`StudyDir::resume`], with the config beside it.
    ///
    /// # Errors
    /// A directory that holds something or cannot be written.
    pub fn create(dir: Option<&Path>, name: &str, definition: &impl Serialize) -> Result<StudyDir, Failure> {
        let (run, lock) = match dir {
            Some(dir) => {
                if is_study(dir) {
                    let dir = dir.display();
                    return Err(Failure::refused([format!(
                        "{dir} is a study already: go on with it by --resume {dir}, or give another directory with --dir"
                    )]));
                }
                let run = RunDir::new(dir);
                let lock = RunLock::create_for(&run, "--dir")?;
                (run, lock)
            }
            None => RunLock::numbered(Path::new("runs"), name)?,
        };
        let study = StudyDir { root: run.root().to_path_buf(), _lock: lock };
        for folder in ["configs", "trials"] {
            let folder = study.root.join(folder);
            fs::create_dir_all(&folder).map_err(|e| Failure::io("making", &folder, e))?;
        }
        study.define(definition)?;
        Ok(study)
    }

    /// A study that was begun.
    ///
    /// # Errors
    /// The directory is none of a study of this sort, or another process is at work there.
    pub fn resume<T: DeserializeOwned>(dir: &Path) -> Result<(StudyDir, T), Failure> {
        let file = definition_file(dir);
        let refused = |reason: String| Failure::refused([format!("{}: {reason}", file.display())]);
        let bytes = files::read(&file).map_err(|e| {
            refused(format!("{e}; a directory to go on with has one, begun by the same command"))
        })?;
        let definition = serde_json::from_slice(&bytes).map_err(|e| {
            refused(format!("was begun by another command, or is damaged: {e}; begin another study"))
        })?;
        let lock = RunLock::existing(&RunDir::new(dir))?;
        Ok((StudyDir { root: dir.to_path_buf(), _lock: lock }, definition))
    }

    /// Notes the command that begins now, and on what it runs.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn begin_session(&self, config: &Config, device: &Device) -> Result<(), Failure> {
        Environment::begin(&RunDir::new(&self.root), config, device)
    }

    /// Notes that the command has come to its end, and gives all commands so far.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn end_session(&self) -> Result<Option<Environment>, Failure> {
        let run = RunDir::new(&self.root);
        Environment::end(&run)?;
        Environment::of(&run).map_err(Failure::failed)
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The config of a trial.
    pub fn config(&self, trial: &str) -> PathBuf {
        self.root.join("configs").join(format!("{trial}.toml"))
    }

    /// The run of a trial.
    pub fn trial(&self, trial: &str) -> PathBuf {
        self.root.join("trials").join(trial)
    }

    /// What a trial's process said.
    pub fn log(&self, trial: &str) -> PathBuf {
        self.root.join("trials").join(format!("{trial}.log"))
    }

    /// Writes the config of a trial, unless it is there as it should be.
    ///
    /// # Errors
    /// The config is there and differs: then the trial of that name is another one.
    pub fn write_config(&self, trial: &Trial) -> Result<(), Failure> {
        let (file, text) = (self.config(&trial.name), trial.config.resolved_toml());
        match fs::read_to_string(&file) {
            Ok(found) if found == text => Ok(()),
            Ok(_) => Err(Failure::refused([format!(
                "{}: differs from what would be trained now: the config or the program has changed since the study began; begin another",
                file.display()
            )])),
            Err(_) => write(&file, text.as_bytes()),
        }
    }

    /// As [`StudyDir::result`]; of a model that was trained before only where it is still the same.
    pub fn result_of(&self, trial: &Trial, epoch: Option<usize>) -> Option<TrialResult> {
        let found = self.result(&trial.name, epoch)?;
        let is_it = trial.trained.as_ref().is_none_or(|run| found.fingerprint == fingerprint(run));
        if !is_it {
            // The process that makes it anew gives back what it finds.
            let _ = fs::remove_file(result_file(&self.trial(&trial.name), None));
        }
        is_it.then_some(found)
    }

    /// Replaces what was asked for.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn define(&self, definition: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(definition).map_err(Failure::failed)?;
        write(&definition_file(&self.root), &text)
    }

    /// What a trial gave, if it is finished; where it was to pause after `epoch`, what it gave until then.
    pub fn result(&self, trial: &str, epoch: Option<usize>) -> Option<TrialResult> {
        read_result(&self.trial(trial), epoch)
    }
}

/// What tells a trained model from others: its manifest has the hashes of its files. Empty where there is none.
pub fn fingerprint(run: &Path) -> String {
    manifest_hash(&RunDir::new(run).model()).unwrap_or_default()
}

/// What the trial in the directory of a run gave; `None` where a result is missing or cannot be read, so that it is made again.
pub fn read_result(run: &Path, epoch: Option<usize>) -> Option<TrialResult> {
    let read = |file: PathBuf| serde_json::from_slice(&fs::read(file).ok()?).ok();
    let paused = epoch.and_then(|_| read(result_file(run, epoch)));
    paused.or_else(|| read(result_file(run, None)))
}

/// What was asked for.
fn definition_file(root: &Path) -> PathBuf {
    root.join("study.json")
}

/// Whether a directory is that of a study.
pub fn is_study(root: &Path) -> bool {
    definition_file(root).exists()
}

/// The result in the directory of a trial's run: the last, or that of a pause.
pub fn result_file(run: &Path, epoch: Option<usize>) -> PathBuf {
    run.join(epoch.map_or("result.json".into(), |epoch| format!("epoch-{epoch}.json")))
}
