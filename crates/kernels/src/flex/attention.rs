//! Attention: what it saves, and the way back.

use super::node::{Block, dim, like, numbers, tensor};
use crate::cpu::attention;
use crate::noise::Mask;
use crate::{AttentionSettings, Rows, plain};
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;

/// `qkv -> context`
pub(super) struct Attention {
    qkv: FlexTensor,
    /// Probabilities before dropout, row by row and head by head.
    probabilities: Vec<f32>,
    rows: Rows,
    settings: AttentionSettings,
}

/// The shape of an attention over `[n, 3h]`.
fn beside<'a>(qkv: &'a FlexTensor, rows: &'a [usize], settings: &AttentionSettings) -> attention::Shape<'a> {
    let h = dim(qkv, 1) / 3;
    let side = |column| attention::Side { data: numbers(qkv), rows, width: 3 * h, column };
    let (heads, causal) = (settings.heads, settings.causal);
    attention::Shape { q: side(0), kv: side(h), heads, h, causal, bias: None }
}

impl Block<1> for Attention {
    type Settings = (Rows, AttentionSettings);

    fn forward(
        (rows, settings): Self::Settings,
        [qkv]: [FlexTensor; 1],
        need: [bool; 1],
    ) -> (FlexTensor, Option<Self>) {
        let shape = beside(&qkv, &rows, &settings);
        let result = [dim(&qkv, 0), shape.h];
        let (y, kept) = attention::forward(shape, Mask::of(settings.noise, settings.heads), need[0]);
        let saved = kept.map(|probabilities| Attention { qkv, probabilities, rows, settings });
        (tensor(y, result), saved)
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let shape = beside(&self.qkv, &self.rows, &self.settings);
        let mask = Mask::of(self.settings.noise, self.settings.heads);
        let gradient = attention::self_backward(numbers(&d), &self.probabilities, shape, mask);
        [Some(like(gradient, &self.qkv))]
    }

    fn plain<B: Backend>((rows, settings): Self::Settings, [qkv]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        plain::attention::<B>(qkv, &rows, settings)
    }
}

/// `q, kv -> context`
pub(super) struct CrossAttention {
    inputs: [FlexTensor; 2],
    /// Probabilities before dropout, row by row and head by head.
    probabilities: Vec<f32>,
    rows: [Rows; 2],
    settings: AttentionSettings,
}

/// The shape of an attention from `[m, h]` to `[n, 2h]`.
fn across<'a>(
    [q, kv]: &'a [FlexTensor; 2],
    rows: &'a [Rows; 2],
    settings: &AttentionSettings,
) -> attention::Shape<'a> {
    let h = dim(q, 1);
    attention::Shape {
        q: attention::Side { data: numbers(q), rows: &rows[0], width: h, column: 0 },
        kv: attention::Side { data: numbers(kv), rows: &rows[1], width: 2 * h, column: 0 },
        heads: settings.heads,
        h,
        causal: settings.causal,
        bias: None,
    }
}

impl Block<2> for CrossAttention {
    type Settings = ([Rows; 2], AttentionSettings);

    fn forward(
        (rows, settings): Self::Settings,
        inputs: [FlexTensor; 2],
        need: [bool; 2],
    ) -> (FlexTensor, Option<Self>) {
        let keep = need.contains(&true);
        let (y, kept) = attention::forward(
            across(&inputs, &rows, &settings),
            Mask::of(settings.noise, settings.heads),
            keep,
        );
        let y = like(y, &inputs[0]);
        (y, kept.map(|probabilities| CrossAttention { inputs, probabilities, rows, settings }))
    }

    fn backward(&self, d: FlexTensor, need: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let shape = across(&self.inputs, &self.rows, &self.settings);
        let mask = Mask::of(self.settings.noise, self.settings.heads);
        let [d_q, d_kv] = attention::cross_backward(numbers(&d), &self.probabilities, shape, mask);
        let [q, kv] = &self.inputs;
        [need[0].then(|| like(d_q, q)), need[1].then(|| like(d_kv, kv))]
    }

    fn plain<B: Backend>((rows, settings): Self::Settings, [q, kv]: [FloatTensor<B>; 2]) -> FloatTensor<B> {
        plain::cross_attention::<B>(q, kv, &rows, settings)
    }
}

/// `q, kv, bias -> context`
pub(super) struct RelativeAttention {
    inputs: [FlexTensor; 2],
    /// `[heads, distances]`
    bias: Vec<f32>,
    /// Probabilities before dropout, row by row and head by head.
    probabilities: Vec<f32>,
    rows: [Rows; 2],
    settings: AttentionSettings,
}

/// A matrix with rows and columns exchanged.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns)).copied().collect()
}

fn bias_of(table: &[f32], heads: usize) -> attention::Bias<'_> {
    attention::Bias { table, reach: table.len() / heads / 2 }
}

impl Block<3> for RelativeAttention {
    type Settings = ([Rows; 2], AttentionSettings);

    fn forward(
        (rows, settings): Self::Settings,
        [q, kv, bias]: [FlexTensor; 3],
        need: [bool; 3],
    ) -> (FlexTensor, Option<Self>) {
        let (inputs, bias) = ([q, kv], transposed(numbers(&bias), settings.heads));
        let shape = across(&inputs, &rows, &settings);
        let shape = attention::Shape { bias: Some(bias_of(&bias, settings.heads)), ..shape };
        let (y, kept) =
            attention::forward(shape, Mask::of(settings.noise, settings.heads), need.contains(&true));
        let y = like(y, &inputs[0]);
        (y, kept.map(|probabilities| RelativeAttention { inputs, bias, probabilities, rows, settings }))
    }

    fn backward(&self, d: FlexTensor, need: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let (heads, [q, kv]) = (self.settings.heads, &self.inputs);
        let bias = bias_of(&self.bias, heads);
        let shape = across(&self.inputs, &self.rows, &self.settings);
        let shape = attention::Shape { bias: Some(bias), ..shape };
        let mask = Mask::of(self.settings.noise, self.settings.heads);
        let [d_q, d_kv, d_bias] =
            attention::relative_backward(numbers(&d), &self.probabilities, shape, bias, mask);
        let distances = d_bias.len() / heads;
        let d_bias = || tensor(transposed(&d_bias, distances), [distances, heads]);
        [need[0].then(|| like(d_q, q)), need[1].then(|| like(d_kv, kv)), need[2].then(d_bias)]
    }

    fn plain<B: Backend>(
        (rows, settings): Self::Settings,
        [q, kv, bias]: [FloatTensor<B>; 3],
    ) -> FloatTensor<B> {
        plain::relative_attention::<B>(q, kv, bias, &rows, settings)
    }
}
