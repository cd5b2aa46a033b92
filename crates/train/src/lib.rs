//! The training loop: packs in, events and checkpoints out.
//!
//! One step, which [`run`] repeats: the stream draws rows, their pack goes through the trunk once, every task's head gives a
//! loss, the balancer gives the losses weights, one backward pass of the weighted sum gives the gradient, the gradients of the
//! step's packs are averaged, the gradient is clipped, the optimizer changes the weights in place, and an [`Event`] reports it.
//!
//! Invariants: no terminal, no environment, no clock of its own (the caller lends one), no randomness but by
//! (seed, name, step). Everything that a run remembers is in its checkpoint, so that a resumed run gives the same bits as an
//! uninterrupted one. No input from outside makes it panic.

mod checkpoint;
mod config;
mod error;
mod forward;
mod gradients;
mod job;
mod loading;
pub mod optimizer;
mod probe;
mod pruning;
mod run;
pub mod schedule;

/// Name and source text of what adapts learning rates in a run; the leading doc comment of a source is its documentation.
pub const LR_ADAPTATION_CATALOGUE: &[(&str, &str)] = &[
    ("reduce_lr_on_plateau", include_str!("schedule/plateau.rs")),
    ("head_lr_balancing", include_str!("schedule/head_lr.rs")),
];

pub use checkpoint::digest::FileDigest;
pub use checkpoint::fingerprint::rows as rows_hash;
pub use checkpoint::history::{Resumption, truncate};
pub use checkpoint::list as checkpoints;
pub use checkpoint::run_dir::RunDir;
pub use config::budget::{Budget, EarlyStoppingConfig};
pub use config::gradient_scope::GradientScope;
pub use config::reduce_lr_on_plateau::ReduceLrOnPlateau;
pub use config::task_table::TaskTable;
pub use config::task_training::TaskTraining;
pub use config::validate::unevaluated_tasks;
pub use config::{Batching, CheckpointChoice, EarlyStopping, SettingError, Settings, TrainConfig};
pub use error::TrainError;
pub use forward::evaluate::{Evaluation, TaskPredictions, TaskScores, evaluate, evaluate_tasks, predict};
pub use forward::mean_pooled_states::mean_pooled_states;
pub use forward::sampled_predictions::sampled_predictions;
pub use gradients::{Gradient, Gradients};
pub use job::checksums::{Checked, check_model_files};
pub use job::export::{ModelManifest, TaskManifest};
pub use job::factorized::FactorizedMatrix;
pub use job::flops::{flops_per_token, forward_flops_per_token};
pub use job::merge::{MergeReport, MergeSource, NamedValues, joint_manifest, merge_trunks};
pub use job::teacher::{Answering, AnswersKey, read_teacher_answers, teacher_answers, write_teacher_answers};
pub use job::{HeadlessTask, Job, Model, ModelDecoder, TaskSlot, Views};
pub use kernels::MemoryLimit;
pub use loading::phases::{PhaseConfig, Until};
pub use loading::step_plan::StepPlan;
pub use optimizer::{AdamWConfig, OptimizerConfig, OptimizerState};
pub use probe::chosen_steps::ChosenSteps;
pub use probe::gradient_memory::GradientMemory;
pub use probe::importance::{TaskImportance, importance, importance_of};
pub use probe::input_statistics::{InputStatistics, RowChoice, input_statistics};
pub use probe::layer_losses::{LayerSearch, LossesWithout, SearchStep, losses_without};
pub use probe::lr_range_test::{LrRange, LrRangeTest, LrTrial, lr_range_test};
pub use probe::measure::{TaskCost, measure};
pub use probe::plan::{Plan, PlanSegment, PlannedPhase, plan};
pub use probe::probe_step::probe_step;
pub use probe::squared_gradients::squared_gradients;
pub use pruning::check::check_pruning;
pub use pruning::config::{PruningConfig, PruningScore};
pub use run::best::{Criterion, EvaluationHistory, EvaluationRecord, ScoreTable};
pub use run::events::{
    Affinity, BeganAgain, BrokenCheckpoint, ChunkSizeReduced, CorpusUsage, Cosine, DamagedMetrics, Evaluated,
    Event, Finished, FrozenStatesCached, Interrupted, LayerCosine, LearningRateReduced, Lengthened,
    NonFiniteStep, NonFiniteTask, PairAffinity, PhaseBegan, Pruned, Saved, ScheduleCourse, Started,
    StepEvent, StoppedEarly, TaskAffinity, TaskDone, TaskGradients, Transfer, UsageReport,
};
pub use run::further::{LENGTH_KEYS, lengthened};
pub use run::step::ROWS_PER_TASK as AFFINITY_ROWS_PER_TASK;
pub use run::task_usage::{StopReason, TaskUsage, shares};
pub use run::{Outcome, RunHooks, Start, run, step_plan, streams};
pub use schedule::Schedule;
pub use schedule::head_lr::HeadLrBalancing;
pub use schedule::plateau::Plateau;
