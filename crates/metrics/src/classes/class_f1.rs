//! Precision, recall and F1 of every class by itself.
//!
//! Formula, for class c: `precision = correct(c) / predicted(c)`, `recall = correct(c) / gold(c)`,
//! `f1 = 2 correct(c) / (predicted(c) + gold(c))`; 0 / 0 counts as 0.
//!
//! When to use: to see which class a mean hides.
//!
//! Reference: scikit-learn's `precision_recall_fscore_support(average=None, labels=range(classes), zero_division=0)`.

use crate::score::{Counts, Score, count};

/// One score for each of the classes `0..classes`, in that order. A class that never occurs scores 0.
///
/// # Panics
/// When `gold` and `predicted` differ in length or name a class that is not below `classes`.
pub fn class_f1(gold: &[u32], predicted: &[u32], classes: usize) -> Vec<Score> {
    count(gold, predicted, classes).into_iter().map(Counts::score).collect()
}
