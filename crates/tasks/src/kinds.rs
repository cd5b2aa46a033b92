//! The register of kinds: one line each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::allotted::{Budget, Done};
use crate::classification::ClassificationConfig;
use crate::entities_relations::EntitiesRelationsConfig;
use crate::generation::GenerationConfig;
use crate::lemmas::LemmasConfig;
use crate::masked_language_model::MaskedLanguageModelConfig;
use crate::multi_label::MultiLabelConfig;
use crate::multiple_choice::MultipleChoiceConfig;
use crate::ordinal::OrdinalConfig;
use crate::parsing::ParsingConfig;
use crate::regression::RegressionConfig;
use crate::relation::RelationConfig;
use crate::span::SpanConfig;
use crate::tagging::TaggingConfig;
use crate::translation::TranslationConfig;
use crate::{Kind, PlateauConfig, TaskError};

/// Makes, of `name: Config, "file"` lines, the fields of [`TaskConfig`], its choice of kind, and [`CATALOGUE`].
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $config:ty, $file:literal;)+) => {
        /// One thing to learn: `[task.NAME]`, with exactly one kind.
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct TaskConfig {
            /// The corpus whose rows carry the labels: the NAME of a `[corpus.NAME]`.
            pub corpus: String,
            /// How much the task counts: multiplies its weight in the loss and in the mean of the scores.
            #[serde(default = "one")]
            #[schemars(range(min = 0.0))]
            pub importance: f64,
            /// The score that stands for the task in tables, early stopping and the choice of the best checkpoint;
            /// without it the kind's first.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub metric: Option<String>,
            /// The learning rate of this task's head; without it the optimizer's.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(range(min = 0.0))]
            pub learning_rate: Option<f64>,
            /// Lets the learning rate of this task's head fall when its main metric on the validation split stops improving.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub plateau: Option<PlateauConfig>,
            /// The name of a task of the same kind whose head this task uses, too. Where heads have labels, both then have
            /// those of both.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub head: Option<String>,
            /// The main score that the task could reach, such as that of a model of its own; 1 by default. The sampler
            /// `validation` draws by what is missing of it.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(range(min = 0.0))]
            pub target: Option<f64>,
            /// What the task may use of the run: `{ share = 0.25 }` of the computation, or at most so many `tokens`, `steps` or
            /// `seconds`. Without one, what the sampler gives.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub budget: Option<Budget>,
            /// When the task is done: its main validation score has not improved for `patience` evaluations. Then it is trained
            /// no more, and its head is kept as it was at its best.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub early_stopping: Option<Done>,
            $(
                $(#[$doc])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $name: Option<$config>,
            )+
        }

        /// Every kind: its name and the source whose leading comment documents it.
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
    /// Kind: named entities and the relations between them.
    entities_relations: EntitiesRelationsConfig, "entities_relations.rs";
    /// Kind: a text from another text, written by the decoder.
    generation: GenerationConfig, "generation.rs";
    /// Kind: the lemma of each word.
    lemmas: LemmasConfig, "lemmas.rs";
    /// Kind: hidden tokens of a text, found again.
    masked_language_model: MaskedLanguageModelConfig, "masked_language_model.rs";
    /// Kind: any number of labels per row.
    multi_label: MultiLabelConfig, "multi_label.rs";
    /// Kind: which of several texts belongs to a text.
    multiple_choice: MultipleChoiceConfig, "multiple_choice.rs";
    /// Kind: one of several ordered classes per row.
    ordinal: OrdinalConfig, "ordinal.rs";
    /// Kind: the head of each word, and its relation to it.
    parsing: ParsingConfig, "parsing.rs";
    /// Kind: one number per row.
    regression: RegressionConfig, "regression.rs";
    /// Kind: how two marked spans of a text are related.
    relation: RelationConfig, "relation.rs";
    /// Kind: the part of a context that answers a question.
    span: SpanConfig, "span.rs";
    /// Kind: one tag per word, spans made of tags.
    tagging: TaggingConfig, "tagging.rs";
    /// Kind: a text in another language, written by the decoder.
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
    /// Not exactly one kind; a setting out of its range; a main metric that the kind does not have.
    pub fn build(&self, task: &str) -> Result<Box<dyn Kind>, TaskError> {
        self.kind(task)?;
        for (key, value) in [("importance", Some(self.importance)), ("learning_rate", self.learning_rate)] {
            if let Some(value) = value.filter(|value| !(value.is_finite() && *value >= 0.0)) {
                let (key, found) = (format!("task.{task}.{key}"), value.to_string());
                return Err(TaskError::Setting { key, found, expected: "a number, 0 or more".into() });
            }
        }
        let limits = [("target", self.target.filter(|target| !(target.is_finite() && *target > 0.0)))];
        let limits = limits
            .into_iter()
            .filter_map(|(key, found)| Some((key.to_owned(), found?.to_string(), "a number above 0")));
        let budget = self.budget.iter().filter_map(Budget::fault);
        let done = self.early_stopping.iter().filter(|done| done.patience == 0);
        let done = done.map(|_| ("early_stopping.patience".to_owned(), "0".to_owned(), "at least 1"));
        if let Some((key, found, expected)) = limits.chain(budget).chain(done).next() {
            return Err(TaskError::Setting {
                key: format!("task.{task}.{key}"),
                found,
                expected: expected.into(),
            });
        }
        if let Some(plateau) = &self.plateau {
            plateau.check(&format!("task.{task}.plateau"))?;
        }
        self.build_named(task).expect("`kind` found one")
    }
}
