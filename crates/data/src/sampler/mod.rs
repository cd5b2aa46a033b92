//! Samplers: which corpora the next rows come from. One file each.

mod adaptive;
mod annealed;
mod conflict;
mod equal;
mod exp3;
mod importance;
mod loss_ratio;
mod proportional;
mod smoothing;
mod sqrt;
mod temperature;
mod unimax;
mod validation;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use adaptive::{Account, Adaptive, Seen};
pub use annealed::Annealed;
pub use conflict::{Conflict, Toward};
pub use equal::Equal;
pub use exp3::Exp3;
pub use importance::Importance;
pub use loss_ratio::LossRatio;
pub use proportional::Proportional;
pub use smoothing::Smoothing;
pub use sqrt::Sqrt;
pub use temperature::Temperature;
pub use unimax::UniMax;
pub use validation::{Measure, Validation};

use crate::DataError;

/// Name and source text of every sampler; the source's leading `//!` lines are its documentation.
pub const CATALOGUE: &[(&str, &str)] = &[
    ("proportional", include_str!("proportional.rs")),
    ("equal", include_str!("equal.rs")),
    ("sqrt", include_str!("sqrt.rs")),
    ("smoothing", include_str!("smoothing.rs")),
    ("temperature", include_str!("temperature.rs")),
    ("annealed", include_str!("annealed.rs")),
    ("unimax", include_str!("unimax.rs")),
    ("importance", include_str!("importance.rs")),
    ("validation", include_str!("validation.rs")),
    ("loss_ratio", include_str!("loss_ratio.rs")),
    ("conflict", include_str!("conflict.rs")),
    ("exp3", include_str!("exp3.rs")),
];

/// What a sampler sees: an epoch of a run, and the corpora.
#[derive(Debug, Clone, Copy)]
pub struct Epoch<'a> {
    /// Which epoch, from 0 on.
    pub index: usize,
    /// How many epochs the run has.
    pub epochs: usize,
    /// `[c]` rows of each corpus.
    pub rows: &'a [usize],
    /// `[c]` importance of each corpus.
    pub importance: &'a [f64],
}

/// Gives each corpus its share of an epoch's draws.
pub trait Sampler {
    /// Share per corpus (`[c]`). The shares sum to 1; a corpus without rows gets 0; if no corpus can be drawn, all are 0.
    /// They are a function of the settings and of `epoch` alone, so that a run that is resumed draws the same; those of a
    /// sampler that looks at how training goes are what it begins with ([`Adaptive`]).
    fn shares(&self, epoch: &Epoch<'_>) -> Vec<f64>;
}

/// `[sampling.NAME]`: how often each corpus is drawn. Default: proportional.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// By the number of rows: every row is drawn once an epoch.
    Proportional(Proportional),
    /// The same for every corpus.
    Equal(Equal),
    /// By the square root of the number of rows.
    Sqrt(Sqrt),
    /// By a power of the number of rows.
    Smoothing(Smoothing),
    /// By the number of rows, with a cap, flattened by a temperature.
    Temperature(Temperature),
    /// By a power of the number of rows that falls from epoch to epoch.
    Annealed(Annealed),
    /// The same for every corpus, with a bound on how often one is gone through.
    #[serde(rename = "unimax")]
    UniMax(UniMax),
    /// By the importance of the corpus's tasks.
    Importance(Importance),
    /// By what is missing in validation, as training goes.
    Validation(Validation),
    /// By what is left of the first loss, as training goes.
    LossRatio(LossRatio),
    /// By how gradients lie to each other, as training goes.
    Conflict(Conflict),
    /// By the progress of the losses, as training goes.
    Exp3(Exp3),
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling::Proportional(Proportional {})
    }
}

