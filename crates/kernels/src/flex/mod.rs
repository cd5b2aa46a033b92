//! The CPU device: every operation of [`PackOps`] on the slices of `FlexTensor`, without autodiff and as a node of
//! its graph. A tensor that is not f32 goes to the engine's own operations.

mod attention;
mod cross_entropy;
mod elementwise;
mod embed;
mod gradient_sums;
mod linear;
mod low_rank;
mod node;
mod norm;

use crate::ops::{AttentionRows, EmbedSettings};
use crate::{AdamW, AttentionSettings, CrossEntropyTargets, Dropout, Precision, RowOffsets, reference};
use attention::{Attention, CrossAttention, RelativeAttention};
use burn::backend::{
    Autodiff, Backend, BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind, Flex, backend_extension,
    autodiff::checkpoint::strategy::CheckpointStrategy, tensor::FloatTensor,
};
use burn::tensor::{DType, Tensor, TensorData};
use burn_flex::FlexTensor;
use cpu::LowRankGroups;
use cross_entropy::CrossEntropy;
use elementwise::{Add, GegluTanh, Gelu, LeakyRelu, Relu};
use embed::{EmbedNorm, GatherRows, GatherRowsConcat, SegmentMean};
pub(crate) use gradient_sums::backward;
use linear::{BatchedMatvec, Ffn, Linear, LinearGelu};
use low_rank::LowRank;
use node::{FusedOp, as_f32_slice, contiguous, dim, forward_autograd, forward_inference, tensor, whole};
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

/// [`crate::mean_squares`] of a tensor that [`as_flex`] gave.
pub(crate) fn mean_squares(x: &FlexTensor, scale: f32) -> [Tensor<2>; 2] {
    let [n, h] = [0, 1].map(|i| dim(x, i));
    let [rows, columns] = cpu::mean_squares::rows_and_columns(as_f32_slice(x), h, scale);
    [plain_tensor(tensor(rows, [n, 1])), plain_tensor(tensor(columns, [1, h]))]
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

/// Every operation with a kernel: its tensors, its settings, and what the kernel makes of these. `$implement` gets the whole table.
macro_rules! fused_ops {
    ($implement:ident) => {
        $implement! {
            fused_linear(x, w, b; rows: Range<usize>, precision: Precision) = Linear((rows, precision));
            fused_linear_gelu(x, w, b; precision: Precision) = LinearGelu(precision);
            fused_ffn(x, w1, b1, w2, b2; precision: Precision) = Ffn(precision);
            fused_attention(qkv; rows: RowOffsets, settings: AttentionSettings) = Attention((rows, settings));
            fused_cross_attention(q, kv; rows: AttentionRows, settings: AttentionSettings)
                = CrossAttention((rows, settings));
            fused_relative_attention(q, kv, bias; rows: AttentionRows, settings: AttentionSettings)
                = RelativeAttention((rows, settings));
            fused_add_norm(y, residual, gamma, beta; eps: f32, dropout: Option<Dropout>) = AddNorm((eps, dropout));
            fused_norm(x, gamma, beta; eps: f32) = Norm(eps);
            fused_add_rms_norm(y, residual, gamma; eps: f32, dropout: Option<Dropout>) = AddRmsNorm((eps, dropout));
            fused_rms_norm(x, gamma; eps: f32) = RmsNorm(eps);
            fused_embed_norm(a, b, c, gamma, beta; settings: EmbedSettings) = EmbedNorm(settings);
            fused_gelu(x;) = Gelu(());
            fused_geglu_tanh(a, b;) = GegluTanh(());
            fused_relu(x;) = Relu(());
            fused_leaky_relu(x; slope: f32) = LeakyRelu(slope);
            fused_batched_matvec(a, x;) = BatchedMatvec(());
            fused_low_rank(y, x, a, b; groups: LowRankGroups) = LowRank(groups);
            fused_dropout(x; dropout: Dropout) = DropoutOp(dropout);
            fused_add(a, b;) = Add(());
            fused_gather_rows(x; index: Arc<[u32]>) = GatherRows(index);
            fused_gather_rows_concat(a, b; index: Arc<[u32]>) = GatherRowsConcat(index);
            fused_segment_mean(x; rows: RowOffsets) = SegmentMean(rows);
            fused_cross_entropy(logits; classes: CrossEntropyTargets) = CrossEntropy(classes);
        }
    };
}

/// The trait that a backend implements. Every operation's body is made of the engine's own operations; the processor overrides all.
macro_rules! declare {
    ($($name:ident($($x:ident),+; $($s:ident: $of:ty),*) = $op:ident($settings:expr);)+) => {
        /// Operations over packs.
        #[backend_extension(Autodiff, Flex, Cube: cfg(any(feature = "cuda", feature = "wgpu")))]
        pub(crate) trait PackOps: Backend {
            $(fn $name($($x: FloatTensor<Self>,)+ $($s: $of),*) -> FloatTensor<Self> {
                <$op as FusedOp<_>>::reference::<Self>($settings, [$($x),+])
            })+

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
    };
}
fused_ops!(declare);

/// Inference: nothing is saved.
macro_rules! inference {
    ($($name:ident($($x:ident),+; $($s:ident: $of:ty),*) = $op:ident($settings:expr);)+) => {
        impl PackOps for Flex {
            $(fn $name($($x: FlexTensor,)+ $($s: $of),*) -> FlexTensor {
                forward_inference::<$op, _>($settings, [$($x),+])
            })+

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
    };
}
fused_ops!(inference);

/// Training: one node a call. The optimizer's operations work on plain tensors and keep their default bodies here.
macro_rules! autograd {
    ($($name:ident($($x:ident),+; $($s:ident: $of:ty),*) = $op:ident($settings:expr);)+) => {
        impl<C: CheckpointStrategy> PackOps for Autodiff<Flex, C> {
            $(fn $name($($x: FloatTensor<Self>,)+ $($s: $of),*) -> FloatTensor<Self> {
                forward_autograd::<C, $op, _>($settings, [$($x),+])
            })+
        }
    };
}
fused_ops!(autograd);
