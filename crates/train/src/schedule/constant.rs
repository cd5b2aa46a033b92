//! Warm-up, then the full learning rate to the end.
//!
//! With `T` steps in all, of which `W = ceil(warmup * T)` warm up, the factor of the learning rate at step `t`
//! (counted from 0) is `t / W` while `t < W` and 1 afterwards, the same numbers as transformers'
//! `get_constant_schedule_with_warmup`.
//!
//! Defaults: `warmup = 0.1`; 0 for none at all. When to use: small models from scratch, comparisons in which
//! the number of steps must not change what a step does, and runs that will be continued.

use super::{Progress, default_warmup, progress};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[schedule.constant]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// Share of all steps during which the learning rate rises from zero; 0.1 by default.
    #[serde(default = "default_warmup")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub warmup: f64,
}

impl Default for Constant {
    fn default() -> Self {
        Constant { warmup: default_warmup() }
    }
}

impl Constant {
    pub(crate) fn factor(&self, step: usize, total: usize) -> f64 {
        match progress(self.warmup, step, total) {
            Progress::Warming(factor) => factor,
            Progress::After(_) => 1.0,
        }
    }
}
