//! ROUGE: overlap of a generated text with a reference, in words, word pairs and longest common subsequence.
//!
//! Formula, for a row with `h` n-grams generated, `r` in the reference and `s` in both, each as often as both have it:
//! precision `s / h`, recall `s / r`, and F1 `2 p r / (p + r)`. ROUGE-1 and ROUGE-2 count n-grams of one and two words;
//! for ROUGE-L `s` is the length of the longest common subsequence of words. Of several references the one with the
//! best F1 counts, for each of the three separately; the score of a corpus is the mean over rows. A row without
//! references has the empty text as its reference.
//!
//! Words are runs of the letters a to z and of digits, in lower case; all other characters are separators, and there is
//! no stemming. So ROUGE ignores other scripts: a text in Chinese or Greek scores 0. For these use `chrf`.
//!
//! When to use: summarization, where recall matters.
//!
//! Paper: Lin, *ROUGE*, 2004; the variant is that of Google's `rouge-score` without stemming.

use std::collections::HashMap;

use super::ngrams::{counts, or_empty, shared};
use crate::score::Score;

/// Means over rows of precision, recall and F1, with the number of rows as support.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rouge {
    /// Words.
    pub rouge1: Score,
    /// Pairs of words.
    pub rouge2: Score,
    /// Words in order.
    pub rouge_l: Score,
}

/// ROUGE of a corpus: one hypothesis a row, and any number of references.
///
/// # Panics
/// When the two differ in length.
pub fn rouge(hypotheses: &[&str], references: &[Vec<&str>]) -> Rouge {
    assert_eq!(hypotheses.len(), references.len(), "one hypothesis a row");
    let mut sums = [[0.0; 3]; 3];
    for (hypothesis, references) in hypotheses.iter().zip(references) {
        let hypothesis = words(hypothesis);
        let references: Vec<Vec<String>> = or_empty(references).iter().map(|text| words(text)).collect();
        let best = |shares: fn(&[String], &[String]) -> [f64; 3]| {
            let all = references.iter().map(|reference| shares(&hypothesis, reference));
            all.reduce(|best, next| if next[2] > best[2] { next } else { best }).unwrap_or_default()
        };
        let row = [best(of_ngrams::<1>), best(of_ngrams::<2>), best(of_subsequence)];
        sums.iter_mut().flatten().zip(row.as_flattened()).for_each(|(sum, value)| *sum += value);
    }
    let rows = hypotheses.len();
    let [rouge1, rouge2, rouge_l] = sums.map(|sums| {
        let [precision, recall, f1] = sums.map(|sum| sum / rows.max(1) as f64);
        Score { precision, recall, f1, support: rows }
    });
    Rouge { rouge1, rouge2, rouge_l }
}

/// Runs of ASCII letters and digits, in lower case.
fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn of_ngrams<const N: usize>(hypothesis: &[String], reference: &[String]) -> [f64; 3] {
    let (mine, theirs): (HashMap<_, _>, HashMap<_, _>) = (counts(hypothesis, N), counts(reference, N));
    shares(shared(&mine, &theirs), mine.values().sum(), theirs.values().sum())
}

fn of_subsequence(hypothesis: &[String], reference: &[String]) -> [f64; 3] {
    // `longest[j]`: the longest common subsequence of the words so far and the first `j` of the reference.
    let mut longest = vec![0; reference.len() + 1];
    for word in hypothesis {
        let mut before = 0;
        for (j, other) in reference.iter().enumerate() {
            let above = longest[j + 1];
            longest[j + 1] = if word == other { before + 1 } else { above.max(longest[j]) };
            before = above;
        }
    }
    shares(longest[reference.len()], hypothesis.len(), reference.len())
}

/// Precision, recall and F1.
fn shares(shared: usize, hypothesis: usize, reference: usize) -> [f64; 3] {
    let share = |of: usize| shared as f64 / of.max(1) as f64;
    let (precision, recall) = (share(hypothesis), share(reference));
    let f1 = if shared == 0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) };
    [precision, recall, f1]
}