impl Sampling {
    /// The sampler's name in the config.
    pub fn name(&self) -> &'static str {
        match self {
            Sampling::Proportional(_) => "proportional",
            Sampling::Equal(_) => "equal",
            Sampling::Sqrt(_) => "sqrt",
            Sampling::Smoothing(_) => "smoothing",
            Sampling::Temperature(_) => "temperature",
            Sampling::Annealed(_) => "annealed",
            Sampling::UniMax(_) => "unimax",
            Sampling::Importance(_) => "importance",
            Sampling::Validation(_) => "validation",
            Sampling::LossRatio(_) => "loss_ratio",
            Sampling::Conflict(_) => "conflict",
            Sampling::Exp3(_) => "exp3",
        }
    }

    /// Checks the settings for a run of so many epochs.
    ///
    /// # Errors
    /// The first setting out of its range, or without effect.
    pub fn check(&self, epochs: usize) -> Result<(), DataError> {
        match self {
            Sampling::Proportional(_) | Sampling::Equal(_) | Sampling::Sqrt(_) | Sampling::Annealed(_) => {
                Ok(())
            }
            Sampling::Smoothing(smoothing) => smoothing.check(),
            Sampling::Temperature(temperature) => temperature.check(),
            Sampling::UniMax(unimax) => unimax.check(epochs),
            Sampling::Importance(importance) => importance.check(),
            Sampling::Validation(validation) => validation.check(),
            Sampling::LossRatio(loss_ratio) => loss_ratio.check(),
            Sampling::Conflict(conflict) => conflict.check(),
            Sampling::Exp3(exp3) => exp3.check(),
        }
    }

    /// The sampler as one that looks at how training goes; `None` for one whose shares are known beforehand.
    pub fn adaptive(&self) -> Option<&dyn Adaptive> {
        match self {
            Sampling::Validation(sampler) => Some(sampler),
            Sampling::LossRatio(sampler) => Some(sampler),
            Sampling::Conflict(sampler) => Some(sampler),
            Sampling::Exp3(sampler) => Some(sampler),
            _ => None,
        }
    }
}

impl Sampler for Sampling {
    fn shares(&self, epoch: &Epoch<'_>) -> Vec<f64> {
        match self {
            Sampling::Proportional(sampler) => sampler.shares(epoch),
            Sampling::Equal(sampler) => sampler.shares(epoch),
            Sampling::Sqrt(sampler) => sampler.shares(epoch),
            Sampling::Smoothing(sampler) => sampler.shares(epoch),
            Sampling::Temperature(sampler) => sampler.shares(epoch),
            Sampling::Annealed(sampler) => sampler.shares(epoch),
            Sampling::UniMax(sampler) => sampler.shares(epoch),
            Sampling::Importance(sampler) => sampler.shares(epoch),
            Sampling::Validation(_) | Sampling::LossRatio(_) | Sampling::Conflict(_) | Sampling::Exp3(_) => {
                self.adaptive().map_or_else(Vec::new, |adaptive| {
                    adaptive.shares(epoch, &vec![Account::default(); epoch.rows.len()])
                })
            }
        }
    }
}

/// Scales weights so that they sum to 1; all zero stays all zero.
pub(crate) fn normalized(weights: Vec<f64>) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    if sum > 0.0 { weights.into_iter().map(|w| w / sum).collect() } else { weights }
}

/// A power of a number of rows; 0 without rows, whatever the exponent (0^0 is 1 elsewhere).
fn power(rows: usize, exponent: f64) -> f64 {
    if rows == 0 { 0.0 } else { (rows as f64).powf(exponent) }
}

