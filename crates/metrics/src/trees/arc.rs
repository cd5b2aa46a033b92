//! Arcs of dependency trees, shared by `uas`, `las` and `clas`.

/// The head of a word and its relation to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arc<'a> {
    /// 0 for the root, else the index of the head among the words of its row, from 1.
    pub head: u32,
    /// The relation, maybe with a subtype behind a colon (`nsubj:pass`).
    pub relation: &'a str,
}

impl Arc<'_> {
    /// The relation without its subtype.
    pub(crate) fn universal(&self) -> &str {
        self.relation.split(':').next().unwrap_or_default()
    }
}

/// Fraction of words for which `right` holds of the gold arc and the one that was found; a word without one is wrong.
pub(crate) fn fraction(
    gold: &[Arc<'_>],
    predicted: &[Option<Arc<'_>>],
    right: impl Fn(&Arc<'_>, &Arc<'_>) -> bool,
) -> f64 {
    assert_eq!(gold.len(), predicted.len(), "one prediction a gold arc");
    if gold.is_empty() {
        return 0.0;
    }
    let pairs = gold.iter().zip(predicted);
    let right = pairs.filter(|(gold, found)| found.as_ref().is_some_and(|found| right(gold, found))).count();
    right as f64 / gold.len() as f64
}
