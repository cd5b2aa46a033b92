//! One step's rows, laid end to end.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cast::to_u32;
use crate::{NOT_MASKED, View, random};

/// A row of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RowRef {
    /// Which view.
    pub view: u32,
    /// Which of its rows.
    pub row: u32,
}

/// One step's rows end to end, without padding. With `n` tokens, `r` rows and `s` sequences, most often one a row:
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// `[n]` token ids.
    pub ids: Vec<u32>,
    /// `[n]` position of each token in its sequence, from 0.
    pub positions: Vec<u32>,
    /// `[r + 1]` token offsets of the rows: first 0, last `n`, non-decreasing.
    pub offsets: Arc<[usize]>,
    /// `[s + 1]` token offsets of the sequences. Attention does not cross them, and positions start anew in each.
    pub sequences: Arc<[usize]>,
    /// `[r + 1]` index of each row's first sequence; last `s`.
    pub row_sequence_offsets: Arc<[usize]>,
    /// `[n]` word index of each token in its row, or [`crate::NO_WORD_ID`].
    pub word_ids: Vec<u32>,
    /// `[n]` segment of each token (BERT's token type): 1 in the second text of a pair, else 0.
    pub segments: Vec<u32>,
    /// `[n]` the original id of each token that [`crate::TokenMasking`] chose, else [`NOT_MASKED`]; empty where no view masks
    /// tokens.
    pub masked_labels: Vec<u32>,
    /// `[r]` the rows of the pack.
    pub rows: Vec<RowRef>,
    /// `[r]` the corpus of each row, by its name.
    pub corpora: Vec<Arc<str>>,
}

impl Pack {
    /// The pack of the given rows, in order. Where tokens are masked, the same tokens of a row are masked in every pack.
    /// Panics when a row does not exist.
    pub fn of(views: &[View], rows: &[RowRef]) -> Pack {
        let mut pack = Self::of_views(views, rows);
        pack.mask_tokens(views, |_, row| random::stream(0, "hidden tokens", u64::from(row.row)));
        pack
    }

    /// As [`Pack::of`]; which tokens are masked depends on the seed.
    pub fn drawn(views: &[View], rows: &[RowRef], seed: u64) -> Pack {
        let mut pack = Self::of_views(views, rows);
        pack.mask_tokens(views, |at, _| random::stream(seed, "hidden tokens", at as u64));
        pack
    }

    /// The rows before any token is masked.
    fn of_views(views: &[View], rows: &[RowRef]) -> Pack {
        let view = |row: &RowRef| &views[row.view as usize];
        let tokens = rows.iter().map(|row| view(row).encoded.length(row.row as usize)).sum();
        let mut ids = Vec::with_capacity(tokens);
        let mut positions = Vec::with_capacity(tokens);
        let mut word_ids = Vec::with_capacity(tokens);
        let mut segments = Vec::with_capacity(tokens);
        let (mut offsets, mut sequences, mut row_sequence_offsets) = (vec![0], vec![0], vec![0]);
        for row in rows {
            let encoded = &view(row).encoded;
            for (range, first_segment_len) in encoded.sequences(row.row as usize) {
                positions.extend(0..to_u32(range.len()));
                ids.extend_from_slice(&encoded.ids[range.clone()]);
                word_ids.extend_from_slice(&encoded.word_ids[range]);
                segments.resize(segments.len() + first_segment_len, 0);
                segments.resize(ids.len(), 1);
                sequences.push(ids.len());
            }
            row_sequence_offsets.push(sequences.len() - 1);
            offsets.push(ids.len());
        }
        Pack {
            ids,
            positions,
            offsets: offsets.into(),
            sequences: sequences.into(),
            row_sequence_offsets: row_sequence_offsets.into(),
            word_ids,
            segments,
            masked_labels: Vec::new(),
            rows: rows.to_vec(),
            corpora: rows.iter().map(|row| view(row).corpus.clone()).collect(),
        }
    }

    /// The same rows with some of their tokens only, given by their indices in this pack, increasing.
    pub fn select_tokens(&self, tokens: &[u32]) -> Pack {
        let of = |values: &[u32]| tokens.iter().map(|token| values[*token as usize]).collect();
        let selected_before = |end: &usize| tokens.partition_point(|token| (*token as usize) < *end);
        Pack {
            ids: of(&self.ids),
            positions: of(&self.positions),
            offsets: self.offsets.iter().map(selected_before).collect(),
            sequences: self.sequences.iter().map(selected_before).collect(),
            row_sequence_offsets: self.row_sequence_offsets.clone(),
            word_ids: of(&self.word_ids),
            segments: of(&self.segments),
            masked_labels: if self.masked_labels.is_empty() { Vec::new() } else { of(&self.masked_labels) },
            rows: self.rows.clone(),
            corpora: self.corpora.clone(),
        }
    }

    /// Some of the rows, given by their indices in this pack, in the order given, with the tokens masked as they are here.
    pub fn select_rows(&self, rows: &[usize]) -> Pack {
        let tokens = rows.iter().flat_map(|row| self.offsets[*row]..self.offsets[row + 1]);
        let mut selected = self.select_tokens(&tokens.map(to_u32).collect::<Vec<u32>>());
        selected.offsets = joined(&self.offsets, rows.iter().copied());
        selected.sequences = joined(&self.sequences, rows.iter().flat_map(|row| self.sequences_of(*row)));
        selected.row_sequence_offsets = joined(&self.row_sequence_offsets, rows.iter().copied());
        selected.rows = rows.iter().map(|row| self.rows[*row]).collect();
        selected.corpora = rows.iter().map(|row| self.corpora[*row].clone()).collect();
        selected
    }

    /// The sequences of a row, given by its index in this pack.
    pub fn sequences_of(&self, row: usize) -> Range<usize> {
        self.row_sequence_offsets[row]..self.row_sequence_offsets[row + 1]
    }

    /// Masks tokens of the rows whose views ask for it; `rng` is made of a row's index in the pack and the row.
    fn mask_tokens(&mut self, views: &[View], rng: impl Fn(usize, RowRef) -> rand_chacha::ChaCha8Rng) {
        for (at, row) in self.rows.iter().enumerate() {
            let Some(masking) = views[row.view as usize].masking else { continue };
            self.masked_labels.resize(self.ids.len(), NOT_MASKED);
            let tokens = self.offsets[at]..self.offsets[at + 1];
            let (ids, word_ids) = (&mut self.ids[tokens.clone()], &self.word_ids[tokens.clone()]);
            self.masked_labels[tokens].copy_from_slice(&masking.mask(ids, word_ids, &mut rng(at, *row)));
        }
    }

    /// How many tokens.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// The offsets of some parts laid end to end; `bounds` are the offsets of all parts.
fn joined(bounds: &[usize], parts: impl Iterator<Item = usize>) -> Arc<[usize]> {
    let ends = parts.map(|part| bounds[part + 1] - bounds[part]).scan(0, |end, length| {
        *end += length;
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}