/// Refuses the value of the key `sampling.KEY` unless it is good, and finite.
fn within(key: &str, found: f64, good: bool, expected: &str) -> Result<(), DataError> {
    if good && found.is_finite() {
        return Ok(());
    }
    Err(DataError::Setting {
        key: format!("sampling.{key}"),
        found: found.to_string(),
        expected: expected.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The only epoch of a run over corpora that count alike.
    pub(super) fn only(rows: &[usize]) -> Epoch<'_> {
        Epoch { index: 0, epochs: 1, rows, importance: &[1.0; 8][..rows.len()] }
    }

    pub(super) fn near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");
    }

    fn all() -> Vec<Sampling> {
        let temperature =
            |temperature| Sampling::Temperature(Temperature { temperature, ..Temperature::default() });
        let capped = Temperature { temperature: 2.0, scale: 1.0, cap: Some(5_000.0) };
        vec![
            Sampling::default(),
            Sampling::Equal(Equal {}),
            Sampling::Sqrt(Sqrt {}),
            Sampling::Smoothing(Smoothing { alpha: 0.0 }),
            Sampling::Smoothing(Smoothing::default()),
            temperature(1.0),
            temperature(2.0),
            temperature(5.0),
            temperature(1e6),
            Sampling::Temperature(capped),
            Sampling::Annealed(Annealed {}),
            Sampling::UniMax(UniMax::default()),
            Sampling::UniMax(UniMax { epochs: 2.0, budget: Some(500.0) }),
            Sampling::Importance(Importance::default()),
            Sampling::Importance(Importance { alpha: 0.5 }),
            Sampling::Validation(Validation::default()),
            Sampling::LossRatio(LossRatio::default()),
            Sampling::Conflict(Conflict::default()),
            Sampling::Exp3(Exp3::default()),
        ]
    }

    /// The conformance table: what holds of every sampler, in every epoch, where the corpora count alike.
    #[test]
    fn every_sampler_keeps_the_contract() {
        let cases: &[&[usize]] = &[
            &[],
            &[0],
            &[0, 0],
            &[1],
            &[7, 0, 3],
            &[5, 5, 2, 5],
            &[1_000, 10_000, 100_000],
            &[usize::MAX, 1],
        ];
        for (index, epochs) in [(0, 1), (0, 5), (2, 5), (4, 5), (6, 5)] {
            for sampler in all() {
                sampler.check(epochs).unwrap();
                cases
                    .iter()
                    .for_each(|rows| keeps_the_contract(&sampler, &Epoch { index, epochs, ..only(rows) }));
            }
        }
    }

    fn keeps_the_contract(sampler: &Sampling, epoch: &Epoch<'_>) {
        let (rows, shares) = (epoch.rows, sampler.shares(epoch));
        let told = || format!("{sampler:?} {epoch:?} {shares:?}");
        assert_eq!(shares.len(), rows.len());
        let expected = if rows.iter().any(|&n| n > 0) { 1.0 } else { 0.0 };
        assert!((shares.iter().sum::<f64>() - expected).abs() < 1e-12, "{}", told());
        for (&n, &share) in rows.iter().zip(&shares) {
            assert!(if n == 0 { share == 0.0 } else { share > 0.0 }, "{}", told());
        }
        // More rows never mean a smaller share, and order does not matter.
        for i in 0..rows.len() {
            for j in 0..rows.len() {
                assert!(rows[i] < rows[j] || shares[i] >= shares[j], "{}", told());
            }
        }
        let reversed: Vec<usize> = rows.iter().rev().copied().collect();
        let mut back = sampler.shares(&Epoch { rows: &reversed, ..*epoch });
        back.reverse();
        assert!(shares.iter().zip(&back).all(|(a, b)| (a - b).abs() < 1e-12), "{}", told());
    }

    #[test]
    fn the_catalogue_names_every_sampler() {
        let names: Vec<_> = CATALOGUE.iter().map(|(name, _)| *name).collect();
        assert!(all().iter().all(|sampler| names.contains(&sampler.name())));
        assert!(names.iter().all(|name| all().iter().any(|sampler| sampler.name() == *name)));
        assert!(CATALOGUE.iter().all(|(_, source)| source.starts_with("//! ")));
    }

    #[test]
    fn reads_as_one_table_per_sampler() {
        let read = |text: &str| serde_json::from_str::<Sampling>(text);
        assert_eq!(read(r#"{"proportional": {}}"#).unwrap(), Sampling::default());
        let expected = Sampling::Temperature(Temperature { temperature: 2.0, ..Temperature::default() });
        assert_eq!(read(r#"{"temperature": {"temperature": 2.0}}"#).unwrap(), expected);
        assert!(read(r#"{"temperature": {"heat": 2.0}}"#).is_err());
        for sampler in all() {
            assert_eq!(read(&serde_json::to_string(&sampler).unwrap()).unwrap(), sampler);
            assert_eq!(read(&format!(r#"{{"{}": {{}}}}"#, sampler.name())).unwrap().name(), sampler.name());
        }
    }
}
