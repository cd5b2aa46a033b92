//! How a task is trained: the keys of `[task.NAME]` that do not say what the task is.

use crate::config::budget::{Budget, EarlyStoppingConfig};
use crate::config::{SettingError, reduce_lr_on_plateau::ReduceLrOnPlateau};
use schemars::JsonSchema;

/// How a task is trained.
#[derive(Debug, Clone, JsonSchema)]
pub struct TaskTraining {
    /// The factor of the task's weight in the loss and in the mean of the scores.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0))]
    pub importance: f64,
    /// The learning rate of this task's head; without it the optimizer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub head_learning_rate: Option<f64>,
    /// Reduces the learning rate of this task's head when its primary metric on the validation split stops improving.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduce_lr_on_plateau: Option<ReduceLrOnPlateau>,
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
    /// Corpora beside the task's own whose test rows `evaluate` and `compare` score, too: rows with the same fields, of another
    /// domain. Nothing is trained or chosen on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub out_of_domain: Vec<String>,
}

fn one() -> f64 {
    1.0
}

impl Default for TaskTraining {
    fn default() -> Self {
        TaskTraining {
            importance: one(),
            head_learning_rate: None,
            reduce_lr_on_plateau: None,
            target: None,
            budget: None,
            early_stopping: None,
            out_of_domain: Vec::new(),
        }
    }
}

impl TaskTraining {
    /// Checks the settings of the task of that name.
    ///
    /// # Errors
    /// The first setting that is out of its range.
    pub fn check(&self, task: &str) -> Result<(), SettingError> {
        let error = |key: &str, found: String, expected: &str| {
            Err(SettingError::new(&format!("task.{task}.{key}"), found, expected))
        };
        let rates = [("importance", Some(self.importance)), ("head_learning_rate", self.head_learning_rate)];
        for (key, value) in rates {
            if let Some(value) = value.filter(|value| !(value.is_finite() && *value >= 0.0)) {
                return error(key, value.to_string(), "a number, 0 or more");
            }
        }
        if let Some(target) = self.target.filter(|target| !(target.is_finite() && *target > 0.0)) {
            return error("target", target.to_string(), "a number above 0");
        }
        if let Some((key, found, expected)) = self.budget.as_ref().and_then(Budget::error) {
            return error(&key, found, expected);
        }
        if self.early_stopping.is_some_and(|stopping| stopping.patience == 0) {
            return error("early_stopping.patience", "0".into(), "at least 1");
        }
        match &self.reduce_lr_on_plateau {
            Some(config) => config.check(&format!("task.{task}.reduce_lr_on_plateau")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_name_the_key() {
        let stopping = |patience| Some(EarlyStoppingConfig { patience });
        let plateau = |factor| Some(ReduceLrOnPlateau { factor, ..Default::default() });
        let steps = |steps| Some(Budget { steps: Some(steps), ..Default::default() });
        let good = TaskTraining { early_stopping: stopping(1), budget: steps(1), ..Default::default() };
        assert_eq!(good.check("intent"), Ok(()));
        let base = TaskTraining::default;
        for (training, says) in [
            (
                TaskTraining { importance: -1.0, ..base() },
                "importance: found -1, expected a number, 0 or more",
            ),
            (
                TaskTraining { head_learning_rate: Some(f64::NAN), ..base() },
                "head_learning_rate: found NaN, expected a number, 0 or more",
            ),
            (TaskTraining { target: Some(0.0), ..base() }, "target: found 0, expected a number above 0"),
            (TaskTraining { budget: steps(0), ..base() }, "budget.steps: found 0, expected a number above 0"),
            (
                TaskTraining { early_stopping: stopping(0), ..base() },
                "early_stopping.patience: found 0, expected at least 1",
            ),
            (
                TaskTraining { reduce_lr_on_plateau: plateau(1.0), ..base() },
                "reduce_lr_on_plateau.factor: found 1, expected a number above 0 and below 1, such as 0.5",
            ),
        ] {
            let error = training.check("intent").unwrap_err().to_string();
            assert_eq!(error, format!("task.intent.{says}"));
        }
    }
}
