//! How the learning rate moves over a run. One file each; every one is a factor in 0..=1 that multiplies the
//! learning rate of each group (trunk, heads, tasks).

mod constant;
mod cosine;
mod linear;

pub use constant::Constant;
pub use cosine::Cosine;
pub use linear::Linear;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Name and source text of every schedule; the leading doc comment of a source is its documentation.
pub const CATALOGUE: &[(&str, &str)] = &[
    ("linear", include_str!("linear.rs")),
    ("cosine", include_str!("cosine.rs")),
    ("constant", include_str!("constant.rs")),
];

/// How the learning rate moves: `[schedule.linear]`, `[schedule.cosine]` or `[schedule.constant]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Warm-up, then a straight line down to zero.
    Linear(Linear),
    /// Warm-up, then half a cosine down to zero.
    Cosine(Cosine),
    /// Warm-up, then the full learning rate.
    Constant(Constant),
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule::Linear(Linear::default())
    }
}

impl Schedule {
    /// The factor of the learning rate at `step` (counted from 0) of `total`, in 0..=1.
    pub fn factor(&self, step: usize, total: usize) -> f64 {
        match self {
            Schedule::Linear(s) => s.factor(step, total),
            Schedule::Cosine(s) => s.factor(step, total),
            Schedule::Constant(s) => s.factor(step, total),
        }
    }

    /// The share of the steps that warms up.
    pub fn warmup(&self) -> f64 {
        match self {
            Schedule::Linear(s) => s.warmup,
            Schedule::Cosine(s) => s.warmup,
            Schedule::Constant(s) => s.warmup,
        }
    }
}

/// The default share of the steps that warms up: a tenth.
pub(crate) fn default_warmup() -> f64 {
    0.1
}

/// Steps of warm-up: `ceil(share * total)`, as transformers rounds its `warmup_ratio`.
pub(crate) fn warmup_steps(share: f64, total: usize) -> usize {
    (share * total as f64).ceil() as usize
}

/// Where `step` stands: inside the warm-up (the factor there), or the share of the remaining way in 0..=1.
pub(crate) enum Progress {
    /// Still warming up, with this factor.
    Warming(f64),
    /// After the warm-up, so far along.
    After(f64),
}

pub(crate) fn progress(share: f64, step: usize, total: usize) -> Progress {
    let warmup = warmup_steps(share, total);
    if step < warmup {
        return Progress::Warming(step as f64 / warmup.max(1) as f64);
    }
    let left = total.saturating_sub(warmup).max(1);
    Progress::After(((step - warmup) as f64 / left as f64).min(1.0))
}
