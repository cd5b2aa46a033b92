//! F1 of heads and relations of content words: content-word labelled attachment score.
//!
//! Formula: `2 right / (gold + predicted)` over content words, those whose relation is not `aux`, `case`, `cc`, `clf`,
//! `cop`, `det`, `mark` or `punct`: `gold` counts the words with a gold content relation, `predicted` those with a
//! predicted one, `right` the former with the right head and relation. In `0..=1`; 0 when there are none. Only the part
//! of a relation before a colon counts.
//!
//! When to use: dependency parsing across languages, which differ in their number of function words, which are easy.
//!
//! Reference: CoNLL 2018's `conll18_ud_eval.py`.

use super::arc::Arc;

/// The relations of content words, as `conll18_ud_eval.py` lists them; all others do not count.
const CONTENT: [&str; 29] = [
    "nsubj",
    "obj",
    "iobj",
    "csubj",
    "ccomp",
    "xcomp",
    "obl",
    "vocative",
    "expl",
    "dislocated",
    "advcl",
    "advmod",
    "discourse",
    "nmod",
    "appos",
    "nummod",
    "acl",
    "amod",
    "conj",
    "fixed",
    "flat",
    "compound",
    "list",
    "parataxis",
    "orphan",
    "goeswith",
    "reparandum",
    "root",
    "dep",
];

/// F1 of head and universal relation over content words. A word for which nothing was predicted is missing from the predicted
/// ones.
///
/// # Panics
/// When the two differ in length.
pub fn clas(gold: &[Arc<'_>], predicted: &[Option<Arc<'_>>]) -> f64 {
    assert_eq!(gold.len(), predicted.len(), "one prediction a gold arc");
    let content = |arc: &Arc<'_>| CONTENT.contains(&arc.universal());
    let words = gold.iter().filter(|arc| content(arc)).count();
    let found = predicted.iter().flatten().filter(|arc| content(arc)).count();
    let right = |(gold, found): &(&Arc<'_>, &Option<Arc<'_>>)| {
        let same = |found: Arc<'_>| gold.head == found.head && gold.universal() == found.universal();
        content(gold) && found.is_some_and(same)
    };
    let right = gold.iter().zip(predicted).filter(right).count();
    2.0 * right as f64 / (words + found).max(1) as f64
}
