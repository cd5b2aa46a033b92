//! Warm-up, then several halves of a cosine, each from the full learning rate down to zero.
//!
//! With `T` steps in all, of which `W = ceil(warmup * T)` warm up, and `C` cycles, the factor of the learning rate at step `t`
//! (counted from 0) is
//!
//! ```text
//! t / W                                                 while t < W
//! (1 + cos(pi * frac(C * (t - W) / (T - W)))) / 2       afterwards, and 0 at the end
//! ```
//!
//! the same numbers as transformers' `get_cosine_with_hard_restarts_schedule_with_warmup`.
//!
//! Defaults: `warmup = 0.1`, `cycles = 3`. When to use: to have several results of one run, one at the end of each cycle, or where a
//! run gets stuck.
//! Paper: Loshchilov and Hutter, *SGDR*, ICLR 2017.

use super::{Progress, default_warmup, progress};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[schedule.cosine_restarts]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CosineRestarts {
    /// Share of all steps during which the learning rate rises from zero; 0.1 by default.
    #[serde(default = "default_warmup")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub warmup: f64,
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
        CosineRestarts { warmup: default_warmup(), cycles: default_cycles() }
    }
}

impl CosineRestarts {
    pub(crate) fn factor(&self, step: usize, total: usize) -> f64 {
        match progress(self.warmup, step, total) {
            Progress::Warming(factor) => factor,
            Progress::After(share) if share >= 1.0 => 0.0,
            Progress::After(share) => {
                let angle = std::f64::consts::PI * (self.cycles as f64 * share).fract();
                (0.5 * (1.0 + angle.cos())).max(0.0)
            }
        }
    }
}
