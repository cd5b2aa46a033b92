//! What happens in a run, as a closed set of values. One event is one line of `metrics.jsonl`.

mod affinity;

pub use affinity::{Affinity, LayerCosine, PairAffinity, TaskAffinity, Transfer};

use crate::run::task_usage::{StopReason, TaskUsage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Something that happened. As JSON it is an object whose `event` names the variant and whose `step` is the
/// number of steps done. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run begins, or goes on after an interruption.
    Started(Started),
    /// The run goes on longer than was planned.
    Lengthened(Lengthened),
    /// The states of the training rows that come out of the frozen layers were computed and written to a file.
    FrozenStatesCached(FrozenStatesCached),
    /// The newest checkpoint was broken and quarantined; an older one is tried.
    BrokenCheckpoint(BrokenCheckpoint),
    /// The run is resumed, but was ended before its first checkpoint: it begins at its first step.
    BeganAgain(BeganAgain),
    /// Lines of `metrics.jsonl` are damaged. They stay where they are.
    DamagedMetrics(DamagedMetrics),
    /// A step updated the weights.
    Step(StepEvent),
    /// A step had a loss or gradient that is not finite. Nothing was updated.
    NonFiniteStep(NonFiniteStep),
    /// Memory had no space for a step; it is repeated in smaller chunks.
    ChunkSizeReduced(ChunkSizeReduced),
    /// How the tasks' gradients agree, and what a step on one does to the losses of the others.
    Affinity(Affinity),
    /// A split was evaluated.
    Evaluated(Evaluated),
    /// A learning rate was reduced, because evaluations stopped improving.
    LearningRateReduced(LearningRateReduced),
    /// A checkpoint was saved.
    Saved(Saved),
    /// Structures were cut out of the network.
    Pruned(Pruned),
    /// A phase begins.
    PhaseBegan(PhaseBegan),
    /// A task is trained no more.
    TaskDone(TaskDone),
    /// What each task has used so far: after every evaluation, and at the end.
    UsageReport(UsageReport),
    /// Evaluations stopped improving; the run ends early.
    StoppedEarly(StoppedEarly),
    /// The run was asked to stop; a checkpoint holds its state.
    Interrupted(Interrupted),
    /// The run is complete and its model is written.
    Finished(Finished),
}

impl Event {
    /// The number of steps done when it happened.
    pub fn step(&self) -> usize {
        match self {
            Event::Started(e) => e.step,
            Event::Lengthened(e) => e.step,
            Event::FrozenStatesCached(e) => e.step,
            Event::BrokenCheckpoint(e) => e.step,
            Event::BeganAgain(e) => e.step,
            Event::DamagedMetrics(e) => e.step,
            Event::Step(e) => e.step,
            Event::NonFiniteStep(e) => e.step,
            Event::ChunkSizeReduced(e) => e.step,
            Event::Affinity(e) => e.step,
            Event::Evaluated(e) => e.step,
            Event::LearningRateReduced(e) => e.step,
            Event::Saved(e) => e.step,
            Event::Pruned(e) => e.step,
            Event::PhaseBegan(e) => e.step,
            Event::TaskDone(e) => e.step,
            Event::UsageReport(e) => e.step,
            Event::StoppedEarly(e) => e.step,
            Event::Interrupted(e) => e.step,
            Event::Finished(e) => e.step,
        }
    }
}

/// The run begins or goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// Steps already done: 0 unless it goes on from a checkpoint.
    pub step: usize,
    /// Whether it goes on from a checkpoint.
    pub resumed: bool,
    /// Steps of the whole run.
    pub steps: usize,
    /// Steps of each epoch.
    pub epochs: Vec<usize>,
    /// The tasks, in the order of the config.
    pub tasks: Vec<String>,
    /// Those of them without a labelled validation row: the choice of the best checkpoint does not regard them.
    #[serde(default)]
    pub unevaluated_tasks: Vec<String>,
    /// Parameters of the trunk.
    pub trunk_parameters: usize,
    /// Parameters of each task's head.
    pub head_parameters: BTreeMap<String, usize>,
}

