//! What a run remembers between steps, apart from weights and moments.

use crate::{allotment::Allotment, best::Standing, plateau::Plateaus, task_rates::Progresses};
use data::StreamState;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Counters of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// Steps done, bad ones included. Dropout noise is a function of it.
    pub(crate) step: usize,
    /// Where the run is in its timetable: the steps done, and those that it went past because a phase, or a task, was done
    /// early. The schedule is a function of it.
    pub(crate) place: usize,
    /// The phase that its stream is of.
    pub(crate) phase: usize,
    /// Tokens trained on.
    pub(crate) tokens: u64,
    /// Seconds of training, evaluations and earlier parts of the run included.
    pub(crate) elapsed: f64,
    /// Bad steps in a row, up to now.
    pub(crate) bad_in_a_row: usize,
    /// The evaluation at this step is still to come.
    pub(crate) evaluation_due: bool,
    /// The checkpoint at this step is still to come.
    pub(crate) checkpoint_due: bool,
    /// The evaluations so far.
    pub(crate) standing: Standing,
    /// What each task has got.
    pub(crate) allotment: Allotment,
    /// The step after which that was last told.
    pub(crate) allotment_told: Option<usize>,
    /// What they have let fall.
    #[serde(default)]
    pub(crate) plateaus: Plateaus,
    /// How many tokens go through the trunk at once, since memory had no room for more.
    #[serde(default)]
    pub(crate) at_once: Option<usize>,
    /// How far the tasks have come, where their heads' learning rates follow that.
    #[serde(default)]
    pub(crate) tasks: Progresses,
}

/// The part of a checkpoint that is no tensor: `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) progress: Progress,
    /// The place in the stream of rows.
    pub(crate) stream: StreamState,
    /// What the balancer remembers.
    pub(crate) balancer: serde_json::Value,
    /// How often each parameter moved, by name; those that never did are left out.
    pub(crate) updates: BTreeMap<String, u32>,
    /// What shaped the run, key by key.
    pub(crate) fingerprint: BTreeMap<String, serde_json::Value>,
}
