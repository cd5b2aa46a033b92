//! Balancing: K task losses in, K weights out. No tensors, no input or output; usable by itself.
//!
//! Each step the trainer hands a [`Balancer`] the loss of every task, gets a weight for each, and takes one backward pass of
//! the weighted sum. What a method has learned is a value ([`Balancer::state`]) that a checkpoint keeps; restored, the
//! method goes on bit for bit as if nothing had happened.
//!
//! ```
//! use polytask_balance::{Balancing, Uncertainty};
//!
//! let method = Balancing::Uncertainty(Uncertainty::default());
//! let mut balancer = method.build(&["intent", "slots", "polarity"], &[1.0, 1.0, 1.0])?;
//! // `polarity` has no labels in this step: it gets no weight and nothing about it changes.
//! let weights = balancer.weights(&[Some(1.2), Some(3.4), None]);
//! assert_eq!(weights, [0.5, 0.5, 0.0]);
//! // From now on `slots`, whose loss is further above 1, is weighted less.
//! let weights = balancer.weights(&[Some(1.2), Some(3.4), None]);
//! assert!(weights[1] < 0.5);
//! # Ok::<(), polytask_balance::BalanceError>(())
//! ```
//!
//! `examples/alone.rs` balances a small least-squares problem without any engine.
//!
//! # Where gradient methods go
//! Methods that look at gradients need only their Gramian, `G = J J^T` (K x K, f64; row i of J is task i's gradient over the
//! shared parameters), and give K weights as well. They are members of the same family: a file each beside the others, a
//! variant of [`Balancing`], a line in [`CATALOGUE`]. What the trait then gains is a method with a default body that says
//! "losses are enough for me", so that the trainer forms G only where it is needed, and one that takes G along with the
//! losses; the methods that are here stay as they are. A task absent from a step is absent from G.

mod adam;
mod equal;
mod static_weights;
mod uncertainty;

pub use equal::Equal;
pub use static_weights::Static;
pub use uncertainty::Uncertainty;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Every method's name and the source whose leading `//!` lines are its documentation.
pub const CATALOGUE: &[(&str, &str)] = &[
    ("equal", include_str!("equal.rs")),
    ("static", include_str!("static_weights.rs")),
    ("uncertainty", include_str!("uncertainty.rs")),
];

/// The largest importance, or weight of `static`, that is taken: beyond it weighted losses would leave f32's range.
pub const LARGEST_WEIGHT: f64 = 1e9;

/// How the tasks' losses are weighted against each other, a table `[balance.METHOD]`. Default: `equal`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balancing {
    /// Every task's loss counts with its importance, nothing else.
    Equal(Equal),
    /// Weights written in the config.
    Static(Static),
    /// Weights learned from the noise of each task (Kendall et al. 2018).
    Uncertainty(Uncertainty),
}

impl Default for Balancing {
    fn default() -> Self {
        Balancing::Equal(Equal::default())
    }
}

impl Balancing {
    /// The method's name, as in `[balance.NAME]` and [`CATALOGUE`].
    pub fn name(&self) -> &'static str {
        match self {
            Balancing::Equal(_) => "equal",
            Balancing::Static(_) => "static",
            Balancing::Uncertainty(_) => "uncertainty",
        }
    }

    /// The method at work for `tasks`, whose order is that of the losses and weights from then on. Each weight that the
    /// method finds is multiplied by the task's importance (same order, 1 = no change).
    ///
    /// # Errors
    /// When there is no task, when an importance is not in `0..=1e9`, when all are 0, or when the method's settings do not
    /// fit; the error names the config key.
    pub fn build(&self, tasks: &[&str], importance: &[f64]) -> Result<Box<dyn Balancer>, BalanceError> {
        if tasks.is_empty() {
            return Err(BalanceError::NoTask);
        }
        if tasks.len() != importance.len() {
            return Err(BalanceError::ImportanceCount { tasks: tasks.len(), found: importance.len() });
        }
        for (task, &found) in tasks.iter().zip(importance) {
            in_range(format!("task.{task}.importance"), found, 0.0, LARGEST_WEIGHT)?;
        }
        if importance.iter().all(|&importance| importance == 0.0) {
            return Err(BalanceError::NothingLearned { key: "task.*.importance".to_owned() });
        }
        match self {
            Balancing::Equal(config) => Ok(Box::new(config.build(importance))),
            Balancing::Static(config) => Ok(Box::new(config.build(tasks, importance)?)),
            Balancing::Uncertainty(config) => Ok(Box::new(config.build(tasks, importance)?)),
        }
    }
}

