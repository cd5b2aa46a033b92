//! The words of a batch, and the most probable tree of each row.

use std::ops::Range;

use burn::tensor::activation;
use model::Parameters;
use rayon::prelude::*;

use super::biaffine::{Biaffine, Words, length_groups};
use super::tree;
use crate::Batch;
use crate::heads::head;
use crate::targets::words::first_tokens;

/// The number of arcs whose relations are scored at once, which bounds the size of the product.
const AT_ONCE: usize = 512;

/// The words of a batch that have a token, row after row.
#[derive(Default)]
pub(super) struct PresentWords {
    /// Their first tokens in the pack.
    pub tokens: Vec<u32>,
    /// Their indices in their rows.
    pub words: Vec<u32>,
    /// The range of each row among them.
    pub rows: Vec<Range<usize>>,
}

impl PresentWords {
    pub fn of(batch: &Batch<'_>) -> Self {
        let mut present = PresentWords::default();
        for at in batch.rows {
            let begin = present.tokens.len();
            for (token, word) in first_tokens(batch.pack, *at) {
                present.tokens.push(token);
                present.words.push(word);
            }
            present.rows.push(begin..present.tokens.len());
        }
        present
    }

    /// The index of a word of a row among the row's words that have a token.
    pub fn index(&self, row: usize, word: u32) -> Option<usize> {
        self.words[self.rows[row].clone()].binary_search(&word).ok()
    }
}

/// The most probable tree of every row of a batch: per word the index of its head in the row, 0 for the root, and its
/// probability.
pub(super) fn trees(
    parser: &Biaffine,
    parameters: &Parameters,
    words: &Words,
    rows: &[Range<usize>],
) -> Vec<(usize, f32)> {
    let mut trees = vec![(0, 0.0); rows.last().map_or(0, |row| row.end)];
    for group in length_groups(rows) {
        let rows: Vec<Range<usize>> = group.iter().map(|row| rows[*row].clone()).collect();
        let scores = parser.arcs(parameters, words, &rows);
        let width = scores.dims()[1];
        let scores = head::to_host_vec(activation::log_softmax(scores, 1));
        let begins = rows.iter().scan(0, |next, row| Some(std::mem::replace(next, *next + row.len())));
        let begins: Vec<usize> = begins.collect();
        let decoded: Vec<Vec<(usize, f32)>> = rows
            .par_iter()
            .zip(begins)
            .map(|(row, begin)| {
                let n = row.len();
                let of_word = |word: usize| &scores[(begin + word) * width..][..=n];
                let own: Vec<f64> = (0..n).flat_map(of_word).map(|score| f64::from(*score)).collect();
                let heads = tree::heads(&own, n);
                heads.into_iter().enumerate().map(|(word, head)| (head, of_word(word)[head].exp())).collect()
            })
            .collect();
        for (row, decoded) in rows.into_iter().zip(decoded) {
            trees[row].copy_from_slice(&decoded);
        }
    }
    trees
}

/// The most probable relation of each arc, and its probability.
pub(super) fn relations(
    parser: &Biaffine,
    parameters: &Parameters,
    words: &Words,
    arcs: &[(u32, Option<u32>)],
) -> Vec<(usize, f32)> {
    let of = |arcs: &[(u32, Option<u32>)]| {
        let scores = parser.relations(parameters, words, arcs);
        let k = scores.dims()[1];
        head::probabilities(scores).chunks_exact(k).map(head::argmax).collect::<Vec<_>>()
    };
    arcs.chunks(AT_ONCE).flat_map(of).collect()
}
