//! The ranges that settings of several optimizers share.

use crate::config::SettingError;

/// Gathers the settings of one table that are out of range.
pub(super) struct RangeChecks {
    table: &'static str,
    errors: Vec<SettingError>,
}

impl RangeChecks {
    /// Of `[optimizer.TABLE]`, with the rates that every optimizer has.
    pub(super) fn of(table: &'static str, rates: GroupRates) -> Self {
        let mut checks = RangeChecks { table, errors: Vec::new() };
        let GroupRates { trunk, heads, adapters, layerwise_lr_decay } = rates;
        checks.positive("learning_rate", trunk, "a number above 0, such as 5e-5");
        checks.positive("head_learning_rate", heads.unwrap_or(trunk), "a number above 0, such as 1e-3");
        if let Some(rate) = adapters {
            checks.positive("adapter_learning_rate", rate, "a number above 0, such as 1e-3");
        }
        let (decay, expected) = (layerwise_lr_decay.unwrap_or(1.0), "a number above 0 to 1, such as 0.9");
        checks.check("layerwise_lr_decay", decay, decay > 0.0 && decay <= 1.0, expected);
        checks
    }

    pub(super) fn check(&mut self, key: &str, found: f64, good: bool, expected: &str) {
        if !good {
            self.errors.push(SettingError::new(&format!("optimizer.{}.{key}", self.table), found, expected));
        }
    }

    pub(super) fn positive(&mut self, key: &str, found: f64, expected: &str) {
        self.check(key, found, found > 0.0 && found.is_finite(), expected);
    }

    pub(super) fn zero_or_more(&mut self, key: &str, found: f64, expected: &str) {
        self.check(key, found, found >= 0.0 && found.is_finite(), expected);
    }

    /// The coefficient of a running mean.
    pub(super) fn coefficient(&mut self, key: &str, found: f64, such_as: &str) {
        let expected = format!("a number from 0 to below 1, such as {such_as}");
        self.check(key, found, (0.0..1.0).contains(&found), &expected);
    }

    pub(super) fn errors(self) -> Vec<SettingError> {
        self.errors
    }
}

/// The learning rates as an optimizer's table has them.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupRates {
    /// Of the trunk.
    pub(super) trunk: f64,
    /// Of the heads, where that is another.
    pub(super) heads: Option<f64>,
    /// Of what a sharing scheme adds, where that is not the heads'.
    pub(super) adapters: Option<f64>,
    /// The factor from layer to layer, where there is one.
    pub(super) layerwise_lr_decay: Option<f64>,
}
