//! Fraction of the words with the right lemma.
//!
//! Formula: `words whose lemma is exactly right / words`, in `0..=1`; 0 when there are no words.
//!
//! When to use: lemmatization. Most words equal their lemma: compare with the fraction of those.
//!
//! Reference: the lemmas of CoNLL 2018's `conll18_ud_eval.py`, which also accepts any lemma where the gold one is `_`;
//! here `_` is a lemma like any other.

/// Fraction of words whose lemma is predicted exactly. A word for which nothing was predicted is wrong.
///
/// # Panics
/// When the two differ in length.
pub fn lemma_accuracy(gold: &[String], predicted: &[Option<String>]) -> f64 {
    assert_eq!(gold.len(), predicted.len(), "one prediction a gold lemma");
    if gold.is_empty() {
        return 0.0;
    }
    let right = gold.iter().zip(predicted).filter(|(gold, found)| found.as_ref() == Some(*gold)).count();
    right as f64 / gold.len() as f64
}
