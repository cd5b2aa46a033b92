//! `block_means`: the mean of measurements that follow each other, with an error that does not take them for independent.
//!
//! Measurements that are made during one training resemble those before and after them, so that their number overstates how much is
//! known. Each series is cut into blocks of measurements in a row; the means of blocks are nearly independent where blocks are longer
//! than the resemblance lasts, and their spread gives the standard error (the method of batch means: Schmeiser, 1982; Law, *Simulation
//! Modeling and Analysis*). What changes from the beginning of a training to its end counts as spread too, which makes the error
//! larger, not smaller.

use super::difference::{student, variance};
use std::ops::Range;

/// Blocks in all series together, as far as there are two measurements for each.
const BLOCKS: usize = 10;

/// A mean over series of measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockMeans {
    /// Over all measurements.
    pub mean: f64,
    /// Its standard error, by the spread of the means of blocks; `None` of fewer than four measurements.
    pub standard_error: Option<f64>,
    /// The 95 % confidence interval, Student's with a degree of freedom fewer than there are blocks.
    pub interval: Option<[f64; 2]>,
}

/// The blocks of series of these lengths: which series, and where in it. Each has two measurements or more, but where its series has
/// one.
pub fn blocks(lengths: &[usize]) -> Vec<(usize, Range<usize>)> {
    let series = lengths.iter().filter(|length| **length > 0).count().max(1);
    let of_series = |(index, length): (usize, &usize)| {
        let length = *length;
        let count = (BLOCKS / series).max(2).min(length / 2).max(1);
        let cut = move |block: usize| block * length / count;
        (0..count).filter(move |_| length > 0).map(move |block| (index, cut(block)..cut(block + 1)))
    };
    lengths.iter().enumerate().flat_map(of_series).collect()
}

/// The mean of some series, each of measurements in their order, such as those of one training. `None` without a measurement.
pub fn block_means(series: &[Vec<f64>]) -> Option<BlockMeans> {
    let all: Vec<f64> = series.iter().flatten().copied().collect();
    if all.is_empty() {
        return None;
    }
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let lengths: Vec<usize> = series.iter().map(Vec::len).collect();
    let of_block = |(index, range): (usize, Range<usize>)| {
        let block = &series[index][range];
        block.iter().sum::<f64>() / block.len() as f64
    };
    let means: Vec<f64> = blocks(&lengths).into_iter().map(of_block).collect();
    if means.len() < 2 || all.len() < 4 {
        return Some(BlockMeans { mean, standard_error: None, interval: None });
    }
    let standard_error = (variance(&means) / means.len() as f64).sqrt();
    let (t, _) = student(mean, standard_error, (means.len() - 1) as f64);
    let interval = [mean - t * standard_error, mean + t * standard_error];
    Some(BlockMeans { mean, standard_error: Some(standard_error), interval: Some(interval) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_every_measurement_once() {
        for lengths in [vec![30], vec![31, 29, 30], vec![3], vec![1, 1], vec![0, 7]] {
            let found = blocks(&lengths);
            let covered: usize = found.iter().map(|(_, range)| range.len()).sum();
            assert_eq!(covered, lengths.iter().sum::<usize>(), "{lengths:?}");
            assert!(found.iter().all(|(index, range)| range.len() >= 2.min(lengths[*index])), "{found:?}");
        }
        assert_eq!(blocks(&[30]).len(), 10);
        assert_eq!(blocks(&[30, 30, 30]).len(), 9);
    }

    /// Four numbers are two blocks, whose means are 2 and 6: the standard error is `sqrt(8 / 2)`, and the 97.5 % quantile of Student's
    /// distribution with one degree of freedom is 12.7062.
    #[test]
    fn the_error_is_that_of_the_means_of_blocks() {
        let found = block_means(&[vec![1.0, 3.0, 5.0, 7.0]]).unwrap();
        assert_eq!((found.mean, found.standard_error), (4.0, Some(2.0)));
        let [low, high] = found.interval.unwrap();
        assert!((low - (4.0 - 2.0 * 12.706_204_736)).abs() < 1e-6 && (low + high - 8.0).abs() < 1e-12);
        assert_eq!(block_means(&[vec![1.0, 2.0]]).unwrap().interval, None);
        assert_eq!(block_means(&[vec![], vec![]]), None);
    }

    /// Of series in which each value resembles the one before, the interval holds the truth about as often as it says; that of independent
    /// measurements far less often.
    #[test]
    fn intervals_of_series_that_resemble_themselves_hold_the_truth() {
        let mut state = 88_172_645_463_325_252u64;
        let mut noise = || {
            let mut sum = 0.0;
            for _ in 0..12 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                sum += (state >> 11) as f64 / (1u64 << 53) as f64;
            }
            sum - 6.0
        };
        let (mut held, mut naive, trials) = (0, 0, 2000);
        for _ in 0..trials {
            let mut x = noise() / 0.75f64.sqrt();
            let values: Vec<f64> = (0..40)
                .map(|_| {
                    x = 0.5 * x + noise();
                    x
                })
                .collect();
            let found = block_means(std::slice::from_ref(&values)).unwrap();
            let [low, high] = found.interval.unwrap();
            held += usize::from(low <= 0.0 && 0.0 <= high);
            naive += usize::from(found.mean.abs() <= 2.02 * (variance(&values) / 40.0).sqrt());
        }
        let (held, naive) = (held as f64 / f64::from(trials), naive as f64 / f64::from(trials));
        assert!(held > 0.87 && held < 0.97 && naive < 0.8, "{held} {naive}");
    }
}
