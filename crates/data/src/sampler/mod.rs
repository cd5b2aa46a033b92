//! Samplers: which corpora the next rows come from. One file each, and one line each in [`SamplerConfig`].

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

pub use adaptive::{Adaptive, SamplerFeedback, SamplerState};
pub use annealed::Annealed;
pub use conflict::{Conflict, Preference};
pub use equal::Equal;
pub use exp3::Exp3;
pub use importance::Importance;
pub use loss_ratio::LossRatio;
pub use proportional::Proportional;
pub use smoothing::Smoothing;
pub use sqrt::Sqrt;
pub use temperature::Temperature;
pub use unimax::UniMax;
pub use validation::{ValidationScore, ValidationSignal};

use crate::DataError;

/// The input of a sampler: an epoch of a run, and the corpora.
#[derive(Debug, Clone, Copy)]
pub struct Epoch<'a> {
    /// The index of the epoch, from 0.
    pub index: usize,
    /// The number of epochs of the run.
    pub epochs: usize,
    /// `[c]` the number of rows of each corpus.
    pub rows: &'a [usize],
    /// `[c]` the importance of each corpus.
    pub importance: &'a [f64],
}

/// Gives each corpus its share of an epoch's draws.
pub trait Sampler {
    /// The share of each corpus (`[c]`). The shares sum to 1; a corpus without rows gets 0; if no corpus can be drawn, all are
    /// 0. They are a function of the settings and of `epoch` alone, so that a resumed run draws the same; an adaptive sampler
    /// gives its initial shares ([`Adaptive`]).
    fn shares(&self, epoch: &Epoch<'_>) -> Vec<f64>;

    /// Checks the settings for a run of `epochs` epochs.
    ///
    /// # Errors
    /// The first setting that is out of its range or has no effect.
    fn check(&self, _epochs: usize) -> Result<(), DataError> {
        Ok(())
    }

    /// Whether the shares depend on the number of epochs of the run.
    fn goes_by_epochs(&self) -> bool {
        false
    }

    /// The sampler as an adaptive one; `None` for one whose shares do not depend on training.
    fn adaptive(&self) -> Option<&dyn Adaptive> {
        None
    }
}

impl<A: Adaptive> Sampler for A {
    fn shares(&self, epoch: &Epoch<'_>) -> Vec<f64> {
        Adaptive::shares(self, epoch, &vec![SamplerState::default(); epoch.rows.len()])
    }

    fn check(&self, _epochs: usize) -> Result<(), DataError> {
        Adaptive::check(self)
    }

