//! One step's rows, laid end to end.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Encoded, SHOWN, View, random};

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
    /// `[n]` position of each token in its sequence, from 0 on.
    pub positions: Vec<u32>,
    /// `[r + 1]` where each row begins; first 0, last `n`, never falling.
    pub offsets: Arc<[usize]>,
    /// `[s + 1]` where each sequence begins: what attention goes over, and positions are counted in.
    pub sequences: Arc<[usize]>,
    /// `[r + 1]` which sequence is the first of each row; last `s`.
    pub first_sequences: Arc<[usize]>,
    /// `[n]` word index of each token in its row, or [`crate::NO_WORD`].
    pub words: Vec<u32>,
    /// `[n]` which segment of its sequence each token is of: 1 in the second text of a pair, else 0.
    pub segments: Vec<u32>,
    /// `[n]` what each token was that is hidden ([`crate::Hiding`]), else [`SHOWN`]; empty where no row hides tokens.
    pub hidden: Vec<u32>,
    /// `[r]` which rows these are.
    pub rows: Vec<RowRef>,
    /// `[r]` which corpus each row is of, by its name.
    pub corpora: Vec<Arc<str>>,
}

impl Pack {
    /// The pack of the given rows, in order. Where tokens are hidden, they are the same in every pack. Panics when a row does
    /// not exist.
    pub fn of(views: &[View], rows: &[RowRef]) -> Pack {
        let mut pack = Self::of_views(views, rows);
        pack.hide(views, |_, row| random::stream(0, "hidden tokens", u64::from(row.row)));
        pack
    }

    /// As [`Pack::of`]; which tokens are hidden depends on the seed.
    pub fn drawn(views: &[View], rows: &[RowRef], seed: u64) -> Pack {
        let mut pack = Self::of_views(views, rows);
        pack.hide(views, |at, _| random::stream(seed, "hidden tokens", at as u64));
        pack
    }

    /// The pack of all rows of an encoding, said to be of `view` and of a corpus without a name.
    pub fn of_encoded(encoded: &Encoded, view: u32) -> Pack {
        let rows = (0..encoded.rows()).map(|row| (RowRef { view, row: row as u32 }, encoded, row));
        Self::gather(rows, vec!["".into(); encoded.rows()])
    }

    /// The rows as they are, nothing hidden.
    fn of_views(views: &[View], rows: &[RowRef]) -> Pack {
        let view = |row: &RowRef| &views[row.view as usize];
        let corpora = rows.iter().map(|row| view(row).corpus.clone()).collect();
        Self::gather(rows.iter().map(|row| (*row, &view(row).encoded, row.row as usize)), corpora)
    }

    fn gather<'a>(
        rows: impl ExactSizeIterator<Item = (RowRef, &'a Encoded, usize)> + Clone,
        corpora: Vec<Arc<str>>,
    ) -> Pack {
        let tokens = rows.clone().map(|(_, encoded, row)| encoded.length(row)).sum();
        let mut ids = Vec::with_capacity(tokens);
        let mut positions = Vec::with_capacity(tokens);
        let mut words = Vec::with_capacity(tokens);
        let mut segments = Vec::with_capacity(tokens);
        let (mut offsets, mut sequences, mut first_sequences) = (vec![0], vec![0], vec![0]);
        let mut refs = Vec::with_capacity(rows.len());
        for (row_ref, encoded, row) in rows {
            for (range, first) in encoded.sequences(row) {
                positions.extend(0..range.len() as u32);
                ids.extend_from_slice(&encoded.ids[range.clone()]);
                words.extend_from_slice(&encoded.words[range]);
                segments.resize(segments.len() + first, 0);
                segments.resize(ids.len(), 1);
                sequences.push(ids.len());
            }
            first_sequences.push(sequences.len() - 1);
            offsets.push(ids.len());
            refs.push(row_ref);
        }
        let (offsets, first_sequences) = (offsets.into(), first_sequences.into());
        let (sequences, hidden) = (sequences.into(), Vec::new());
        let rows = refs;
        Pack { ids, positions, offsets, sequences, first_sequences, words, segments, hidden, rows, corpora }
    }

    /// The same rows with only some of their tokens, given by their places in this pack, rising.
    pub fn only(&self, tokens: &[u32]) -> Pack {
        let of = |values: &[u32]| tokens.iter().map(|token| values[*token as usize]).collect();
        let before = |end: &usize| tokens.partition_point(|token| (*token as usize) < *end);
        Pack {
            ids: of(&self.ids),
            positions: of(&self.positions),
            offsets: self.offsets.iter().map(before).collect(),
            sequences: self.sequences.iter().map(before).collect(),
            first_sequences: self.first_sequences.clone(),
            words: of(&self.words),
            segments: of(&self.segments),
            hidden: if self.hidden.is_empty() { Vec::new() } else { of(&self.hidden) },
            rows: self.rows.clone(),
            corpora: self.corpora.clone(),
        }
    }

    /// Some of the rows, given by their places in this pack, in that order, as they stand here.
    pub fn some(&self, rows: &[usize]) -> Pack {
        let tokens = rows.iter().flat_map(|row| self.offsets[*row] as u32..self.offsets[row + 1] as u32);
        let mut some = self.only(&tokens.collect::<Vec<u32>>());
        some.offsets = joined(&self.offsets, rows.iter().copied());
        some.sequences = joined(&self.sequences, rows.iter().flat_map(|row| self.sequences_of(*row)));
        some.first_sequences = joined(&self.first_sequences, rows.iter().copied());
        some.rows = rows.iter().map(|row| self.rows[*row]).collect();
        some.corpora = rows.iter().map(|row| self.corpora[*row].clone()).collect();
        some
    }

    /// The sequences of a row, given by its place.
    pub fn sequences_of(&self, row: usize) -> Range<usize> {
        self.first_sequences[row]..self.first_sequences[row + 1]
    }

    /// Hides tokens of the rows whose views want it; `rng` is made of a row and its place in the pack.
    fn hide(&mut self, views: &[View], rng: impl Fn(usize, RowRef) -> rand_chacha::ChaCha8Rng) {
        for (at, row) in self.rows.iter().enumerate() {
            let Some(hiding) = views[row.view as usize].hiding else { continue };
            self.hidden.resize(self.ids.len(), SHOWN);
            let tokens = self.offsets[at]..self.offsets[at + 1];
            let (ids, words) = (&mut self.ids[tokens.clone()], &self.words[tokens.clone()]);
            self.hidden[tokens].copy_from_slice(&hiding.hide(ids, words, &mut rng(at, *row)));
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

/// Where each of some parts begins when they are laid end to end; `bounds` says from where to where each part is now.
fn joined(bounds: &[usize], parts: impl Iterator<Item = usize>) -> Arc<[usize]> {
    let ends = parts.map(|part| bounds[part + 1] - bounds[part]).scan(0, |end, length| {
        *end += length;
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}
