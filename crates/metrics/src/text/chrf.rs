//! chrF: F-score of the character n-grams of a generated text and a reference, for n from 1 to 6.
//!
//! Formula, with the precision `p_n` and the recall `r_n` of character n-grams over all rows together, and `p`, `r`
//! their means over the orders that both sides have:
//!
//! ```text
//! score = (1 + beta^2) p r / (beta^2 p + r)            beta = 2: recall counts twice
//! ```
//!
//! Spaces are left out; case matters. Of several references the one with the best chrF for the row counts. chrF++ also
//! includes word n-grams of one and two words in the means, with punctuation at the end of a word split off. A row
//! without references has the empty text as its reference.
//!
//! When to use: translation and generation, above all into morphologically rich languages or languages without spaces
//! between words; it needs no tokenizer. The score is a fraction; the papers' chrF is 100 times that.
//!
//! Paper: Popović, *chrF*, WMT 2015, and *chrF++*, WMT 2017; the variant is that of sacrebleu (Post 2018), its default
//! (`nrefs:N|case:mixed|eff:yes|nc:6|nw:0|space:no`).

use std::collections::HashMap;
use std::hash::Hash;

use super::ngrams::{counts, is_space, or_empty, shared, split};
use super::references::count_of_references;

const CHARACTERS: usize = 6;
const BETA_SQUARED: f64 = 4.0;

/// chrF of a corpus, in `0..=1`: one hypothesis a row, and any number of references. `word_order` is 0 for chrF and 2 for chrF++.
///
/// # Panics
/// When the two differ in length.
pub fn chrf(hypotheses: &[&str], references: &[Vec<&str>], word_order: usize) -> f64 {
    assert_eq!(hypotheses.len(), references.len(), "one hypothesis a row");
    let mut sums = vec![Counts::default(); CHARACTERS + word_order];
    for (hypothesis, references) in hypotheses.iter().zip(references) {
        for (sum, row) in sums.iter_mut().zip(of_row(hypothesis, or_empty(references), word_order)) {
            *sum = Counts {
                hypothesis: sum.hypothesis + row.hypothesis,
                reference: sum.reference + row.reference,
                shared: sum.shared + row.shared,
            };
        }
    }
    f_score(&sums)
}

/// sacrebleu's signature of [`chrf`], but for its version.
pub fn chrf_signature(references: &[Vec<&str>], word_order: usize) -> String {
    let nrefs = count_of_references(references);
    format!("nrefs:{nrefs}|case:mixed|eff:yes|nc:{CHARACTERS}|nw:{word_order}|space:no")
}

/// The n-grams of one order.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    hypothesis: usize,
    reference: usize,
    shared: usize,
}

/// The counts against the reference with the best score, the first of equals.
fn of_row(hypothesis: &str, references: &[&str], word_order: usize) -> Vec<Counts> {
    let hypothesis = Text::of(hypothesis);
    let mut best = (f64::NEG_INFINITY, Vec::new());
    for reference in references {
        let reference = Text::of(reference);
        let characters = (1..=CHARACTERS).map(|n| count(&hypothesis.characters, &reference.characters, n));
        let words = (1..=word_order).map(|n| count(&hypothesis.words, &reference.words, n));
        let counts: Vec<Counts> = characters.chain(words).collect();
        let score = f_score(&counts);
        if score > best.0 {
            best = (score, counts);
        }
    }
    best.1
}

/// What n-grams are taken of.
struct Text<'a> {
    characters: Vec<char>,
    words: Vec<&'a str>,
}

impl<'a> Text<'a> {
    fn of(text: &'a str) -> Self {
        Text {
            characters: text.chars().filter(|c| !is_space(*c)).collect(),
            words: split(text).flat_map(split_punctuation).filter(|part| !part.is_empty()).collect(),
        }
    }
}

/// A word, and a punctuation mark at its end, or else at its begin, by itself.
fn split_punctuation(word: &str) -> [&str; 2] {
    let mark = |c: Option<char>| c.is_some_and(|c| c.is_ascii_punctuation());
    if word.chars().nth(1).is_none() {
        [word, ""]
    } else if mark(word.chars().next_back()) {
        word.split_at(word.len() - 1).into()
    } else if mark(word.chars().next()) {
        word.split_at(1).into()
    } else {
        [word, ""]
    }
}

fn count<T: Eq + Hash>(hypothesis: &[T], reference: &[T], n: usize) -> Counts {
    let (mine, theirs): (HashMap<_, _>, HashMap<_, _>) = (counts(hypothesis, n), counts(reference, n));
    let all = |of: &HashMap<&[T], usize>| of.values().sum::<usize>();
    // Where the reference is too short for an order, the order does not count.
    let hypothesis = if theirs.is_empty() { 0 } else { all(&mine) };
    Counts { hypothesis, reference: all(&theirs), shared: shared(&mine, &theirs) }
}

fn f_score(orders: &[Counts]) -> f64 {
    let there: Vec<&Counts> = orders.iter().filter(|c| c.hypothesis > 0 && c.reference > 0).collect();
    let mean =
        |share: fn(&Counts) -> f64| there.iter().map(|c| share(c)).sum::<f64>() / there.len().max(1) as f64;
    let precision = mean(|c| c.shared as f64 / c.hypothesis as f64);
    let recall = mean(|c| c.shared as f64 / c.reference as f64);
    if precision + recall > 0.0 {
        (1.0 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall)
    } else {
        0.0
    }
}
