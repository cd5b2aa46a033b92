//! Warm-up, then a straight line down to zero.
//!
//! With `T` steps in all, of which `W = ceil(warmup_ratio * T)` warm up, the factor of the learning rate at step `t`
//! (counted from 0) is
//!
//! ```text
//! t / W                 while t < W
//! (T - t) / (T - W)     afterwards
//! ```
//!
//! the same numbers as transformers' `get_linear_schedule_with_warmup`. The very first step has factor 0 when
//! there is a warm-up.
//!
//! Defaults: `warmup_ratio = 0.1`. When to use: fine-tuning a pretrained encoder; the usual choice and the default.
//! Paper: Devlin et al., *BERT*, NAACL 2019, section A.2.

use super::{ScheduleUnit, default_warmup, fraction_errors, progress};
use crate::config::SettingError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[schedule.linear]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// The fraction of all steps during which the learning rate rises from zero; 0.1 by default.
    #[serde(default = "default_warmup")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub warmup_ratio: f64,
}

impl Default for Linear {
    fn default() -> Self {
        Linear { warmup_ratio: default_warmup() }
    }
}

impl Linear {
    pub(super) fn errors(&self) -> Vec<SettingError> {
        fraction_errors("linear", &[("warmup_ratio", self.warmup_ratio)])
    }

    pub(super) fn factor(&self, step: usize, total: usize) -> f64 {
        match progress(self.warmup_ratio, step, total) {
            ScheduleUnit::Warming(factor) => factor,
            ScheduleUnit::After(progress) => 1.0 - progress,
        }
    }
}
