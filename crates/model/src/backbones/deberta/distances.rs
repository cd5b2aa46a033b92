//! Which vector stands for a distance: one of its own near by, one for a range farther away.

use crate::cast::{to_f32, to_u32};
use crate::layers::longest;
use std::ops::Range;
use std::sync::Arc;

/// How distances are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DistanceBuckets {
    /// Half as many as there are vectors: `position_buckets`, or `max_relative_positions` where each distance has its own.
    pub span: usize,
    /// The distance from which on all share the last range; `None` where each has its own up to `span`.
    pub max_distance: Option<usize>,
}

/// The distances in a pack.
pub(super) struct Distances {
    /// The vectors of the table that they have.
    pub rows: Range<usize>,
    /// For each distance, the key's position less the query's, from `-reach` to `reach`, its vector among these.
    pub index: Arc<[u32]>,
}

impl DistanceBuckets {
    /// The vector of a distance, the query's position less the key's: `clamp(bucket + span)`, where the bucket is
    /// `make_log_bucket_position` of DeBERTa's code.
    fn row(&self, distance: isize) -> usize {
        let most = 2 * self.span as isize - 1;
        let row = (self.bucket(distance) + self.span as isize).clamp(0, most);
        usize::try_from(row).unwrap_or(0)
    }

    #[allow(clippy::cast_possible_truncation)] // A bucket of distances below 2^31.
    fn bucket(&self, distance: isize) -> isize {
        let (middle, away) = (self.span / 2, distance.unsigned_abs());
        let Some(max_distance) = self.max_distance.filter(|_| away > middle) else { return distance };
        // In f32, as it was trained: at the edges of the ranges the rounding decides.
        let farthest = to_f32((max_distance - 1) as f64 / middle as f64).ln();
        let share = (away as f32 / middle as f32).ln() / farthest;
        let far = (share * (middle as f32 - 1.0)).ceil() + middle as f32;
        far as isize * distance.signum()
    }

    /// The vector of each distance, the key's position less the query's, from `-reach` to `reach`.
    pub fn rows(&self, reach: usize) -> Vec<i64> {
        let reach = reach as isize;
        (-reach..=reach).map(|distance| self.row(-distance) as i64).collect()
    }

    /// The distances between the tokens of sequences.
    pub fn of_rows(&self, offsets: &[usize]) -> Distances {
        let reach = longest(offsets).max(1) as isize - 1;
        let (first, last) = (self.row(-reach), self.row(reach));
        let index = (-reach..=reach).map(|distance| to_u32(self.row(-distance) - first)).collect();
        Distances { rows: first..last + 1, index }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `make_log_bucket_position` of transformers 5 with DeBERTa-v3's settings: 256 buckets, 512 positions.
    #[test]
    fn buckets_are_those_of_transformers() {
        let buckets = DistanceBuckets { span: 256, max_distance: Some(512) };
        let distances = [0, 1, 127, 128, 129, 130, 150, 151, 200, 255, 256, 300, 400, 500, 510, 511, 600];
        let expected = [0, 1, 127, 128, 129, 130, 143, 144, 169, 192, 192, 207, 233, 254, 255, 255, 270];
        assert_eq!(distances.map(|distance| buckets.bucket(distance)), expected);
        assert_eq!(
            distances.map(|distance| buckets.bucket(-distance)),
            expected.map(|bucket: isize| -bucket)
        );
        // All of them, as a sum of bucket times distance.
        assert_eq!((0..512).map(|distance| buckets.bucket(distance) * distance).sum::<isize>(), 27457213);
        let pack = buckets.of_rows(&[0, 3, 4]);
        assert_eq!((pack.rows, &*pack.index), (254..259, &[4, 3, 2, 1, 0][..]));
        assert_eq!(buckets.rows(2), [258, 257, 256, 255, 254]);
    }
}
