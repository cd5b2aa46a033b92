//! Mean of the rows' F1 for multi-label classification: every row counts equally.
//!
//! Formula: the mean over rows of `2 |gold and predicted| / (|gold| + |predicted|)`. A row with neither gold nor
//! predicted labels counts 0, as 0 / 0 does in all metrics here and in scikit-learn's `zero_division=0`.
//!
//! When to use: when the quality of the label set of each row matters.
//!
//! Reference: scikit-learn's `f1_score(average="samples", zero_division=0)`.

use crate::score::Counts;

/// Mean F1 of the rows' sets of labels; 0 when there are no rows. The labels of a set are distinct.
///
/// # Panics
/// When `gold` and `predicted` differ in length.
pub fn sample_f1(gold: &[Vec<u32>], predicted: &[Vec<u32>]) -> f64 {
    assert_eq!(gold.len(), predicted.len(), "one prediction a gold label");
    let rows = gold.iter().zip(predicted).map(|(g, p)| Counts {
        gold: g.len(),
        predicted: p.len(),
        correct: p.iter().filter(|label| g.contains(label)).count(),
    });
    let sum: f64 = rows.map(|counts| counts.score().f1).sum();
    if gold.is_empty() { 0.0 } else { sum / gold.len() as f64 }
}
