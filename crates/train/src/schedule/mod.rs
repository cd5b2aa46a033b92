//! How the learning rate moves over a run. One file each; every one is a factor in 0..=1 that multiplies the
//! learning rate of each group (trunk, heads, tasks).

mod constant;
mod cosine;
mod cosine_restarts;
mod inverse_square_root;
mod linear;
mod one_cycle;
mod warmup_stable_decay;

pub use constant::Constant;
pub use cosine::Cosine;
pub use cosine_restarts::CosineRestarts;
pub use inverse_square_root::InverseSquareRoot;
pub use linear::Linear;
pub use one_cycle::OneCycle;
pub use warmup_stable_decay::WarmupStableDecay;

use crate::config::Fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Name and source text of every schedule; the leading doc comment of a source is its documentation.
pub const CATALOGUE: &[(&str, &str)] = &[
    ("linear", include_str!("linear.rs")),
    ("cosine", include_str!("cosine.rs")),
    ("constant", include_str!("constant.rs")),
    ("inverse_square_root", include_str!("inverse_square_root.rs")),
    ("warmup_stable_decay", include_str!("warmup_stable_decay.rs")),
    ("one_cycle", include_str!("one_cycle.rs")),
    ("cosine_restarts", include_str!("cosine_restarts.rs")),
];

/// How the learning rate moves: `[schedule.linear]`, `[schedule.cosine]` and others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Warm-up, then a straight line down to zero.
    Linear(Linear),
    /// Warm-up, then half a cosine down to zero.
    Cosine(Cosine),
    /// Warm-up, then the full learning rate.
    Constant(Constant),
    /// Warm-up, then down with the square root of the steps.
    InverseSquareRoot(InverseSquareRoot),
    /// Warm-up, the full learning rate, and a straight line down at the end.
    WarmupStableDecay(WarmupStableDecay),
    /// Half a cosine up and half a cosine down.
    OneCycle(OneCycle),
    /// Warm-up, then several halves of a cosine.
    CosineRestarts(CosineRestarts),
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule::Linear(Linear::default())
    }
}

impl Schedule {
    /// Its name in the config.
    pub fn name(&self) -> &'static str {
        match self {
            Schedule::Linear(_) => "linear",
            Schedule::Cosine(_) => "cosine",
            Schedule::Constant(_) => "constant",
            Schedule::InverseSquareRoot(_) => "inverse_square_root",
            Schedule::WarmupStableDecay(_) => "warmup_stable_decay",
            Schedule::OneCycle(_) => "one_cycle",
            Schedule::CosineRestarts(_) => "cosine_restarts",
        }
    }

    /// The factor of the learning rate at `step` (counted from 0) of `total`, in 0..=1.
    pub fn factor(&self, step: usize, total: usize) -> f64 {
        match self {
            Schedule::Linear(s) => s.factor(step, total),
            Schedule::Cosine(s) => s.factor(step, total),
            Schedule::Constant(s) => s.factor(step, total),
            Schedule::InverseSquareRoot(s) => s.factor(step, total),
            Schedule::WarmupStableDecay(s) => s.factor(step, total),
            Schedule::OneCycle(s) => s.factor(step, total),
            Schedule::CosineRestarts(s) => s.factor(step, total),
        }
    }

    /// The share of the steps that warms up.
    pub fn warmup(&self) -> f64 {
        match self {
            Schedule::Linear(s) => s.warmup,
            Schedule::Cosine(s) => s.warmup,
            Schedule::Constant(s) => s.warmup,
            Schedule::InverseSquareRoot(s) => s.warmup,
            Schedule::WarmupStableDecay(s) => s.warmup,
            Schedule::OneCycle(s) => s.warmup,
            Schedule::CosineRestarts(s) => s.warmup,
        }
    }

    /// What is out of range.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut share = |key: &str, found: f64| {
            if !(0.0..=1.0).contains(&found) {
                faults.push(Fault::new(key, found, "a share from 0 to 1"));
            }
        };
        share("schedule warmup", self.warmup());
        if let Schedule::WarmupStableDecay(s) = self {
            share("schedule.warmup_stable_decay.decay", s.decay);
        }
        match self {
            Schedule::CosineRestarts(s) if !(1..=1000).contains(&s.cycles) => {
                faults.push(Fault::new("schedule.cosine_restarts.cycles", s.cycles, "1 to 1000"));
            }
            _ => {}
        }
        faults
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
