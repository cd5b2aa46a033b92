//! Dropout without a stored mask: whether an element is kept is a pure function of a seed and its index.

/// Dropout of one place in the network for one step.
///
/// Element `i` is dropped when a hash of `(seed, i)` says so; kept elements are scaled by `1 / (1 - rate)`.
/// The backward pass makes the same mask again, so nothing is stored and a resumed run draws the same mask.
/// Give every dropout of a step its own seed. A tensor that is a part of a longer one draws the noise of its place in that,
/// where `offset` says how much of it comes first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability that an element is dropped, `0.0..=1.0`.
    pub rate: f32,
    /// Chooses the mask.
    pub seed: u64,
    /// What comes before this chunk of the tensor: rows of a matrix, scores of a head in an attention. 0 for a whole one.
    pub offset: usize,
}

impl Dropout {
    /// The dropout of a whole tensor.
    pub const fn new(rate: f32, seed: u64) -> Self {
        Dropout { rate, seed, offset: 0 }
    }

    /// The dropout of a chunk that comes after so much.
    pub fn with_offset(self, offset: usize) -> Self {
        Dropout { offset, ..self }
    }
}

/// [`Dropout`] made ready for the inner loop.
#[derive(Clone, Copy, Debug)]
pub struct DropoutMask {
    keys: [u32; 2],
    /// Of `1 << 24` equally likely values, how many mean "dropped".
    dropped: i32,
    scale: f32,
}

impl DropoutMask {
    /// `None` where nothing is dropped. `width` is the number of elements in a row of the matrix, or for a pair: the heads.
    pub fn of(dropout: Option<Dropout>, width: usize) -> Option<DropoutMask> {
        let Dropout { rate, seed, offset } = dropout.filter(|dropout| dropout.rate > 0.0)?;
        let mixed = splitmix(seed);
        Some(DropoutMask {
            // The place of the first element goes into the counter, which is added to the first key.
            keys: [(mixed as u32).wrapping_add((offset * width) as u32), (mixed >> 32) as u32],
            dropped: (f64::from(rate) * f64::from(1 << 24)).round() as i32,
            scale: if rate < 1.0 { 1.0 / (1.0 - rate) } else { 0.0 },
        })
    }

    /// The factor of element `index`: 0 or `1 / (1 - rate)`.
    ///
    /// A counter goes through two rounds of a multiply-and-shift hash (Wellons' `lowbias32`) with a key before
    /// each. Only 32-bit operations, so the loop over a row vectorises. The index counts modulo 2^32: a tensor
    /// of more elements, such as the scores of an attention over a million tokens, has the same mask again after so many.
    #[inline(always)]
    pub(crate) fn factor(&self, index: usize) -> f32 {
        let mut x = (index as u32).wrapping_add(self.keys[0]);
        x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        x = (x ^ (x >> 15) ^ self.keys[1]).wrapping_mul(0x846c_a68b);
        x ^= x >> 16;
        if ((x >> 8) as i32) < self.dropped { 0.0 } else { self.scale }
    }

    /// The factors of `0..len`, for devices that cannot make their own.
    pub fn factors(&self, len: usize) -> Vec<f32> {
        (0..len).map(|index| self.factor(index)).collect()
    }
}

/// The number that follows `seed` in the SplitMix64 sequence (Steele, Lea and Flood 2014): spreads a seed over 64 bits.
pub fn splitmix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rate: f32, seed: u64) -> DropoutMask {
        DropoutMask::of(Some(Dropout::new(rate, seed)), 1).unwrap()
    }

    #[test]
    fn keeps_the_wanted_share() {
        for (rate, seed) in [(0.1, 1), (0.1, 2), (0.5, 3), (0.9, u64::MAX)] {
            let factors = mask(rate, seed).factors(1 << 20);
            let dropped = factors.iter().filter(|&&f| f == 0.0).count() as f64 / f64::from(1 << 20);
            // Five standard deviations of a fair draw are at most 0.0025.
            assert!((dropped - f64::from(rate)).abs() < 0.0025, "{rate}: {dropped}");
            assert!(factors.iter().all(|&f| f == 0.0 || f == 1.0 / (1.0 - rate)));
        }
    }

    #[test]
    fn neighbours_and_seeds_are_independent() {
        let n = 1 << 20;
        let sign = |f: f32| if f == 0.0 { -1.0 } else { 1.0 };
        let (a, b) = (mask(0.5, 7).factors(n), mask(0.5, 8).factors(n));
        for lag in [1, 2, 3, 32, 64, 384] {
            let same: f64 = (0..n - lag).map(|i| sign(a[i]) * sign(a[i + lag])).sum();
            assert!((same / n as f64).abs() < 0.005, "lag {lag}");
            let across: f64 = (0..n - lag).map(|i| sign(a[i]) * sign(b[i + lag])).sum();
            assert!((across / n as f64).abs() < 0.005, "across seeds, lag {lag}");
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        assert!(DropoutMask::of(None, 1).is_none());
        assert!(DropoutMask::of(Some(Dropout::new(0.0, 1)), 1).is_none());
        assert!(mask(1.0, 1).factors(1000).iter().all(|&f| f == 0.0));
    }

    #[test]
    fn a_part_draws_what_the_whole_draws_there() {
        let (dropout, width) = (Dropout::new(0.3, 5), 7);
        let whole = DropoutMask::of(Some(dropout), width).unwrap().factors(20 * width);
        let part = DropoutMask::of(Some(dropout.with_offset(12)), width).unwrap().factors(8 * width);
        assert_eq!(part, whole[12 * width..]);
    }

    #[test]
    fn masks_are_the_same_for_ever() {
        // A changed value here changes every run that users have made.
        let bits = mask(0.5, 17).factors(32).iter().fold(0u32, |bits, &f| bits << 1 | u32::from(f != 0.0));
        assert_eq!(bits, 2_690_647_481);
    }
}
