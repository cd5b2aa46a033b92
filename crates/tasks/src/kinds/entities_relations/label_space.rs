//! The label space: types of entity and of relation, with the tuned threshold.

use serde_json::json;

use super::config::Objective;
use crate::TaskError;
use crate::targets::labels::Labels;

/// The types of entities and relations.
#[derive(Debug, Clone)]
pub(crate) struct LabelSpace {
    pub types: Labels,
    pub relations: Labels,
    /// The tuned threshold of relations, after calibration.
    pub threshold: Option<f32>,
}

impl LabelSpace {
    /// `{"entities": {..}, "relations": {..}, "threshold": null or a number}`.
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "entities": self.types.to_json(),
            "relations": self.relations.to_json(),
            "threshold": self.threshold,
        })
    }

    /// Reads the output of [`LabelSpace::to_json`] for a task that learns `learn`.
    pub fn from_json(task: &str, learn: Objective, space: &serde_json::Value) -> Result<Self, TaskError> {
        let part = |name: &str| Labels::any_from_json(task, &space[name]);
        let (types, relations) = (part("entities")?, part("relations")?);
        if types.len() == 0 || (relations.len() == 0 && learn.relations()) {
            let reason = "found no types of entity or of relation".into();
            return Err(TaskError::Space { task: task.into(), reason });
        }
        let threshold = &space["threshold"];
        let number = threshold.as_f64().filter(|number| (0.0..=1.0).contains(number));
        if number.is_none() && !threshold.is_null() {
            let reason = format!("found the threshold {threshold}, expected a number from 0 to 1, or null");
            return Err(TaskError::Space { task: task.into(), reason });
        }
        Ok(LabelSpace { types, relations, threshold: number.map(|number| number as f32) })
    }
}
