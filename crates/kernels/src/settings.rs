//! What operations need besides tensors, where that is more than a number.

use crate::RowOffsets;
use cpu::Dropout;
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
    /// Heads, which divide the columns evenly.
    pub heads: usize,
    /// Whether a query sees only the keys up to its own position. A query that comes before the first key sees nothing and gets
    /// zeros.
    pub causal: bool,
    /// Drops attention probabilities. In a row of `m` queries and `n` keys element `(head, query, key)` has the index
    /// `(head m + query) n + key` after `heads m n` for each of the rows before.
    pub dropout: Option<Dropout>,
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
