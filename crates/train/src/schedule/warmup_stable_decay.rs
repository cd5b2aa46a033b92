//! Warm-up, the full learning rate for most of the run, and a straight line down to zero at its end.
//!
//! With `T` steps in all, of which `W = ceil(warmup_ratio * T)` warm up and `D = min(ceil(decay * T), T - W)` decay, the factor of
//! the learning rate at step `t` (counted from 0) is
//!
//! ```text
//! t / W              while t < W
//! 1                  while t < T - D
//! (T - t) / D        afterwards
//! ```
//!
//! the same numbers as transformers' `get_wsd_schedule` with `decay_type = "linear"`.
//!
//! Defaults: `warmup_ratio = 0.1`, `decay = 0.2`. When to use: training from scratch that may be continued: go on from a checkpoint
//! before the decay, and no step was wasted.
//! Paper: Hu et al., *MiniCPM*, 2024, section 4; Hägele et al., *Scaling Laws and Compute-Optimal Training Beyond Fixed Training
//! Durations*, 2024.

use super::{ScheduleUnit, default_warmup, fraction_errors, progress, warmup_steps};
use crate::config::SettingError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[schedule.warmup_stable_decay]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WarmupStableDecay {
    /// The fraction of all steps during which the learning rate rises from zero; 0.1 by default.
    #[serde(default = "default_warmup")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub warmup_ratio: f64,
    /// The fraction of all steps, at the end, during which it falls to zero; 0.2 by default.
    #[serde(default = "default_decay")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub decay: f64,
}

fn default_decay() -> f64 {
    0.2
}

impl Default for WarmupStableDecay {
    fn default() -> Self {
        WarmupStableDecay { warmup_ratio: default_warmup(), decay: default_decay() }
    }
}

impl WarmupStableDecay {
    pub(super) fn errors(&self) -> Vec<SettingError> {
        fraction_errors("warmup_stable_decay", &[("warmup_ratio", self.warmup_ratio), ("decay", self.decay)])
    }

    pub(super) fn factor(&self, step: usize, total: usize) -> f64 {
        if let ScheduleUnit::Warming(factor) = progress(self.warmup_ratio, step, total) {
            return factor;
        }
        // A fraction of the steps is rounded up, as the warm-up's is.
        let max = total.saturating_sub(warmup_steps(self.warmup_ratio, total));
        let decay = warmup_steps(self.decay, total).min(max);
        let left = total.saturating_sub(step);
        if left > decay { 1.0 } else { left as f64 / decay.max(1) as f64 }
    }
}
