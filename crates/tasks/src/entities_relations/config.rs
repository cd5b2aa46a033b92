//! `entities_relations = { .. }`: what can be set, and what is refused.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::EntitiesRelations;
use super::mixing::Mixing;
use crate::labels::{self, Labels};
use crate::thresholds::Thresholds;
use crate::{Kind, TaskError, head};

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
    /// What is learned: both, or one of them alone to compare with.
    #[serde(default)]
    pub learn: Learn,
    /// The most words of an entity.
    #[serde(default = "eight")]
    #[schemars(range(min = 1, max = 64))]
    pub max_width: usize,
    /// Whether entities may overlap.
    #[serde(default)]
    pub nested: bool,
    /// The width of the states of spans and pairs.
    #[serde(default = "usual_size")]
    #[schemars(range(min = 1, max = 8192))]
    pub size: usize,
    /// The most spans of a row that are no entity, and pairs that are not related, to learn from in a step.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1))]
    pub negatives: usize,
    /// The share of the rows in which relations are learned between entities as the model finds them; the other rows use the gold
    /// entities. A number from 0 to 1, or { from = 0.0, to = 0.5, over = 1.0 }, the default: from the share at the beginning to another, over
    /// so much of the run.
    #[serde(default)]
    pub predicted: Mixing,
    /// The factor of the relations' loss beside that of the entities, above 0. 1 by default.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0))]
    pub relation_weight: f32,
    /// From which probability on a relation holds: `"tuned"` (on the validation split), or a number between 0 and 1.
    #[serde(default)]
    pub threshold: Thresholds,
    /// The most entities of a row between which relations are looked for.
    #[serde(default = "hundred")]
    #[schemars(range(min = 2, max = 1000))]
    pub max_entities: usize,
    /// Dropout of the words' states and before the last layers, 0 to below 1.
    #[serde(default = "head::usual_dropout")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f32,
    /// More different types of entity, or of relation, than this are taken for a mistake.
    #[serde(default = "labels::usual_most")]
    #[schemars(range(min = 1))]
    pub max_labels: usize,
}

/// What of entities and relations is learned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Learn {
    /// Entities, and relations between those that are found.
    #[default]
    Both,
    /// Entities alone.
    Entities,
    /// Relations alone, between the gold entities.
    Relations,
}

impl Learn {
    pub(crate) fn entities(self) -> bool {
        self != Learn::Relations
    }

    pub(crate) fn relations(self) -> bool {
        self != Learn::Entities
    }

    pub(crate) fn metrics(self) -> &'static [&'static str] {
        match self {
            Learn::Both => BOTH_METRICS,
            Learn::Entities => ENTITY_METRICS,
            Learn::Relations => RELATION_METRICS,
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

fn usual_size() -> usize {
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
            ("size", self.size, 1..=8192),
            ("negatives", self.negatives, 1..=usize::MAX),
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
        if let Some((name, found, expected)) = self.predicted.fault() {
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
            main: TaskError::metric(task, self.learn.metrics(), metric)?,
            types: Labels::default(),
            relations: Labels::default(),
            tuned: None,
            names: Vec::new(),
            network: None,
            targets: HashMap::new(),
        }))
    }
}
