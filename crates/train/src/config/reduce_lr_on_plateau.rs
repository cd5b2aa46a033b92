//! Settings of the reduction of a learning rate when the evaluations stop improving, for a run and for a task.

use crate::config::SettingError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `reduce_lr_on_plateau = { .. }` of `[train]` and of `[task.NAME]`: after `patience` evaluations without improvement the learning rate
/// is multiplied by `factor`, repeatedly down to a bound, as PyTorch's `ReduceLROnPlateau` does with `mode = "max"` and
/// `threshold_mode = "abs"`. The factor applies in addition to the schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReduceLrOnPlateau {
    /// The factor of the learning rate; 0.5 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub factor: f64,
    /// The number of consecutive evaluations without improvement that are tolerated; the next one reduces the learning rate. 2 by
    /// default.
    pub patience: usize,
    /// The improvement over the best score that counts; 1e-4 by default, a hundredth of a point.
    #[schemars(range(min = 0.0))]
    pub threshold: f64,
    /// The lower bound of the learning rate, as a fraction of the original one; 0.01 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_factor: f64,
}

impl Default for ReduceLrOnPlateau {
    fn default() -> Self {
        ReduceLrOnPlateau { factor: 0.5, patience: 2, threshold: 1e-4, min_factor: 0.01 }
    }
}

impl ReduceLrOnPlateau {
    /// Checks the settings; `table` is the key of their table, such as `train.reduce_lr_on_plateau`.
    ///
    /// # Errors
    /// The first setting that is out of its range.
    pub fn check(&self, table: &str) -> Result<(), SettingError> {
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
                Err(SettingError::new(&format!("{table}.{key}"), found, expected))
            }
        }
    }
}
