//! How evenly labels are spread.

use serde::Serialize;

/// How evenly the labels that occur are spread.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Balance {
    /// Different labels that occur.
    pub labels: usize,
    /// Labels in all.
    pub total: usize,
    /// Entropy of their distribution in bits.
    pub entropy: f64,
    /// The entropy as a share of the greatest that so many labels could have: 1 where all are as frequent, near 0 where one
    /// is nearly all. 0 where fewer than two labels occur.
    pub evenness: f64,
    /// The most frequent label's count over the rarest's; 0 where none occurs.
    pub ratio: f64,
    /// The share of the most frequent label, 0 to 1.
    pub largest: f64,
}

impl Balance {
    /// Of how often each label occurs; labels that do not occur do not count.
    pub fn of(counts: impl IntoIterator<Item = usize>) -> Balance {
        let counts: Vec<usize> = counts.into_iter().filter(|count| *count > 0).collect();
        let (Some(most), Some(least)) = (counts.iter().max(), counts.iter().min()) else {
            return Balance::default();
        };
        let total: usize = counts.iter().sum();
        let share = |count: usize| count as f64 / total as f64;
        let entropy = -counts.iter().map(|count| share(*count) * share(*count).log2()).sum::<f64>();
        let greatest = (counts.len() as f64).log2();
        Balance {
            labels: counts.len(),
            total,
            // One label has the entropy 0, and not -0.
            entropy: entropy.max(0.0),
            evenness: if counts.len() > 1 { entropy / greatest } else { 0.0 },
            ratio: *most as f64 / *least as f64,
            largest: share(*most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_and_uneven() {
        let even = Balance::of([5, 5, 5, 5]);
        assert_eq!((even.entropy, even.evenness, even.ratio, even.largest), (2.0, 1.0, 1.0, 0.25));
        let uneven = Balance::of([900, 0, 90, 10]);
        assert_eq!((uneven.labels, uneven.total, uneven.ratio, uneven.largest), (3, 1000, 90.0, 0.9));
        // -(0.9 log2 0.9 + 0.09 log2 0.09 + 0.01 log2 0.01)
        assert!((uneven.entropy - 0.515895152948).abs() < 1e-9, "{}", uneven.entropy);
        assert!((uneven.evenness - uneven.entropy / 3f64.log2()).abs() < 1e-12);
    }

    #[test]
    fn one_label_and_none() {
        let one = Balance::of([7, 0]);
        assert_eq!((one.labels, one.entropy, one.evenness, one.ratio), (1, 0.0, 0.0, 1.0));
        assert_eq!(Balance::of([0, 0]), Balance::default());
        assert_eq!(Balance::of([]), Balance::default());
    }
}
