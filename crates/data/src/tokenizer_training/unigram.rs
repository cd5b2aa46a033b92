//! A unigram language model: every token has a probability, and a word is segmented into the tokens with the largest product.
//!
//! Training begins with all characters and all substrings of up to 16 characters that occur twice or more. Then two steps repeat
//! until the vocabulary has the configured size: two rounds of expectation maximization (the expected count of each token over
//! all segmentations of the words, and from it its probability, with the sparse prior of the digamma function), and pruning of a
//! quarter of the tokens, those whose removal costs the least likelihood of the training texts. Characters are never pruned.
//!
//! It does not use the trainer of the tokenizers library, which sums in the order in which threads finish and iterates over a
//! randomly seeded hash table, and can give another vocabulary on the next run. The algorithm differs in details only:
//! characters rarer than `min_count` are left to bytes, and a token's second best segmentation is found by leaving it out.
//!
//! Text is in the form NFKC, each space is a `▁` at the start of a token, and characters without a token are written as bytes
//! (`<0xE2>`).
//!
//! Paper: Kudo, *Subword Regularization*, 2018 (arXiv 1804.10959), section 3.2; Kudo, Richardson, *SentencePiece*, 2018.

mod lattice;
mod seeds;

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde_json::{Value as Json, json};

use self::lattice::{Segmentation, Trie};
use super::{SPECIAL_TOKENS, TokenizerConfig, count_pieces, frame, normalizers};
use crate::cast::{to_u32, whole_part};
use crate::{DataError, Tokenizer};

/// The smallest size: special tokens, bytes, ASCII, and a few pieces.
pub(super) const MIN_SIZE: usize = 400;
/// The fraction of the tokens that pruning keeps.
const SHRINK: f64 = 0.75;
/// Rounds of expectation maximization between two prunings.
const ROUNDS: usize = 2;
/// Words that one thread takes at a time.
const CHUNK: usize = 1024;
/// Tokens with a lower expected count are removed.
const MIN_EXPECTED: f64 = 0.5;
/// The score of a byte, below every segmentation into characters.
const BYTE_SCORE: f64 = -1000.0;

/// A token of the model: its characters and its log probability.
#[derive(Debug, Clone, PartialEq)]
struct Token {
    text: Vec<char>,
    score: f64,
}

/// A run of characters that all have tokens, and how often it occurs.
type Word = (Vec<char>, f64);

pub(super) fn train<S: AsRef<str> + Sync>(
    texts: &[S],
    config: &TokenizerConfig,
) -> Result<Tokenizer, DataError> {
    let untrained = Tokenizer::from_json(&to_json(&[], config))?;
    let counts = count_pieces(&untrained, texts)?;
    let size = config.size - SPECIAL_TOKENS.len() - 256;
    let characters = characters(&counts, size, config.min_count);
    let words = words(&counts, &characters);
    let pieces = fit(seeds::of(&words, &characters, 32 * size), &words, size);
    Tokenizer::from_json(&to_json(&pieces, config))
}

/// The characters that are tokens, with their counts: those of ASCII that can be seen, `▁`, and of the others the most frequent.
fn characters(counts: &BTreeMap<String, u64>, size: usize, min_count: u64) -> BTreeMap<char, u64> {
    let mut all: BTreeMap<char, u64> = BTreeMap::new();
    for (piece, n) in counts {
        piece.chars().for_each(|c| *all.entry(c).or_default() += n);
    }
    let mut kept: BTreeMap<char, u64> = BTreeMap::new();
    for c in ('!'..='~').chain(['▁']) {
        kept.insert(c, all.remove(&c).unwrap_or(0));
    }
    let mut others: Vec<(char, u64)> = all.into_iter().filter(|(_, n)| *n >= min_count).collect();
    others.sort_by_key(|(c, n)| (std::cmp::Reverse(*n), *c));
    others.truncate(size - kept.len());
    kept.extend(others);
    kept
}

/// What words are without the characters that have no token.
fn words(counts: &BTreeMap<String, u64>, characters: &BTreeMap<char, u64>) -> Vec<Word> {
    let mut words: BTreeMap<&str, u64> = BTreeMap::new();
    for (piece, n) in counts {
        for word in piece.split(|c| !characters.contains_key(&c)).filter(|word| !word.is_empty()) {
            *words.entry(word).or_default() += n;
        }
    }
    words.into_iter().map(|(word, n)| (word.chars().collect(), n as f64)).collect()
}

/// Expectation maximization and pruning, until there are `size` tokens.
fn fit(mut pieces: Vec<Token>, words: &[Word], size: usize) -> Vec<Token> {
    // A little more than `size`, since the last pruning goes by probability alone.
    let enough = size * 11 / 10;
    loop {
        for _ in 0..ROUNDS {
            pieces = maximize(&pieces, &expectations(&pieces, words));
        }
        if pieces.len() <= enough {
            break;
        }
        let left = (whole_part(pieces.len() as f64 * SHRINK)).max(enough);
        pieces = prune(pieces, words, left);
    }
    // Rounded, so that the last digits of another machine's logarithm do not decide.
    pieces.iter_mut().for_each(|piece| piece.score = (piece.score * 1e6).round() / 1e6);
    pieces.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.text.cmp(&b.text)));
    let (mut kept, others): (Vec<Token>, Vec<Token>) = pieces.into_iter().partition(|p| p.text.len() == 1);
    let remaining = size.saturating_sub(kept.len());
    kept.extend(others.into_iter().take(remaining));
    kept.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.text.cmp(&b.text)));
    kept
}

