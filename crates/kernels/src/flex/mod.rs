//! The CPU device: every operation of [`PackOps`] on the slices of `FlexTensor`, without autodiff and as a node of
//! its graph. A tensor that is not f32 goes to the engine's own operations.

mod attention;
mod blocks;
mod embed;
mod layer;
mod node;
mod norm;

use crate::ops::{EmbedSettings, LayerInputs, PackOps};
use crate::{AdamW, AttentionSettings, Classes, LayerSettings, Noise, Precision, Rows, cpu, plain};
use attention::{Attention, CrossAttention, RelativeAttention};
use blocks::{CrossEntropy, Ffn, GatedGelu, Linear, LinearGelu};
use burn::backend::{
    Autodiff, BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind, Flex,
    autodiff::checkpoint::strategy::CheckpointStrategy, tensor::FloatTensor,
};
use burn::tensor::{DType, Tensor, TensorData};
use burn_flex::FlexTensor;
use embed::{EmbedNorm, MeanRows, Pick};
use layer::Layer;
use node::{contiguous, dim, infer, numbers, record, tensor, whole};
use norm::{AddNorm, AddRmsNorm, Dropout, Norm, RmsNorm};
use std::sync::Arc;

/// The processor's own tensor behind a plain f32 tensor, its numbers in order; `None` for any other.
pub(crate) fn on_flex<const D: usize>(x: &Tensor<D>) -> Option<FlexTensor> {
    match x.clone().into_dispatch().kind {
        DispatchTensorKind::Flex(BackendTensor::Float(x)) if x.dtype() == DType::F32 => Some(contiguous(x)),
        _ => None,
    }
}

/// The numbers of a tensor that [`on_flex`] gave.
pub(crate) fn numbers_of(x: &FlexTensor) -> &[f32] {
    numbers(x)
}

/// The tensor after `write`, in place if nobody else holds it.
pub(crate) fn written<const D: usize>(x: FlexTensor, write: impl FnOnce(&mut [f32])) -> Tensor<D> {
    let mut x = whole(x);
    write(x.storage_mut());
    plain_tensor(x)
}

/// The tensors after `write`, which sees all of them at once; in place as in [`written`].
pub(crate) fn all_written<const D: usize>(
    tensors: Vec<FlexTensor>,
    write: impl FnOnce(&mut [&mut [f32]]),
) -> Vec<Tensor<D>> {
    let mut tensors: Vec<FlexTensor> = tensors.into_iter().map(whole).collect();
    write(&mut tensors.iter_mut().map(FlexTensor::storage_mut).collect::<Vec<_>>());
    tensors.into_iter().map(plain_tensor).collect()
}

/// [`crate::spread`] of a tensor that [`on_flex`] gave.
pub(crate) fn spread(x: &FlexTensor, index: &[u32], rows: usize) -> Tensor<2> {
    let h = dim(x, 1);
    plain_tensor(tensor(cpu::embed::pick_backward(numbers(x), index, rows, h), [rows, h]))
}

/// [`crate::adamw_rows`] of tensors that [`on_flex`] gave.
pub(crate) fn adamw_rows(
    step: AdamW,
    w: FlexTensor,
    (rows, g): (&[u32], FlexTensor),
    m: FlexTensor,
    v: FlexTensor,
) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
    let [mut w, mut m, mut v] = [w, m, v].map(whole);
    let g = (rows, numbers(&g));
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
    fn fused_linear(x: FlexTensor, w: FlexTensor, b: FlexTensor, precision: Precision) -> FlexTensor {
        infer::<Linear, 3>(precision, [x, w, b])
    }

    fn fused_linear_gelu(x: FlexTensor, w: FlexTensor, b: FlexTensor, precision: Precision) -> FlexTensor {
        infer::<LinearGelu, 3>(precision, [x, w, b])
    }

    fn fused_ffn(
        x: FlexTensor,
        w1: FlexTensor,
        b1: FlexTensor,
        w2: FlexTensor,
        b2: FlexTensor,
        precision: Precision,
    ) -> FlexTensor {
        infer::<Ffn, 5>(precision, [x, w1, b1, w2, b2])
    }

    fn fused_attention(qkv: FlexTensor, rows: Rows, settings: AttentionSettings) -> FlexTensor {
        infer::<Attention, 1>((rows, settings), [qkv])
    }

    fn fused_cross_attention(
        q: FlexTensor,
        kv: FlexTensor,
        rows: [Rows; 2],
        settings: AttentionSettings,
    ) -> FlexTensor {
        infer::<CrossAttention, 2>((rows, settings), [q, kv])
    }

    fn fused_relative_attention(
        q: FlexTensor,
        kv: FlexTensor,
        bias: FlexTensor,
        rows: [Rows; 2],
        settings: AttentionSettings,
    ) -> FlexTensor {
        infer::<RelativeAttention, 3>((rows, settings), [q, kv, bias])
    }

    fn fused_layer(inputs: LayerInputs<Self>, rows: Rows, settings: LayerSettings) -> FlexTensor {
        infer::<Layer, 13>((rows, settings), inputs.into_array())
    }

    fn fused_add_norm(
        y: FlexTensor,
        residual: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        eps: f32,
        noise: Option<Noise>,
    ) -> FlexTensor {
        infer::<AddNorm, 4>((eps, noise), [y, residual, gamma, beta])
    }

    fn fused_norm(x: FlexTensor, gamma: FlexTensor, beta: FlexTensor, eps: f32) -> FlexTensor {
        infer::<Norm, 3>(eps, [x, gamma, beta])
    }

    fn fused_add_rms_norm(
        y: FlexTensor,
        residual: FlexTensor,
        gamma: FlexTensor,
        eps: f32,
        noise: Option<Noise>,
    ) -> FlexTensor {
        infer::<AddRmsNorm, 3>((eps, noise), [y, residual, gamma])
    }

    fn fused_rms_norm(x: FlexTensor, gamma: FlexTensor, eps: f32) -> FlexTensor {
        infer::<RmsNorm, 2>(eps, [x, gamma])
    }

    fn fused_embed_norm(
        a: FlexTensor,
        b: FlexTensor,
        c: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        settings: EmbedSettings,
    ) -> FlexTensor {
        infer::<EmbedNorm, 5>(settings, [a, b, c, gamma, beta])
    }

    fn fused_gated_gelu(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        infer::<GatedGelu, 2>((), [a, b])
    }

    fn fused_dropout(x: FlexTensor, noise: Noise) -> FlexTensor {
        infer::<Dropout, 1>(noise, [x])
    }

    fn fused_pick(x: FlexTensor, index: Arc<[u32]>) -> FlexTensor {
        infer::<Pick, 1>(index, [x])
    }

    fn fused_mean_rows(x: FlexTensor, rows: Rows) -> FlexTensor {
        infer::<MeanRows, 1>(rows, [x])
    }

    fn fused_cross_entropy(logits: FlexTensor, classes: Classes) -> FlexTensor {
        infer::<CrossEntropy, 1>(classes, [logits])
    }

    fn fused_adamw(
        w: FlexTensor,
        g: FlexTensor,
        m: FlexTensor,
        v: FlexTensor,
        step: AdamW,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        if [&w, &g, &m, &v].iter().any(|x| x.dtype() != DType::F32) {
            return plain::adamw::<Flex>(w, g, m, v, step);
        }
        let ([mut w, mut m, mut v], g) = ([w, m, v].map(whole), contiguous(g));
        cpu::adamw::step(step, w.storage_mut(), numbers(&g), m.storage_mut(), v.storage_mut());
        (w, m, v)
    }

    fn fused_squared_norm(g: FlexTensor) -> FlexTensor {
        if g.dtype() != DType::F32 {
            return plain::squared_norm::<Flex>(g);
        }
        let sum = cpu::adamw::squared_norm(numbers(&contiguous(g)));
        FlexTensor::from_data(TensorData::new(vec![sum], [1]))
    }
}