/// Structures were cut out of a network that is pruned while it is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pruned {
    /// Steps done.
    pub step: usize,
    /// The share of feed-forward columns that is left, where these are pruned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ffn: Option<f64>,
    /// The share of attention heads that is left, where these are pruned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<f64>,
    /// Whether the final shares are reached.
    pub complete: bool,
}

/// A run that is trained further than was planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lengthened {
    /// Steps done.
    pub step: usize,
    /// Steps of the whole run, as it was planned until now.
    pub before: usize,
    /// Steps of the whole run.
    pub steps: usize,
    /// The schedule of learning rates, or the optimizer that has its own.
    pub schedule: String,
    /// What the schedule does.
    pub course: ScheduleCourse,
    /// Its present factor, at which it goes on.
    pub factor: f64,
}

/// What the schedule of a run that is trained further does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleCourse {
    /// It does not depend on the length of the run, and goes on.
    GoesOn,
    /// What is left of it is spread over the steps that are left.
    Spread,
    /// It had come to its end, and begins again over the steps that are left.
    Restarted,
}

/// A broken checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BrokenCheckpoint {
    /// Its step.
    pub step: usize,
    /// What is wrong with it.
    pub reason: String,
    /// Where it lies now.
    pub moved_to: String,
}

/// A run that was ended before its first checkpoint is resumed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BeganAgain {
    /// Steps done: 0.
    pub step: usize,
    /// The steps that are done again.
    pub lost: usize,
}

/// Damaged lines in `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DamagedMetrics {
    /// Steps done.
    pub step: usize,
    /// The file.
    pub path: String,
    /// The lines, from 1 on, that are no events, or events of a step that they do not belong to.
    pub lines: Vec<usize>,
}

/// One step. The maps hold only the tasks that had labels in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepEvent {
    /// Steps done, this one included.
    pub step: usize,
    /// The epoch it belongs to, counted from 1.
    pub epoch: usize,
    /// Loss per task, averaged over the step's packs.
    pub losses: BTreeMap<String, f64>,
    /// Weight per task, averaged over the step's packs.
    pub weights: BTreeMap<String, f64>,
    /// Targets per task: rows for a task on rows, tokens for a task on tokens.
    pub num_targets: BTreeMap<String, usize>,
    /// Learning rate of the trunk.
    pub learning_rate: f64,
    /// What the learning rate of each head is multiplied by on account of its task alone. Only with `[train] head_lr_balancing`,
    /// and where a task has a `reduce_lr_on_plateau`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub head_factors: BTreeMap<String, f64>,
    /// Global norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// How the tasks' gradients lie to each other, where the balancer looks at them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_gradients: Option<TaskGradients>,
    /// Rows in the step.
    pub rows: usize,
    /// Tokens in the step; there is no padding.
    pub tokens: usize,
    /// How long the step took.
    pub seconds: f64,
    /// Time of training so far, evaluations and earlier parts of the run included.
    pub elapsed: f64,
}

/// The gradients of the tasks over the shared parameters, before weights and clipping. Only of tasks that had labels in the
/// step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskGradients {
    /// Norm per task.
    pub norms: BTreeMap<String, f64>,
    /// Cosine per pair of tasks; pairs in which a gradient is 0 have none.
    pub cosines: Vec<Cosine>,
    /// The fraction of these pairs whose cosine is negative; `None` where there is no pair.
    pub conflicts: Option<f64>,
}

/// The cosine between the gradients of two tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cosine {
    /// The two tasks, in the order of the config.
    pub tasks: (String, String),
    /// From -1 to 1.
    pub cosine: f64,
}

/// A step whose loss or gradient is not finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NonFiniteStep {
    /// Steps done, this one included.
    pub step: usize,
    /// The epoch it belongs to, counted from 1.
    pub epoch: usize,
    /// What was found, task by task.
    pub tasks: Vec<NonFiniteTask>,
    /// How many steps in a row were not finite.
    pub in_a_row: usize,
}

/// A task whose loss or gradient is not finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NonFiniteTask {
    /// The task.
    pub task: String,
    /// What is not finite: `loss NaN`, `loss inf`, `gradient`.
    pub found: String,
    /// The task's rows in the step, as `file:line`: the first few.
    pub rows: Vec<String>,
    /// How many rows of the task the step had.
    pub of: usize,
}

