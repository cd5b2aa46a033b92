//! TER, translation edit rate: how much of a text has to be changed to be its reference.
//!
//! Formula, over all rows together:
//!
//! ```text
//! score = edits / words of the reference
//! ```
//!
//! An edit inserts, deletes or replaces a word, or shifts a run of words to another place. Shifts are searched greedily as by
//! Tercom: of at most 10 words over at most 50 words, the one that saves the most edits first. Of several references the one
//! with the fewest edits counts, and the mean of their lengths. Case is ignored; words are those between spaces, or the
//! tokenizer's of `bleu` in languages without spaces. Lower is better, and it may be above 1. A row whose references are all
//! empty counts its words as edits.
//!
//! When to use: to estimate the effort of post-editing, beside `bleu` or `chrf`. Cost: up to a thousand edit distances a row.
//!
//! Paper: Snover et al., *A study of translation edit rate with targeted human annotation*, AMTA 2006; the variant is that of
//! sacrebleu 2.6.0 (`nrefs:N|case:lc|tok:tercom|norm:no|punct:yes|asian:no`).

use super::ngrams::{or_empty, split};
use super::references::count_of_references;
use super::tokenize::BleuTokenizer;

/// Tercom's limits of a shift, in words.
const LONGEST_SHIFT: usize = 10;
const FURTHEST_SHIFT: usize = 50;
/// How far from the diagonal of the edit distance's table cells are filled.
const BEAM: usize = 25;
/// sacrebleu's limit of the shifts that are tried in a row.
const MOST_CANDIDATES: usize = 1000;

/// TER of a corpus: one hypothesis a row, and any number of references. Words are those of the tokenizer, in lower case; `None`:
/// those between spaces, as by default in sacrebleu.
///
/// # Panics
/// When the two differ in length.
pub fn ter(hypotheses: &[&str], references: &[Vec<&str>], tokenizer: Option<&BleuTokenizer<'_>>) -> f64 {
    assert_eq!(hypotheses.len(), references.len(), "one hypothesis a row");
    let words = |text: &str| -> Vec<String> {
        match tokenizer {
            Some(tokenizer) => tokenizer.words(text).iter().map(|word| word.to_lowercase()).collect(),
            None => split(&text.to_lowercase()).map(str::to_owned).collect(),
        }
    };
    let (mut edits, mut length) = (0, 0.0);
    for (hypothesis, references) in hypotheses.iter().zip(references) {
        let (hypothesis, references) = (words(hypothesis), or_empty(references));
        let of_references = references.iter().map(|reference| words(reference));
        let (mut best, mut sum) = (usize::MAX, 0);
        for reference in of_references {
            best = best.min(edits_to(&hypothesis, &reference));
            sum += reference.len();
        }
        edits += best;
        length += sum as f64 / references.len() as f64;
    }
    match (edits, length > 0.0) {
        (_, true) => edits as f64 / length,
        (0, false) => 0.0,
        (_, false) => 1.0,
    }
}

/// sacrebleu's signature of [`ter`], but for its version.
pub fn ter_signature(references: &[Vec<&str>], tokenizer: Option<&BleuTokenizer<'_>>) -> String {
    let tokenizer = tokenizer.map_or("tercom", BleuTokenizer::name);
    format!("nrefs:{}|case:lc|tok:{tokenizer}|norm:no|punct:yes|asian:no", count_of_references(references))
}

/// Shifts as long as they save edits, and what is left to edit then.
fn edits_to(hypothesis: &[String], reference: &[String]) -> usize {
    if reference.is_empty() {
        return hypothesis.len();
    }
    let (mut words, mut shifts, mut tried) = (hypothesis.to_vec(), 0, 0);
    loop {
        let best = best_shift(&words, reference, &mut tried);
        match best {
            Some((saved, shifted)) if saved > 0 && tried < MOST_CANDIDATES => {
                shifts += 1;
                words = shifted;
            }
            _ => break,
        }
    }
    shifts + distance(&words, reference).0
}

/// An edit that makes the reference of the hypothesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    Keep,
    Replace,
    /// A word of the hypothesis goes.
    Delete,
    /// A word of the reference comes.
    Insert,
}

