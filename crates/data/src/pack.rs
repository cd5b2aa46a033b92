//! One step's rows, laid end to end.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Encoded, View};

/// A row of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RowRef {
    /// Which view.
    pub view: u32,
    /// Which of its rows.
    pub row: u32,
}

/// One step's rows end to end, without padding. With `n` tokens and `r` rows:
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// `[n]` token ids.
    pub ids: Vec<u32>,
    /// `[n]` position of each token in its row, from 0 on.
    pub positions: Vec<u32>,
    /// `[r + 1]` where each row begins; first 0, last `n`, never falling.
    pub offsets: Arc<[usize]>,
    /// `[n]` word index of each token in its row, or [`crate::NO_WORD`].
    pub words: Vec<u32>,
    /// `[n]` which segment of its row each token is of: 1 in the second text of a pair, else 0.
    pub segments: Vec<u32>,
    /// `[r]` which rows these are.
    pub rows: Vec<RowRef>,
}

impl Pack {
    /// The pack of the given rows, in order. Panics when a row does not exist.
    pub fn of(views: &[View], rows: &[RowRef]) -> Pack {
        Self::gather(rows.iter().map(|r| (*r, &views[r.view as usize].encoded, r.row as usize)))
    }

    /// The pack of all rows of an encoding, said to be of `view`.
    pub fn of_encoded(encoded: &Encoded, view: u32) -> Pack {
        Self::gather((0..encoded.rows()).map(|row| (RowRef { view, row: row as u32 }, encoded, row)))
    }

    fn gather<'a>(rows: impl ExactSizeIterator<Item = (RowRef, &'a Encoded, usize)> + Clone) -> Pack {
        let tokens = rows.clone().map(|(_, encoded, row)| encoded.length(row)).sum();
        let mut ids = Vec::with_capacity(tokens);
        let mut positions = Vec::with_capacity(tokens);
        let mut words = Vec::with_capacity(tokens);
        let mut segments = Vec::with_capacity(tokens);
        let mut offsets = Vec::with_capacity(rows.len() + 1);
        let mut refs = Vec::with_capacity(rows.len());
        offsets.push(0);
        for (row_ref, encoded, row) in rows {
            let range = encoded.row(row);
            positions.extend(0..range.len() as u32);
            ids.extend_from_slice(&encoded.ids[range.clone()]);
            words.extend_from_slice(&encoded.words[range]);
            segments.resize(segments.len() + encoded.first(row), 0);
            segments.resize(ids.len(), 1);
            offsets.push(ids.len());
            refs.push(row_ref);
        }
        Pack { ids, positions, offsets: offsets.into(), words, segments, rows: refs }
    }

    /// The same rows with only some of their tokens, given by their places in this pack, rising.
    pub fn only(&self, tokens: &[u32]) -> Pack {
        let of = |values: &[u32]| tokens.iter().map(|token| values[*token as usize]).collect();
        let before = |end: &usize| tokens.partition_point(|token| (*token as usize) < *end);
        Pack {
            ids: of(&self.ids),
            positions: of(&self.positions),
            offsets: self.offsets.iter().map(before).collect(),
            words: of(&self.words),
            segments: of(&self.segments),
            rows: self.rows.clone(),
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
