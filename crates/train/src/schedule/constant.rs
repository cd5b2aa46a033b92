//! Warm-up, then the full learning rate to the end.
//!
//! With `T` steps in all, of which `W = ceil(warmup_ratio * T)` warm up, the factor of the learning rate at step `t`
//! (counted from 0) is `t / W` while `t < W` and 1 afterwards, the same numbers as transformers'
//! `get_constant_schedule_with_warmup`.
//!
//! Defaults: `warmup_ratio = 0.1`; 0 for none at all. When to use: small models from scratch, comparisons in which
//! the number of steps must not change what a step does, and runs that will be continued.

use super::{ScheduleUnit, default_warmup, fraction_errors, progress};
use crate::config::SettingError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[schedule.constant]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// The fraction of all steps during which the learning rate rises from zero; 0.1 by default.
    #[serde(default = "default_warmup")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub warmup_ratio: f64,
}

impl Default for Constant {
    fn default() -> Self {
        Constant { warmup_ratio: default_warmup() }
    }
}

impl Constant {
    pub(super) fn errors(&self) -> Vec<SettingError> {
        fraction_errors("constant", &[("warmup_ratio", self.warmup_ratio)])
    }

    pub(super) fn factor(&self, step: usize, total: usize) -> f64 {
        match progress(self.warmup_ratio, step, total) {
            ScheduleUnit::Warming(factor) => factor,
            ScheduleUnit::After(_) => 1.0,
        }
    }
}