/// The shift that saves the most edits, what it saves and its result. Of equals that of the longest run, then the first one, then the
/// one to the first place, then the last by its words, as Python compares candidates.
fn best_shift(words: &[String], reference: &[String], tried: &mut usize) -> Option<(isize, Vec<String>)> {
    let (before, edits) = distance(words, reference);
    let Alignment { places, reference_wrong, hypothesis_wrong } = Alignment::of(&edits);
    let mut best: Option<(isize, usize, isize, isize, Vec<String>)> = None;
    for (from, to, length) in equal_runs(words, reference) {
        // Only a run that is wrong where it is, to a place that is wrong, and not within itself.
        let none = |wrong: &[bool]| !wrong.iter().any(|wrong| *wrong);
        let at = places[to];
        let within = at.is_some_and(|at| (from..from + length).contains(&at));
        if none(&hypothesis_wrong[from..from + length]) || none(&reference_wrong[to..to + length]) || within {
            continue;
        }
        let mut last = None;
        for place in (to as isize - 1)..(to + length) as isize {
            let target = match usize::try_from(place).map(|place| places.get(place)) {
                Err(_) => 0,
                Ok(Some(at)) => at.map_or(0, |at| at + 1),
                Ok(None) => break,
            };
            if last == Some(target) {
                continue;
            }
            last = Some(target);
            let shifted = shift(words, from, length, target);
            let saved = before as isize - distance(&shifted, reference).0 as isize;
            let candidate = (saved, length, -(from as isize), -(target as isize), shifted);
            *tried += 1;
            if best.as_ref().is_none_or(|best| candidate > *best) {
                best = Some(candidate);
            }
        }
        if *tried >= MOST_CANDIDATES {
            break;
        }
    }
    best.map(|(saved, .., shifted)| (saved, shifted))
}

/// Which words stand for which, by the edits.
struct Alignment {
    /// For each word of the reference the word of the hypothesis that it stands at: its own, or the one before; `None` before the
    /// first.
    places: Vec<Option<usize>>,
    reference_wrong: Vec<bool>,
    hypothesis_wrong: Vec<bool>,
}

impl Alignment {
    fn of(edits: &[Edit]) -> Alignment {
        let (mut places, mut reference_wrong, mut hypothesis_wrong) = (Vec::new(), Vec::new(), Vec::new());
        for edit in edits {
            if *edit != Edit::Insert {
                hypothesis_wrong.push(*edit != Edit::Keep);
            }
            if *edit != Edit::Delete {
                reference_wrong.push(*edit != Edit::Keep);
                places.push(hypothesis_wrong.len().checked_sub(1));
            }
        }
        Alignment { places, reference_wrong, hypothesis_wrong }
    }
}

/// Runs that both texts have: where each begins, and its length.
fn equal_runs(words: &[String], reference: &[String]) -> Vec<(usize, usize, usize)> {
    let mut runs = Vec::new();
    for from in 0..words.len() {
        let nearest = from.saturating_sub(FURTHEST_SHIFT);
        for to in nearest..reference.len().min(from + FURTHEST_SHIFT + 1) {
            let pairs = words[from..].iter().zip(&reference[to..]).take(LONGEST_SHIFT);
            let longest = pairs.take_while(|(a, b)| a == b).count();
            runs.extend((1..=longest).map(|length| (from, to, length)));
        }
    }
    runs
}

/// The words with a run of them moved to before `target`.
fn shift(words: &[String], from: usize, length: usize, target: usize) -> Vec<String> {
    let end = from + length;
    let parts = if target < from {
        [&words[..target], &words[from..end], &words[target..from], &words[end..]]
    } else if target > end {
        [&words[..from], &words[end..target], &words[from..end], &words[target..]]
    } else {
        let after = (length + target).min(words.len());
        [&words[..from], &words[end.min(after)..after], &words[from..end], &words[after..]]
    };
    parts.concat()
}

/// The edit distance near the diagonal, and its edits in order.
fn distance(words: &[String], reference: &[String]) -> (usize, Vec<Edit>) {
    const FAR: usize = usize::MAX / 2;
    let (rows, columns) = (words.len(), reference.len());
    let mut table = vec![vec![(FAR, Edit::Keep); columns + 1]; rows + 1];
    table[0] = (0..=columns).map(|j| (j, Edit::Insert)).collect();
    let ratio = if rows == 0 { 1.0 } else { columns as f64 / rows as f64 };
    // Where lengths differ so much that rows would not overlap, the beam is wider.
    let beam = if (BEAM as f64) < ratio / 2.0 { (ratio / 2.0 + BEAM as f64).ceil() as usize } else { BEAM };
    for i in 1..=rows {
        let diagonal = (i as f64 * ratio).floor() as usize;
        let end = if i == rows { columns + 1 } else { (columns + 1).min(diagonal + beam) };
        for j in diagonal.saturating_sub(beam)..end {
            let mut cell = (FAR, Edit::Keep);
            let mut offer = |cost: usize, edit: Edit| {
                if cost < cell.0 {
                    cell = (cost, edit);
                }
            };
            if j > 0 {
                let same = words[i - 1] == reference[j - 1];
                let edit = if same { Edit::Keep } else { Edit::Replace };
                offer(table[i - 1][j - 1].0 + usize::from(!same), edit);
            }
            offer(table[i - 1][j].0 + 1, Edit::Delete);
            if j > 0 {
                offer(table[i][j - 1].0 + 1, Edit::Insert);
            }
            table[i][j] = cell;
        }
    }
    let (mut i, mut j, mut edits) = (rows, columns, Vec::new());
    while i > 0 || j > 0 {
        let edit = table[i][j].1;
        edits.push(edit);
        i -= usize::from(edit != Edit::Insert);
        j -= usize::from(edit != Edit::Delete);
    }
    edits.reverse();
    (table[rows][columns].0, edits)
}
