//! The kinds of task, one file or folder each, and their register: one line for each kind.

mod causal_language_model;
mod chat;
mod classification;
mod dependency_parsing;
mod entities_relations;
mod extractive_qa;
mod generation;
mod hidden_states;
mod lemmatization;
mod masked_language_model;
mod multi_label;
mod multiple_choice;
mod ordinal_regression;
mod regression;
mod relation_classification;
mod seq2seq;
mod tagging;
mod translation;

use schemars::JsonSchema;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize};

pub use causal_language_model::CausalLanguageModelConfig;
pub use chat::{ChatConfig, LearnedTurns};
pub use classification::ClassificationConfig;
pub use dependency_parsing::DependencyParsingConfig;
pub use entities_relations::{EntitiesRelationsConfig, Objective, Scheduled, ScheduledSampling};
pub use extractive_qa::ExtractiveQaConfig;
pub use generation::GenerationConfig;
pub use hidden_states::{HiddenStatesConfig, MatchedStates};
pub use lemmatization::LemmatizationConfig;
pub use masked_language_model::MaskedLanguageModelConfig;
pub use multi_label::{LabelFields, MultiLabelConfig};
pub use multiple_choice::{LabelIs, MultipleChoiceConfig};
pub use ordinal_regression::OrdinalRegressionConfig;
pub use regression::{RegressionConfig, RegressionLoss};
pub use relation_classification::RelationClassificationConfig;
pub use seq2seq::{Decoding, Sampling, SmoothingMethod, TextMetrics, Tokenization};
pub use tagging::{SpanMatching, TaggingConfig};
pub use translation::TranslationConfig;

use crate::{Kind, TaskError};

/// Generates from `name: Config, "file";` lines the fields of [`TaskConfig`], its dispatch by kind, and [`CATALOGUE`].
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $config:ty, $file:literal;)+) => {
        /// A task: `[task.NAME]`, with exactly one kind.
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct TaskConfig {
            /// The corpus whose rows carry the labels: the NAME of a `[corpus.NAME]`.
            pub corpus: String,
            /// The primary metric: the score of the task in tables, in early stopping and in the choice of the best checkpoint;
            /// without it the kind's first.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub metric: Option<String>,
            /// The name of a task of the same kind whose head this task shares. Where heads have labels, both tasks have the
            /// labels of both.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub head: Option<String>,
            $(
                $(#[$doc])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $name: Option<$config>,
            )+
        }

        /// Every kind: its name, and the source file whose leading comment documents it.
        pub const CATALOGUE: &[(&str, &str)] = &[$((stringify!($name), include_str!($file)),)+];

        impl TaskConfig {
    /// Changes a setting of decoding of a task that writes; false for other tasks.
    ///
    /// # Errors
    /// A key or value that decoding does not have, in words.
    pub fn set_decoding(&mut self, key: &str, value: &serde_json::Value) -> Result<bool, String> {
        let Some(decoding) = self.decoding() else {
            return Ok(false);
        };
        *decoding = decoding.with(key, value)?;
        Ok(true)
    }

    /// How the task writes; `None` where it writes nothing.
    fn decoding(&mut self) -> Option<&mut seq2seq::Decoding> {
        let TaskConfig { generation, translation, chat, causal_language_model, .. } = self;
        let decoding = generation.as_mut().map(|config| &mut config.decoding);
        let decoding = decoding.or(translation.as_mut().map(|config| &mut config.decoding));
        let decoding = decoding.or(chat.as_mut().map(|config| &mut config.decoding));
        decoding.or(causal_language_model.as_mut().map(|config| &mut config.decoding))
    }

    /// Whether the task writes texts.
    pub fn writes(&self) -> bool {
        let TaskConfig { generation, translation, chat, causal_language_model, .. } = self;
        generation.is_some() || translation.is_some() || chat.is_some() || causal_language_model.is_some()
    }

    /// Whether the task is learned from a teacher alone, whose trunk answers, and has no answer of its own.
    pub fn needs_teacher(&self) -> bool {
        self.hidden_states.is_some()
    }

            /// The kinds that the table names.
            fn named(&self) -> Vec<&'static str> {
                [$(self.$name.as_ref().map(|_| stringify!($name)),)+].into_iter().flatten().collect()
            }

            /// Adds the kinds that the table names to a map that is being written.
            ///
            /// # Errors
            /// Those of the serializer.
            pub fn serialize_kind<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                $(if let Some(config) = &self.$name {
                    map.serialize_entry(stringify!($name), config)?;
                })+
                Ok(())
            }

            /// Builds the one kind that is named.
            fn build_named(&self, task: &str) -> Option<Result<Box<dyn Kind>, TaskError>> {
                $(if let Some(config) = &self.$name {
                    return Some(config.build(task, self.metric.as_deref()));
                })+
                None
            }
        }
    };
}

