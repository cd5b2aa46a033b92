//! Samplers: which corpora the next rows come from. One file each.

mod equal;
mod proportional;
mod temperature;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use equal::Equal;
pub use proportional::Proportional;
pub use temperature::Temperature;

use crate::DataError;

/// Name and source text of every sampler; the source's leading `//!` lines are its documentation.
pub const CATALOGUE: &[(&str, &str)] = &[
    ("proportional", include_str!("proportional.rs")),
    ("equal", include_str!("equal.rs")),
    ("temperature", include_str!("temperature.rs")),
];

/// Gives each corpus its share of the draws.
pub trait Sampler {
    /// Share per corpus from rows per corpus (`[c]` in, `[c]` out). The shares sum to 1; a corpus without rows gets 0;
    /// if no corpus has rows, all are 0.
    fn shares(&self, rows: &[usize]) -> Vec<f64>;
}

/// `[sampling.NAME]`: how often each corpus is drawn. Default: proportional.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// By the number of rows: every row is drawn once an epoch.
    Proportional(Proportional),
    /// The same for every corpus.
    Equal(Equal),
    /// Between the two.
    Temperature(Temperature),
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
            Sampling::Temperature(_) => "temperature",
        }
    }

    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// The first setting out of its range.
    pub fn check(&self) -> Result<(), DataError> {
        match self {
            Sampling::Proportional(_) | Sampling::Equal(_) => Ok(()),
            Sampling::Temperature(temperature) => temperature.check(),
        }
    }
}

impl Sampler for Sampling {
    fn shares(&self, rows: &[usize]) -> Vec<f64> {
        match self {
            Sampling::Proportional(sampler) => sampler.shares(rows),
            Sampling::Equal(sampler) => sampler.shares(rows),
            Sampling::Temperature(sampler) => sampler.shares(rows),
        }
    }
}

/// Scales weights so that they sum to 1; all zero stays all zero.
fn normalized(weights: Vec<f64>) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    if sum > 0.0 { weights.into_iter().map(|w| w / sum).collect() } else { weights }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Sampling> {
        let temperature =
            |temperature| Sampling::Temperature(Temperature { temperature, ..Temperature::default() });
        let capped = Temperature { temperature: 2.0, scale: 1.0, cap: Some(5_000.0) };
        vec![
            Sampling::default(),
            Sampling::Equal(Equal {}),
            temperature(1.0),
            temperature(2.0),
            temperature(5.0),
            temperature(1e6),
            Sampling::Temperature(capped),
        ]
    }

    /// The conformance table: what holds of every sampler.
    #[test]
    fn every_sampler_keeps_the_contract() {
        let cases: &[&[usize]] =
            &[&[], &[0], &[0, 0], &[1], &[7, 0, 3], &[1_000, 10_000, 100_000], &[usize::MAX, 1]];
        for sampler in all() {
            sampler.check().unwrap();
            for rows in cases {
                let shares = sampler.shares(rows);
                assert_eq!(shares.len(), rows.len());
                let expected = if rows.iter().any(|&n| n > 0) { 1.0 } else { 0.0 };
                assert!(
                    (shares.iter().sum::<f64>() - expected).abs() < 1e-12,
                    "{sampler:?} {rows:?} {shares:?}"
                );
                for (&n, &share) in rows.iter().zip(&shares) {
                    assert!(
                        if n == 0 { share == 0.0 } else { share > 0.0 },
                        "{sampler:?} {rows:?} {shares:?}"
                    );
                }
                // More rows never mean a smaller share, and order does not matter.
                for i in 0..rows.len() {
                    for j in 0..rows.len() {
                        assert!(rows[i] < rows[j] || shares[i] >= shares[j]);
                    }
                }
                let reversed: Vec<usize> = rows.iter().rev().copied().collect();
                let mut back = sampler.shares(&reversed);
                back.reverse();
                assert!(shares.iter().zip(&back).all(|(a, b)| (a - b).abs() < 1e-12));
            }
        }
    }

    #[test]
    fn the_catalogue_names_every_sampler() {
        let names: Vec<_> = CATALOGUE.iter().map(|(name, _)| *name).collect();
        assert!(all().iter().all(|sampler| names.contains(&sampler.name())));
        assert!(CATALOGUE.iter().all(|(_, source)| source.starts_with("//! ")));
    }

    #[test]
    fn reads_as_one_table_per_sampler() {
        let read = |text| serde_json::from_str::<Sampling>(text);
        assert_eq!(read(r#"{"proportional": {}}"#).unwrap(), Sampling::default());
        let expected = Sampling::Temperature(Temperature { temperature: 2.0, ..Temperature::default() });
        assert_eq!(read(r#"{"temperature": {"temperature": 2.0}}"#).unwrap(), expected);
        assert!(read(r#"{"temperature": {"heat": 2.0}}"#).is_err());
    }
}
