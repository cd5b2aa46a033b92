//! A whole transformer layer that keeps only its input: its backward pass runs the forward pass again, block by block,
//! before it goes back through the blocks.

use super::attention::Attention;
use super::blocks::{Ffn, Linear};
use super::node::{Block, back, whole};
use super::norm::AddNorm;
use crate::cpu::simd;
use crate::{AttentionSettings, LayerSettings, Rows, plain};
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;

/// The thirteen tensors of [`crate::ops::LayerInputs`] `->` states after the layer.
pub(super) struct Layer {
    inputs: [FlexTensor; 13],
    rows: Rows,
    settings: LayerSettings,
}

impl Block<13> for Layer {
    type Settings = (Rows, LayerSettings);

    fn forward(
        (rows, settings): Self::Settings,
        inputs: [FlexTensor; 13],
        need: [bool; 13],
    ) -> (FlexTensor, Option<Self>) {
        let layer = Layer { inputs, rows, settings };
        let (y, _) = layer.run([false; 13]);
        (y, need.contains(&true).then_some(layer))
    }

    fn backward(&self, d: FlexTensor, need: [bool; 13]) -> [Option<FlexTensor>; 13] {
        self.run(need).1.backward(d, need)
    }

    fn plain<B: Backend>((rows, settings): Self::Settings, inputs: [FloatTensor<B>; 13]) -> FloatTensor<B> {
        plain::layer::<B>(inputs, &rows, settings)
    }
}

/// What the blocks of one run saved; `None` for a block none of whose inputs needs a gradient.
struct Trace {
    qkv: Option<Linear>,
    attention: Option<Attention>,
    output: Option<Linear>,
    attention_norm: Option<AddNorm>,
    ffn: Option<Ffn>,
    norm: Option<AddNorm>,
}

/// Which states need a gradient, given which inputs do: what the attention reads, its output before and after its norm,
/// and the output of the feed-forward block.
fn states_in_need(need: [bool; 13]) -> [bool; 4] {
    let qkv = need[..3].contains(&true);
    let output = qkv || need[3..5].contains(&true);
    let middle = output || need[5..7].contains(&true);
    [qkv, output, middle, middle || need[7..11].contains(&true)]
}

impl Layer {
    fn run(&self, need: [bool; 13]) -> (FlexTensor, Trace) {
        let LayerSettings { heads, precision, eps, noise: [attention_noise, output_noise, noise] } =
            self.settings;
        let [x, wqkv, bqkv, wo, bo, gamma_a, beta_a, w1, b1, w2, b2, gamma, beta] = self.inputs.clone();
        let [n_qkv, n_output, n_middle, n_ffn] = states_in_need(need);
        let (y, qkv) = Linear::forward(precision, [x.clone(), wqkv, bqkv], [need[0], need[1], need[2]]);
        let settings = AttentionSettings { heads, causal: false, noise: attention_noise };
        let (y, attention) = Attention::forward((self.rows.clone(), settings), [y], [n_qkv]);
        let (y, output) = Linear::forward(precision, [y, wo, bo], [n_qkv, need[3], need[4]]);
        let (middle, attention_norm) = AddNorm::forward(
            (eps, output_noise),
            [y, x, gamma_a, beta_a],
            [n_output, need[0], need[5], need[6]],
        );
        let (y, ffn) = Ffn::forward(
            precision,
            [middle.clone(), w1, b1, w2, b2],
            [n_middle, need[7], need[8], need[9], need[10]],
        );
        let (y, norm) =
            AddNorm::forward((eps, noise), [y, middle, gamma, beta], [n_ffn, n_middle, need[11], need[12]]);
        (y, Trace { qkv, attention, output, attention_norm, ffn, norm })
    }
}

impl Trace {
    /// The gradients of the thirteen inputs from that of the result.
    fn backward(self, d: FlexTensor, need: [bool; 13]) -> [Option<FlexTensor>; 13] {
        let [n_qkv, n_output, n_middle, n_ffn] = states_in_need(need);
        let [d_ffn, d_middle, d_gamma, d_beta] =
            back_once(self.norm, Some(d), [n_ffn, n_middle, need[11], need[12]]);
        let [d_inner, d_w1, d_b1, d_w2, d_b2] =
            back_once(self.ffn, d_ffn, [n_middle, need[7], need[8], need[9], need[10]]);
        let [d_output, d_x, d_gamma_a, d_beta_a] =
            back_once(self.attention_norm, sum(d_middle, d_inner), [n_output, need[0], need[5], need[6]]);
        let [d_context, d_wo, d_bo] = back_once(self.output, d_output, [n_qkv, need[3], need[4]]);
        let [d_qkv] = back_once(self.attention, d_context, [n_qkv]);
        let [d_read, d_wqkv, d_bqkv] = back_once(self.qkv, d_qkv, [need[0], need[1], need[2]]);
        [
            sum(d_x, d_read),
            d_wqkv,
            d_bqkv,
            d_wo,
            d_bo,
            d_gamma_a,
            d_beta_a,
            d_w1,
            d_b1,
            d_w2,
            d_b2,
            d_gamma,
            d_beta,
        ]
    }
}

/// [`back`], after which what the block saved is gone: the trace is the larger part of a layer's memory.
fn back_once<K: Block<N>, const N: usize>(
    block: Option<K>,
    d: Option<FlexTensor>,
    need: [bool; N],
) -> [Option<FlexTensor>; N] {
    back(block.as_ref(), d, need)
}

fn sum(a: Option<FlexTensor>, b: Option<FlexTensor>) -> Option<FlexTensor> {
    match (a, b) {
        (Some(a), Some(b)) => {
            let mut total = whole(a);
            simd::add(total.storage_mut(), super::node::numbers(&b));
            Some(total)
        }
        (a, b) => a.or(b),
    }
}
