//! Warm-up, the full learning rate for most of the run, and a straight line down to zero at its end.
//!
//! With `T` steps in all, of which `W = ceil(warmup * T)` warm up and `D = min(ceil(decay * T), T - W)` decay, the factor of
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
//! Defaults: `warmup = 0.1`, `decay = 0.2`. When to use: training from scratch that may be continued: go on from a checkpoint
//! before the decay, and no step was wasted.
//! Paper: Hu et al., *MiniCPM*, 2024, section 4; Hägele et al., *Scaling Laws and Compute-Optimal Training Beyond Fixed Training
//! Durations*, 2024.

use super::{Progress, default_warmup, progress, warmup_steps};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[schedule.warmup_stable_decay]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WarmupStableDecay {
    /// Share of all steps during which the learning rate rises from zero; 0.1 by default.
    #[serde(default = "default_warmup")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub warmup: f64,
    /// Share of all steps, at the end, during which it falls to zero; 0.2 by default.
    #[serde(default = "default_decay")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub decay: f64,
}

fn default_decay() -> f64 {
    0.2
}

impl Default for WarmupStableDecay {
    fn default() -> Self {
        WarmupStableDecay { warmup: default_warmup(), decay: default_decay() }
    }
}

impl WarmupStableDecay {
    pub(crate) fn factor(&self, step: usize, total: usize) -> f64 {
        if let Progress::Warming(factor) = progress(self.warmup, step, total) {
            return factor;
        }
        // A share of the steps is rounded up, as the warm-up's is.
        let most = total.saturating_sub(warmup_steps(self.warmup, total));
        let decay = warmup_steps(self.decay, total).min(most);
        let left = total.saturating_sub(step);
        if left > decay { 1.0 } else { left as f64 / decay.max(1) as f64 }
    }
}
