//! The files of a run.

use std::path::{Path, PathBuf};

/// The directory of a run, and the names inside it.
#[derive(Debug, Clone)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// The run whose directory is `root`. Nothing is made yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        RunDir { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `config.toml`: the config with every default written out.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// `lock`: held by the process that trains the run, with its number.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// `data.json`: rows, tokens, labels and fingerprints of the corpora.
    pub fn data(&self) -> PathBuf {
        self.root.join("data.json")
    }

    /// `metrics.jsonl`: one event a line.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// `checkpoints/`: complete states by step.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// `checkpoints/NNNNNN/`: the state after `step` steps.
    pub fn checkpoint(&self, step: usize) -> PathBuf {
        self.checkpoints().join(format!("{step:06}"))
    }

    /// `teachers/TASK.answers`: the answers of a task's teacher to the training rows.
    pub fn teacher_answers(&self, task: &str) -> PathBuf {
        self.root.join("teachers").join(format!("{task}.answers"))
    }

    /// `model/`: the result.
    pub fn model(&self) -> PathBuf {
        self.root.join("model")
    }

    /// `frozen.states`: while the run lasts, the states of the training rows that come out of the frozen layers.
    pub fn frozen_states(&self) -> PathBuf {
        self.root.join("frozen.states")
    }
}
