//! The training loop: packs in, events and checkpoints out.
//!
//! The way of one step, which [`run`] repeats: the stream draws rows, their pack goes through the trunk once, every
//! task's head gives a loss, the balancer gives the losses weights, one backward pass of the weighted sum gives the
//! gradient, packs accumulate, the gradient is clipped, the optimizer moves the weights in place, and an [`Event`]
//! tells of it.
//!
//! Invariants: no terminal, no environment, no clock of its own (the caller lends one), no randomness but by
//! (seed, name, step). Everything that a run remembers is in its checkpoint, so that going on from a checkpoint
//! gives the same bits as never having stopped. Nothing that comes from outside makes it panic.

mod allotment;
mod best;
mod best_heads;
mod buffers;
mod checkpoint;
mod clip;
mod comparison;
mod config;
mod cost;
mod durable;
mod error;
mod evaluate;
mod events;
mod feed;
mod fingerprint;
mod frozen;
mod gradients;
mod history;
mod jacobian;
mod job;
mod measure;
pub mod optimizer;
mod phase;
mod plan;
mod plateau;
mod pooled;
mod rate_test;
mod row_losses;
mod run;
mod run_dir;
mod saved;
pub mod schedule;
mod scope;
mod setup;
mod state;
mod step;
mod task_rates;
mod timetable;
mod trial;
mod trunk;

/// Name and source text of what learning rates may follow in a run; the leading doc comment of a source is its documentation.
pub const RATES_CATALOGUE: &[(&str, &str)] =
    &[("plateau", include_str!("plateau.rs")), ("task_rates", include_str!("task_rates.rs"))];

pub use allotment::{Reason, Spent, shares};
pub use best::{Criterion, Judged, ScoreTable, Standing};
pub use checkpoint::list as checkpoints;
pub use comparison::Comparison;
pub use config::{EarlyStopping, Fault, Packs, Pick, Recompute, Settings, TrainConfig};
pub use error::TrainError;
pub use evaluate::{Evaluation, TaskScores, evaluate, predict};
pub use events::{
    Allotted, BadStep, BadTask, BrokenCheckpoint, Cached, Cosine, DrawnRows, Evaluated, Event, Finished,
    Halved, Interrupted, PhaseBegan, RateFell, Saved, Started, Step, StoppedEarly, TaskDone, TaskGradients,
};
pub use gradients::{Gradient, Gradients};
pub use history::{Resumption, truncate};
pub use job::{Job, Model, ModelDecoder, TaskSlot, Views};
pub use kernels::Room;
pub use measure::{TaskCost, measure};
pub use optimizer::{AdamWConfig, Moments, Optimizing};
pub use phase::{PhaseConfig, Until};
pub use plan::{Plan, PlannedPhase, Stretch, plan};
pub use plateau::Plateau;
pub use pooled::pooled;
pub use rate_test::{RateRange, RateTest, TriedRate, test_rates};
pub use run::{Host, Outcome, Start, run, streams, timetable};
pub use run_dir::RunDir;
pub use saved::{Card, TaskCard};
pub use schedule::Schedule;
pub use scope::Scope;
pub use task_rates::TaskRates;
pub use timetable::Timetable;
pub use trial::trial;
