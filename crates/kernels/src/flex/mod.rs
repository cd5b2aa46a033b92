//! The CPU device: every operation of [`PackOps`] on the slices of `FlexTensor`, without autodiff and as a node of
//! its graph. A tensor that is not f32 goes to the engine's own operations.

mod attention;
mod blocks;
mod embed;
mod low_rank;
mod node;
mod norm;

use crate::ops::{AttentionRows, EmbedSettings, PackOps};
use crate::{AdamW, AttentionSettings, CrossEntropyTargets, Dropout, Precision, RowOffsets, reference};
use attention::{Attention, CrossAttention, RelativeAttention};
use blocks::{CrossEntropy, Ffn, GegluTanh, Gelu, Linear, LinearGelu};
use burn::backend::{
    Autodiff, BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind, Flex,
    autodiff::checkpoint::strategy::CheckpointStrategy, tensor::FloatTensor,
};
use burn::tensor::{DType, Tensor, TensorData};
use burn_flex::FlexTensor;
use cpu::LowRankGroups;
use embed::{EmbedNorm, GatherRows, SegmentMean};
use low_rank::LowRank;
use node::{as_f32_slice, contiguous, dim, forward_autograd, forward_inference, tensor, whole};
use norm::{AddNorm, AddRmsNorm, DropoutOp, Norm, RmsNorm};
use std::ops::Range;
use std::sync::Arc;

/// The processor's own tensor behind a plain f32 tensor, its numbers in order; `None` for any other.
pub(crate) fn as_flex<const D: usize>(x: &Tensor<D>) -> Option<FlexTensor> {
    match x.clone().into_dispatch().kind {
        DispatchTensorKind::Flex(BackendTensor::Float(x)) if x.dtype() == DType::F32 => Some(contiguous(x)),
        _ => None,
    }
}

/// The numbers of a tensor that [`as_flex`] gave.
pub(crate) fn f32_slice_of(x: &FlexTensor) -> &[f32] {
    as_f32_slice(x)
}

/// The tensor after `write`, in place if nobody else holds it.
pub(crate) fn map_in_place<const D: usize>(x: FlexTensor, write: impl FnOnce(&mut [f32])) -> Tensor<D> {
    let mut x = whole(x);
    write(x.storage_mut());
    plain_tensor(x)
}

/// The tensors after `write`, which sees all of them at once; in place as in [`map_in_place`].
pub(crate) fn map_all_in_place<const D: usize>(
    tensors: Vec<FlexTensor>,
    write: impl FnOnce(&mut [&mut [f32]]),
) -> Vec<Tensor<D>> {
    let mut tensors: Vec<FlexTensor> = tensors.into_iter().map(whole).collect();
    write(&mut tensors.iter_mut().map(FlexTensor::storage_mut).collect::<Vec<_>>());
    tensors.into_iter().map(plain_tensor).collect()
}

/// [`crate::scatter_add_rows`] of a tensor that [`as_flex`] gave.
pub(crate) fn scatter_add_rows(x: &FlexTensor, index: &[u32], rows: usize) -> Tensor<2> {
    let h = dim(x, 1);
    plain_tensor(tensor(cpu::embed::gather_rows_backward(as_f32_slice(x), index, rows, h), [rows, h]))
}

/// [`crate::adamw_rows`] of tensors that [`as_flex`] gave.
pub(crate) fn adamw_rows(
    step: AdamW,
    w: FlexTensor,
    (rows, g): (&[u32], FlexTensor),
    m: FlexTensor,
    v: FlexTensor,
) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
    let [mut w, mut m, mut v] = [w, m, v].map(whole);
    let g = (rows, as_f32_slice(&g));
    cpu::adamw::step_rows(step, w.storage_mut(), g, m.storage_mut(), v.storage_mut());
    (plain_tensor(w), plain_tensor(m), plain_tensor(v))
}

/// A tensor that autodiff does not follow.
fn plain_tensor<const D: usize>(x: FlexTensor) -> Tensor<D> {
    let kind = DispatchTensorKind::Flex(BackendTensor::Float(x));
    Tensor::from_dispatch(DispatchTensor { kind, autodiff: DispatchAutodiffContext::Disabled })
}

