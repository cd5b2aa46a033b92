//! What can be wrong.

/// Why a balancing method cannot be built or restored.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BalanceError {
    /// There is nothing to balance.
    #[error("no task to balance; add a [task.NAME] table")]
    NoTask,
    /// The importances do not match the tasks.
    #[error("{found} importances for {tasks} tasks, expected one each")]
    ImportanceCount {
        /// How many tasks there are.
        tasks: usize,
        /// How many importances were given.
        found: usize,
    },
    /// A number is outside its range.
    #[error("{key} = {found}, expected a number from {least} to {most}")]
    OutOfRange {
        /// The config key.
        key: String,
        /// Its value.
        found: f64,
        /// The smallest allowed.
        least: f64,
        /// The largest allowed.
        most: f64,
    },
    /// A weight is given for a task that does not exist.
    #[error("{key}: there is no task of that name, expected one of: {}", .tasks.join(", "))]
    UnknownTask {
        /// The config key.
        key: String,
        /// The tasks there are.
        tasks: Vec<String>,
    },
    /// Every task would get weight 0.
    #[error(
        "{key}: every task has weight 0, so nothing would be learned; give at least one a weight above 0"
    )]
    NothingLearned {
        /// The config key.
        key: String,
    },
    /// A saved state is not this method's.
    #[error(
        "the saved state of the balancer does not fit [balance.{method}]: {reason}; was the config changed since?"
    )]
    State {
        /// The method that was to be restored.
        method: &'static str,
        /// What is wrong with the state.
        reason: String,
    },
    /// Numbers that no gradients can have as their inner products.
    #[error("not a Gramian of task gradients: {reason}")]
    Gramian {
        /// What is wrong with them.
        reason: String,
    },
}

impl BalanceError {
    /// The same about a method whose table is not `[balance.METHOD]` but below `table`.
    pub(crate) fn below(mut self, table: &str) -> Self {
        if let BalanceError::OutOfRange { key, .. }
        | BalanceError::UnknownTask { key, .. }
        | BalanceError::NothingLearned { key } = &mut self
            && let Some(rest) = key.strip_prefix("balance.")
        {
            *key = format!("{table}.{rest}");
        }
        self
    }
}

/// Checks a number from outside, NaN included.
pub(crate) fn in_range(key: String, found: f64, least: f64, most: f64) -> Result<(), BalanceError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(BalanceError::OutOfRange { key, found, least, most })
}
