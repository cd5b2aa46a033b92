//! ROUGE: overlap of a generated text with a reference, in words, word pairs and longest common subsequence.
//!
//! Formula, for a row with `h` n-grams generated, `r` in the reference and `s` in both, each as often as both have it:
//! precision `s / h`, recall `s / r`, and F1 `2 p r / (p + r)`. ROUGE-1 and ROUGE-2 count n-grams of one and two words;
//! for ROUGE-L `s` is the length of the longest common subsequence of words. Of several references the one with the
//! best F1 counts, for each of the three separately; the score of a corpus is the mean over rows. A row without
//! references has the empty text as its reference.
//!
//! ROUGE-Lsum is for texts of several sentences, one a line: of each sentence of the reference the union of its longest
//! common subsequences with all generated sentences counts.
//!
//! Words are runs of the letters a to z and of digits, in lower case; all other characters are separators. With
//! `stemmer`, words of more than three letters are reduced to their stems by Porter's algorithm for English. Where most
//! letters of the references are of another script, which would score 0, words are runs of letters, marks and digits of
//! all scripts, and each character of Chinese, Japanese, Thai, Lao, Khmer and Burmese is a word.
//!
//! When to use: summarization, where recall matters.
//!
//! Paper: Lin, *ROUGE*, 2004; the variant is that of Google's `rouge-score` 0.1.2, but for other scripts.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use super::ngrams::{counts, or_empty, shared};
use super::porter::stem;
use super::references::is_written_without_spaces;
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
    /// Words in order, sentence by sentence.
    pub rouge_lsum: Score,
}

/// ROUGE of a corpus: one hypothesis a row, and any number of references. `stemmer`: whether words are reduced to their stems.
///
/// # Panics
/// When the two differ in length.
pub fn rouge(hypotheses: &[&str], references: &[Vec<&str>], stemmer: bool) -> Rouge {
    assert_eq!(hypotheses.len(), references.len(), "one hypothesis a row");
    let script = Script::of(references);
    let words = |text: &str| -> Vec<String> {
        let words = script.words(text);
        if stemmer {
            words
                .iter()
                .map(|word| if word.len() > 3 && word.is_ascii() { stem(word) } else { word.clone() })
                .collect()
        } else {
            words
        }
    };
    let read = |text: &str| Text {
        words: words(text),
        sentences: text.split('\n').filter(|line| !line.is_empty()).map(words).collect(),
    };
    let mut sums = [[0.0; 3]; 4];
    for (hypothesis, references) in hypotheses.iter().zip(references) {
        let hypothesis = read(hypothesis);
        let references: Vec<Text> = or_empty(references).iter().map(|text| read(text)).collect();
        let best = |shares: &dyn Fn(&Text, &Text) -> [f64; 3]| {
            let all = references.iter().map(|reference| shares(&hypothesis, reference));
            all.reduce(|best, next| if next[2] > best[2] { next } else { best }).unwrap_or_default()
        };
        let row = [
            best(&|a, b| of_ngrams::<1>(&a.words, &b.words)),
            best(&|a, b| of_ngrams::<2>(&a.words, &b.words)),
            best(&|a, b| of_subsequence(&a.words, &b.words)),
            best(&|a, b| of_sentences(&a.sentences, &b.sentences)),
        ];
        sums.iter_mut().flatten().zip(row.as_flattened()).for_each(|(sum, value)| *sum += value);
    }
    let rows = hypotheses.len();
    let [rouge1, rouge2, rouge_l, rouge_lsum] = sums.map(|sums| {
        let [precision, recall, f1] = sums.map(|sum| sum / rows.max(1) as f64);
        Score { precision, recall, f1, support: rows }
    });
    Rouge { rouge1, rouge2, rouge_l, rouge_lsum }
}

/// The words of a text, and of each of its lines.
struct Text {
    words: Vec<String>,
    sentences: Vec<Vec<String>>,
}

/// What words are made of.
#[derive(Clone, Copy, PartialEq)]
enum Script {
    Latin,
    Any,
}

