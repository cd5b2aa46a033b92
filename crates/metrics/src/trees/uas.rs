//! Fraction of the words with the right head: unlabelled attachment score.
//!
//! Formula: `words with the right head / words`, in `0..=1`; 0 when there are no words. Punctuation counts.
//!
//! When to use: dependency parsing, where relations do not matter, or to see whether errors are in heads or in
//! relations.
//!
//! Reference: CoNLL 2018's `conll18_ud_eval.py`; with gold words, as here, its F1 is an accuracy.

use super::arc::{Arc, fraction};

/// Fraction of words whose head is right. A word for which nothing was predicted is wrong.
///
/// # Panics
/// When the two differ in length.
pub fn uas(gold: &[Arc<'_>], predicted: &[Option<Arc<'_>>]) -> f64 {
    fraction(gold, predicted, |gold, found| gold.head == found.head)
}
