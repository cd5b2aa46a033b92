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

mod best;
mod buffers;
mod checkpoint;
mod clip;
mod comparison;
mod config;
mod durable;
mod error;
mod evaluate;
mod events;
mod fingerprint;
mod frozen;
mod gradients;
mod history;
mod jacobian;
mod job;
pub mod optimizer;
mod pooled;
mod run;
mod run_dir;
mod saved;
pub mod schedule;
mod scope;
mod setup;
mod state;
mod step;
mod timetable;
mod trunk;

pub use best::{Criterion, Judged, ScoreTable, Standing};
pub use checkpoint::list as checkpoints;
pub use comparison::Comparison;
pub use config::{EarlyStopping, Fault, Pick, Recompute, Settings, TrainConfig};
pub use error::TrainError;
pub use evaluate::{Evaluation, TaskScores, evaluate, predict};
pub use events::{
    BadStep, BadTask, BrokenCheckpoint, Cached, Cosine, Evaluated, Event, Finished, Interrupted, Saved,
    Started, Step, StoppedEarly, TaskGradients,
};
pub use gradients::{Gradient, Gradients};
pub use history::{Resumption, truncate};
pub use job::{Job, Model, ModelDecoder, TaskSlot, Views};
pub use optimizer::{AdamWConfig, Moments, Optimizing};
pub use pooled::pooled;
pub use run::{Host, Outcome, Start, run, stream, timetable};
pub use run_dir::RunDir;
pub use saved::{Card, TaskCard};
pub use schedule::Schedule;
pub use scope::Scope;
pub use timetable::Timetable;
