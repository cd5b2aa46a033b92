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
//! scores 0. A row without references has the empty text as its reference.
//!
//! Words depend on the tokenizer, by sacrebleu's names. `13a` (mteval's, the default): ASCII punctuation and symbols are
//! split off, points and commas only where they are not between digits. `intl`: Unicode's punctuation and symbols. `zh`:
//! Chinese characters one by one, the rest as `13a`. `char`: all characters one by one. `none`: at spaces only.
//! `flores200`: the pieces of a SentencePiece model, for all languages (spBLEU). Without a setting, references in Chinese
//! are split by `zh`, those in other languages without spaces between words (Japanese, Thai, Lao, Khmer, Burmese) by
//! `char`. Case matters unless `lowercase` is set. Smoothing is `exp` (above), `floor` (a small number of matches where
//! there are none), `add-k` (k more matches and n-grams of the orders above 1) or `none`.
//!
//! When to use: translation and data-to-text generation, over whole corpora; for single sentences and for
//! morphologically rich languages use `chrf`. The score is a fraction; the papers' BLEU is 100 times that. Scores of
//! different settings cannot be compared: `polytask evaluate` prints sacrebleu's signature of them beside the score.
//!
//! Paper: Papineni et al., *BLEU*, ACL 2002; Chen and Cherry, *A systematic comparison of smoothing techniques*, 2014; the
//! variant is that of sacrebleu 2.6.0 (Post 2018; the default `nrefs:N|case:mixed|eff:no|tok:13a|smooth:exp`), without
//! effective order.

use std::collections::HashMap;

use super::ngrams::{counts, or_empty};
use super::references::count_of_references;
use super::tokenize::BleuTokenizer;

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

/// What BLEU counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct BleuOptions<'a> {
    /// What words are.
    pub tokenizer: BleuTokenizer<'a>,
    /// Whether case is ignored.
    pub lowercase: bool,
    /// What stands in for n-grams of an order without a match.
    pub smoothing: Smoothing,
}

/// What stands in for n-grams of an order without a match.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Smoothing {
    /// Nothing: the score is 0.
    None,
    /// So many matches; sacrebleu's default is 0.1.
    Floor(f64),
    /// So many more matches and n-grams, of the orders above 1; sacrebleu's default is 1.
    AddK(f64),
    /// Half of a match, a quarter of one for the next such order, and so on.
    #[default]
    Exp,
}

impl BleuOptions<'_> {
    /// sacrebleu's signature, but for its version: what has to be equal for scores to be comparable.
    pub fn signature(&self, references: &[Vec<&str>]) -> String {
        let case = if self.lowercase { "lc" } else { "mixed" };
        let smoothing = match self.smoothing {
            Smoothing::None => "none".to_owned(),
            Smoothing::Floor(value) => format!("floor[{value:.2}]"),
            Smoothing::AddK(value) => format!("add-k[{value:.2}]"),
            Smoothing::Exp => "exp".to_owned(),
        };
        let (nrefs, tokenizer) = (count_of_references(references), self.tokenizer.name());
        format!("nrefs:{nrefs}|case:{case}|eff:no|tok:{tokenizer}|smooth:{smoothing}")
    }

    fn words(&self, text: &str) -> Vec<String> {
        if self.lowercase { self.tokenizer.words(&text.to_lowercase()) } else { self.tokenizer.words(text) }
    }
}

/// BLEU of a corpus: one hypothesis a row, and any number of references.
///
/// # Panics
/// When the two differ in length.
pub fn bleu(hypotheses: &[&str], references: &[Vec<&str>], options: &BleuOptions<'_>) -> Bleu {
    assert_eq!(hypotheses.len(), references.len(), "one hypothesis a row");
    let mut sums = Sums::default();
    for (hypothesis, references) in hypotheses.iter().zip(references) {
        sums.add(hypothesis, or_empty(references), options);
    }
    sums.bleu(options.smoothing)
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
    fn add(&mut self, hypothesis: &str, references: &[&str], options: &BleuOptions<'_>) {
        let hypothesis = options.words(hypothesis);
        let references: Vec<Vec<String>> = references.iter().map(|text| options.words(text)).collect();
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

    fn bleu(&self, smoothing: Smoothing) -> Bleu {
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
            let (mut matched, mut generated) = (self.matched[n] as f64, self.generated[n] as f64);
            if let (Smoothing::AddK(k), 1..) = (smoothing, n) {
                (matched, generated) = (matched + k, generated + k);
            }
            if generated == 0.0 {
                break;
            }
            bleu.precisions[n] = match smoothing {
                Smoothing::Exp if matched == 0.0 => {
                    smallest /= 2.0;
                    smallest / generated
                }
                Smoothing::Floor(value) if matched == 0.0 => value / generated,
                _ => matched / generated,
            };
        }
        if bleu.precisions.iter().all(|p| *p > 0.0) {
            let mean = bleu.precisions.iter().map(|p| p.ln()).sum::<f64>() / ORDERS as f64;
            bleu.score = bleu.brevity_penalty * mean.exp();
        }
        bleu
    }
}