impl Script {
    /// By most letters of the references.
    fn of(references: &[Vec<&str>]) -> Script {
        let letters = references.iter().flatten().flat_map(|text| text.chars()).filter(|c| c.is_alphabetic());
        let (latin, other) = letters.fold((0_usize, 0_usize), |(latin, other), c| match c {
            '\0'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => (latin + 1, other),
            _ => (latin, other + 1),
        });
        if other > latin { Script::Any } else { Script::Latin }
    }

    fn words(self, text: &str) -> Vec<String> {
        let lower = text.to_lowercase();
        if self == Script::Latin {
            let words = lower.split(|c: char| !c.is_ascii_alphanumeric());
            return words.filter(|word| !word.is_empty()).map(str::to_owned).collect();
        }
        let mut words = vec![String::new()];
        let mut last = String::new();
        for c in lower.chars() {
            match c {
                _ if is_written_without_spaces(c) => words.extend([std::mem::take(&mut last), c.into()]),
                _ if is_part_of_word(c) => last.push(c),
                _ => words.push(std::mem::take(&mut last)),
            }
        }
        words.push(last);
        words.retain(|word| !word.is_empty());
        words
    }
}

/// Letters, marks and digits of all scripts.
fn is_part_of_word(c: char) -> bool {
    static PART: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^[\p{L}\p{M}\p{N}]$").expect("a valid expression"));
    c.is_alphanumeric() || PART.is_match(c.encode_utf8(&mut [0; 4]))
}

fn of_ngrams<const N: usize>(hypothesis: &[String], reference: &[String]) -> [f64; 3] {
    let (mine, theirs): (HashMap<_, _>, HashMap<_, _>) = (counts(hypothesis, N), counts(reference, N));
    shares(shared(&mine, &theirs), mine.values().sum(), theirs.values().sum())
}

/// `longest[i][j]`: the longest common subsequence of the first `i` words of the one and the first `j` of the other.
fn subsequences(a: &[String], b: &[String]) -> Vec<Vec<usize>> {
    let mut longest = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, word) in a.iter().enumerate() {
        for (j, other) in b.iter().enumerate() {
            longest[i + 1][j + 1] =
                if word == other { longest[i][j] + 1 } else { longest[i][j + 1].max(longest[i + 1][j]) };
        }
    }
    longest
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

/// Of each reference's sentence the union of its longest common subsequences with all generated sentences; a word counts no more
/// often than both texts have it.
fn of_sentences(hypothesis: &[Vec<String>], reference: &[Vec<String>]) -> [f64; 3] {
    let times = |sentences: &[Vec<String>]| {
        let mut times: HashMap<String, usize> = HashMap::new();
        sentences.iter().flatten().for_each(|word| *times.entry(word.clone()).or_default() += 1);
        times
    };
    let (mut mine, mut theirs) = (times(hypothesis), times(reference));
    let (h, r) = (mine.values().sum(), theirs.values().sum());
    let mut shared = 0;
    for sentence in reference {
        let mut in_union = vec![false; sentence.len()];
        hypothesis.iter().for_each(|other| mark_subsequence(sentence, other, &mut in_union));
        for (word, _) in sentence.iter().zip(in_union).filter(|(_, marked)| *marked) {
            if let (Some(a @ 1..), Some(b @ 1..)) = (mine.get_mut(word), theirs.get_mut(word)) {
                (*a, *b, shared) = (*a - 1, *b - 1, shared + 1);
            }
        }
    }
    shares(shared, h, r)
}

/// Marks the words of `a` in one of its longest common subsequences with `b`: that which rouge-score finds.
fn mark_subsequence(a: &[String], b: &[String], marked: &mut [bool]) {
    let longest = subsequences(a, b);
    let (mut i, mut j) = (a.len(), b.len());
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            marked[i - 1] = true;
            (i, j) = (i - 1, j - 1);
        } else if longest[i][j - 1] > longest[i - 1][j] {
            j -= 1;
        } else {
            i -= 1;
        }
    }
}

/// Precision, recall and F1.
fn shares(shared: usize, hypothesis: usize, reference: usize) -> [f64; 3] {
    let share = |of: usize| shared as f64 / of.max(1) as f64;
    let (precision, recall) = (share(hypothesis), share(reference));
    let f1 = if shared == 0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) };
    [precision, recall, f1]
}
