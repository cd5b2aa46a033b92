//! F1 of labelled spans (named entities, slots): a span counts only if start, end and type are all right.
//!
//! Formula: over all rows, `precision = correct / predicted`, `recall = correct / gold`,
//! `f1 = 2 correct / (predicted + gold)`; 0 / 0 counts as 0. `macro_f1` is the mean of the types' F1, over the types
//! that occur in the gold or the predicted spans. A partial overlap does not count.
//!
//! When to use: tagging of entities and slots; the measure of CoNLL-2003, WNUT-17 and SNIPS tables.
//!
//! Tag sequences that their scheme does not allow have spans, too, by the rules of `conlleval` (`O I-PER` is a span); in
//! tagging with `span_matching = "strict"` they have none.
//!
//! Reference: seqeval's `precision_score`, `recall_score` and `f1_score` in the default mode (the rules of
//! `conlleval`) and with `mode="strict"`.

use super::tags::Span;
use crate::score::{Counts, Score};
use std::collections::{BTreeMap, BTreeSet};

/// The scores of predicted spans against gold ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanScores {
    /// Fraction of the predicted spans that are right.
    pub precision: f64,
    /// Fraction of the gold spans that were found.
    pub recall: f64,
    /// Micro F1: over all spans, whatever their type.
    pub f1: f64,
    /// Mean of the types' F1.
    pub macro_f1: f64,
    /// How many gold spans there are.
    pub support: usize,
    /// Every type's own score; types that occur in the gold or the predicted spans.
    pub by_type: BTreeMap<String, Score>,
}

/// Scores `predicted` against `gold`, both with one list of spans a row. Without any span every score is 0.
///
/// # Panics
/// When the two differ in the number of rows.
pub fn span_scores(gold: &[Vec<Span>], predicted: &[Vec<Span>]) -> SpanScores {
    assert_eq!(gold.len(), predicted.len(), "one list of predicted spans a row");
    let mut by_type: BTreeMap<&str, Counts> = BTreeMap::new();
    for (gold, predicted) in gold.iter().zip(predicted) {
        // Sets: a span that a caller lists twice is one span.
        let gold: BTreeSet<&Span> = gold.iter().collect();
        let predicted: BTreeSet<&Span> = predicted.iter().collect();
        for span in &gold {
            let counts = by_type.entry(&span.label).or_default();
            counts.gold += 1;
            counts.correct += usize::from(predicted.contains(span));
        }
        for span in predicted {
            by_type.entry(&span.label).or_default().predicted += 1;
        }
    }
    let mut all = Counts::default();
    for counts in by_type.values() {
        all.gold += counts.gold;
        all.predicted += counts.predicted;
        all.correct += counts.correct;
    }
    let by_type: BTreeMap<String, Score> =
        by_type.into_iter().map(|(t, c)| (t.to_owned(), c.score())).collect();
    let Score { precision, recall, f1, support } = all.score();
    let sum: f64 = by_type.values().map(|score| score.f1).sum();
    let macro_f1 = if by_type.is_empty() { 0.0 } else { sum / by_type.len() as f64 };
    SpanScores { precision, recall, f1, macro_f1, support, by_type }
}