/// Inference: nothing is saved.
impl PackOps for Flex {
    fn fused_linear(
        x: FlexTensor,
        w: FlexTensor,
        b: FlexTensor,
        rows: Range<usize>,
        precision: Precision,
    ) -> FlexTensor {
        forward_inference::<Linear, 3>((rows, precision), [x, w, b])
    }

    fn fused_linear_gelu(x: FlexTensor, w: FlexTensor, b: FlexTensor, precision: Precision) -> FlexTensor {
        forward_inference::<LinearGelu, 3>(precision, [x, w, b])
    }

    fn fused_ffn(
        x: FlexTensor,
        w1: FlexTensor,
        b1: FlexTensor,
        w2: FlexTensor,
        b2: FlexTensor,
        precision: Precision,
    ) -> FlexTensor {
        forward_inference::<Ffn, 5>(precision, [x, w1, b1, w2, b2])
    }

    fn fused_attention(qkv: FlexTensor, rows: RowOffsets, settings: AttentionSettings) -> FlexTensor {
        forward_inference::<Attention, 1>((rows, settings), [qkv])
    }

    fn fused_cross_attention(
        q: FlexTensor,
        kv: FlexTensor,
        rows: AttentionRows,
        settings: AttentionSettings,
    ) -> FlexTensor {
        forward_inference::<CrossAttention, 2>((rows, settings), [q, kv])
    }

    fn fused_relative_attention(
        q: FlexTensor,
        kv: FlexTensor,
        bias: FlexTensor,
        rows: AttentionRows,
        settings: AttentionSettings,
    ) -> FlexTensor {
        forward_inference::<RelativeAttention, 3>((rows, settings), [q, kv, bias])
    }

    fn fused_add_norm(
        y: FlexTensor,
        residual: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        eps: f32,
        dropout: Option<Dropout>,
    ) -> FlexTensor {
        forward_inference::<AddNorm, 4>((eps, dropout), [y, residual, gamma, beta])
    }

    fn fused_norm(x: FlexTensor, gamma: FlexTensor, beta: FlexTensor, eps: f32) -> FlexTensor {
        forward_inference::<Norm, 3>(eps, [x, gamma, beta])
    }

    fn fused_add_rms_norm(
        y: FlexTensor,
        residual: FlexTensor,
        gamma: FlexTensor,
        eps: f32,
        dropout: Option<Dropout>,
    ) -> FlexTensor {
        forward_inference::<AddRmsNorm, 3>((eps, dropout), [y, residual, gamma])
    }

    fn fused_rms_norm(x: FlexTensor, gamma: FlexTensor, eps: f32) -> FlexTensor {
        forward_inference::<RmsNorm, 2>(eps, [x, gamma])
    }

    fn fused_embed_norm(
        a: FlexTensor,
        b: FlexTensor,
        c: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        settings: EmbedSettings,
    ) -> FlexTensor {
        forward_inference::<EmbedNorm, 5>(settings, [a, b, c, gamma, beta])
    }

    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        forward_inference::<Gelu, 1>((), [x])
    }

    fn fused_geglu_tanh(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        forward_inference::<GegluTanh, 2>((), [a, b])
    }

    fn fused_low_rank(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        groups: LowRankGroups,
    ) -> FloatTensor<Self> {
        forward_inference::<LowRank, 4>(groups, [y, x, a, b])
    }

    fn fused_dropout(x: FlexTensor, dropout: Dropout) -> FlexTensor {
        forward_inference::<DropoutOp, 1>(dropout, [x])
    }

    fn fused_gather_rows(x: FlexTensor, index: Arc<[u32]>) -> FlexTensor {
        forward_inference::<GatherRows, 1>(index, [x])
    }

    fn fused_segment_mean(x: FlexTensor, rows: RowOffsets) -> FlexTensor {
        forward_inference::<SegmentMean, 1>(rows, [x])
    }

    fn fused_cross_entropy(logits: FlexTensor, classes: CrossEntropyTargets) -> FlexTensor {
        forward_inference::<CrossEntropy, 1>(classes, [logits])
    }

    fn fused_adamw(
        w: FlexTensor,
        g: FlexTensor,
        m: FlexTensor,
        v: FlexTensor,
        step: AdamW,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        if [&w, &g, &m, &v].iter().any(|x| x.dtype() != DType::F32) {
            return reference::adamw::<Flex>(w, g, m, v, step);
        }
        let ([mut w, mut m, mut v], g) = ([w, m, v].map(whole), contiguous(g));
        cpu::adamw::step(step, w.storage_mut(), as_f32_slice(&g), m.storage_mut(), v.storage_mut());
        (w, m, v)
    }

    fn fused_squared_norm(g: FlexTensor) -> FlexTensor {
        if g.dtype() != DType::F32 {
            return reference::squared_norm::<Flex>(g);
        }
        let sum = cpu::adamw::squared_norm(as_f32_slice(&contiguous(g)));
        FlexTensor::from_data(TensorData::new(vec![sum], [1]))
    }
}

