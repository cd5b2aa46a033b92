//! Mean of the labels' F1 for multi-label classification: every label counts equally, however rare.
//!
//! Formula: the mean over all labels of `2 correct(l) / (predicted(l) + gold(l))`, where 0 / 0 counts as 0. Unlike in
//! `macro_f1`, a label that neither occurs nor is predicted is part of the mean, with 0, as in scikit-learn, where a
//! label is a column of the indicator matrix.
//!
//! When to use: labels of unequal frequency that are equally important (GoEmotions' metric).
//!
//! Reference: scikit-learn's `f1_score(average="macro", zero_division=0)` of indicator matrices.

use crate::score::count_sets;

/// Mean F1 over the labels `0..labels`; 0 when there are none. One set of labels a row; the order in a set means nothing.
///
/// # Panics
/// When `gold` and `predicted` differ in length or name a label that is not below `labels`.
pub fn label_macro_f1(gold: &[Vec<u32>], predicted: &[Vec<u32>], labels: usize) -> f64 {
    let sum: f64 = count_sets(gold, predicted, labels).into_iter().map(|counts| counts.score().f1).sum();
    if labels == 0 { 0.0 } else { sum / labels as f64 }
}
