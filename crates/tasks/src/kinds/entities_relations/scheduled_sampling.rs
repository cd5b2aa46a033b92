//! The share of rows whose relations are learned between predicted entities: scheduled sampling of entities (Bengio et al.
//! 2015, "Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks", the linear schedule).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A share of the rows, constant or changing over the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a share from 0 to 1, or { from, to, over }, the shares at the beginning and later, and how much of the run lies between"
)]
pub enum ScheduledSampling {
    /// A constant share.
    Share(f32),
    /// A share that changes over the run.
    Scheduled(Scheduled),
}

/// A share that changes linearly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Scheduled {
    /// The share at the beginning.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub from: f32,
    /// The share that it reaches.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub to: f32,
    /// The fraction of the run after which it reaches `to`, above 0 to 1; from then on it is constant.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub over: f32,
}

impl Default for Scheduled {
    fn default() -> Self {
        Scheduled { from: 0.0, to: 0.5, over: 1.0 }
    }
}

impl Default for ScheduledSampling {
    fn default() -> Self {
        ScheduledSampling::Scheduled(Scheduled::default())
    }
}

impl ScheduledSampling {
    /// The share after the fraction `progress` of the run, 0 to 1.
    pub(super) fn at(self, progress: f64) -> f64 {
        match self {
            ScheduledSampling::Share(share) => share.into(),
            ScheduledSampling::Scheduled(Scheduled { from, to, over }) => {
                let fraction = (progress / f64::from(over)).clamp(0.0, 1.0);
                f64::from(from) * (1.0 - fraction) + f64::from(to) * fraction
            }
        }
    }

    /// The first number that is out of its range: its key, itself, and what was expected.
    pub(super) fn error(self) -> Option<(&'static str, f32, &'static str)> {
        let share = |share: f32| (0.0..=1.0).contains(&share);
        match self {
            ScheduledSampling::Share(own) => (!share(own)).then_some(("scheduled_sampling", own, "0 to 1")),
            ScheduledSampling::Scheduled(Scheduled { from, .. }) if !share(from) => {
                Some(("scheduled_sampling.from", from, "0 to 1"))
            }
            ScheduledSampling::Scheduled(Scheduled { to, .. }) if !share(to) => {
                Some(("scheduled_sampling.to", to, "0 to 1"))
            }
            ScheduledSampling::Scheduled(Scheduled { over, .. }) if !(over > 0.0 && over <= 1.0) => {
                Some(("scheduled_sampling.over", over, "above 0, to 1"))
            }
            ScheduledSampling::Scheduled(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_goes_evenly_from_one_to_the_other_and_stays() {
        let sampling = ScheduledSampling::Scheduled(Scheduled { from: 0.2, to: 0.8, over: 0.5 });
        for (progress, share) in [(0.0, 0.2), (0.25, 0.5), (0.5, 0.8), (1.0, 0.8)] {
            assert!((sampling.at(progress) - share).abs() < 1e-6, "{progress}");
        }
        assert_eq!(ScheduledSampling::Share(0.25).at(0.9), 0.25);
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let scheduled = |from, to, over| ScheduledSampling::Scheduled(Scheduled { from, to, over }).error();
        assert_eq!(scheduled(0.0, 1.0, 1.0), None);
        assert_eq!(scheduled(-0.1, 1.0, 1.0).unwrap().0, "scheduled_sampling.from");
        assert_eq!(scheduled(0.0, f32::NAN, 1.0).unwrap().0, "scheduled_sampling.to");
        assert_eq!(scheduled(0.0, 1.0, 0.0).unwrap().0, "scheduled_sampling.over");
        assert_eq!(ScheduledSampling::Share(1.5).error().unwrap().0, "scheduled_sampling");
    }
}
