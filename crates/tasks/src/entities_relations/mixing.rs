//! In how many rows of a step relations are learned between entities as the model finds them: scheduled sampling (Bengio et al.
//! 2015, "Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks", the linear schedule) of entities.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A share of the rows, the same throughout, or one that changes over the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a share from 0 to 1, or { from, to, over }, the shares at the beginning and later, and how much of the run lies between"
)]
pub enum Mixing {
    /// The same throughout.
    Share(f32),
    /// Another at the end than at the beginning.
    Scheduled(Scheduled),
}

/// A share that changes evenly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Scheduled {
    /// The share at the beginning.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub from: f32,
    /// The share that it reaches.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub to: f32,
    /// After how much of the run it reaches it, above 0 to 1; from then on it stays.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub over: f32,
}

impl Default for Scheduled {
    fn default() -> Self {
        Scheduled { from: 0.0, to: 0.5, over: 1.0 }
    }
}

impl Default for Mixing {
    fn default() -> Self {
        Mixing::Scheduled(Scheduled::default())
    }
}

impl Mixing {
    /// The share when so much of the run lies behind, 0 to 1.
    pub(super) fn at(self, progress: f64) -> f64 {
        match self {
            Mixing::Share(share) => share.into(),
            Mixing::Scheduled(Scheduled { from, to, over }) => {
                let way = (progress / f64::from(over)).clamp(0.0, 1.0);
                f64::from(from) * (1.0 - way) + f64::from(to) * way
            }
        }
    }

    /// The first number that is out of its range: its key, itself, and what was expected.
    pub(super) fn fault(self) -> Option<(&'static str, f32, &'static str)> {
        let share = |share: f32| (0.0..=1.0).contains(&share);
        match self {
            Mixing::Share(own) => (!share(own)).then_some(("predicted", own, "0 to 1")),
            Mixing::Scheduled(Scheduled { from, .. }) if !share(from) => {
                Some(("predicted.from", from, "0 to 1"))
            }
            Mixing::Scheduled(Scheduled { to, .. }) if !share(to) => Some(("predicted.to", to, "0 to 1")),
            Mixing::Scheduled(Scheduled { over, .. }) if !(over > 0.0 && over <= 1.0) => {
                Some(("predicted.over", over, "above 0, to 1"))
            }
            Mixing::Scheduled(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_goes_evenly_from_one_to_the_other_and_stays() {
        let mixing = Mixing::Scheduled(Scheduled { from: 0.2, to: 0.8, over: 0.5 });
        for (progress, share) in [(0.0, 0.2), (0.25, 0.5), (0.5, 0.8), (1.0, 0.8)] {
            assert!((mixing.at(progress) - share).abs() < 1e-6, "{progress}");
        }
        assert_eq!(Mixing::Share(0.25).at(0.9), 0.25);
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let scheduled = |from, to, over| Mixing::Scheduled(Scheduled { from, to, over }).fault();
        assert_eq!(scheduled(0.0, 1.0, 1.0), None);
        assert_eq!(scheduled(-0.1, 1.0, 1.0).unwrap().0, "predicted.from");
        assert_eq!(scheduled(0.0, f32::NAN, 1.0).unwrap().0, "predicted.to");
        assert_eq!(scheduled(0.0, 1.0, 0.0).unwrap().0, "predicted.over");
        assert_eq!(Mixing::Share(1.5).fault().unwrap().0, "predicted");
    }
}
