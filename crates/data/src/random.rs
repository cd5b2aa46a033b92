//! Random numbers by seed and stream name: there is no global generator.
//!
//! Every use of randomness names its stream, so that adding one does not shift another. The numbers are a fixed function
//! of (seed, name, index): ChaCha8 keyed by BLAKE3 of the three, with shuffle and range of our own, so that neither a
//! platform nor a newer library changes a run.

use crate::cast::to_usize;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The generator of one stream: `name` says what for (`"draws"`), `index` which (an epoch, a corpus).
pub fn stream(seed: u64, name: &str, index: u64) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(digest(seed, name, index))
}

/// A seed derived from a seed, for what takes a number and not a generator.
pub fn derive_seed(seed: u64, name: &str, index: u64) -> u64 {
    stream(seed, name, index).next_u64()
}

fn digest(seed: u64, name: &str, index: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("polytask 2026 random stream");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&index.to_le_bytes());
    hasher.update(name.as_bytes());
    *hasher.finalize().as_bytes()
}

/// A whole number in `0..bound`, every one equally likely. `bound` 0 gives 0.
#[allow(clippy::cast_possible_truncation)] // The halves of the product.
pub fn uniform_below(rng: &mut ChaCha8Rng, bound: u64) -> u64 {
    if bound == 0 {
        return 0;
    }
    // Lemire's method: the high half of a 128-bit product, redrawn in the few cases that would favour small numbers.
    let threshold = bound.wrapping_neg() % bound;
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(bound);
        if product as u64 >= threshold {
            return (product >> 64) as u64;
        }
    }
}

/// A number in `0.0..1.0` with 53 random bits.
pub fn uniform01(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Puts the items in random order, every order equally likely (Fisher-Yates).
pub fn shuffle<T>(rng: &mut ChaCha8Rng, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, to_usize(uniform_below(rng, last as u64 + 1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_name_and_index() {
        let all = [
            derive_seed(1, "a", 0),
            derive_seed(2, "a", 0),
            derive_seed(1, "b", 0),
            derive_seed(1, "a", 1),
            derive_seed(1, "", 0),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
        assert_eq!(derive_seed(17, "draws", 3), derive_seed(17, "draws", 3));
    }

    #[test]
    fn numbers_are_the_same_for_ever() {
        // A changed value here changes every run that users have made: resume would break.
        let mut rng = stream(17, "draws", 0);
        let mut items: Vec<u32> = (0..10).collect();
        shuffle(&mut rng, &mut items);
        assert_eq!((items, uniform_below(&mut rng, 1000)), (vec![9, 0, 8, 7, 6, 3, 4, 5, 2, 1], 710));
    }

    #[test]
    fn every_order_is_equally_likely() {
        let mut counts = std::collections::BTreeMap::new();
        let mut rng = stream(5, "test", 0);
        for _ in 0..24_000 {
            let mut items = [0u8, 1, 2, 3];
            shuffle(&mut rng, &mut items);
            *counts.entry(items).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 24);
        // 1000 expected each, standard deviation 31.
        assert!(counts.values().all(|&n| (850..1150).contains(&n)), "{counts:?}");
    }

    #[test]
    fn uniform_numbers_stay_in_range() {
        let mut rng = stream(5, "test", 1);
        let mean = (0..10_000)
            .map(|_| uniform01(&mut rng))
            .inspect(|u| assert!((0.0..1.0).contains(u)))
            .sum::<f64>()
            / 1e4;
        assert!((mean - 0.5).abs() < 0.02);
        assert!((0..1000).all(|_| uniform_below(&mut rng, 3) < 3));
        assert_eq!(uniform_below(&mut rng, 0), 0);
    }
}
