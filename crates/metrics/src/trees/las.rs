//! Fraction of the words with the right head and relation: labelled attachment score.
//!
//! Formula: `words with the right head and relation / words`, in `0..=1`; 0 when there are no words. Only the part of a
//! relation before a colon counts (`nsubj:pass` is an `nsubj`). Punctuation counts.
//!
//! When to use: dependency parsing; the score by which parsers are ranked.
//!
//! Reference: CoNLL 2018's `conll18_ud_eval.py`; with gold words, as here, its F1 is an accuracy.

use super::arc::{Arc, fraction};

/// Fraction of words whose head and universal relation are right. A word for which nothing was predicted is wrong.
///
/// # Panics
/// When the two differ in length.
pub fn las(gold: &[Arc<'_>], predicted: &[Option<Arc<'_>>]) -> f64 {
    fraction(gold, predicted, |gold, found| gold.head == found.head && gold.universal() == found.universal())
}
