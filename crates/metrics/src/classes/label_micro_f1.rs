//! F1 over all decisions together for multi-label classification: every occurrence of a label counts equally.
//!
//! Formula: correct, predicted and gold labels are summed over rows and labels first, then
//! `2 correct / (predicted + gold)`; 0 / 0 counts as 0.
//!
//! When to use: when frequent labels matter more than rare ones.
//!
//! Reference: scikit-learn's `f1_score(average="micro", zero_division=0)` of indicator matrices.

use crate::score::{Counts, count_sets};

/// F1 of all labels of all rows together; 0 when there are none. One set of labels a row.
///
/// # Panics
/// When `gold` and `predicted` differ in length or name a label that is not below `labels`.
pub fn label_micro_f1(gold: &[Vec<u32>], predicted: &[Vec<u32>], labels: usize) -> f64 {
    let all = count_sets(gold, predicted, labels).into_iter().fold(Counts::default(), Counts::plus);
    all.score().f1
}
