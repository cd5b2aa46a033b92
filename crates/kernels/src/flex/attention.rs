//! Attention: what it saves, and the way back.

use super::node::{FusedOp, as_f32_slice, dim, like, tensor};
use crate::settings::AttentionRows;
use crate::{AttentionSettings, RowOffsets, reference};
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;
use cpu::{DropoutMask, attention};

/// `qkv -> context`
pub(super) struct Attention {
    qkv: FlexTensor,
    /// Probabilities before dropout, row by row and head by head.
    probabilities: Vec<f32>,
    rows: RowOffsets,
    settings: AttentionSettings,
}

/// The shape of an attention over `[n, 3h]`.
fn beside<'a>(
    qkv: &'a FlexTensor,
    rows: &'a [usize],
    settings: &AttentionSettings,
) -> attention::AttentionArgs<'a> {
    let h = dim(qkv, 1) / 3;
    let side = |column| attention::QkvView { data: as_f32_slice(qkv), rows, width: 3 * h, column };
    args([side(0), side(h)], h, None, settings)
}

/// An attention with settings.
fn args<'a>(
    [q, kv]: [attention::QkvView<'a>; 2],
    h: usize,
    positions: Option<&'a [u32]>,
    settings: &AttentionSettings,
) -> attention::AttentionArgs<'a> {
    let AttentionSettings { heads, kv_heads, causal, window, scale, dropout: _ } = *settings;
    attention::AttentionArgs { q, kv, heads, kv_heads, h, window, scale, causal, positions, bias: None }
}

impl FusedOp<1> for Attention {
    type Settings = (RowOffsets, AttentionSettings);

    fn forward(
        (rows, settings): Self::Settings,
        [qkv]: [FlexTensor; 1],
        requires_grad: [bool; 1],
    ) -> (FlexTensor, Option<Self>) {
        let shape = beside(&qkv, &rows, &settings);
        let result = [dim(&qkv, 0), shape.h];
        let (y, kept) =
            attention::forward(shape, DropoutMask::of(settings.dropout, settings.heads), requires_grad[0]);
        let saved = kept.map(|probabilities| Attention { qkv, probabilities, rows, settings });
        (tensor(y, result), saved)
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let shape = beside(&self.qkv, &self.rows, &self.settings);
        let mask = DropoutMask::of(self.settings.dropout, self.settings.heads);
        let gradient = attention::self_backward(as_f32_slice(&d), &self.probabilities, shape, mask);
        [Some(like(gradient, &self.qkv))]
    }

    fn reference<B: Backend>((rows, settings): Self::Settings, [qkv]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        reference::attention::<B>(qkv, &rows, settings)
    }
}

/// `q, kv -> context`
pub(super) struct CrossAttention {
    inputs: [FlexTensor; 2],
    /// Probabilities before dropout, row by row and head by head.
    probabilities: Vec<f32>,
    rows: AttentionRows,
    settings: AttentionSettings,
}

/// The shape of an attention from `[m, h]` to keys and values side by side.
fn across<'a>(
    [q, kv]: &'a [FlexTensor; 2],
    rows: &'a AttentionRows,
    settings: &AttentionSettings,
) -> attention::AttentionArgs<'a> {
    let (h, kv_width) = (dim(q, 1), dim(kv, 1));
    let q = attention::QkvView { data: as_f32_slice(q), rows: &rows.offsets[0], width: h, column: 0 };
    let kv =
        attention::QkvView { data: as_f32_slice(kv), rows: &rows.offsets[1], width: kv_width, column: 0 };
    args([q, kv], h, rows.positions.as_deref(), settings)
}

impl FusedOp<2> for CrossAttention {
    type Settings = (AttentionRows, AttentionSettings);

    fn forward(
        (rows, settings): Self::Settings,
        inputs: [FlexTensor; 2],
        requires_grad: [bool; 2],
    ) -> (FlexTensor, Option<Self>) {
        let keep = requires_grad.contains(&true);
        let (y, kept) = attention::forward(
            across(&inputs, &rows, &settings),
            DropoutMask::of(settings.dropout, settings.heads),
            keep,
        );
        let y = like(y, &inputs[0]);
        (y, kept.map(|probabilities| CrossAttention { inputs, probabilities, rows, settings }))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let shape = across(&self.inputs, &self.rows, &self.settings);
        let mask = DropoutMask::of(self.settings.dropout, self.settings.heads);
        let [d_q, d_kv] = attention::cross_backward(as_f32_slice(&d), &self.probabilities, shape, mask);
        let [q, kv] = &self.inputs;
        [requires_grad[0].then(|| like(d_q, q)), requires_grad[1].then(|| like(d_kv, kv))]
    }

    fn reference<B: Backend>(
        (rows, settings): Self::Settings,
        [q, kv]: [FloatTensor<B>; 2],
    ) -> FloatTensor<B> {
        reference::cross_attention::<B>(q, kv, &rows, settings)
    }
}

/// `q, kv, bias -> context`
pub(super) struct RelativeAttention {
    inputs: [FlexTensor; 2],
    /// `[heads, distances]`
    bias: Vec<f32>,
    /// Probabilities before dropout, row by row and head by head.
    probabilities: Vec<f32>,
    rows: AttentionRows,
    settings: AttentionSettings,
}

/// A matrix with rows and columns exchanged.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns)).copied().collect()
}

fn bias_of(table: &[f32], heads: usize) -> attention::Bias<'_> {
    attention::Bias { table, max_distance: table.len() / heads / 2 }
}

impl FusedOp<3> for RelativeAttention {
    type Settings = (AttentionRows, AttentionSettings);

    fn forward(
        (rows, settings): Self::Settings,
        [q, kv, bias]: [FlexTensor; 3],
        requires_grad: [bool; 3],
    ) -> (FlexTensor, Option<Self>) {
        let (inputs, bias) = ([q, kv], transposed(as_f32_slice(&bias), settings.heads));
        let shape = across(&inputs, &rows, &settings);
        let shape = attention::AttentionArgs { bias: Some(bias_of(&bias, settings.heads)), ..shape };
        let (y, kept) = attention::forward(
            shape,
            DropoutMask::of(settings.dropout, settings.heads),
            requires_grad.contains(&true),
        );
        let y = like(y, &inputs[0]);
        (y, kept.map(|probabilities| RelativeAttention { inputs, bias, probabilities, rows, settings }))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let (heads, [q, kv]) = (self.settings.heads, &self.inputs);
        let bias = bias_of(&self.bias, heads);
        let shape = across(&self.inputs, &self.rows, &self.settings);
        let shape = attention::AttentionArgs { bias: Some(bias), ..shape };
        let mask = DropoutMask::of(self.settings.dropout, self.settings.heads);
        let [d_q, d_kv, d_bias] =
            attention::relative_backward(as_f32_slice(&d), &self.probabilities, shape, bias, mask);
        let distances = d_bias.len() / heads;
        let d_bias = || tensor(transposed(&d_bias, distances), [distances, heads]);
        [
            requires_grad[0].then(|| like(d_q, q)),
            requires_grad[1].then(|| like(d_kv, kv)),
            requires_grad[2].then(d_bias),
        ]
    }

    fn reference<B: Backend>(
        (rows, settings): Self::Settings,
        [q, kv, bias]: [FloatTensor<B>; 3],
    ) -> FloatTensor<B> {
        reference::relative_attention::<B>(q, kv, bias, &rows, settings)
    }
}