/// A balancing method at work.
pub trait Balancer: Send {
    /// The weights for these losses, in the order of the tasks, each finite and at least 0; the direction to go is the
    /// gradient of the sum of `weight x loss`. Each call moves the methods that have state: once a step, or once a pack
    /// where a step accumulates several.
    ///
    /// `None` is a task that is absent from the step: its weight is 0 and its state does not move. A loss that is NaN or
    /// infinite is treated as absent, so that it cannot poison the state; leave such a task out of the sum (0 times NaN is
    /// NaN), and better, skip the step.
    ///
    /// # Panics
    /// When `losses` does not have one entry a task.
    fn weights(&mut self, losses: &[Option<f64>]) -> Vec<f64>;

    /// What the method has learned so far, with the name of the method; every float survives JSON bit for bit.
    fn state(&self) -> serde_json::Value;

    /// Takes up where [`state`](Balancer::state) was called.
    ///
    /// # Errors
    /// When `state` is not one that this method made for these tasks; then nothing has changed.
    fn restore(&mut self, state: &serde_json::Value) -> Result<(), BalanceError>;
}

/// Why a balancing method cannot be built or restored.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BalanceError {
    /// There is nothing to balance.
    #[error("no task to balance; add a [task.NAME] table")]
    NoTask,
    /// The importances do not match the tasks.
    #[error("{found} importances for {tasks} tasks, expected one each")]
    ImportanceCount {
        /// How many tasks there are.
        tasks: usize,
        /// How many importances were given.
        found: usize,
    },
    /// A number is outside its range.
    #[error("{key} = {found}, expected a number from {least} to {most}")]
    OutOfRange {
        /// The config key.
        key: String,
        /// Its value.
        found: f64,
        /// The smallest allowed.
        least: f64,
        /// The largest allowed.
        most: f64,
    },
    /// A weight is given for a task that does not exist.
    #[error("{key}: there is no task of that name, expected one of: {}", .tasks.join(", "))]
    UnknownTask {
        /// The config key.
        key: String,
        /// The tasks there are.
        tasks: Vec<String>,
    },
    /// Every task would get weight 0.
    #[error(
        "{key}: every task has weight 0, so nothing would be learned; give at least one a weight above 0"
    )]
    NothingLearned {
        /// The config key.
        key: String,
    },
    /// A saved state is not this method's.
    #[error(
        "the saved state of the balancer does not fit [balance.{method}]: {reason}; was the config changed since?"
    )]
    State {
        /// The method that was to be restored.
        method: &'static str,
        /// What is wrong with the state.
        reason: String,
    },
}

/// The importance of every task that is present with a finite loss, 0 for the others: the weights of the methods that
/// learn nothing.
fn fixed_weights(weights: &[f64], losses: &[Option<f64>]) -> Vec<f64> {
    assert_eq!(losses.len(), weights.len(), "one loss, or None, a task");
    let present = losses.iter().map(|loss| loss.is_some_and(f64::is_finite));
    weights.iter().zip(present).map(|(&weight, present)| if present { weight } else { 0.0 }).collect()
}

/// The state of the methods that learn nothing: their name.
fn restore_nothing(method: &'static str, state: &serde_json::Value) -> Result<(), BalanceError> {
    match state.get("method").and_then(|name| name.as_str()) {
        Some(name) if name == method => Ok(()),
        Some(name) => Err(BalanceError::State { method, reason: format!("it was saved by `{name}`") }),
        None => Err(BalanceError::State { method, reason: "it names no method".to_owned() }),
    }
}

/// Checks a number from outside, NaN included.
fn in_range(key: String, found: f64, least: f64, most: f64) -> Result<(), BalanceError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(BalanceError::OutOfRange { key, found, least, most })
}
