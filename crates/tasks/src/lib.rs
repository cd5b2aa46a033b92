//! The kinds of task: for each kind its labels, its head, its loss, its decoding and its metrics.
//!
//! A [`TaskConfig`] is a `[task.NAME]` table, without the keys that say how the task is trained. [`TaskConfig::build`] makes the [`Kind`], a task whose labels are not known.
//! [`Kind::fit_labels`] gives the label space of the training rows as data. [`Kind::init_head`] makes of a label space the
//! [`TaskHead`], the object that the trainer holds: it encodes the targets of each split, and turns token states into a loss,
//! predictions and scores.
//!
//! `kinds/` has one file or folder for each kind. What several kinds use is in `targets/` (reading and encoding of gold
//! labels), `heads/` (layers and their parameters), `losses/` and `decode/` (from logits to answers).
//!
//! To add a kind: one file in `kinds/` whose `//!` comment documents it, its lines in `kinds/mod.rs`, and a variant of
//! [`Prediction`] if none fits.
//!
//! Invariants: no files are read and nothing is printed. Nothing is random but what follows from a given seed, such as
//! dropout. Encoded targets are in range; losses and scores do not check them again.

mod batch;
mod decode;
mod distillation;
mod error;
mod heads;
mod input;
mod kind;
mod kinds;
mod label_remarks;
mod losses;
mod onnx;
mod prediction;
mod report;
mod row_comparison;
mod shared_head;
mod targets;
mod task_head;
mod teacher_answers;
mod trunk;

pub use batch::{Batch, BatchRow, Writer};
pub use distillation::{SoftOutputs, SoftTargets, TeacherWeight};
pub use error::TaskError;
pub use heads::pooling::Pooling;
pub use heads::thresholds::{NamedThresholds, Thresholds};
pub use kind::Kind;
pub use kinds::*;
pub use label_remarks::label_remarks;
pub use onnx::OnnxHead;
pub use prediction::{
    EntityAnswer, EntityGraph, FoundToken, ModelInput, Prediction, RelationAnswer, SpanAnswer, TextAnswer,
    WordArc, WordTag,
};
pub use report::{GoldIssue, LabelReport, Loss, Scores, SummaryStatistics};
pub use row_comparison::RowComparison;
pub use shared_head::joint_label_spaces;
pub use targets::class_weights::{ClassWeights, NamedWeights};
pub use targets::tag_scheme::Scheme;
pub use task_head::TaskHead;
pub use teacher_answers::TeacherAnswers;
pub use trunk::TrunkHandles;