    fn adaptive(&self) -> Option<&dyn Adaptive> {
        Some(self)
    }
}

/// Generates [`SamplerConfig`], [`CATALOGUE`] and [`ALIASES`] from one line per sampler: documentation, variant with its
/// settings, name in the config, source file, and the other names of the sampler.
macro_rules! samplers {
    ($($(#[$doc:meta])* $variant:ident($settings:ty), $name:tt, $file:tt, [$($alias:tt),*];)+) => {
        /// `[sampling.NAME]`: how often each corpus is drawn. Default: proportional.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub enum SamplerConfig {
            $($(#[$doc])* #[serde(rename = $name)] $variant($settings),)+
        }

        /// Name and source text of every sampler; the source's leading `//!` lines are its documentation.
        pub const CATALOGUE: &[(&str, &str)] = &[$(($name, include_str!($file)),)+];

        /// The names by which papers and other tools know each sampler, beside its own.
        pub const ALIASES: &[(&str, &[&str])] = &[$(($name, &[$($alias),*]),)+];

        impl SamplerConfig {
            /// Every sampler with its default settings.
            pub fn all() -> Vec<SamplerConfig> {
                vec![$(SamplerConfig::$variant(<$settings>::default()),)+]
            }

            /// The sampler's name in the config.
            pub fn name(&self) -> &'static str {
                match self {
                    $(SamplerConfig::$variant(_) => $name,)+
                }
            }

            fn sampler(&self) -> &dyn Sampler {
                match self {
                    $(SamplerConfig::$variant(sampler) => sampler,)+
                }
            }
        }
    };
}

samplers! {
    /// By the number of rows: every row is drawn once an epoch.
    Proportional(Proportional), "proportional", "proportional.rs", ["size-proportional sampling"];
    /// The same for every corpus.
    Equal(Equal), "equal", "equal.rs", ["uniform sampling", "round robin"];
    /// By the square root of the number of rows.
    Sqrt(Sqrt), "sqrt", "sqrt.rs", ["square-root sampling"];
    /// By a power of the number of rows.
    Smoothing(Smoothing), "smoothing", "smoothing.rs", ["exponential smoothing", "multinomial sampling"];
    /// By the number of rows, with a cap, flattened by a temperature.
    Temperature(Temperature), "temperature", "temperature.rs", ["examples-proportional mixing"];
    /// By a power of the number of rows that decreases from epoch to epoch.
    Annealed(Annealed), "annealed", "annealed.rs", ["annealed sampling"];
    /// The same for every corpus, with a maximum number of passes over each.
    UniMax(UniMax), "unimax", "unimax.rs", ["UniMax"];
    /// By the importance of the corpus's tasks.
    Importance(Importance), "importance", "importance.rs", [];
    /// By the gap between validation score and target, adaptively.
    Validation(ValidationScore), "validation", "validation.rs", ["dynamic sampling"];
    /// By the ratio of the current loss to the first, adaptively.
    LossRatio(LossRatio), "loss_ratio", "loss_ratio.rs", [];
    /// By the cosine similarity between task gradients, adaptively.
    Conflict(Conflict), "conflict", "conflict.rs", ["gradient alignment"];
    /// By the progress of the losses, adaptively.
    Exp3(Exp3), "exp3", "exp3.rs", ["EXP3", "multi-armed bandit"];
}

impl Default for SamplerConfig {
    fn default() -> Self {
        SamplerConfig::Proportional(Proportional {})
    }
}

impl SamplerConfig {
    /// The share of each corpus, as [`Sampler::shares`].
    pub fn shares(&self, epoch: &Epoch<'_>) -> Vec<f64> {
        self.sampler().shares(epoch)
    }

    /// Checks the settings for a run of `epochs` epochs.
    ///
    /// # Errors
    /// The first setting that is out of its range or has no effect.
    pub fn check(&self, epochs: usize) -> Result<(), DataError> {
        self.sampler().check(epochs)
    }

    /// The sampler as an adaptive one; `None` for one whose shares do not depend on training.
    pub fn adaptive(&self) -> Option<&dyn Adaptive> {
        self.sampler().adaptive()
    }

    /// Whether the shares depend on the number of epochs of the run.
    pub fn goes_by_epochs(&self) -> bool {
        self.sampler().goes_by_epochs()
    }

    /// Whether the sampler uses evaluations on the validation split.
    pub fn needs_validation(&self) -> bool {
        self.adaptive().is_some_and(|sampler| sampler.needs_validation())
    }

    /// Whether the sampler compares the gradients of the tasks.
    pub fn needs_task_gradients(&self) -> bool {
        self.adaptive().is_some_and(|sampler| sampler.needs_task_gradients())
    }
}

/// Scales weights so that they sum to 1; all zero stays all zero.
pub(crate) fn normalized(weights: Vec<f64>) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    if sum > 0.0 { weights.into_iter().map(|w| w / sum).collect() } else { weights }
}

/// Shares in proportion to a power of sizes: the samplers by size are presets of this function. An exponent of 1 is
/// proportional, 1/2 the square root, 0 equal.
fn power_shares(sizes: impl Iterator<Item = f64>, exponent: f64) -> Vec<f64> {
    normalized(sizes.map(|size| power(size, exponent)).collect())
}

/// A power of a size; 0 for a size of 0, whatever the exponent (0^0 is 1 otherwise).
fn power(size: f64, exponent: f64) -> f64 {
    if size == 0.0 { 0.0 } else { size.powf(exponent) }
}

/// Refuses the value of the key `sampling.KEY` unless it is valid and finite.
fn check_range(key: &str, found: f64, good: bool, expected: &str) -> Result<(), DataError> {
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

    /// The only epoch of a run over corpora of equal importance.
    pub(super) fn only(rows: &[usize]) -> Epoch<'_> {
        Epoch { index: 0, epochs: 1, rows, importance: &[1.0; 8][..rows.len()] }
    }

    pub(super) fn near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");
    }

