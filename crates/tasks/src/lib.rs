//! The kinds of task: for each kind its labels, its head, its loss, its decoding and its metrics.
//!
//! A [`TaskConfig`] is one `[task.NAME]` table. [`TaskConfig::build`] makes the [`Kind`], the object that the trainer holds: it
//! fits its label space to the training rows, adds its head to the parameters, encodes the targets of each split, and then
//! turns token states into a loss, predictions and scores.
//!
//! `kinds/` has one file or folder for each kind. What several kinds use is in `targets/` (reading and encoding of gold
//! labels), `heads/` (layers and their parameters), `losses/` and `decode/` (from logits to answers).
//!
//! To add a kind: one file in `kinds/` whose `//!` comment documents it, its lines in `kinds/mod.rs`, and a variant of
//! [`Prediction`] if none fits.
//!
//! Invariants: no files are read and nothing is printed. Nothing is random but what follows from a given seed, such as
//! dropout. Encoded targets are in range; losses and scores do not check them again.

mod budget;
mod decode;
mod error;
mod heads;
mod input;
mod kind;
mod kinds;
mod losses;
mod reduce_lr_on_plateau;
mod shared_head;
mod targets;
mod trunk;

pub use budget::{Budget, EarlyStoppingConfig};
pub use error::TaskError;
pub use heads::pooling::Pooling;
pub use heads::thresholds::{NamedThresholds, Thresholds};
pub use kind::{
    Batch, BatchRow, EntityAnswer, EntityGraph, FoundToken, Kind, LabelReport, Loss, ModelInput, Prediction,
    RelationAnswer, Scores, SpanAnswer, SummaryStatistics, TextAnswer, WordArc, WordTag,
};
pub use kinds::{
    CATALOGUE, ClassificationConfig, Decoding, DependencyParsingConfig, EntitiesRelationsConfig,
    ExtractiveQaConfig, GenerationConfig, LemmatizationConfig, MaskedLanguageModelConfig, MultiLabelConfig,
    MultipleChoiceConfig, Objective, OrdinalRegressionConfig, RegressionConfig, RegressionLoss,
    RelationClassificationConfig, Sampling, Scheduled, ScheduledSampling, Scheme, TaggingConfig, TaskConfig,
    TranslationConfig,
};
pub use reduce_lr_on_plateau::ReduceLrOnPlateau;
pub use shared_head::joint_label_spaces;
pub use targets::class_weights::{ClassWeights, NamedWeights};
pub use trunk::TrunkHandles;
