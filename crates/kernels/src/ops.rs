//! The extension trait: what a backend must be able to do, with bodies made of the engine's own operations.

use crate::{Precision, RowOffsets, reference};
use burn::backend::{Backend, backend_extension, tensor::FloatTensor};
use cpu::{AdamW, CrossEntropyTargets, Dropout, LowRankGroups};
use std::ops::Range;
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

/// Operations over packs. `Flex` (the CPU) overrides all of them; every other backend keeps these bodies.
///
/// The names begin with `fused_` so that they do not hide the engine's own.
#[backend_extension(Autodiff, Flex, Cube: cfg(any(feature = "cuda", feature = "wgpu")))]
pub(crate) trait PackOps: Backend {
    fn fused_linear(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        b: FloatTensor<Self>,
        rows: Range<usize>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        reference::linear_rows::<Self>(x, w, b, rows, precision)
    }

    fn fused_linear_gelu(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        b: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        reference::linear_gelu::<Self>(x, w, b, precision)
    }

    fn fused_ffn(
        x: FloatTensor<Self>,
        w1: FloatTensor<Self>,
        b1: FloatTensor<Self>,
        w2: FloatTensor<Self>,
        b2: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        reference::ffn::<Self>(x, w1, b1, w2, b2, precision)
    }

    fn fused_attention(
        qkv: FloatTensor<Self>,
        rows: RowOffsets,
        settings: AttentionSettings,
    ) -> FloatTensor<Self> {
        reference::attention::<Self>(qkv, &rows, settings)
    }

    fn fused_cross_attention(
        q: FloatTensor<Self>,
        kv: FloatTensor<Self>,
        rows: AttentionRows,
        settings: AttentionSettings,
    ) -> FloatTensor<Self> {
        reference::cross_attention::<Self>(q, kv, &rows, settings)
    }

    fn fused_relative_attention(
        q: FloatTensor<Self>,
        kv: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        rows: AttentionRows,
        settings: AttentionSettings,
    ) -> FloatTensor<Self> {
        reference::relative_attention::<Self>(q, kv, bias, &rows, settings)
    }

    fn fused_add_norm(
        y: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f32,
        dropout: Option<Dropout>,
    ) -> FloatTensor<Self> {
        reference::add_norm::<Self>(y, residual, gamma, beta, eps, dropout)
    }

    fn fused_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self> {
        reference::norm::<Self>(x, gamma, beta, eps)
    }

    fn fused_add_rms_norm(
        y: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        eps: f32,
        dropout: Option<Dropout>,
    ) -> FloatTensor<Self> {
        reference::add_rms_norm::<Self>(y, residual, gamma, eps, dropout)
    }

    fn fused_rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, eps: f32) -> FloatTensor<Self> {
        reference::rms_norm::<Self>(x, gamma, eps)
    }

    fn fused_embed_norm(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        settings: EmbedSettings,
    ) -> FloatTensor<Self> {
        reference::embed_norm::<Self>([a, b, c, gamma, beta], &settings)
    }

    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        reference::gelu::<Self>(x)
    }

    fn fused_geglu_tanh(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        reference::geglu_tanh::<Self>(a, b)
    }

    fn fused_low_rank(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        groups: LowRankGroups,
    ) -> FloatTensor<Self> {
        reference::grouped_low_rank::<Self>([y, x, a, b], &groups)
    }

    fn fused_dropout(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        reference::dropout::<Self>(x, Some(dropout))
    }

    fn fused_gather_rows(x: FloatTensor<Self>, index: Arc<[u32]>) -> FloatTensor<Self> {
        reference::gather_rows::<Self>(x, &index)
    }

    fn fused_gather_rows_concat(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        index: Arc<[u32]>,
    ) -> FloatTensor<Self> {
        reference::gather_rows_concat::<Self>(a, b, &index)
    }

    fn fused_add(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_add(a, b)
    }

    fn fused_batched_matvec(a: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self> {
        reference::batched_matvec::<Self>(a, x)
    }

    fn fused_leaky_relu(x: FloatTensor<Self>, slope: f32) -> FloatTensor<Self> {
        Self::leaky_relu(x, slope.into())
    }

    fn fused_relu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::relu(x)
    }

    fn fused_segment_mean(x: FloatTensor<Self>, rows: RowOffsets) -> FloatTensor<Self> {
        reference::segment_mean::<Self>(x, &rows)
    }

    fn fused_cross_entropy(logits: FloatTensor<Self>, classes: CrossEntropyTargets) -> FloatTensor<Self> {
        reference::cross_entropy::<Self>(logits, &classes)
    }

    fn fused_adamw(
        w: FloatTensor<Self>,
        g: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        step: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        reference::adamw::<Self>(w, g, m, v, step)
    }

    fn fused_squared_norm(g: FloatTensor<Self>) -> FloatTensor<Self> {
        reference::squared_norm::<Self>(g)
    }
}
