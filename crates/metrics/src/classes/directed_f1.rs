//! F1 of directed relations between two marked spans: labels are types with a direction, as `Cause-Effect(e1,e2)`.
//!
//! Formula: the mean over types of `2 correct(t) / (predicted(t) + gold(t))`. The two directions of a type are counted
//! together, and a label is right only with its direction: the wrong one is an error in precision and in recall. The
//! mean is over the types that occur among the gold labels, without the label for "none of these relations", whose
//! confusions with other types still count as errors. A label without a direction is a type by itself.
//!
//! When to use: relation classification; the official measure of SemEval-2010 Task 8.
//!
//! Reference: `semeval2010_task8_scorer-v1.2.pl`, "(9+1)-way evaluation taking directionality into account".

use crate::score::Counts;
use std::collections::BTreeMap;

/// Macro-F1 over the relation types of `gold` other than `none`; 0 when there is no such type.
///
/// # Panics
/// When `gold` and `predicted` differ in length.
pub fn directed_f1(gold: &[&str], predicted: &[&str], none: &str) -> f64 {
    assert_eq!(gold.len(), predicted.len(), "one prediction a gold label");
    let mut by_type: BTreeMap<&str, Counts> = BTreeMap::new();
    for (&gold, &predicted) in gold.iter().zip(predicted) {
        let counts = by_type.entry(relation_type(gold)).or_default();
        counts.gold += 1;
        counts.correct += usize::from(gold == predicted);
        by_type.entry(relation_type(predicted)).or_default().predicted += 1;
    }
    let types = by_type.iter().filter(|(name, counts)| **name != none && counts.gold > 0);
    let f1: Vec<f64> = types.map(|(_, counts)| counts.score().f1).collect();
    if f1.is_empty() { 0.0 } else { f1.iter().sum::<f64>() / f1.len() as f64 }
}

/// The type of a label: the label without `(e1,e2)` or `(e2,e1)`.
fn relation_type(label: &str) -> &str {
    let plain = label.strip_suffix("(e1,e2)").or_else(|| label.strip_suffix("(e2,e1)"));
    plain.unwrap_or(label)
}