    /// Every sampler by default, and some with other settings.
    fn many() -> Vec<SamplerConfig> {
        let temperature =
            |temperature| SamplerConfig::Temperature(Temperature { temperature, ..Temperature::default() });
        let capped = Temperature { temperature: 2.0, scale: 1.0, cap: Some(5_000.0) };
        let others = [
            SamplerConfig::Smoothing(Smoothing { alpha: 0.0 }),
            temperature(1.0),
            temperature(5.0),
            temperature(1e6),
            SamplerConfig::Temperature(capped),
            SamplerConfig::UniMax(UniMax { epochs: 2.0, budget: Some(500.0) }),
            SamplerConfig::Importance(Importance { alpha: 0.5 }),
        ];
        SamplerConfig::all().into_iter().chain(others).collect()
    }

    /// The conformance table: what holds for every sampler, in every epoch, where the corpora have equal importance.
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
            for sampler in many() {
                sampler.check(epochs).unwrap();
                cases
                    .iter()
                    .for_each(|rows| keeps_the_contract(&sampler, &Epoch { index, epochs, ..only(rows) }));
            }
        }
    }

    fn keeps_the_contract(sampler: &SamplerConfig, epoch: &Epoch<'_>) {
        let (rows, shares) = (epoch.rows, sampler.shares(epoch));
        let told = || format!("{sampler:?} {epoch:?} {shares:?}");
        assert_eq!(shares.len(), rows.len());
        let expected = if rows.iter().any(|&n| n > 0) { 1.0 } else { 0.0 };
        assert!((shares.iter().sum::<f64>() - expected).abs() < 1e-12, "{}", told());
        for (&n, &share) in rows.iter().zip(&shares) {
            assert!(if n == 0 { share == 0.0 } else { share > 0.0 }, "{}", told());
        }
        // More rows never give a smaller share, and the order of the corpora does not matter.
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
    fn every_source_has_documentation() {
        assert!(CATALOGUE.iter().all(|(_, source)| source.starts_with("//! ")));
    }

    #[test]
    fn the_samplers_by_size_are_one_function() {
        let epoch = only(&[1_000, 0, 7, 12_345, 99_999]);
        let power = |alpha| SamplerConfig::Smoothing(Smoothing { alpha }).shares(&epoch);
        let temperature = Temperature { temperature: 2.0, ..Temperature::default() };
        assert_eq!(SamplerConfig::Sqrt(Sqrt {}).shares(&epoch), power(0.5));
        assert_eq!(SamplerConfig::Temperature(temperature).shares(&epoch), power(0.5));
        assert_eq!(SamplerConfig::Proportional(Proportional {}).shares(&epoch), power(1.0));
        assert_eq!(SamplerConfig::Equal(Equal {}).shares(&epoch), power(0.0));
    }

    #[test]
    fn samplers_say_what_they_need() {
        let named = |has: fn(&SamplerConfig) -> bool| -> Vec<&str> {
            let all = SamplerConfig::all();
            all.iter().filter(|sampler| has(sampler)).map(SamplerConfig::name).collect()
        };
        assert_eq!(named(|sampler| sampler.needs_validation()), ["validation"]);
        assert_eq!(named(|sampler| sampler.needs_task_gradients()), ["conflict"]);
        assert_eq!(named(|sampler| sampler.goes_by_epochs()), ["annealed", "unimax"]);
        let adaptive = ["validation", "loss_ratio", "conflict", "exp3"];
        assert_eq!(named(|sampler| sampler.adaptive().is_some()), adaptive);
    }

    #[test]
    fn reads_as_one_table_per_sampler() {
        let read = |text: &str| serde_json::from_str::<SamplerConfig>(text);
        assert_eq!(read(r#"{"proportional": {}}"#).unwrap(), SamplerConfig::default());
        let expected = SamplerConfig::Temperature(Temperature { temperature: 2.0, ..Temperature::default() });
        assert_eq!(read(r#"{"temperature": {"temperature": 2.0}}"#).unwrap(), expected);
        assert!(read(r#"{"temperature": {"heat": 2.0}}"#).is_err());
        for sampler in many() {
            assert_eq!(read(&serde_json::to_string(&sampler).unwrap()).unwrap(), sampler);
            assert_eq!(read(&format!(r#"{{"{}": {{}}}}"#, sampler.name())).unwrap().name(), sampler.name());
        }
    }
}
