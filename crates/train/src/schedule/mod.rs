//! How the learning rate moves over a run. One file each; every one is a factor in 0..=1 that multiplies the
//! learning rate of each group (trunk, heads, tasks).

mod constant;
mod cosine;
mod cosine_restarts;
pub(crate) mod head_lr;
mod inverse_square_root;
mod linear;
mod one_cycle;
pub(crate) mod plateau;
mod warmup_stable_decay;

pub use constant::Constant;
pub use cosine::Cosine;
pub use cosine_restarts::CosineRestarts;
pub use inverse_square_root::InverseSquareRoot;
pub use linear::Linear;
pub use one_cycle::OneCycle;
pub use warmup_stable_decay::WarmupStableDecay;

use crate::config::SettingError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Makes, of `Variant(Config): "name", "file"` lines, [`Schedule`] and [`CATALOGUE`].
macro_rules! schedules {
    ($($(#[$doc:meta])* $variant:ident($config:ty): $name:tt, $file:tt;)+) => {
        /// Name and source text of every schedule; the leading doc comment of a source is its documentation.
        pub const CATALOGUE: &[(&str, &str)] = &[$(($name, include_str!($file)),)+];

        /// How the learning rate moves: `[schedule.linear]`, `[schedule.cosine]` and others.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub enum Schedule {
            $($(#[$doc])* #[serde(rename = $name)] $variant($config),)+
        }

        impl Schedule {
            /// Its name in the config.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Schedule::$variant(_) => $name,)+
                }
            }

            /// The factor of the learning rate at `step` (counted from 0) of `total`, in 0..=1.
            pub fn factor(&self, step: usize, total: usize) -> f64 {
                match self {
                    $(Schedule::$variant(config) => config.factor(step, total),)+
                }
            }

            /// The fraction of the steps that warms up.
            pub fn warmup_ratio(&self) -> f64 {
                match self {
                    $(Schedule::$variant(config) => config.warmup_ratio,)+
                }
            }

            /// Whether, after the warm-up, its factors do not depend on how long the run is.
            pub fn is_independent_of_length(&self) -> bool {
                matches!(self, Schedule::Constant(_) | Schedule::InverseSquareRoot(_))
            }

            /// The settings that are out of range.
            pub(crate) fn errors(&self) -> Vec<SettingError> {
                match self {
                    $(Schedule::$variant(config) => config.errors(),)+
                }
            }

            /// Every schedule with its defaults.
            #[cfg(test)]
            fn all() -> Vec<Schedule> {
                vec![$(Schedule::$variant(Default::default()),)+]
            }
        }
    };
}

schedules! {
    /// Warm-up, then a straight line down to zero.
    Linear(Linear): "linear", "linear.rs";
    /// Warm-up, then half a cosine down to zero.
    Cosine(Cosine): "cosine", "cosine.rs";
    /// Warm-up, then the full learning rate.
    Constant(Constant): "constant", "constant.rs";
    /// Warm-up, then down with the square root of the steps.
    InverseSquareRoot(InverseSquareRoot): "inverse_square_root", "inverse_square_root.rs";
    /// Warm-up, the full learning rate, and a straight line down at the end.
    WarmupStableDecay(WarmupStableDecay): "warmup_stable_decay", "warmup_stable_decay.rs";
    /// Half a cosine up and half a cosine down.
    OneCycle(OneCycle): "one_cycle", "one_cycle.rs";
    /// Warm-up, then several halves of a cosine.
    CosineRestarts(CosineRestarts): "cosine_restarts", "cosine_restarts.rs";
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule::Linear(Linear::default())
    }
}

/// The errors of settings that have to be fractions of the steps.
fn fraction_errors(schedule: &str, settings: &[(&str, f64)]) -> Vec<SettingError> {
    let wrong = settings.iter().filter(|(_, found)| !(0.0..=1.0).contains(found));
    let error = |(key, found): &(&str, f64)| {
        SettingError::new(&format!("schedule.{schedule}.{key}"), found, "a fraction from 0 to 1")
    };
    wrong.map(error).collect()
}

/// The default fraction of the steps that warms up: a tenth.
pub(crate) fn default_warmup() -> f64 {
    0.1
}

/// Steps of warm-up: `ceil(ratio * total)`, as transformers rounds its `warmup_ratio`.
pub(crate) fn warmup_steps(ratio: f64, total: usize) -> usize {
    (ratio * total as f64).ceil() as usize
}

/// Where `step` stands: inside the warm-up (the factor there), or the fraction of the remaining way in 0..=1.
pub(crate) enum ScheduleUnit {
    /// Still warming up, with this factor.
    Warming(f64),
    /// After the warm-up, so far along.
    After(f64),
}

pub(crate) fn progress(warmup_ratio: f64, step: usize, total: usize) -> ScheduleUnit {
    let warmup = warmup_steps(warmup_ratio, total);
    if step < warmup {
        return ScheduleUnit::Warming(step as f64 / warmup.max(1) as f64);
    }
    let left = total.saturating_sub(warmup).max(1);
    ScheduleUnit::After(((step - warmup) as f64 / left as f64).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schedule_has_valid_defaults() {
        for schedule in Schedule::all() {
            assert!(schedule.errors().is_empty(), "{}", schedule.name());
            let config = serde_json::json!({ schedule.name(): {} });
            assert_eq!(serde_json::from_value::<Schedule>(config).unwrap(), schedule);
        }
        assert_eq!(Schedule::all().len(), CATALOGUE.len());
    }

    #[test]
    fn settings_out_of_range_are_named() {
        for (name, _) in CATALOGUE {
            let config = serde_json::json!({ *name: { "warmup_ratio": 1.5 } });
            let errors = serde_json::from_value::<Schedule>(config).unwrap().errors();
            let expected =
                format!("schedule.{name}.warmup_ratio: found 1.5, expected a fraction from 0 to 1");
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
        }
    }
}
