//! `[distill]`: the teachers of a student, and how it learns from them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tasks::TeacherWeight;

/// The weight of a teacher's answer beside a label, where the config does not say.
const WEIGHT: f64 = 0.5;

/// `[distill]`: the model is a student, which learns from the answers of models that were trained before. A row without a label has the
/// answers of its teachers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DistillConfig {
    /// One teacher for all tasks that it has, too, by their names: the folder of a run, or of its `model/`. Give this or `teachers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
    /// A teacher for each of some tasks: `{ TASK = "runs/a", .. }`. It answers by its task of that name, or by its only task. A task
    /// without a teacher learns from labels alone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub teachers: BTreeMap<String, String>,
    /// What the logits of student and teacher are divided by before the softmax; 1 by default, 2 to 10 show more of what a teacher holds
    /// for less probable. The loss is multiplied by its square. Numbers of a regression have none.
    #[schemars(range(min = 0.01, max = 1000.0))]
    pub temperature: f64,
    /// The weight of the teacher's answer in the target of a row that has a label, 0 to 1; the label has the rest. 0.5 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub weight: Option<f64>,
    /// Teacher annealing: the weight falls from 1 to 0 in the course of the run, so that the student first learns from the teacher and in
    /// the end from labels (Clark et al. 2019, BAM). In place of `weight`.
    pub annealing: bool,
    /// Begins with only so many layers of `[model] backbone`, evenly spread, such as every other one of a teacher's; all by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub layers: Option<usize>,
}

impl Default for DistillConfig {
    fn default() -> Self {
        DistillConfig {
            teacher: None,
            teachers: BTreeMap::new(),
            temperature: 1.0,
            weight: None,
            annealing: false,
            layers: None,
        }
    }
}

impl DistillConfig {
    /// The weight of a teacher's answers beside labels.
    pub fn teacher_weight(&self) -> TeacherWeight {
        match self.annealing {
            true => TeacherWeight::Annealed,
            false => TeacherWeight::Constant(self.weight.unwrap_or(WEIGHT) as f32),
        }
    }

    /// The table for some of the tasks alone; `None` where none of them has a teacher.
    pub fn of_tasks(&self, wanted: impl Fn(&str) -> bool) -> Option<DistillConfig> {
        let mut table = self.clone();
        table.teachers.retain(|task, _| wanted(task));
        (table.teacher.is_some() || !table.teachers.is_empty()).then_some(table)
    }
}
