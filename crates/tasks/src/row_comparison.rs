//! A prediction beside the gold of its row, as people read it: for lists of errors and confusion matrices. Scores do not use it.

/// How a prediction compares with the gold of its row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowComparison {
    /// What is true, as text. Of long answers, such as tags of words, only what differs.
    pub gold: String,
    /// What was answered, in the same form.
    pub answer: String,
    /// Whether all of the answer is right.
    pub is_correct: bool,
    /// How wrong it is, in the unit that [`crate::TaskHead::error_measure`] names; 0 where it is right.
    pub error: f64,
    /// Pairs of a true label and the answered one, of the row or of its words; none of kinds without labels.
    pub labels: Vec<(String, String)>,
}

/// What stands for a label that is missing on one side.
pub(crate) const NO_LABEL: &str = "(none)";
/// Differences that are written out at most.
const LISTED: usize = 12;

impl RowComparison {
    /// Of one label; `error` is how wrong an answer is that differs.
    pub(crate) fn of_label(gold: &str, answer: &str, error: f64) -> Self {
        let is_correct = gold == answer;
        RowComparison {
            gold: gold.to_owned(),
            answer: answer.to_owned(),
            is_correct,
            error: if is_correct { 0.0 } else { error },
            labels: vec![(gold.to_owned(), answer.to_owned())],
        }
    }

    /// Of one text; `error` is how wrong an answer is that differs.
    pub(crate) fn of_text(gold: String, answer: String, is_correct: bool, error: f64) -> Self {
        let error = if is_correct { 0.0 } else { error };
        RowComparison { gold, answer, is_correct, error, labels: Vec::new() }
    }

    /// Of words: those whose answers differ, and pairs of labels of all.
    pub(crate) fn of_words(differences: Vec<WordDifference>, labels: Vec<(String, String)>) -> Self {
        let side = |text: fn(&WordDifference) -> &String| {
            let each = |found: &WordDifference| format!("{} {}", found.word, text(found));
            listed(differences.iter().map(each), differences.len())
        };
        RowComparison {
            gold: side(|found| &found.gold),
            answer: side(|found| &found.answer),
            is_correct: differences.is_empty(),
            error: differences.iter().map(|found| found.probability).fold(0.0, f64::max),
            labels,
        }
    }

    /// Of two lists of things, such as entities: those that are not in both. The error is their number.
    pub(crate) fn of_sets(gold: &[String], answer: &[String], labels: Vec<(String, String)>) -> Self {
        let lacks = |one: &[String], other: &[String]| -> Vec<String> {
            one.iter().filter(|thing| !other.contains(thing)).cloned().collect()
        };
        let (missed, spurious) = (lacks(gold, answer), lacks(answer, gold));
        let side = |things: Vec<String>| {
            let number = things.len();
            if number == 0 { NO_LABEL.to_owned() } else { listed(things.into_iter(), number) }
        };
        let error = (missed.len() + spurious.len()) as f64;
        let is_correct = error == 0.0;
        RowComparison { gold: side(missed), answer: side(spurious), is_correct, error, labels }
    }
}

/// A word whose answer is wrong.
pub(crate) struct WordDifference {
    pub word: String,
    pub gold: String,
    pub answer: String,
    /// That of the answer; 0 of a word without one.
    pub probability: f64,
}

/// Some things one after the other, the first few of `number`.
fn listed(things: impl Iterator<Item = String>, number: usize) -> String {
    let mut out = things.take(LISTED).collect::<Vec<_>>().join(", ");
    if number > LISTED {
        out += &format!(" and {} more", number - LISTED);
    }
    out
}
