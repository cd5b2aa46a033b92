//! Corpus embeddings: a learned vector for each corpus, added to the vector of every token of its rows.
//!
//! ```text
//! x = ... + E_word[id] + E_corpus[corpus]        before the first norm, dropout or layer
//! ```
//!
//! Shapes: E_corpus `[corpora, hidden]`, one parameter of the trunk, called [`NAME`]. It begins as zeros, so that the network
//! begins as it was without it. BERT adds it to its table of segments, the others to what they look up.
//! Cost: `corpora hidden` parameters, and an addition a token.
//! Paper: van der Goot and de Lhoneux 2021, "Parsing with pretrained language models, multiple datasets, and dataset
//! embeddings", with the vector in the encoder's input.

use super::Tokens;
use crate::init::Init;
use crate::parameters::{Group, Matrix, Parameters};
use burn::tensor::Tensor;

/// The table's name among the parameters: an embedding, as optimizers and phases treat them.
pub(crate) const NAME: &str = "backbone.embeddings.corpus";

/// Makes the table.
pub(super) fn table(corpora: usize, hidden: usize, parameters: &mut Parameters) -> Matrix {
    parameters.matrix(&Group::Trunk, NAME, [corpora, hidden], Init::Zeros)
}

/// Adds to the vector of each token that of its corpus, where there is a table.
pub(super) fn added(
    x: Tensor<2>,
    table: Option<Matrix>,
    parameters: &Parameters,
    tokens: Tokens<'_>,
) -> Tensor<2> {
    match table {
        Some(table) => x + kernels::pick(parameters.get(table), tokens.corpora),
        None => x,
    }
}

/// A table of segments `[segments, hidden]` and one of corpora `[corpora, hidden]` as one of both: row `s corpora + c` is the sum
/// of row `s` and row `c`. With it, which row each token is to have.
pub(super) fn with_segments(
    segments: (Tensor<2>, &[u32]),
    corpora: (Tensor<2>, &[u32]),
) -> (Tensor<2>, Vec<u32>) {
    let (count, of) = (corpora.0.dims()[0] as u32, segments.0.dims()[0] as u32);
    let of_segments: Vec<u32> = (0..of * count).map(|row| row / count).collect();
    let of_corpora: Vec<u32> = (0..of * count).map(|row| row % count).collect();
    let both = kernels::pick(segments.0, &of_segments) + kernels::pick(corpora.0, &of_corpora);
    let rows = segments.1.iter().zip(corpora.1).map(|(segment, corpus)| segment * count + corpus);
    (both, rows.collect())
}
