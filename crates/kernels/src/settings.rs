//! What operations need besides tensors, where that is more than a number.

use crate::RowOffsets;
use cpu::{Dropout, RotaryAngles};
use std::sync::Arc;

/// The rows of an attention.
#[derive(Clone, Debug)]
pub(crate) struct AttentionRows {
    /// Offsets of the rows of queries, and of keys and values.
    pub offsets: [RowOffsets; 2],
    /// `[queries]`: the position of each query among the keys of its row; `None`: the queries are the last ones.
    pub positions: Option<Arc<[u32]>>,
}

impl AttentionRows {
    /// Checks positions against the rows.
    pub fn new(operation: &str, [queries, keys]: [&RowOffsets; 2], positions: Option<&[u32]>) -> Self {
        if let Some(positions) = positions {
            let fits = |(q, k): (&[usize], &[usize])| {
                positions[q[0]..q[1]].iter().all(|position| (*position as usize) < k[1] - k[0])
            };
            assert_eq!(
                positions.len(),
                queries.last().copied().unwrap_or(0),
                "{operation}: a position a query"
            );
            assert!(
                queries.windows(2).zip(keys.windows(2)).all(fits),
                "{operation}: positions lie in their rows"
            );
        }
        AttentionRows { offsets: [queries.clone(), keys.clone()], positions: positions.map(Arc::from) }
    }
}

/// What an attention needs besides tensors and rows.
#[derive(Clone, Copy, Debug)]
pub struct AttentionSettings {
    /// Heads, which divide the columns of the queries evenly.
    pub heads: usize,
    /// Heads of keys and values, which divide `heads` (Ainslie et al. 2023, "GQA"): heads `i heads / kv_heads` and the ones after it have the
    /// keys and values `i`.
    pub kv_heads: usize,
    /// Whether a query sees only the keys up to its own position. A query that comes before the first key sees nothing and gets
    /// zeros.
    pub causal: bool,
    /// A query sees only keys whose position is at most so far from its own; `None`: however far they are. A causal window of `w` keys, the
    /// query's own among them, is `w - 1` here.
    pub window: Option<usize>,
    /// What scores are multiplied by; `None`: `d^-1/2` for `d` columns of a head, or 1 where a bias is added.
    pub scale: Option<f32>,
    /// Drops attention probabilities. In a row of `m` queries and `n` keys element `(head, query, key)` has the index
    /// `(head m + query) n + key` after `heads m n` for each of the rows before.
    pub dropout: Option<Dropout>,
}

impl AttentionSettings {
    /// Every head with keys of its own, which sees all of its row; no dropout.
    pub fn new(heads: usize) -> Self {
        AttentionSettings { heads, kv_heads: heads, causal: false, window: None, scale: None, dropout: None }
    }

    /// The columns of keys and values, of queries with `h` columns.
    pub(crate) fn kv_width(&self, h: usize) -> usize {
        2 * (h / self.heads * self.kv_heads)
    }

    /// Checks heads against the columns of queries.
    pub(crate) fn check(&self, operation: &str, h: usize) {
        let AttentionSettings { heads, kv_heads, .. } = *self;
        assert!(heads > 0 && h.is_multiple_of(heads), "{operation}: {h} columns, {heads} heads");
        let fits = kv_heads > 0 && heads.is_multiple_of(kv_heads);
        assert!(fits, "{operation}: {heads} heads, {kv_heads} of keys and values");
    }
}

/// What a disentangled attention needs besides tensors and rows.
#[derive(Clone, Debug)]
pub struct DisentangledSettings {
    /// Heads, which divide the columns evenly.
    pub heads: usize,
    /// The row of the tables for each distance, the key's position less the query's, from `-reach` to `reach`, which is at least the
    /// longest row's tokens less one.
    pub index: Arc<[u32]>,
    /// Drops attention probabilities, as [`AttentionSettings::dropout`].
    pub dropout: Option<Dropout>,
}

/// What embeddings need besides their tables.
#[derive(Clone, Debug)]
pub(crate) struct EmbedSettings {
    /// For each table the row of each token.
    pub ids: [Arc<[u32]>; 3],
    /// Added to the variance.
    pub eps: f32,
    /// Drops the result.
    pub dropout: Option<Dropout>,
}

/// Where tokens stand, and the angles of positions.
#[derive(Clone, Debug)]
pub(crate) struct RotarySettings {
    /// Heads that are rotated, from the first column on.
    pub heads: usize,
    /// `[n]`
    pub positions: Arc<[u32]>,
    pub angles: Arc<RotaryAngles>,
}
