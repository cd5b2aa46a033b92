//! The state of a run between steps, apart from weights and the optimizer's state.

use crate::{
    loading::step_plan::StepPlan, pruning::PruningState, run::best::EvaluationHistory,
    run::task_usage::UsageLedger, schedule::head_lr::LossProgress, schedule::plateau::Plateaus,
};
use data::StreamState;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Counters of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunProgress {
    /// Steps done, those without a finite loss included. Dropout is a function of it.
    pub(crate) step: usize,
    /// Where the run is in its plan: the steps done, and those that were skipped because a phase, or a task, was done early. The
    /// schedule is a function of it.
    pub(crate) schedule_step: usize,
    /// The phase that its stream is of.
    pub(crate) phase: usize,
    /// Tokens trained on.
    pub(crate) tokens: u64,
    /// Seconds of training, evaluations and earlier parts of the run included.
    pub(crate) elapsed: f64,
    /// Steps in a row without a finite loss or gradient, up to now.
    pub(crate) nonfinite_in_a_row: usize,
    /// The evaluation at this step is still to come.
    pub(crate) evaluation_due: bool,
    /// The checkpoint at this step is still to come.
    pub(crate) checkpoint_due: bool,
    /// The evaluations so far.
    pub(crate) evaluations: EvaluationHistory,
    /// What each task has used.
    pub(crate) usage: UsageLedger,
    /// The step after which that was last reported.
    pub(crate) usage_reported: Option<usize>,
    /// The reductions of learning rates by them.
    #[serde(default)]
    pub(crate) plateaus: Plateaus,
    /// The plan, where its rest was planned again because a task was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) step_plan: Option<StepPlan>,
    /// How many tokens go through the trunk at once, since memory had no space for more.
    #[serde(default)]
    pub(crate) chunk_tokens: Option<usize>,
    /// The progress of the tasks, where their heads' learning rates are balanced by it.
    #[serde(default)]
    pub(crate) loss_progress: LossProgress,
}

impl RunProgress {
    /// A time that no run can have used, if there is one: negative, not a number, or longer than 30,000 years.
    pub(crate) fn impossible_time(&self) -> Option<f64> {
        let of_tasks = self.usage.tasks.values().map(|used| used.seconds);
        of_tasks.chain([self.elapsed]).find(|seconds| !(0.0..1e12).contains(seconds))
    }
}

/// The part of a checkpoint that is no tensor: `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) progress: RunProgress,
    /// The position in the stream of rows.
    pub(crate) stream: StreamState,
    /// The state of the balancer.
    pub(crate) balancer: serde_json::Value,
    /// The scores and masks of a model that is pruned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pruning: Option<PruningState>,
    /// How often each parameter was updated, by name; those that never were are left out.
    pub(crate) updates: BTreeMap<String, u32>,
    /// What shaped the run, key by key.
    pub(crate) fingerprint: BTreeMap<String, serde_json::Value>,
}
