//! Random masks: a stream for each tensor of each model, by names and seed, so that neither the order of the models nor threads change
//! one.

use crate::init::unit;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Keeps each of the values with a probability of its own, and divides what is kept by it, so that the mean over all masks is the value.
pub(super) fn dropped(
    values: &[f64],
    keep: impl Fn(usize) -> f64,
    (seed, model, tensor): (u64, &str, &str),
) -> Vec<f64> {
    let mut rng = stream(seed, model, tensor);
    rescaled(values, keep, |_, probability| unit(&mut rng) < probability)
}

/// The values that `is_kept` says, given their index and probability, divided by that.
pub(super) fn rescaled(
    values: &[f64],
    keep: impl Fn(usize) -> f64,
    mut is_kept: impl FnMut(usize, f64) -> bool,
) -> Vec<f64> {
    let value = |(index, value): (usize, &f64)| {
        let probability = keep(index);
        // One draw a number, whether it is needed or not.
        if is_kept(index, probability) { value / probability } else { 0.0 }
    };
    values.iter().enumerate().map(value).collect()
}

fn stream(seed: u64, model: &str, tensor: &str) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new_derive_key("polytask 2026 mask of a merge");
    hasher.update(&seed.to_le_bytes());
    // With its length, so that no two pairs of names make one text.
    hasher.update(&(model.len() as u64).to_le_bytes());
    hasher.update(model.as_bytes());
    hasher.update(tensor.as_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}