impl std::fmt::Display for NonFiniteTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "task `{}`: {} on {} row(s): {}", self.task, self.found, self.of, self.rows.join(", "))?;
        if self.of > self.rows.len() {
            write!(f, ", ...")?;
        }
        Ok(())
    }
}

/// The scores of a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Steps done.
    pub step: usize,
    /// Epochs begun.
    pub epoch: usize,
    /// `train`, `validation` or `test`.
    pub split: String,
    /// Scores by task and metric, fractions.
    pub scores: BTreeMap<String, BTreeMap<String, f64>>,
    /// The primary metric of each task.
    pub primary: BTreeMap<String, String>,
    /// Mean loss per task, where it is a finite number.
    pub losses: BTreeMap<String, f64>,
    /// Mean of the primary metrics, weighted by importance.
    pub mean: f64,
    /// The value that decides which checkpoint is best.
    pub value: f64,
    /// Whether it is the best so far.
    pub best: bool,
    /// Rows evaluated.
    pub rows: usize,
    /// How long it took.
    pub seconds: f64,
    /// Time of training so far, evaluations included.
    pub elapsed: f64,
}

/// The states that come out of the frozen layers, written to a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrozenStatesCached {
    /// Steps done.
    pub step: usize,
    /// Layers that no step computes any more.
    pub layers: usize,
    /// Rows.
    pub rows: usize,
    /// Size of the file.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
}

/// Half as many tokens go through the trunk at once from now on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChunkSizeReduced {
    /// Steps done.
    pub step: usize,
    /// How many tokens at most.
    pub tokens: usize,
}

/// A learning rate that was reduced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearningRateReduced {
    /// Steps done.
    pub step: usize,
    /// The task whose head learns more slowly from now on; `None` where everything does.
    pub task: Option<String>,
    /// The factor of the rate that schedule and optimizer give.
    pub factor: f64,
    /// The best value of an evaluation so far; there was no better one for too long.
    pub best: f64,
}

/// A saved checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// Its step.
    pub step: usize,
    /// Its directory.
    pub path: String,
    /// How long saving took.
    pub seconds: f64,
}

/// A phase of a run begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseBegan {
    /// Steps done.
    pub step: usize,
    /// Which phase, from 1 on, and of how many.
    pub phase: usize,
    /// See `phase`.
    pub of: usize,
    /// The tasks that are trained in it.
    pub tasks: Vec<String>,
    /// The lower layers that are frozen in it; `None` where everything is trained.
    pub frozen: Option<usize>,
}

/// A task is trained no more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskDone {
    /// Steps done.
    pub step: usize,
    /// The task.
    pub task: String,
    /// Why.
    pub reason: StopReason,
    /// Steps of the whole run without it.
    #[serde(default)]
    pub steps: usize,
}

/// What each task has used so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsageReport {
    /// Steps done.
    pub step: usize,
    /// By task.
    pub tasks: BTreeMap<String, TaskUsage>,
    /// The fraction of the operations of each task, 0 to 1.
    pub shares: BTreeMap<String, f64>,
    /// What was drawn of each corpus.
    pub corpora: BTreeMap<String, CorpusUsage>,
}

/// What was drawn of a corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorpusUsage {
    /// Its rows that are worth drawing in some phase.
    pub rows: usize,
    /// Draws since the beginning; those beyond `rows` are repetitions.
    pub draws: u64,
}

/// The run ends before its last step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoppedEarly {
    /// Steps done.
    pub step: usize,
    /// The step of the best evaluation.
    pub best: usize,
    /// Evaluations since then.
    pub evaluations: usize,
}

/// The run was asked to stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interrupted {
    /// Steps done.
    pub step: usize,
    /// Steps of the whole run.
    pub steps: usize,
    /// The checkpoint that holds the state.
    pub checkpoint: String,
}

/// The run is complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Steps done.
    pub step: usize,
    /// The step whose weights are the result.
    pub result: usize,
    /// The directory of the result.
    pub model: String,
    /// Tokens trained on.
    pub tokens: u64,
    /// Time of training, evaluations and earlier parts of the run included.
    pub elapsed: f64,
}
