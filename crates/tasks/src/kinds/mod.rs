//! The kinds of task, one file or folder each, and their register: one line for each kind.

mod classification;
mod dependency_parsing;
mod entities_relations;
mod extractive_qa;
mod generation;
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
use serde::{Deserialize, Serialize};

pub use classification::ClassificationConfig;
pub use dependency_parsing::DependencyParsingConfig;
pub use entities_relations::{EntitiesRelationsConfig, Objective, Scheduled, ScheduledSampling};
pub use extractive_qa::ExtractiveQaConfig;
pub use generation::GenerationConfig;
pub use lemmatization::LemmatizationConfig;
pub use masked_language_model::MaskedLanguageModelConfig;
pub use multi_label::MultiLabelConfig;
pub use multiple_choice::MultipleChoiceConfig;
pub use ordinal_regression::OrdinalRegressionConfig;
pub use regression::{RegressionConfig, RegressionLoss};
pub use relation_classification::RelationClassificationConfig;
pub use seq2seq::{Decoding, Sampling};
pub use tagging::{Scheme, TaggingConfig};
pub use translation::TranslationConfig;

use crate::budget::{Budget, EarlyStoppingConfig};
use crate::reduce_lr_on_plateau::ReduceLrOnPlateau;
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
            /// The factor of the task's weight in the loss and in the mean of the scores.
            #[serde(default = "one")]
            #[schemars(range(min = 0.0))]
            pub importance: f64,
            /// The primary metric: the score of the task in tables, in early stopping and in the choice of the best checkpoint;
            /// without it the kind's first.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub metric: Option<String>,
            /// The learning rate of this task's head; without it the optimizer's.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(range(min = 0.0))]
            pub head_learning_rate: Option<f64>,
            /// Reduces the learning rate of this task's head when its primary metric on the validation split stops improving.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub reduce_lr_on_plateau: Option<ReduceLrOnPlateau>,
            /// The name of a task of the same kind whose head this task shares. Where heads have labels, both tasks have the
            /// labels of both.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub head: Option<String>,
            /// The primary score that the task could reach, such as that of a single-task model; 1 by default. The sampler
            /// `validation` draws by the gap to it.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(range(min = 0.0))]
            pub target: Option<f64>,
            /// The part of the run's computation for the task: `{ share = 0.25 }` of it, or at most so many `tokens`, `steps` or
            /// `seconds`. Without a budget the sampler decides.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub budget: Option<Budget>,
            /// Stops the training of the task when its primary validation score has not improved for `patience` evaluations. Its
            /// head is then restored to its best state.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub early_stopping: Option<EarlyStoppingConfig>,
            $(
                $(#[$doc])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $name: Option<$config>,
            )+
        }

        /// Every kind: its name, and the source file whose leading comment documents it.
        pub const CATALOGUE: &[(&str, &str)] = &[$((stringify!($name), include_str!($file)),)+];

        impl TaskConfig {
            /// The kinds that the table names.
            fn named(&self) -> Vec<&'static str> {
                [$(self.$name.as_ref().map(|_| stringify!($name)),)+].into_iter().flatten().collect()
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

fn one() -> f64 {
    1.0
}

impl TaskConfig {
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
        let rates = [("importance", Some(self.importance)), ("head_learning_rate", self.head_learning_rate)];
        for (key, value) in rates {
            if let Some(value) = value.filter(|value| !(value.is_finite() && *value >= 0.0)) {
                let (key, found) = (format!("task.{task}.{key}"), value.to_string());
                return Err(TaskError::Setting { key, found, expected: "a number, 0 or more".into() });
            }
        }
        let limits = [("target", self.target.filter(|target| !(target.is_finite() && *target > 0.0)))];
        let limits = limits
            .into_iter()
            .filter_map(|(key, found)| Some((key.to_owned(), found?.to_string(), "a number above 0")));
        let budget = self.budget.iter().filter_map(Budget::error);
        let stopping = self.early_stopping.iter().filter(|stopping| stopping.patience == 0);
        let stopping = stopping.map(|_| ("early_stopping.patience".to_owned(), "0".to_owned(), "at least 1"));
        if let Some((key, found, expected)) = limits.chain(budget).chain(stopping).next() {
            return Err(TaskError::Setting {
                key: format!("task.{task}.{key}"),
                found,
                expected: expected.into(),
            });
        }
        if let Some(reduce_lr_on_plateau) = &self.reduce_lr_on_plateau {
            reduce_lr_on_plateau.check(&format!("task.{task}.reduce_lr_on_plateau"))?;
        }
        self.build_named(task).expect("`kind` found one")
    }
}
