//! What can go wrong in a run.

use crate::{config::SettingError, run::events::NonFiniteTask};
use std::path::{Path, PathBuf};

/// Why training, evaluating, saving or loading failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Settings out of their ranges.
    #[error("settings out of range:{}", lines(.0))]
    Settings(Vec<SettingError>),
    /// The named metric of `train.metric_for_best_model` is none of any task's.
    #[error("train.metric_for_best_model: found \"{found}\", expected one of {}", allowed.join(", "))]
    UnknownMetric {
        /// What the config says.
        found: String,
        /// Every `task.metric` there is.
        allowed: Vec<String>,
    },
    /// The metric that decides what is best was not among the scores of an evaluation.
    #[error(
        "the evaluation at step {step} has no value for {criterion}: does its corpus have a validation split?"
    )]
    NoValue {
        /// The step.
        step: usize,
        /// What was looked for.
        criterion: String,
    },
    /// A phase with a setting that does not fit.
    #[error("phase {number}: {key}: found {found}, expected {expected}")]
    Phase {
        /// Which, from 1 on.
        number: usize,
        /// The key of its table.
        key: String,
        /// What it says.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// A teacher whose answers are no numbers.
    #[error(
        "the answers of the teacher's task `{task}` are not finite: its weights have overflowed; take an earlier checkpoint of it"
    )]
    NonFiniteTeacher {
        /// The teacher's task.
        task: String,
    },
    /// A gradient of a row's loss that is no number.
    #[error(
        "a gradient of task `{task}` is not finite on its own rows: the weights of the model have overflowed; take an earlier checkpoint"
    )]
    NonFiniteImportance {
        /// The task.
        task: String,
    },
    /// A matrix that has no factors of lower rank.
    #[error(
        "{matrix}: it, or what it reads, has numbers that are not finite, so that it has no factors: the weights of the model have overflowed; take an earlier checkpoint"
    )]
    NotFactorized {
        /// The matrix.
        matrix: String,
    },
    /// A sharing scheme or a head has parameters of sizes that are cut out of a network.
    #[error(
        "{parameter} has a size that would be cut with the network, and is not made of states side by side: cut something else, or leave the task out"
    )]
    SizedByStructures {
        /// The parameter.
        parameter: String,
    },
    /// A phase without training rows.
    #[error("phase {number}: nothing to train: none of its tasks has a labelled row in its training split")]
    NothingInPhase {
        /// Which, from 1 on.
        number: usize,
    },
    /// Budgets of more than all of the computation.
    #[error(
        "the budgets of the tasks are {sum} of the computation together; {}",
        if *free { "leave something to the corpora without one" } else { "they may be 1 at most" }
    )]
    Budgets {
        /// Their sum.
        sum: f64,
        /// Whether there are corpora without one.
        free: bool,
    },
    /// Budgets under a sampler that adapts to how training goes.
    #[error(
        "[sampling.{sampler}] changes the shares as training goes; budgets in shares go with a sampler that does not"
    )]
    BudgetsWithAdaptiveSampler {
        /// The sampler.
        sampler: &'static str,
    },
    /// A sampler that looks at what is not there.
    #[error("[sampling.{sampler}] {reason}")]
    Sampler {
        /// The sampler.
        sampler: &'static str,
        /// What it lacks.
        reason: String,
    },
    /// Rows without the value that they are ordered by.
    #[error("the order of a corpus: {}", lines(.0))]
    Order(Vec<data::DataError>),
    /// There is no training row with a label.
    #[error("nothing to train: no task has a labelled row in its training split")]
    NothingToTrain,
    /// A task has no labelled training row.
    #[error(
        "task `{task}`: no row of its training split carries a label; check the field names and `polytask check`"
    )]
    NoLabels {
        /// The task.
        task: String,
    },
    /// Rows of a corpus that has no vector, where others have one.
    #[error(
        "rows of corpus `{corpus}`, for which the model has no vector; it has one for {}: train with `dataset_embeddings` on the corpora that it is to know",
        known.join(", ")
    )]
    NoVector {
        /// The corpus.
        corpus: String,
        /// Those with a vector.
        known: Vec<String>,
    },
    /// The states of frozen layers are cached, and a task changes the tokens that they read.
    #[error(
        "task `{task}` masks other tokens in every step, so that states of frozen layers cannot be cached: set model.freeze.cache = false"
    )]
    CachedMasking {
        /// The task.
        task: String,
    },
    /// A run begins where another one left checkpoints.
    #[error(
        "{} already holds the checkpoints of a run; go on with it (--resume), or choose another directory",
        path.display()
    )]
    Occupied {
        /// The directory of the checkpoints.
        path: PathBuf,
    },
    /// The balancer does not go with the rest.
    #[error("[balance.{method}] {reason}")]
    Balancer {
        /// The method.
        method: &'static str,
        /// Why, and what would go.
        reason: String,
    },
    /// Reading or writing failed.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A checkpoint is not whole.
    #[error("checkpoint {} is broken: {reason}", path.display())]
    BrokenCheckpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of a checkpoint cannot be read, so that nothing is known of what it holds.
    #[error(
        "checkpoint {} cannot be read: {file}: {source}\n  nothing was changed; resume when it can be read, or rename the \
         checkpoint to {}.broken to go on from an older one",
        path.display(), path.file_name().unwrap_or_default().display()
    )]
    UnreadableCheckpoint {
        /// The checkpoint.
        path: PathBuf,
        /// The file in it.
        file: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The best checkpoint, which should be exported, is not whole any more.
    #[error(
        "the best checkpoint, {}, is broken: {reason}\n  set train.export = \"last\" and resume to export the last \
         weights",
        path.display()
    )]
    LostBest {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Every checkpoint is broken.
    #[error(
        "no checkpoint of {} can be used; the last one tried: {reason}\n  all are set aside as *.broken; to train from the \
         first step, begin a new run with the config.toml of this one",
        path.display()
    )]
    NoUsableCheckpoint {
        /// The directory of the checkpoints.
        path: PathBuf,
        /// What is wrong with the last one tried.
        reason: String,
    },
    /// There is no checkpoint, though there was one.
    #[error(
        "no checkpoint is left of this run: {found}; nothing was changed\n  put a checkpoint back into {} (or rename one that can \
         be read again, {}), and resume; to train from the first step, begin a new run with the config.toml of this one",
        path.display(),
        broken.first().map_or("NNNNNN.broken to NNNNNN".into(), |name| format!("{name} to {}", name.trim_end_matches(".broken")))
    )]
    CheckpointsLost {
        /// The directory of the checkpoints.
        path: PathBuf,
        /// What says that there was one.
        found: String,
        /// The names of those that were set aside, the newest first.
        broken: Vec<String>,
    },
    /// A checkpoint belongs to a run that was set up differently.
    #[error(
        "checkpoint {} belongs to a run that was set up differently:{}\n  undo the changes to go on with it, or \
         begin a new run",
        path.display(), lines(differences)
    )]
    OtherRun {
        /// The checkpoint.
        path: PathBuf,
        /// What differs: key, value in the checkpoint, value now.
        differences: Vec<String>,
    },
    /// A run that was given a greater length, and cannot be trained further.
    #[error("the run cannot be trained further: {reason}\n  nothing was changed")]
    NotLonger {
        /// What ends it.
        reason: String,
    },
    /// A weight is not finite any more, so that there is nothing worth saving.
    #[error("parameter {name} holds {found} after step {step}: nothing was saved; lower the learning rate")]
    NonFiniteWeight {
        /// The parameter.
        name: String,
        /// What it holds.
        found: f32,
        /// Steps done.
        step: usize,
    },
    /// Several steps in a row had no finite loss or gradient.
    #[error(
        "{in_a_row} steps in a row had a loss or gradient that is not finite; in the last, step {step}:{}\n  \
         look at these rows, or lower the learning rate; the last checkpoint is untouched",
        lines(tasks)
    )]
    NonFiniteSteps {
        /// Steps done.
        step: usize,
        /// How many in a row were not finite.
        in_a_row: usize,
        /// What was found in the last.
        tasks: Vec<NonFiniteTask>,
    },
    /// In an evaluation scores were not finite.
    #[error(
        "the evaluation at step {step}:{}\n  the weights have overflowed: lower the learning rate; the last checkpoint is untouched",
        lines(tasks)
    )]
    NonFiniteScores {
        /// Steps done.
        step: usize,
        /// What was found, task by task.
        tasks: Vec<String>,
    },
    /// Memory has no space for the longest sequence by itself.
    #[error(
        "step {step}: memory has no space for a pass of {tokens} tokens, the longest sequence: lower data.max_length, freeze layers, \
         take a smaller model, or raise train.max_memory_gib where it is set; the last checkpoint is untouched"
    )]
    OutOfMemory {
        /// The step.
        step: usize,
        /// The tokens of the sequence.
        tokens: usize,
    },
    /// A saved model cannot be read.
    #[error("{}: {reason}", path.display())]
    SavedModel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor that models cannot be merged by.
    #[error("{tensor}: {reason}; nothing was written")]
    NotMerged {
        /// The tensor.
        tensor: String,
        /// Why not.
        reason: &'static str,
    },
    /// From the data.
    #[error(transparent)]
    Data(#[from] data::DataError),
    /// From a task.
    #[error(transparent)]
    Task(#[from] tasks::TaskError),
    /// From the model.
    #[error(transparent)]
    Model(#[from] model::ModelError),
    /// From the balancer.
    #[error(transparent)]
    Balance(#[from] balance::BalanceError),
}

impl TrainError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: std::io::Error) -> Self {
        TrainError::Io { doing, path: path.into(), source }
    }

    pub(crate) fn broken(path: &Path, reason: impl ToString) -> Self {
        TrainError::BrokenCheckpoint { path: path.into(), reason: reason.to_string() }
    }

    pub(crate) fn saved(path: &Path, reason: impl ToString) -> Self {
        TrainError::SavedModel { path: path.into(), reason: reason.to_string() }
    }
}

/// One line per item, indented, after the message.
fn lines<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(|item| format!("\n  {item}")).collect()
}
