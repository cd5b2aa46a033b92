//! Share of the words with the right head and relation: labelled attachment score.
//!
//! Formula: `words with the right head and relation / words`, in `0..=1`; 0 when there are no words. Of a relation only the part
//! before a colon counts (`nsubj:pass` is an `nsubj`). Punctuation counts.
//!
//! When to use: dependency parsing; the score by which parsers are ranked.
//!
//! Reference: CoNLL 2018's `conll18_ud_eval.py`, whose words are given here, so that its F1 is an accuracy.

use crate::arc::{Arc, share};

/// Share of words whose head and universal relation are right. A word for which nothing was predicted is wrong.
///
/// # Panics
/// When the two differ in length.
pub fn las(gold: &[Arc<'_>], predicted: &[Option<Arc<'_>>]) -> f64 {
    share(gold, predicted, |gold, found| gold.head == found.head && gold.universal() == found.universal())
}