/// The expected count of each token over all segmentations of the words. Sums go over chunks of a fixed size, in order.
fn expectations(pieces: &[Token], words: &[Word]) -> Vec<f64> {
    let trie = Trie::of(pieces);
    sum(pieces.len(), words, |(word, n), add| {
        Segmentation::of(&trie, pieces, word).expected_counts(*n, add);
    })
}

/// Sums by token what `each` adds for every word.
fn sum(pieces: usize, words: &[Word], each: impl Fn(&Word, &mut dyn FnMut(u32, f64)) + Sync) -> Vec<f64> {
    let of_chunk = |words: &[Word]| {
        let mut sums: BTreeMap<u32, f64> = BTreeMap::new();
        words.iter().for_each(|word| each(word, &mut |id, n| *sums.entry(id).or_default() += n));
        sums
    };
    let chunks: Vec<BTreeMap<u32, f64>> = words.par_chunks(CHUNK).map(of_chunk).collect();
    let mut all = vec![0.0; pieces];
    chunks.into_iter().flatten().for_each(|(id, n)| all[id as usize] += n);
    all
}

/// The tokens with their most likely probabilities given the expected counts, without rare tokens, but with all characters.
fn maximize(pieces: &[Token], expected: &[f64]) -> Vec<Token> {
    let counted = pieces.iter().zip(expected);
    let kept: Vec<(&Token, f64)> = counted
        .filter(|(piece, n)| **n >= MIN_EXPECTED || piece.text.len() == 1)
        .map(|(piece, n)| (piece, n.max(MIN_EXPECTED)))
        .collect();
    let whole = digamma(kept.iter().map(|(_, n)| n).sum());
    kept.into_iter().map(|(piece, n)| Token { text: piece.text.clone(), score: digamma(n) - whole }).collect()
}

/// The characters, and of the other tokens those whose removal would cost the most likelihood, `left` in all.
fn prune(pieces: Vec<Token>, words: &[Word], left: usize) -> Vec<Token> {
    let trie = Trie::of(&pieces);
    let counts = sum(pieces.len(), words, |(word, n), add| {
        Segmentation::of(&trie, &pieces, word).best(None).into_iter().for_each(|id| add(id, *n));
    });
    let whole: f64 = counts.iter().sum();
    let loss = |(id, piece): (usize, &Token)| {
        if piece.text.len() == 1 {
            return f64::INFINITY;
        }
        let n = counts[id];
        if n == 0.0 {
            return f64::NEG_INFINITY;
        }
        // Its occurrences go to the tokens of its second best segmentation.
        let others = Segmentation::of(&trie, &pieces, &piece.text).best(Some(to_u32(id)));
        let after = (whole + n * (others.len() as f64 - 1.0)).ln();
        let of_others: f64 = others.iter().map(|other| (counts[*other as usize] + n).ln() - after).sum();
        // In f32, as SentencePiece compares them.
        #[allow(clippy::cast_possible_truncation)]
        let loss = (n / whole * (n.ln() - whole.ln() - of_others)) as f32;
        f64::from(loss)
    };
    let losses: Vec<f64> = pieces.par_iter().enumerate().map(loss).collect();
    let mut order: Vec<usize> = (0..pieces.len()).filter(|id| losses[*id] > f64::NEG_INFINITY).collect();
    order.sort_by(|a, b| losses[*b].total_cmp(&losses[*a]).then(a.cmp(b)));
    order.truncate(left);
    order.sort_unstable();
    order.into_iter().map(|id| pieces[id].clone()).collect()
}

/// The derivative of the logarithm of the gamma function, for `x > 0`.
fn digamma(x: f64) -> f64 {
    let (mut x, mut below) = (x, 0.0);
    while x < 7.0 {
        below += 1.0 / x;
        x += 1.0;
    }
    // Its asymptotic series around x - 1/2.
    let y = 1.0 / (x - 0.5).powi(2);
    let series = y * (1.0 / 24.0 - y * (7.0 / 960.0 - y * (31.0 / 8064.0 - y * 127.0 / 30720.0)));
    (x - 0.5).ln() + series - below
}

/// The text of a `tokenizer.json`.
fn to_json(pieces: &[Token], config: &TokenizerConfig) -> String {
    let special_tokens = SPECIAL_TOKENS.iter().map(|token| json!([token, 0.0]));
    let bytes = (0..=255).map(|byte: u8| json!([format!("<0x{byte:02X}>"), BYTE_SCORE]));
    let own = pieces.iter().map(|piece| json!([piece.text.iter().collect::<String>(), piece.score]));
    let metaspace =
        json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true });
    // Metaspace puts the mark before the text by itself.
    let mut steps = normalizers("NFKC", &TokenizerConfig { spaces: true, ..config.clone() });
    steps.as_array_mut().and_then(Vec::pop);
    frame(
        steps,
        json!([metaspace]),
        json!({ "type": "Sequence", "decoders": [{ "type": "ByteFallback" }, metaspace] }),
        json!({
            "type": "Unigram",
            "unk_id": 1,
            "vocab": special_tokens.chain(bytes).chain(own).collect::<Vec<Json>>(),
            "byte_fallback": true,
        }),
    )
}

#[cfg(test)]
mod tests;
