//! T5's bias of attention scores: a learned number for each head and bucket of distances.

use crate::cast::{to_f32, to_u32};
use crate::parameters::{MatrixId, Parameters};
use burn::tensor::Tensor;

/// What distances from a query to a key are told apart by: few numbers near by, ranges farther away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RelativePositionBuckets {
    /// How many there are.
    pub count: usize,
    /// Distances from here on share the last one.
    pub max_distance: usize,
    /// Whether keys after the query have buckets of their own: half of them.
    pub bidirectional: bool,
}

impl RelativePositionBuckets {
    /// The bucket of a distance, the key's place less the query's. Raffel et al. 2020, section 2.1, as T5's code has it.
    fn bucket(&self, distance: isize) -> u32 {
        let (count, first, away) = match self.bidirectional {
            true => {
                let half = self.count / 2;
                (half, if distance > 0 { half } else { 0 }, distance.unsigned_abs())
            }
            false => (self.count, 0, (-distance.min(0)) as usize),
        };
        let exact = count / 2;
        if away < exact {
            return to_u32(first + away);
        }
        // In f32, as T5 was trained: at the edges of the ranges the rounding decides.
        let ratio =
            (away as f32 / exact as f32).ln() / to_f32((self.max_distance as f64 / exact as f64).ln());
        #[allow(clippy::cast_possible_truncation)] // Below `count`, or beyond it by a ratio of distances.
        let range = exact + (ratio * (count - exact) as f32) as usize;
        to_u32(first + range.min(count - 1))
    }

    /// The bias `[2 max_distance + 1, heads]` of all distances up to `max_distance`, from that of the buckets `[count, heads]`.
    pub fn bias(&self, parameters: &Parameters, table: MatrixId, max_distance: usize) -> Tensor<2> {
        let reach = max_distance as isize;
        let index: Vec<u32> = (-reach..=reach).map(|distance| self.bucket(distance)).collect();
        kernels::gather_rows(parameters.matrix(table), &index)
    }
}

/// The tokens of the longest row.
pub(crate) fn longest(rows: &[usize]) -> usize {
    rows.windows(2).map(|row| row[1] - row[0]).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `T5Attention._relative_position_bucket` of transformers 5.
    #[test]
    fn buckets_are_those_of_transformers() {
        let of = |bidirectional, distances: &[isize]| -> Vec<u32> {
            let buckets = RelativePositionBuckets { count: 32, max_distance: 128, bidirectional };
            distances.iter().map(|distance| buckets.bucket(*distance)).collect()
        };
        let distances = [-200, -128, -127, -64, -32, -31, -16, -15, -8, -7, -1, 0, 1, 7, 8, 16, 63, 64, 128];
        let both = [15, 15, 15, 14, 12, 11, 10, 9, 8, 7, 1, 0, 17, 23, 24, 26, 29, 30, 31];
        assert_eq!(of(true, &distances), both);
        let back = [31, 31, 31, 26, 21, 21, 16, 15, 8, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(of(false, &distances), back);
    }
}