/// Training: one node a call. The optimizer's operations work on plain tensors and keep their default bodies here.
impl<C: CheckpointStrategy> PackOps for Autodiff<Flex, C> {
    fn fused_linear(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        b: FloatTensor<Self>,
        rows: Range<usize>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        forward_autograd::<C, Linear, 3>((rows, precision), [x, w, b])
    }

    fn fused_linear_gelu(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        b: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        forward_autograd::<C, LinearGelu, 3>(precision, [x, w, b])
    }

    fn fused_ffn(
        x: FloatTensor<Self>,
        w1: FloatTensor<Self>,
        b1: FloatTensor<Self>,
        w2: FloatTensor<Self>,
        b2: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        forward_autograd::<C, Ffn, 5>(precision, [x, w1, b1, w2, b2])
    }

    fn fused_attention(
        qkv: FloatTensor<Self>,
        rows: RowOffsets,
        settings: AttentionSettings,
    ) -> FloatTensor<Self> {
        forward_autograd::<C, Attention, 1>((rows, settings), [qkv])
    }

    fn fused_cross_attention(
        q: FloatTensor<Self>,
        kv: FloatTensor<Self>,
        rows: AttentionRows,
        settings: AttentionSettings,
    ) -> FloatTensor<Self> {
        forward_autograd::<C, CrossAttention, 2>((rows, settings), [q, kv])
    }

    fn fused_relative_attention(
        q: FloatTensor<Self>,
        kv: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        rows: AttentionRows,
        settings: AttentionSettings,
    ) -> FloatTensor<Self> {
        forward_autograd::<C, RelativeAttention, 3>((rows, settings), [q, kv, bias])
    }

    fn fused_add_norm(
        y: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f32,
        dropout: Option<Dropout>,
    ) -> FloatTensor<Self> {
        forward_autograd::<C, AddNorm, 4>((eps, dropout), [y, residual, gamma, beta])
    }

    fn fused_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self> {
        forward_autograd::<C, Norm, 3>(eps, [x, gamma, beta])
    }

    fn fused_add_rms_norm(
        y: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        eps: f32,
        dropout: Option<Dropout>,
    ) -> FloatTensor<Self> {
        forward_autograd::<C, AddRmsNorm, 3>((eps, dropout), [y, residual, gamma])
    }

    fn fused_rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, eps: f32) -> FloatTensor<Self> {
        forward_autograd::<C, RmsNorm, 2>(eps, [x, gamma])
    }

    fn fused_embed_norm(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        settings: EmbedSettings,
    ) -> FloatTensor<Self> {
        forward_autograd::<C, EmbedNorm, 5>(settings, [a, b, c, gamma, beta])
    }

    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        forward_autograd::<C, Gelu, 1>((), [x])
    }

    fn fused_geglu_tanh(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        forward_autograd::<C, GegluTanh, 2>((), [a, b])
    }

    fn fused_low_rank(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        groups: LowRankGroups,
    ) -> FloatTensor<Self> {
        forward_autograd::<C, LowRank, 4>(groups, [y, x, a, b])
    }

    fn fused_dropout(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        forward_autograd::<C, DropoutOp, 1>(dropout, [x])
    }

    fn fused_gather_rows(x: FloatTensor<Self>, index: Arc<[u32]>) -> FloatTensor<Self> {
        forward_autograd::<C, GatherRows, 1>(index, [x])
    }

    fn fused_segment_mean(x: FloatTensor<Self>, rows: RowOffsets) -> FloatTensor<Self> {
        forward_autograd::<C, SegmentMean, 1>(rows, [x])
    }

    fn fused_cross_entropy(logits: FloatTensor<Self>, classes: CrossEntropyTargets) -> FloatTensor<Self> {
        forward_autograd::<C, CrossEntropy, 1>(classes, [logits])
    }
}
