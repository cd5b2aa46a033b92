//! One file a kind of task: what its labels look like, its head, its loss, its decoding, its metrics.
//!
//! A [`TaskConfig`] is one `[task.NAME]` table. [`TaskConfig::build`] makes the [`Kind`], the object that the trainer
//! holds: it learns its labels from the training rows, adds its head to the parameters, attaches the targets of each
//! split, and then turns token states into a loss, into predictions and scores.
//!
//! To add a kind: one file beside `classification.rs` whose `//!` comment documents it, one line in `kinds.rs`, and a
//! variant of [`Prediction`] if none fits.
//!
//! Invariants: no files are read, nothing is printed, nothing random is drawn but dropout from a given seed. A target
//! that is attached is in range; the losses and scores check nothing again.

mod allotted;
mod answer;
mod binary;
mod chain_head;
mod classification;
mod crf;
mod decoder;
mod entities_relations;
mod error;
mod focal;
mod generation;
mod gold;
mod head;
mod input;
mod kind;
mod kinds;
mod labels;
mod lemmas;
mod masked_language_model;
mod multi_label;
mod multiple_choice;
mod ordinal;
mod parsing;
mod plateau;
mod pooling;
mod ragged;
mod regression;
mod relation;
mod seq2seq;
mod sharing;
mod span;
mod states;
mod tagging;
mod thresholds;
mod translation;
mod trunk;
mod weights;
mod words;

pub use allotted::{Budget, Done};
pub use classification::ClassificationConfig;
pub use entities_relations::{EntitiesRelationsConfig, Learn, Mixing, Scheduled};
pub use error::TaskError;
pub use generation::GenerationConfig;
pub use kind::{
    Batch, BatchRow, EntityAnswer, EntityGraph, FoundToken, Kind, LabelReport, Loss, Numbers, Prediction,
    RelationAnswer, Scores, Source, SpanAnswer, TextAnswer, WordArc, WordTag,
};
pub use kinds::{CATALOGUE, TaskConfig};
pub use lemmas::LemmasConfig;
pub use masked_language_model::MaskedLanguageModelConfig;
pub use multi_label::MultiLabelConfig;
pub use multiple_choice::MultipleChoiceConfig;
pub use ordinal::OrdinalConfig;
pub use parsing::ParsingConfig;
pub use plateau::PlateauConfig;
pub use pooling::Pooling;
pub use regression::{RegressionConfig, RegressionLoss};
pub use relation::RelationConfig;
pub use seq2seq::{Decoding, Sampling};
pub use sharing::shared_spaces;
pub use span::SpanConfig;
pub use tagging::{Scheme, TaggingConfig};
pub use thresholds::{NamedThresholds, Thresholds};
pub use translation::TranslationConfig;
pub use trunk::Trunk;
pub use weights::{ClassWeights, NamedWeights};
