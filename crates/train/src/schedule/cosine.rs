//! Warm-up, then half a cosine down to zero.
//!
//! With `T` steps in all, of which `W = ceil(warmup_ratio * T)` warm up, the factor of the learning rate at step `t`
//! (counted from 0) is
//!
//! ```text
//! t / W                                        while t < W
//! (1 + cos(pi * (t - W) / (T - W))) / 2        afterwards
//! ```
//!
//! the same numbers as transformers' `get_cosine_schedule_with_warmup`.
//!
//! Defaults: `warmup_ratio = 0.1`. When to use: longer runs and training from scratch; it stays near the full rate
//! for longer than the straight line and lands more softly.
//! Paper: Loshchilov and Hutter, *SGDR*, ICLR 2017 (one cycle of it).

use super::{ScheduleUnit, default_warmup, fraction_errors, progress};
use crate::config::SettingError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[schedule.cosine]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cosine {
    /// The fraction of all steps during which the learning rate rises from zero; 0.1 by default.
    #[serde(default = "default_warmup")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub warmup_ratio: f64,
}

impl Default for Cosine {
    fn default() -> Self {
        Cosine { warmup_ratio: default_warmup() }
    }
}

impl Cosine {
    pub(super) fn errors(&self) -> Vec<SettingError> {
        fraction_errors("cosine", &[("warmup_ratio", self.warmup_ratio)])
    }

    pub(super) fn factor(&self, step: usize, total: usize) -> f64 {
        match progress(self.warmup_ratio, step, total) {
            ScheduleUnit::Warming(factor) => factor,
            ScheduleUnit::After(progress) => (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0),
        }
    }
}
