//! Mean of the classes' F1: every class counts equally, however rare.
//!
//! Formula: the mean over classes of `2 correct(c) / (predicted(c) + gold(c))`. Classes that occur neither among the
//! gold labels nor among the predictions are left out of the mean, as by scikit-learn's default; a class that occurs
//! and is never predicted, or is predicted and never occurs, counts as 0.
//!
//! When to use: classes of unequal size that are equally important. For rows with several labels use `label_macro_f1`.
//!
//! Reference: scikit-learn's `f1_score(average="macro", zero_division=0)`.

use crate::score::count;

/// Mean F1 over those of the classes `0..classes` that occur in `gold` or `predicted`; 0 when none does.
///
/// # Panics
/// When `gold` and `predicted` differ in length or name a class that is not below `classes`.
pub fn macro_f1(gold: &[u32], predicted: &[u32], classes: usize) -> f64 {
    let counts = count(gold, predicted, classes);
    let f1: Vec<f64> = counts.into_iter().filter(|c| c.occurs()).map(|c| c.score().f1).collect();
    if f1.is_empty() { 0.0 } else { f1.iter().sum::<f64>() / f1.len() as f64 }
}
