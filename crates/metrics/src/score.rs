//! Precision, recall and F1 of one class, one span type, or all of them together.

/// Precision, recall and their harmonic mean, with the number of gold items they were measured on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Fraction of the predicted items that are right, in `0..=1`; 0 when nothing was predicted.
    pub precision: f64,
    /// Fraction of the gold items that were found, in `0..=1`; 0 when there are none.
    pub recall: f64,
    /// `2 precision recall / (precision + recall)`, in `0..=1`; 0 when both are 0.
    pub f1: f64,
    /// How many gold items there are.
    pub support: usize,
}

/// What the scores are made of: how many items there are, were predicted, and were predicted rightly.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub gold: usize,
    pub predicted: usize,
    pub correct: usize,
}

impl Counts {
    /// The scores of these counts, 0 / 0 being 0.
    pub fn score(self) -> Score {
        Score {
            precision: ratio(self.correct, self.predicted),
            recall: ratio(self.correct, self.gold),
            f1: ratio(2 * self.correct, self.gold + self.predicted),
            support: self.gold,
        }
    }

    /// The counts of two parts together.
    pub fn plus(self, other: Self) -> Self {
        Counts {
            gold: self.gold + other.gold,
            predicted: self.predicted + other.predicted,
            correct: self.correct + other.correct,
        }
    }

    /// Whether the class occurs at all, among the gold labels or the predictions.
    pub fn occurs(self) -> bool {
        self.gold + self.predicted > 0
    }
}

/// The counts of each of the classes `0..classes`.
///
/// # Panics
/// When `gold` and `predicted` differ in length or name a class that is not below `classes`.
pub(crate) fn count(gold: &[u32], predicted: &[u32], classes: usize) -> Vec<Counts> {
    assert_eq!(gold.len(), predicted.len(), "one prediction a gold label");
    let mut counts = vec![Counts::default(); classes];
    for (&g, &p) in gold.iter().zip(predicted) {
        assert!((g.max(p) as usize) < classes, "class {} of {classes}", g.max(p));
        counts[g as usize].gold += 1;
        counts[p as usize].predicted += 1;
        if g == p {
            counts[g as usize].correct += 1;
        }
    }
    counts
}

/// The counts of each of the labels `0..labels`, of which a row has any number.
///
/// # Panics
/// When `gold` and `predicted` differ in length or name a label that is not below `labels`.
pub(crate) fn count_sets(gold: &[Vec<u32>], predicted: &[Vec<u32>], labels: usize) -> Vec<Counts> {
    assert_eq!(gold.len(), predicted.len(), "one prediction a gold label");
    let mut counts = vec![Counts::default(); labels];
    for (g, p) in gold.iter().zip(predicted) {
        g.iter().for_each(|label| counts[*label as usize].gold += 1);
        for label in p {
            let counts = &mut counts[*label as usize];
            counts.predicted += 1;
            counts.correct += usize::from(g.contains(label));
        }
    }
    counts
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
