//! Warm-up, then down with the square root of the steps, without an end.
//!
//! With `T` steps in all, of which `W = ceil(warmup_ratio * T)` warm up, the factor of the learning rate at step `t`
//! (counted from 0) is
//!
//! ```text
//! t / W              while t < W
//! sqrt(W / t)        afterwards
//! ```
//!
//! and `sqrt(10000 / (t + 10000))` without a warm-up, the same numbers as transformers' `get_inverse_sqrt_schedule`.
//!
//! Defaults: `warmup_ratio = 0.1`. When to use: encoder-decoders from scratch, and runs whose end is not known; the rate is still a third of
//! its peak at the end of the run with the default warm-up.
//! Paper: Vaswani et al., *Attention Is All You Need*, 2017, section 5.3.

use super::{ScheduleUnit, default_warmup, fraction_errors, progress, warmup_steps};
use crate::config::SettingError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The steps in place of a warm-up, where there is none.
const TIMESCALE: f64 = 10_000.0;

/// `[schedule.inverse_square_root]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InverseSquareRoot {
    /// The fraction of all steps during which the learning rate rises from zero; 0.1 by default.
    #[serde(default = "default_warmup")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub warmup_ratio: f64,
}

impl Default for InverseSquareRoot {
    fn default() -> Self {
        InverseSquareRoot { warmup_ratio: default_warmup() }
    }
}

impl InverseSquareRoot {
    pub(super) fn errors(&self) -> Vec<SettingError> {
        fraction_errors("inverse_square_root", &[("warmup_ratio", self.warmup_ratio)])
    }

    pub(super) fn factor(&self, step: usize, total: usize) -> f64 {
        if let ScheduleUnit::Warming(factor) = progress(self.warmup_ratio, step, total) {
            return factor;
        }
        match warmup_steps(self.warmup_ratio, total) {
            0 => (TIMESCALE / (step as f64 + TIMESCALE)).sqrt(),
            warmup => (warmup as f64 / step as f64).sqrt(),
        }
    }
}
