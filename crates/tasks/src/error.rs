//! Errors in a task's settings and in its stored label space.

/// An error of a task, with its key, the value found and what is allowed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TaskError {
    /// The task has no kind.
    #[error("task.{task}: found no kind, expected one of {allowed}, such as `classification = {{ .. }}`")]
    NoKind {
        /// The task's name.
        task: String,
        /// The kinds there are.
        allowed: String,
    },
    /// The task has more than one kind.
    #[error(
        "task.{task}: found the kinds {found}; a task has exactly one (two tasks may read the same corpus)"
    )]
    ManyKinds {
        /// The task's name.
        task: String,
        /// The kinds given.
        found: String,
    },
    /// A setting out of its range.
    #[error("{key}: found {found}, expected {expected}")]
    Setting {
        /// The key from the root of the config, such as `task.intent.classification.dropout`.
        key: String,
        /// The value given.
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// A stored label space that does not fit this task.
    #[error(
        "task {task}: the stored labels do not fit: {reason}; train again, or use the config of that run"
    )]
    Space {
        /// The task's name.
        task: String,
        /// What differs.
        reason: String,
    },
}

impl TaskError {
    /// Checks the label space of a kind whose targets have no labels; `what` are these targets.
    pub(crate) fn no_labels(task: &str, space: &serde_json::Value, what: &str) -> Result<(), TaskError> {
        if space.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok(());
        }
        Err(TaskError::Space {
            task: task.into(),
            reason: format!("found {space}, and {what} have no labels"),
        })
    }

    /// Checks a fraction in `0 <= value < 1`, such as a dropout rate.
    pub(crate) fn fraction(key: impl FnOnce() -> String, value: f64) -> Result<(), TaskError> {
        if (0.0..1.0).contains(&value) {
            return Ok(());
        }
        Err(TaskError::Setting {
            key: key(),
            found: value.to_string(),
            expected: "0 or more and less than 1".into(),
        })
    }

    /// The primary metric of a task: the requested one if the kind has it, else the kind's first.
    pub(crate) fn metric(
        task: &str,
        metrics: &'static [&'static str],
        asked: Option<&str>,
    ) -> Result<&'static str, TaskError> {
        let Some(asked) = asked else { return Ok(metrics[0]) };
        metrics.iter().find(|name| **name == asked).copied().ok_or_else(|| TaskError::Setting {
            key: format!("task.{task}.metric"),
            found: format!("{asked:?}"),
            expected: format!("one of {}", metrics.join(", ")),
        })
    }
}
