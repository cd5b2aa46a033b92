//! Decision thresholds of probabilities.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::TaskError;

/// The threshold where none is tuned.
pub(crate) const UNTUNED: f32 = 0.5;

/// The minimum probability of a label that holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected \"tuned\", or a number between 0 and 1")]
pub enum Thresholds {
    /// By name.
    Named(NamedThresholds),
    /// The same for every label.
    Number(f32),
}

/// Thresholds by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NamedThresholds {
    /// The one with the best F1 on the validation split; one for each label where labels have separate thresholds.
    Tuned,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds::Named(NamedThresholds::Tuned)
    }
}

impl Thresholds {
    /// Checks that a number is between 0 and 1.
    pub(crate) fn check(self, key: impl FnOnce() -> String) -> Result<(), TaskError> {
        match self {
            Thresholds::Number(value) if !(value > 0.0 && value < 1.0) => Err(TaskError::Setting {
                key: key(),
                found: value.to_string(),
                expected: "a number between 0 and 1, or \"tuned\"".into(),
            }),
            _ => Ok(()),
        }
    }

    /// The given number for every label; `None` if the thresholds are tuned.
    pub(crate) fn given(self) -> Option<f32> {
        match self {
            Thresholds::Number(value) => Some(value),
            Thresholds::Named(NamedThresholds::Tuned) => None,
        }
    }
}

/// The threshold with the best F1 for one label; `scored` are its probabilities, and whether it holds. Thresholds lie in the
/// middle between neighbouring probabilities; among equally good ones the nearest to a half is taken. A half as well if the
/// label never holds.
pub(crate) fn best(mut scored: Vec<(f32, bool)>) -> f32 {
    let gold = scored.iter().filter(|(_, holds)| *holds).count();
    scored.retain(|(probability, _)| !probability.is_nan());
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut best, mut best_f1, mut correct) = (UNTUNED, 0.0, 0);
    for (i, (probability, holds)) in scored.iter().enumerate() {
        correct += usize::from(*holds);
        let below = scored.get(i + 1).map_or(0.0, |(below, _)| *below);
        if below == *probability {
            continue;
        }
        let f1 = (2 * correct) as f64 / (gold + i + 1) as f64;
        let threshold = between(below, *probability);
        let nearer = (threshold - UNTUNED).abs() < (best - UNTUNED).abs();
        if f1 > best_f1 || (f1 == best_f1 && f1 > 0.0 && nearer) {
            (best, best_f1) = (threshold, f1);
        }
    }
    best
}

/// The middle; `high` if no number lies between the two.
fn between(low: f32, high: f32) -> f32 {
    let middle = low + (high - low) / 2.0;
    if middle > low { middle } else { high }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F1 of the label at a threshold, counted anew.
    fn f1(scored: &[(f32, bool)], threshold: f32) -> f64 {
        let said = scored.iter().filter(|(p, _)| *p >= threshold).count();
        let correct = scored.iter().filter(|(p, holds)| *p >= threshold && *holds).count();
        let gold = scored.iter().filter(|(_, holds)| *holds).count();
        if said + gold == 0 { 0.0 } else { (2 * correct) as f64 / (said + gold) as f64 }
    }

    #[test]
    fn no_other_threshold_is_better() {
        let scored: Vec<(f32, bool)> = (0..60u32)
            .map(|i| {
                let p = (i * 37 % 61) as f32 / 61.0;
                (p, (i * 53 % 17) as f32 / 17.0 < p)
            })
            .collect();
        let found = f1(&scored, best(scored.clone()));
        assert!((1..1000).all(|t| f1(&scored, t as f32 / 1000.0) <= found));
    }

    #[test]
    fn ties_stay_together_and_what_never_holds_keeps_a_half() {
        let scored = vec![(0.25, true), (0.25, false), (0.125, false), (0.75, true)];
        let threshold = best(scored.clone());
        assert!(threshold > 0.125 && threshold <= 0.75, "{threshold}");
        assert!((f1(&scored, threshold) - 0.8).abs() < 1e-12);
        assert_eq!((best(vec![(0.9, false), (0.1, false)]), best(vec![])), (0.5, 0.5));
        assert_eq!(best(vec![(f32::NAN, true)]), 0.5);
    }

    #[test]
    fn neighbours_without_a_number_between_them_are_kept_apart() {
        let high = f32::from_bits(0.5f32.to_bits() + 1);
        assert_eq!(best(vec![(high, true), (0.5, false)]), high);
    }
}
