//! Half a cosine up from a twenty-fifth of the learning rate, and half a cosine down to almost nothing.
//!
//! With `T` steps in all, the peak at step `P = warmup_ratio * T - 1` and `c(a, b, x) = b + (a - b) (1 + cos(pi x)) / 2`, the factor
//! of the learning rate at step `t` (counted from 0) is
//!
//! ```text
//! c(1/25, 1, t / P)                            while t <= P
//! c(1, 1/250000, (t - P) / (T - 1 - P))        afterwards
//! ```
//!
//! the same numbers as `torch.optim.lr_scheduler.OneCycleLR` with its defaults, but for the momentum, which stays.
//!
//! Defaults: `warmup_ratio = 0.3`. When to use: short runs from scratch with a high peak.
//! Paper: Smith and Topin, *Super-Convergence*, 2018.

use super::fraction_errors;
use crate::config::SettingError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The factor at the beginning.
const START: f64 = 1.0 / 25.0;
/// The factor at the end.
const END: f64 = START / 1e4;

/// `[schedule.one_cycle]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneCycle {
    /// The fraction of all steps during which the learning rate rises; 0.3 by default.
    #[serde(default = "default_warmup")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub warmup_ratio: f64,
}

fn default_warmup() -> f64 {
    0.3
}

impl Default for OneCycle {
    fn default() -> Self {
        OneCycle { warmup_ratio: default_warmup() }
    }
}

impl OneCycle {
    pub(super) fn errors(&self) -> Vec<SettingError> {
        fraction_errors("one_cycle", &[("warmup_ratio", self.warmup_ratio)])
    }

    pub(super) fn factor(&self, step: usize, total: usize) -> f64 {
        let (step, last) = (step as f64, total.saturating_sub(1) as f64);
        let peak = self.warmup_ratio * total as f64 - 1.0;
        if step <= peak {
            // A peak in the first step has nothing to rise from.
            return if peak > 0.0 { between(START, 1.0, step / peak) } else { 1.0 };
        }
        let down = last - peak.max(0.0);
        between(1.0, END, if down > 0.0 { ((step - peak.max(0.0)) / down).min(1.0) } else { 1.0 })
    }
}

/// From `a` to `b` along half a cosine.
fn between(a: f64, b: f64, progress: f64) -> f64 {
    b + (a - b) / 2.0 * (1.0 + (std::f64::consts::PI * progress).cos())
}