kinds! {
    /// Kind: the prediction of the next token, on a decoder.
    causal_language_model: CausalLanguageModelConfig, "causal_language_model.rs";
    /// Kind: the answers of an assistant in a conversation, on a decoder.
    chat: ChatConfig, "chat.rs";
    /// Kind: one label per row.
    classification: ClassificationConfig, "classification.rs";
    /// Kind: the syntactic head of each word, and the word's relation to it.
    dependency_parsing: DependencyParsingConfig, "dependency_parsing.rs";
    /// Kind: named entities and the relations between them.
    entities_relations: EntitiesRelationsConfig, "entities_relations.rs";
    /// Kind: the span of a context that answers a question.
    extractive_qa: ExtractiveQaConfig, "extractive_qa.rs";
    /// Kind: a text generated from another text by the decoder.
    generation: GenerationConfig, "generation.rs";
    /// Kind: the states of a teacher's tokens, in distillation.
    hidden_states: HiddenStatesConfig, "hidden_states.rs";
    /// Kind: the lemma of each word.
    lemmatization: LemmatizationConfig, "lemmatization.rs";
    /// Kind: the prediction of masked tokens.
    masked_language_model: MaskedLanguageModelConfig, "masked_language_model.rs";
    /// Kind: any number of labels per row.
    multi_label: MultiLabelConfig, "multi_label.rs";
    /// Kind: which of several choices fits a text.
    multiple_choice: MultipleChoiceConfig, "multiple_choice.rs";
    /// Kind: one of several ordered classes per row.
    ordinal_regression: OrdinalRegressionConfig, "ordinal_regression.rs";
    /// Kind: one number per row.
    regression: RegressionConfig, "regression.rs";
    /// Kind: the relation between two marked spans of a text.
    relation_classification: RelationClassificationConfig, "relation_classification.rs";
    /// Kind: one tag per word, spans made of tags.
    tagging: TaggingConfig, "tagging.rs";
    /// Kind: a text in another language, generated by the decoder.
    translation: TranslationConfig, "translation.rs";
}

impl TaskConfig {
    /// The task whose head the task of this name has: itself, unless the table names another.
    pub fn head_owner<'a>(&'a self, task: &'a str) -> &'a str {
        self.head.as_deref().unwrap_or(task)
    }

    /// The name of the task's kind.
    ///
    /// # Errors
    /// When the table names no kind, or more than one. `task` is only for the message.
    pub fn kind(&self, task: &str) -> Result<&'static str, TaskError> {
        match self.named()[..] {
            [kind] => Ok(kind),
            [] => {
                let allowed = CATALOGUE.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
                Err(TaskError::NoKind { task: task.into(), allowed })
            }
            ref found => Err(TaskError::ManyKinds { task: task.into(), found: found.join(", ") }),
        }
    }

    /// Checks the settings and makes the task.
    ///
    /// # Errors
    /// Not exactly one kind; a setting out of its range; a primary metric that the kind does not have.
    pub fn build(&self, task: &str) -> Result<Box<dyn Kind>, TaskError> {
        self.kind(task)?;
        self.build_named(task).expect("`kind` found one")
    }
}
