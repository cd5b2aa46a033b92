//! The settings of `entities_relations = { .. }`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::EntitiesRelations;
use super::scheduled_sampling::ScheduledSampling;
use crate::heads::head;
use crate::heads::thresholds::Thresholds;
use crate::targets::labels;
use crate::{Kind, TaskError};

const BOTH_METRICS: &[&str] = &[
    "mean_f1",
    "entity_f1",
    "entity_precision",
    "entity_recall",
    "relation_f1",
    "relation_precision",
    "relation_recall",
    "relation_f1_relaxed",
];
const ENTITY_METRICS: &[&str] = &["entity_f1", "entity_precision", "entity_recall"];
const RELATION_METRICS: &[&str] = &["relation_f1", "relation_precision", "relation_recall"];

/// `entities_relations = { .. }`: named entities and the relations between them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntitiesRelationsConfig {
    /// The field with the words: a list, or text with single spaces between words.
    #[serde(default = "tokens")]
    pub tokens: String,
    /// The field with the entities, a list of `{start, end, type}`.
    #[serde(default = "entities")]
    pub entities: String,
    /// The field with the relations, a list of `{head, tail, type}`.
    #[serde(default = "relations")]
    pub relations: String,
    /// What is learned: both, or only one of them for comparison.
    #[serde(default)]
    pub learn: Objective,
    /// The maximum number of words of an entity.
    #[serde(default = "eight")]
    #[schemars(range(min = 1, max = 64))]
    pub max_width: usize,
    /// Whether entities may overlap.
    #[serde(default)]
    pub nested: bool,
    /// The width of the states of spans and pairs.
    #[serde(default = "default_span_dim")]
    #[schemars(range(min = 1, max = 8192))]
    pub span_dim: usize,
    /// The maximum number of negative samples of a row in a step: spans that are no entity, and pairs that are not related.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1))]
    pub negative_samples: usize,
    /// The share of the rows whose relations are learned between predicted entities; the other rows use the gold entities. A number
    /// from 0 to 1, or { from = 0.0, to = 0.5, over = 1.0 }, the default: linearly from one share to another over a fraction of the
    /// run.
    #[serde(default)]
    pub scheduled_sampling: ScheduledSampling,
    /// The factor of the relations' loss, above 0; that of the entities' loss is 1. 1 by default.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0))]
    pub relation_weight: f32,
    /// The minimum probability of a relation: `"tuned"` (on the validation split), or a number between 0 and 1.
    #[serde(default)]
    pub threshold: Thresholds,
    /// The maximum number of entities of a row whose pairs are scored.
    #[serde(default = "hundred")]
    #[schemars(range(min = 2, max = 1000))]
    pub max_entities: usize,
    /// Dropout of the words' states and before the last layers, 0 to below 1.
    #[serde(default = "head::default_dropout")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f32,
    /// The maximum number of different types of entity, and of relation. More are an error.
    #[serde(default = "labels::default_max_labels")]
    #[schemars(range(min = 1))]
    pub max_labels: usize,
}

/// Whether entities, relations or both are learned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Entities, and relations between the predicted entities.
    #[default]
    Both,
    /// Entities alone.
    Entities,
    /// Relations alone, between the gold entities.
    Relations,
}

impl Objective {
    pub(crate) fn entities(self) -> bool {
        self != Objective::Relations
    }

    pub(crate) fn relations(self) -> bool {
        self != Objective::Entities
    }

    pub(crate) fn metrics(self) -> &'static [&'static str] {
        match self {
            Objective::Both => BOTH_METRICS,
            Objective::Entities => ENTITY_METRICS,
            Objective::Relations => RELATION_METRICS,
        }
    }
}

fn tokens() -> String {
    "tokens".into()
}

fn entities() -> String {
    "entities".into()
}

fn relations() -> String {
    "relations".into()
}

fn eight() -> usize {
    8
}

fn default_span_dim() -> usize {
    256
}

fn one() -> f32 {
    1.0
}

fn hundred() -> usize {
    100
}

impl EntitiesRelationsConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = |name: &str| format!("task.{task}.entities_relations.{name}");
        let setting = |name: &str, found: String, expected: &str| {
            Err(TaskError::Setting { key: key(name), found, expected: expected.into() })
        };
        for (name, value, range) in [
            ("max_width", self.max_width, 1..=64),
            ("span_dim", self.span_dim, 1..=8192),
            ("negative_samples", self.negative_samples, 1..=usize::MAX),
            ("max_entities", self.max_entities, 2..=1000),
        ] {
            if !range.contains(&value) {
                let most = *range.end();
                let expected = if most == usize::MAX {
                    format!("{} or more", range.start())
                } else {
                    format!("{} to {most}", range.start())
                };
                return setting(name, value.to_string(), &expected);
            }
        }
        if let Some((name, found, expected)) = self.scheduled_sampling.error() {
            return setting(name, found.to_string(), expected);
        }
        if !(self.relation_weight > 0.0 && self.relation_weight.is_finite()) {
            return setting("relation_weight", self.relation_weight.to_string(), "a number above 0");
        }
        self.threshold.check(|| key("threshold"))?;
        TaskError::fraction(|| key("dropout"), self.dropout.into())?;
        let fields = [&self.tokens, &self.entities, &self.relations];
        for (i, name) in [(1, "entities"), (2, "relations")] {
            if fields[..i].contains(&fields[i]) {
                let found = format!("{:?}, a field that has another use", fields[i]);
                return setting(name, found, "a field of its own");
            }
        }
        Ok(Box::new(EntitiesRelations {
            task: task.to_owned(),
            config: self.clone(),
            primary: TaskError::metric(task, self.learn.metrics(), metric)?,
        }))
    }
}