/// Training: one node a call. The optimizer's operations work on plain tensors and keep their default bodies here.
impl<C: CheckpointStrategy> PackOps for Autodiff<Flex, C> {
    fn fused_linear(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        b: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        record::<C, Linear, 3>(precision, [x, w, b])
    }

    fn fused_linear_gelu(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        b: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        record::<C, LinearGelu, 3>(precision, [x, w, b])
    }

    fn fused_ffn(
        x: FloatTensor<Self>,
        w1: FloatTensor<Self>,
        b1: FloatTensor<Self>,
        w2: FloatTensor<Self>,
        b2: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        record::<C, Ffn, 5>(precision, [x, w1, b1, w2, b2])
    }

    fn fused_attention(qkv: FloatTensor<Self>, rows: Rows, settings: AttentionSettings) -> FloatTensor<Self> {
        record::<C, Attention, 1>((rows, settings), [qkv])
    }

    fn fused_cross_attention(
        q: FloatTensor<Self>,
        kv: FloatTensor<Self>,
        rows: [Rows; 2],
        settings: AttentionSettings,
    ) -> FloatTensor<Self> {
        record::<C, CrossAttention, 2>((rows, settings), [q, kv])
    }

    fn fused_relative_attention(
        q: FloatTensor<Self>,
        kv: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        rows: [Rows; 2],
        settings: AttentionSettings,
    ) -> FloatTensor<Self> {
        record::<C, RelativeAttention, 3>((rows, settings), [q, kv, bias])
    }

    fn fused_layer(inputs: LayerInputs<Self>, rows: Rows, settings: LayerSettings) -> FloatTensor<Self> {
        record::<C, Layer, 13>((rows, settings), inputs.into_array())
    }

    fn fused_add_norm(
        y: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f32,
        noise: Option<Noise>,
    ) -> FloatTensor<Self> {
        record::<C, AddNorm, 4>((eps, noise), [y, residual, gamma, beta])
    }

    fn fused_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self> {
        record::<C, Norm, 3>(eps, [x, gamma, beta])
    }

    fn fused_add_rms_norm(
        y: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        eps: f32,
        noise: Option<Noise>,
    ) -> FloatTensor<Self> {
        record::<C, AddRmsNorm, 3>((eps, noise), [y, residual, gamma])
    }

    fn fused_rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, eps: f32) -> FloatTensor<Self> {
        record::<C, RmsNorm, 2>(eps, [x, gamma])
    }

    fn fused_embed_norm(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        settings: EmbedSettings,
    ) -> FloatTensor<Self> {
        record::<C, EmbedNorm, 5>(settings, [a, b, c, gamma, beta])
    }

    fn fused_gated_gelu(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        record::<C, GatedGelu, 2>((), [a, b])
    }

    fn fused_dropout(x: FloatTensor<Self>, noise: Noise) -> FloatTensor<Self> {
        record::<C, Dropout, 1>(noise, [x])
    }

    fn fused_pick(x: FloatTensor<Self>, index: Arc<[u32]>) -> FloatTensor<Self> {
        record::<C, Pick, 1>(index, [x])
    }

    fn fused_mean_rows(x: FloatTensor<Self>, rows: Rows) -> FloatTensor<Self> {
        record::<C, MeanRows, 1>(rows, [x])
    }

    fn fused_cross_entropy(logits: FloatTensor<Self>, classes: Classes) -> FloatTensor<Self> {
        record::<C, CrossEntropy, 1>(classes, [logits])
    }
}
