//! The distribution of labels.

use serde::Serialize;

/// The distribution of the labels that occur.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LabelDistribution {
    /// Distinct labels that occur.
    pub labels: usize,
    /// Labels in all.
    pub total: usize,
    /// Entropy of their distribution in bits.
    pub entropy: f64,
    /// The entropy relative to its maximum for this number of labels: 1 for a uniform distribution, near 0 where one label
    /// dominates, 0 where fewer than two labels occur.
    pub evenness: f64,
    /// The most frequent label's count over the rarest's; 0 where none occurs.
    pub ratio: f64,
    /// The relative frequency of the most frequent label, 0 to 1.
    pub largest: f64,
}

impl LabelDistribution {
    /// The distribution of label counts; labels with a count of 0 are left out.
    pub fn of(counts: impl IntoIterator<Item = usize>) -> LabelDistribution {
        let counts: Vec<usize> = counts.into_iter().filter(|count| *count > 0).collect();
        let (Some(most), Some(least)) = (counts.iter().max(), counts.iter().min()) else {
            return LabelDistribution::default();
        };
        let total: usize = counts.iter().sum();
        let share = |count: usize| count as f64 / total as f64;
        let entropy = -counts.iter().map(|count| share(*count) * share(*count).log2()).sum::<f64>();
        let greatest = (counts.len() as f64).log2();
        LabelDistribution {
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
        let even = LabelDistribution::of([5, 5, 5, 5]);
        assert_eq!((even.entropy, even.evenness, even.ratio, even.largest), (2.0, 1.0, 1.0, 0.25));
        let uneven = LabelDistribution::of([900, 0, 90, 10]);
        assert_eq!((uneven.labels, uneven.total, uneven.ratio, uneven.largest), (3, 1000, 90.0, 0.9));
        // -(0.9 log2 0.9 + 0.09 log2 0.09 + 0.01 log2 0.01)
        assert!((uneven.entropy - 0.515895152948).abs() < 1e-9, "{}", uneven.entropy);
        assert!((uneven.evenness - uneven.entropy / 3f64.log2()).abs() < 1e-12);
    }

    #[test]
    fn one_label_and_none() {
        let one = LabelDistribution::of([7, 0]);
        assert_eq!((one.labels, one.entropy, one.evenness, one.ratio), (1, 0.0, 0.0, 1.0));
        assert_eq!(LabelDistribution::of([0, 0]), LabelDistribution::default());
        assert_eq!(LabelDistribution::of([]), LabelDistribution::default());
    }
}
