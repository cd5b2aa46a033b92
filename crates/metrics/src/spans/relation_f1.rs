//! F1 of relations between predicted entities: triples `(head, tail, type)`, where head and tail are spans with types.
//!
//! Formula: over all rows, `precision = correct / predicted`, `recall = correct / gold`,
//! `f1 = 2 correct / (predicted + gold)`; 0 / 0 counts as 0. A relation is correct if its type and both of its
//! arguments are: in the strict score with the types of the arguments, in the relaxed one by their boundaries alone.
//! Both count a relation that is listed twice once.
//!
//! When to use: joint extraction of entities and relations; "strict" and "boundaries" evaluation.
//!
//! Reference: scikit-learn's micro-averaged `precision_recall_fscore_support` over the sets of triples. Taille et al.
//! 2020, "Let's Stop Incorrect Comparisons in End-to-end Relation Extraction!", names both scores.

use super::tags::Span;
use crate::score::{Counts, Score};
use std::collections::BTreeSet;

/// A relation between two entities of a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Relation {
    /// The entity it goes out from.
    pub head: Span,
    /// The entity it leads to.
    pub tail: Span,
    /// Its type.
    pub label: String,
}

/// The scores of predicted relations against gold ones.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RelationScores {
    /// Both ends right with their types.
    pub strict: Score,
    /// Both ends' words right.
    pub relaxed: Score,
}

/// Scores `predicted` against `gold`, both with one list of relations a row. Without any relation every score is 0.
///
/// # Panics
/// When the two differ in the number of rows.
pub fn relation_scores(gold: &[Vec<Relation>], predicted: &[Vec<Relation>]) -> RelationScores {
    assert_eq!(gold.len(), predicted.len(), "one list of predicted relations a row");
    let words = |span: &Span| (span.start, span.end);
    RelationScores {
        strict: count(gold, predicted, |relation| relation).score(),
        relaxed: count(gold, predicted, |r| (words(&r.head), words(&r.tail), r.label.as_str())).score(),
    }
}

/// Counts relations by what is asked of them.
fn count<'a, K: Ord>(
    gold: &'a [Vec<Relation>],
    predicted: &'a [Vec<Relation>],
    key: impl Fn(&'a Relation) -> K,
) -> Counts {
    let mut counts = Counts::default();
    for (gold, predicted) in gold.iter().zip(predicted) {
        let gold: BTreeSet<K> = gold.iter().map(&key).collect();
        let predicted: BTreeSet<K> = predicted.iter().map(&key).collect();
        counts.gold += gold.len();
        counts.predicted += predicted.len();
        counts.correct += gold.intersection(&predicted).count();
    }
    counts
}
