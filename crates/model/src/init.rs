//! First values of parameters: a fixed function of (seed, parameter name), so that neither the order in which parameters
//! are made nor a parameter more or less changes the others.

use crate::cast::to_f32;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// How a parameter starts.
#[derive(Debug, Clone, PartialEq)]
pub enum Init {
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
    /// Evenly between minus and plus this bound.
    Uniform(f32),
    /// These values, in row-major order; their number must be the parameter's.
    Data(Vec<f32>),
}

impl Init {
    /// Normal with standard deviation sqrt(2 / (inputs + outputs)) (Glorot and Bengio 2010): keeps the size of activations and
    /// gradients alike through a linear layer.
    pub fn glorot(inputs: usize, outputs: usize) -> Self {
        Self::Normal((2.0 / (inputs + outputs).max(1) as f32).sqrt())
    }

    /// `len` values for the parameter called `name`.
    pub(crate) fn draw(self, seed: u64, name: &str, len: usize) -> Vec<f32> {
        match self {
            Self::Zeros => vec![0.0; len],
            Self::Ones => vec![1.0; len],
            Self::Normal(deviation) => {
                let mut rng = stream(seed, name);
                let mut values = Vec::with_capacity(len + 1);
                while values.len() < len {
                    // Box and Muller: two normal numbers out of two even ones. 1 - u keeps the logarithm's argument above 0.
                    let radius = (-2.0 * (1.0 - unit(&mut rng)).ln()).sqrt() * f64::from(deviation);
                    let angle = std::f64::consts::TAU * unit(&mut rng);
                    values.push(to_f32(radius * angle.cos()));
                    values.push(to_f32(radius * angle.sin()));
                }
                values.truncate(len);
                values
            }
            Self::Uniform(bound) => {
                let mut rng = stream(seed, name);
                (0..len).map(|_| to_f32((2.0 * unit(&mut rng) - 1.0) * f64::from(bound))).collect()
            }
            Self::Data(values) => values,
        }
    }
}

fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new_derive_key("polytask 2026 parameter init");
    hasher.update(&seed.to_le_bytes());
    hasher.update(name.as_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

/// In 0.0..1.0, 53 random bits.
pub(crate) fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_and_seed_draw_the_same_values() {
        let draw = |seed, name| Init::Normal(1.0).draw(seed, name, 5);
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        // A shorter draw is the beginning of a longer one.
        assert_eq!(Init::Normal(1.0).draw(1, "a", 4)[..], draw(1, "a")[..4]);
    }

    #[test]
    fn normal_and_uniform_have_the_size_asked_for() {
        let moments = |values: &[f32]| {
            let n = values.len() as f64;
            let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
            let variance = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
            (mean, variance.sqrt())
        };
        let (mean, deviation) = moments(&Init::Normal(0.02).draw(3, "w", 100_000));
        assert!(mean.abs() < 3e-4 && (deviation - 0.02).abs() < 3e-4, "{mean} {deviation}");
        let values = Init::Uniform(0.5).draw(3, "w", 100_000);
        let (mean, deviation) = moments(&values);
        assert!(mean.abs() < 5e-3 && (deviation - 0.5 / 3f64.sqrt()).abs() < 5e-3, "{mean} {deviation}");
        assert!(values.iter().all(|v| v.abs() <= 0.5));
    }
}
