//! BLEU: precision of word n-grams of a generated text against its references, with a brevity penalty.
//!
//! Formula, over all rows together:
//!
//! ```text
//! p_n   = matched n-grams / n-grams generated          n = 1, 2, 3, 4
//! b     = exp(min(0, 1 - r / h))                       h words generated, r words of the references
//! score = b (p_1 p_2 p_3 p_4)^(1/4)
//! ```
//!
//! An n-gram matches at most as often as it occurs in the one reference that has it most often; `r` sums for each row
//! the length of the reference with the nearest length, the shorter of two equally near. Where no n-gram of an order
//! matches, the i-th such `p_n` is `1 / (2^i n-grams)`; a corpus without any match, or without n-grams of some order,
//! scores 0. Words are those of mteval's tokenizer 13a: ASCII punctuation and symbols are split off, points and commas
//! only where they are not between digits; case matters. A row without references has the empty text as its reference.
//!
//! When to use: translation and data-to-text generation, over whole corpora; for single sentences, for languages
//! without spaces between words and for morphologically rich ones use `chrf`. The score is a fraction; the papers' BLEU
//! is 100 times that.
//!
//! Paper: Papineni et al., *BLEU*, ACL 2002; the variant is that of sacrebleu (Post 2018), its default for corpora
//! (`nrefs:N|case:mixed|eff:no|tok:13a|smooth:exp`).

use std::collections::HashMap;

use super::ngrams::{counts, is_space, or_empty, split};

const ORDERS: usize = 4;

/// BLEU and what it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bleu {
    /// In `0..=1`.
    pub score: f64,
    /// Of one to four words, smoothed; all 0 where nothing matches at all.
    pub precisions: [f64; ORDERS],
    /// 1 where the hypotheses are at least as long as the references.
    pub brevity_penalty: f64,
    /// Words generated.
    pub hypothesis_length: usize,
    /// Words of the references nearest in length.
    pub reference_length: usize,
}

/// BLEU of a corpus: one hypothesis a row, and any number of references.
///
/// # Panics
/// When the two differ in length.
pub fn bleu(hypotheses: &[&str], references: &[Vec<&str>]) -> Bleu {
    assert_eq!(hypotheses.len(), references.len(), "one hypothesis a row");
    let mut sums = Sums::default();
    for (hypothesis, references) in hypotheses.iter().zip(references) {
        sums.add(hypothesis, or_empty(references));
    }
    sums.bleu()
}

/// What rows add up to.
#[derive(Default)]
struct Sums {
    matched: [usize; ORDERS],
    generated: [usize; ORDERS],
    hypothesis_length: usize,
    reference_length: usize,
}

impl Sums {
    fn add(&mut self, hypothesis: &str, references: &[&str]) {
        let hypothesis = tokenize(hypothesis);
        let references: Vec<Vec<String>> = references.iter().map(|text| tokenize(text)).collect();
        for n in 1..=ORDERS {
            let mut most: HashMap<&[String], usize> = HashMap::new();
            for (run, count) in references.iter().flat_map(|reference| counts(reference, n)) {
                let most = most.entry(run).or_default();
                *most = count.max(*most);
            }
            for (run, count) in counts(&hypothesis, n) {
                self.generated[n - 1] += count;
                self.matched[n - 1] += count.min(most.get(run).copied().unwrap_or(0));
            }
        }
        self.hypothesis_length += hypothesis.len();
        let lengths = references.iter().map(Vec::len);
        self.reference_length += lengths.min_by_key(|n| (n.abs_diff(hypothesis.len()), *n)).unwrap_or(0);
    }

    fn bleu(&self) -> Bleu {
        let (h, r) = (self.hypothesis_length as f64, self.reference_length as f64);
        let mut bleu = Bleu {
            brevity_penalty: if h >= r { 1.0 } else { (1.0 - r / h).exp() },
            hypothesis_length: self.hypothesis_length,
            reference_length: self.reference_length,
            ..Bleu::default()
        };
        if self.matched == [0; ORDERS] {
            return bleu;
        }
        let mut smallest = 1.0;
        for n in 0..ORDERS {
            let generated = self.generated[n] as f64;
            bleu.precisions[n] = match (self.matched[n], self.generated[n]) {
                (_, 0) => break,
                (0, _) => {
                    smallest /= 2.0;
                    smallest / generated
                }
                (matched, _) => matched as f64 / generated,
            };
        }
        if bleu.precisions.iter().all(|p| *p > 0.0) {
            let mean = bleu.precisions.iter().map(|p| p.ln()).sum::<f64>() / ORDERS as f64;
            bleu.score = bleu.brevity_penalty * mean.exp();
        }
        bleu
    }
}

/// The words of mteval's tokenizer 13a.
fn tokenize(text: &str) -> Vec<String> {
    let text = text.trim_end_matches(is_space).replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    let text = text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    let symbol = |c: char| c.is_ascii_punctuation() && !matches!(c, '\'' | ',' | '-' | '.');
    let mut chars = vec![' '];
    for c in text.chars() {
        if symbol(c) { chars.extend([' ', c, ' ']) } else { chars.push(c) }
    }
    chars.push(' ');
    // Points and commas unless a digit stands before, then unless one stands behind; a dash behind a digit.
    let point = |c: char| matches!(c, '.' | ',');
    let chars = at_pairs(&chars, |a, b| !a.is_ascii_digit() && point(b), |a, b| [a, ' ', b, ' ']);
    let chars = at_pairs(&chars, |a, b| point(a) && !b.is_ascii_digit(), |a, b| [' ', a, ' ', b]);
    let chars = at_pairs(&chars, |a, b| a.is_ascii_digit() && b == '-', |a, b| [a, ' ', b, ' ']);
    split(&String::from_iter(chars)).map(str::to_owned).collect()
}

/// Replaces pairs of neighbours, from the left, each character in one pair at most.
fn at_pairs(
    chars: &[char],
    is_pair: impl Fn(char, char) -> bool,
    spaced: impl Fn(char, char) -> [char; 4],
) -> Vec<char> {
    let mut out = Vec::with_capacity(chars.len() * 2);
    let mut rest = chars;
    while let [a, tail @ ..] = rest {
        rest = match tail {
            [b, tail @ ..] if is_pair(*a, *b) => {
                out.extend(spaced(*a, *b));
                tail
            }
            _ => {
                out.push(*a);
                tail
            }
        };
    }
    out
}
