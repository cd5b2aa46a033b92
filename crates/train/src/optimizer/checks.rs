//! The ranges that settings of several optimizers share.

use crate::config::Fault;

/// Gathers the settings of one table that are out of range.
pub(super) struct Checks {
    table: &'static str,
    faults: Vec<Fault>,
}

impl Checks {
    /// Of `[optimizer.TABLE]`, with the rates that every optimizer has.
    pub(super) fn of(
        table: &'static str,
        learning_rate: f64,
        heads: Option<f64>,
        layer_decay: Option<f64>,
    ) -> Self {
        let mut checks = Checks { table, faults: Vec::new() };
        checks.positive("learning_rate", learning_rate, "a number above 0, such as 5e-5");
        checks.positive(
            "head_learning_rate",
            heads.unwrap_or(learning_rate),
            "a number above 0, such as 1e-3",
        );
        let decay = layer_decay.unwrap_or(1.0);
        checks.check("layer_decay", decay, decay > 0.0 && decay <= 1.0, "a number above 0 to 1, such as 0.9");
        checks
    }

    pub(super) fn check(&mut self, key: &str, found: f64, good: bool, expected: &str) {
        if !good {
            self.faults.push(Fault::new(&format!("optimizer.{}.{key}", self.table), found, expected));
        }
    }

    pub(super) fn positive(&mut self, key: &str, found: f64, expected: &str) {
        self.check(key, found, found > 0.0 && found.is_finite(), expected);
    }

    pub(super) fn zero_or_more(&mut self, key: &str, found: f64, expected: &str) {
        self.check(key, found, found >= 0.0 && found.is_finite(), expected);
    }

    /// How much of a running mean stays.
    pub(super) fn memory(&mut self, key: &str, found: f64, such_as: &str) {
        let expected = format!("a number from 0 to below 1, such as {such_as}");
        self.check(key, found, (0.0..1.0).contains(&found), &expected);
    }

    pub(super) fn faults(self) -> Vec<Fault> {
        self.faults
    }
}
