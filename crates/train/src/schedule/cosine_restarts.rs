//! Warm-up, then several halves of a cosine, each from the full learning rate down to zero.
//!
//! With `T` steps in all, of which `W = ceil(warmup_ratio * T)` warm up, and `C` cycles, the factor of the learning rate at step `t`
//! (counted from 0) is
//!
//! ```text
//! t / W                                                 while t < W
//! (1 + cos(pi * frac(C * (t - W) / (T - W)))) / 2       afterwards, and 0 at the end
//! ```
//!
//! the same numbers as transformers' `get_cosine_with_hard_restarts_schedule_with_warmup`.
//!
//! Defaults: `warmup_ratio = 0.1`, `cycles = 3`. When to use: to have several results of one run, one at the end of each cycle, or where a
//! run gets stuck.
//! Paper: Loshchilov and Hutter, *SGDR*, ICLR 2017.

use super::{ScheduleUnit, default_warmup, fraction_errors, progress};
use crate::config::SettingError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[schedule.cosine_restarts]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CosineRestarts {
    /// The fraction of all steps during which the learning rate rises from zero; 0.1 by default.
    #[serde(default = "default_warmup")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub warmup_ratio: f64,
    /// How many times the learning rate falls to zero; 3 by default.
    #[serde(default = "default_cycles")]
    #[schemars(range(min = 1, max = 1000))]
    pub cycles: usize,
}

fn default_cycles() -> usize {
    3
}

impl Default for CosineRestarts {
    fn default() -> Self {
        CosineRestarts { warmup_ratio: default_warmup(), cycles: default_cycles() }
    }
}

impl CosineRestarts {
    pub(super) fn errors(&self) -> Vec<SettingError> {
        let mut errors = fraction_errors("cosine_restarts", &[("warmup_ratio", self.warmup_ratio)]);
        if !(1..=1000).contains(&self.cycles) {
            errors.push(SettingError::new("schedule.cosine_restarts.cycles", self.cycles, "1 to 1000"));
        }
        errors
    }

    pub(super) fn factor(&self, step: usize, total: usize) -> f64 {
        match progress(self.warmup_ratio, step, total) {
            ScheduleUnit::Warming(factor) => factor,
            ScheduleUnit::After(progress) if progress >= 1.0 => 0.0,
            ScheduleUnit::After(progress) => {
                let angle = std::f64::consts::PI * (self.cycles as f64 * progress).fract();
                (0.5 * (1.0 + angle.cos())).max(0.0)
            }
        }
    }
}
