//! When a learning rate falls because evaluations stop improving: the settings, of a run and of a task.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::TaskError;

/// `plateau = { .. }` of `[train]` and of `[task.NAME]`: after so many evaluations without a better one a learning rate is multiplied
/// by a factor, again and again down to a bound, as PyTorch's `ReduceLROnPlateau` counts with `mode = "max"` and
/// `threshold_mode = "abs"`. It comes on top of the schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlateauConfig {
    /// What the learning rate is multiplied by; 0.5 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub factor: f64,
    /// How many evaluations in a row may be no better; the one after them lets the rate fall. 2 by default.
    pub patience: usize,
    /// By how much more than the best one an evaluation has to score to be better; 1e-4 by default, a hundredth of a point.
    #[schemars(range(min = 0.0))]
    pub threshold: f64,
    /// The least that is left of the learning rate, as a share; 0.01 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_factor: f64,
}

impl Default for PlateauConfig {
    fn default() -> Self {
        PlateauConfig { factor: 0.5, patience: 2, threshold: 1e-4, min_factor: 0.01 }
    }
}

impl PlateauConfig {
    /// Refuses a setting out of its range; `table` is where they stand, such as `train.plateau`.
    ///
    /// # Errors
    /// The first that is.
    pub fn check(&self, table: &str) -> Result<(), TaskError> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let checks = [
            (
                "factor",
                self.factor,
                self.factor > 0.0 && self.factor < 1.0,
                "a number above 0 and below 1, such as 0.5",
            ),
            (
                "threshold",
                self.threshold,
                self.threshold >= 0.0 && self.threshold.is_finite(),
                "a number from 0, such as 1e-4",
            ),
            ("min_factor", self.min_factor, share(self.min_factor), "a share from 0 to 1, such as 0.01"),
        ];
        match checks.into_iter().find(|(_, _, good, _)| !good) {
            None => Ok(()),
            Some((key, found, _, expected)) => {
                let (key, found) = (format!("{table}.{key}"), found.to_string());
                Err(TaskError::Setting { key, found, expected: expected.into() })
            }
        }
    }
}
