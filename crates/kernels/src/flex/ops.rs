//! The table of operations, and what is made of it: the extension trait, and its implementations for the CPU without autodiff and as
//! nodes of its graph.

use super::affine::{GroupedScale, Mixture, ScaleRows, WeightedMix};
use super::attention::{Attention, CrossAttention, RelativeAttention};
use super::blocks::{JoinColumns, TakeColumns, TakeRows};
use super::cross_entropy::{CrossEntropy, LinearCrossEntropy, SoftCrossEntropy};
use super::disentangled_attention::DisentangledAttention;
use super::elementwise::{Add, GatedLinearUnit, Gelu, GeluTanh, Relu};
use super::embed::{EmbedNorm, GatherRows, GatherRowsConcat, SegmentMean};
use super::fake_quantize::FakeQuantize;
use super::linear::{BatchedMatvec, Ffn, Linear, LinearGelu};
use super::low_rank::{GatedLowRank, LowRank};
use super::mix::{AddGradient, Mix, SigmoidGate, Softmax};
use super::node::{FusedOp, as_f32_slice, contiguous, forward_autograd, forward_inference, whole};
use super::norm::{AddNorm, AddRmsNorm, DropoutOp, Norm, RmsNorm};
use super::packed::{PackedLinear, PackedLinearGelu};
use super::rotary::Rotary;
use crate::settings::{AttentionRows, EmbedSettings, RotarySettings};
use crate::{
    AdamW, AttentionSettings, CodeType, CrossEntropyTargets, DisentangledSettings, Dropout, Precision,
    RowOffsets, SoftCrossEntropyTargets, reference,
};
use burn::backend::{
    Autodiff, Backend, Flex, autodiff::checkpoint::strategy::CheckpointStrategy, backend_extension,
    tensor::FloatTensor,
};
use burn::tensor::{DType, TensorData};
use burn_flex::FlexTensor;
use cpu::{AffineGroups, GatedLowRankShape, Glu, LowRankGroups, Mixing, MixtureWeights, PackedMatrix};
use std::ops::Range;
use std::sync::Arc;

/// Every operation with a kernel: its tensors, its settings, and what the kernel makes of these. `$implement` gets the whole table.
macro_rules! fused_ops {
    ($implement:ident) => {
        $implement! {
            fused_linear(x, w, b; rows: Range<usize>, precision: Precision) = Linear((rows, precision));
            fused_packed_linear(x, b; w: Arc<PackedMatrix>, rows: Range<usize>, precision: Precision)
                = PackedLinear((w, rows, precision));
            fused_packed_linear_gelu(x, b; w: Arc<PackedMatrix>, precision: Precision)
                = PackedLinearGelu((w, precision));
            fused_fake_quantize(w; to: CodeType) = FakeQuantize(to);
            fused_linear_gelu(x, w, b; precision: Precision) = LinearGelu(precision);
            fused_ffn(x, w1, b1, w2, b2; precision: Precision) = Ffn(precision);
            fused_attention(qkv; rows: RowOffsets, settings: AttentionSettings) = Attention((rows, settings));
            fused_cross_attention(q, kv; rows: AttentionRows, settings: AttentionSettings)
                = CrossAttention((rows, settings));
            fused_relative_attention(q, kv, bias; rows: AttentionRows, settings: AttentionSettings)
                = RelativeAttention((rows, settings));
            fused_disentangled_attention(q, kv, keys, queries; rows: AttentionRows, settings: DisentangledSettings)
                = DisentangledAttention((rows, settings));
            fused_add_norm(y, residual, gamma, beta; eps: f32, dropout: Option<Dropout>) = AddNorm((eps, dropout));
            fused_norm(x, gamma, beta; eps: f32) = Norm(eps);
            fused_add_rms_norm(y, residual, gamma; eps: f32, dropout: Option<Dropout>) = AddRmsNorm((eps, dropout));
            fused_rms_norm(x, gamma; eps: f32) = RmsNorm(eps);
            fused_embed_norm(a, b, c, gamma, beta; settings: EmbedSettings) = EmbedNorm(settings);
            fused_gelu(x;) = Gelu(());
            fused_gelu_tanh(x;) = GeluTanh(());
            fused_glu(a, b; activation: Glu) = GatedLinearUnit(activation);
            fused_rotary(x; settings: RotarySettings) = Rotary(settings);
            fused_relu(x; slope: f32) = Relu(slope);
            fused_batched_matvec(a, x;) = BatchedMatvec(());
            fused_low_rank(y, x, a, b; groups: LowRankGroups) = LowRank(groups);
            fused_mix(x, w; settings: Mixing) = Mix(settings);
            fused_softmax(z;) = Softmax(());
            fused_sigmoid_gate(a, b;) = SigmoidGate(());
            fused_add_gradient(x, g;) = AddGradient(());
            fused_gated_low_rank(y, x, a, router, b; shape: GatedLowRankShape) = GatedLowRank(shape);
            fused_grouped_scale(x, factor, center; groups: AffineGroups) = GroupedScale(groups);
            fused_weighted_mix(weights, parts;) = WeightedMix(());
            fused_mixture_weights(logits; of: MixtureWeights) = Mixture(of);
            fused_scale_rows(x, factor;) = ScaleRows(());
            fused_dropout(x; dropout: Dropout) = DropoutOp(dropout);
            fused_add(a, b;) = Add(());
            fused_gather_rows(x; index: Arc<[u32]>) = GatherRows(index);
            fused_gather_rows_concat(a, b; index: Arc<[u32]>) = GatherRowsConcat(index);
            fused_take_rows(x; rows: Range<usize>) = TakeRows(rows);
            fused_take_columns(x; columns: Range<usize>) = TakeColumns(columns);
            fused_join_columns(a, b;) = JoinColumns(());
            fused_segment_mean(x; rows: RowOffsets) = SegmentMean(rows);
            fused_cross_entropy(logits; classes: CrossEntropyTargets) = CrossEntropy(classes);
            fused_soft_cross_entropy(logits; targets: SoftCrossEntropyTargets) = SoftCrossEntropy(targets);
            fused_linear_cross_entropy(x, table; classes: CrossEntropyTargets) = LinearCrossEntropy(classes);
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
