//! Weights of labels in a loss.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::TaskError;
use crate::targets::labels::Labels;

/// The weight of each label in the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected \"none\", \"balanced\", or a table of label = weight")]
pub enum ClassWeights {
    /// By name.
    Named(NamedWeights),
    /// Label = weight; labels that are not named have weight 1.
    Table(BTreeMap<String, f32>),
}

/// Class weights by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NamedWeights {
    /// Every label has weight 1.
    None,
    /// Rare labels have larger weights, by their counts in training.
    Balanced,
}

impl Default for ClassWeights {
    fn default() -> Self {
        ClassWeights::Named(NamedWeights::None)
    }
}

impl ClassWeights {
    /// Checks that weights are finite and at least 0; `key` gives the full key of a label's weight.
    pub(crate) fn check(&self, key: impl Fn(&str) -> String) -> Result<(), TaskError> {
        let ClassWeights::Table(weights) = self else { return Ok(()) };
        match weights.iter().find(|(_, weight)| !(weight.is_finite() && **weight >= 0.0)) {
            None => Ok(()),
            Some((label, weight)) => Err(TaskError::Setting {
                key: key(label),
                found: weight.to_string(),
                expected: "a number, 0 or more".into(),
            }),
        }
    }

    /// The first label that has a weight and is not in the space.
    pub(crate) fn unknown(&self, labels: &Labels) -> Option<&str> {
        let ClassWeights::Table(weights) = self else { return None };
        weights.keys().find(|name| labels.id(name).is_none()).map(String::as_str)
    }

    /// The weight of each label, in the order of the space; `None` if all are equal. `balanced` gives the weight of a label by its
    /// count in training.
    pub(crate) fn of(&self, labels: &Labels, balanced: impl Fn(usize) -> f64) -> Option<Vec<f32>> {
        match self {
            ClassWeights::Named(NamedWeights::None) => None,
            ClassWeights::Named(NamedWeights::Balanced) => {
                Some(labels.counts().iter().map(|count| balanced(*count) as f32).collect())
            }
            ClassWeights::Table(weights) => {
                let weight = |name: &String| weights.get(name).copied().unwrap_or(1.0);
                Some(labels.names().iter().map(weight).collect())
            }
        }
    }
}
