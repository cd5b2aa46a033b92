//! What a trunk reads, and which of its states somebody wants.

use kernels::RowOffsets;

/// The tokens of a pack, its sequences end to end without padding.
#[derive(Debug, Clone, Copy)]
pub struct EncoderInput<'a> {
    /// `[tokens]`: ids below the vocabulary.
    pub ids: &'a [u32],
    /// `[tokens]`: each token's position in its sequence, from 0.
    pub positions: &'a [u32],
    /// `[tokens]`: the segment (token type) of each token: 1 in the second text of a pair, else 0.
    pub segments: &'a [u32],
    /// `[sequences + 1]`: where each sequence begins, and the end of the last.
    pub offsets: &'a RowOffsets,
    /// `[tokens]`: the corpus of each token, a row of the dataset embedding. Empty where there is no such table.
    pub datasets: &'a [u32],
    /// What of the pack comes before these tokens, where they are a chunk of it.
    pub offset: PackOffset,
}

/// How much of a pack precedes a chunk of it. Dropout is a function of the position in the pack: with the offset a chunk draws
/// the same masks as the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackOffset {
    /// Tokens.
    pub tokens: usize,
    /// Attention scores of a head: for each sequence its queries times its keys.
    pub scores: usize,
    /// Sequences.
    pub sequences: usize,
}

impl PackOffset {
    /// With so much more before.
    pub(super) fn plus(self, more: PackOffset) -> PackOffset {
        PackOffset {
            tokens: self.tokens + more.tokens,
            scores: self.scores + more.scores,
            sequences: self.sequences + more.sequences,
        }
    }
}

/// The tokens of a pack whose states somebody reads. The last layer computes only these.
#[derive(Debug, Clone, Copy)]
pub struct TokenSelection<'a> {
    /// Their indices in the pack, rising.
    pub tokens: &'a [u32],
    /// `[sequences + 1]`: where each sequence of the pack begins among them, and their number.
    pub offsets: &'a RowOffsets,
    /// What of the selection comes before, where this is a chunk of it.
    pub offset: PackOffset,
}

impl TokenSelection<'_> {
    /// The position of each selected token in its sequence.
    pub fn positions(&self, input: &EncoderInput<'_>) -> Vec<u32> {
        self.tokens.iter().map(|token| input.positions[*token as usize]).collect()
    }
}
