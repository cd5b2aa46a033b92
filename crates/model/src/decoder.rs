//! A decoder: writes a text token by token, reading the states of an encoder.
//!
//! ```text
//! x = dropout(E[id])                                      the tokens written so far, the first a start token
//! for every layer:
//!   x = self attention(x)                                 to the tokens before, with a bias for each head and distance
//!   x = cross attention(x, states of the encoder)
//!   x = feed-forward(x)                                   blocks as in `blocks.rs`
//! scores = dropout(rms_norm(x)) W^T                       W is E (times hidden^-1/2 in T5), or a table of its own
//! ```
//!
//! It belongs to a backbone (T5), or is put fresh on one that has none: `[model] decoder = { layers = 3 }`. Then it shares the
//! backbone's token table, and begins untrained.
//!
//! Paper: Vaswani et al. 2017, "Attention is all you need"; Raffel et al. 2020, "Exploring the limits of transfer learning with
//! a unified text-to-text transformer".

mod cached;
mod config;

use crate::blocks::{Attention, BlockSettings, Buckets, FeedForward, linear, longest};
use crate::init::Init;
use crate::names::{Maker, NameTable};
use crate::parameters::{Matrix, Parameters, Vector};
use burn::tensor::Tensor;
pub use cached::Cache;
pub use config::DecoderConfig;
use kernels::{AttentionSettings, Precision, Rows};

/// The network: see the module.
#[derive(Debug, Clone)]
pub struct Decoder {
    pub(crate) settings: DecoderSettings,
    table: Matrix,
    distances: Matrix,
    layers: Vec<Layer>,
    norm: Vector,
    output: Option<Matrix>,
}

/// Everything about a decoder but its weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DecoderSettings {
    pub blocks: BlockSettings,
    pub layers: usize,
    pub buckets: Buckets,
    /// Rows of the output table, where it has one of its own.
    pub own_output: Option<usize>,
    /// Whether states are divided by the root of their width before the scores are made.
    pub scaled: bool,
    /// The token that every text begins after.
    pub start: u32,
    /// The token that ends every text.
    pub end: u32,
}

#[derive(Debug, Clone)]
struct Layer {
    own: Attention,
    cross: Attention,
    feed_forward: FeedForward,
}

/// Dropout sites of a layer: two an attention, two in the feed-forward part.
const SITES: u64 = 6;

impl DecoderSettings {
    /// Names and shapes of the parameters, in files as T5 has them.
    pub fn name(&self, names: &mut NameTable) {
        let blocks = &self.blocks;
        let theirs = "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
        names.push("decoder.embeddings.distances", [theirs], &[self.buckets.count, blocks.heads]);
        for i in 0..self.layers {
            let (ours, theirs) = (format!("decoder.layer.{i}"), format!("decoder.block.{i}.layer"));
            let norm = |part: usize| format!("{theirs}.{part}.layer_norm");
            let own = format!("{theirs}.0.SelfAttention");
            blocks.name_attention(names, &format!("{ours}.attention"), &own, &norm(0));
            let cross = format!("{theirs}.1.EncDecAttention");
            blocks.name_attention(names, &format!("{ours}.cross"), &cross, &norm(1));
            let feed_forward = format!("{theirs}.2.DenseReluDense");
            blocks.name_feed_forward(names, &format!("{ours}.feed_forward"), &feed_forward, &norm(2));
        }
        names.push("decoder.norm", ["decoder.final_layer_norm.weight"], &[blocks.hidden]);
        if let Some(vocabulary) = self.own_output {
            names.push("decoder.embeddings.output", ["lm_head.weight"], &[vocabulary, blocks.hidden]);
        }
    }
}

impl Decoder {
    /// Makes the parameters that the maker's table names. `table` is the one that tokens are looked up in.
    pub(crate) fn make(make: &mut Maker<'_>, settings: DecoderSettings, table: Matrix) -> Self {
        let blocks = &settings.blocks;
        let layer = |make: &mut Maker<'_>, i: usize| Layer {
            own: Attention::make(make, &format!("decoder.layer.{i}.attention"), blocks),
            cross: Attention::make(make, &format!("decoder.layer.{i}.cross"), blocks),
            feed_forward: FeedForward::make(make, &format!("decoder.layer.{i}.feed_forward"), blocks),
        };
        Self {
            settings,
            table,
            distances: make.matrix("decoder.embeddings.distances", Init::Zeros),
            layers: (0..settings.layers).map(|i| layer(make, i)).collect(),
            norm: make.vector("decoder.norm", Init::Ones),
            output: settings.own_output.map(|_| {
                make.matrix("decoder.embeddings.output", crate::blocks::draw(settings.blocks.hidden))
            }),
        }
    }

    /// The token that every text begins after.
    pub fn start(&self) -> u32 {
        self.settings.start
    }

    /// The token that ends every text.
    pub fn end(&self) -> u32 {
        self.settings.end
    }

    /// The width of the states that it reads.
    pub fn hidden(&self) -> usize {
        self.settings.blocks.hidden
    }

    /// Whether scores are made with the table that the backbone looks tokens up in.
    pub fn shares_output(&self) -> bool {
        self.output.is_none()
    }

    /// The names of its parameters here and in files.
    pub(crate) fn names(&self) -> NameTable {
        let mut names = NameTable::default();
        self.settings.name(&mut names);
        names
    }

    /// From now on makes its large products of such numbers, where the device can.
    pub(crate) fn set_precision(&mut self, precision: Precision) {
        self.settings.blocks.precision = precision;
    }

    /// Scores `[tokens, vocabulary]` of what follows each token of `ids` `[tokens]`, texts in `rows` end to end, each text reading
    /// the encoder's row of the same number, `states` `[n, hidden]` in `states_rows`. `start` `[1, hidden]` stands for the vector
    /// of every text's first token, where given. With `noise_seed` there is dropout, a pure function of the seed.
    pub fn scores(
        &self,
        parameters: &Parameters,
        (ids, rows): (&[u32], &Rows),
        (states, states_rows): (Tensor<2>, &Rows),
        start: Option<Tensor<2>>,
        noise_seed: Option<u64>,
    ) -> Tensor<2> {
        let s = &self.settings.blocks;
        let bias = self.settings.buckets.bias(parameters, self.distances, longest(rows).saturating_sub(1));
        let x = self.looked_up(parameters, (ids, rows), start);
        let mut x = kernels::dropout(x, s.noise(noise_seed, 0, 0));
        for (i, layer) in self.layers.iter().enumerate() {
            let noise = |site| s.noise(noise_seed, 1 + SITES * i as u64 + site, 0);
            let attend = |causal, site| AttentionSettings { heads: s.heads, causal, noise: noise(site) };
            let n = layer.own.normed(parameters, x.clone(), s);
            let (q, kv) = (layer.own.queries(parameters, n.clone(), s), layer.own.keys(parameters, n, s));
            let found = kernels::relative_attention(q, kv, bias.clone(), [rows, rows], attend(true, 0));
            x = layer.own.end(parameters, x, found, s, noise(1));
            let kv = layer.cross.keys(parameters, states.clone(), s);
            let q = self.cross_queries(layer, parameters, x.clone());
            let found = kernels::cross_attention(q, kv, [rows, states_rows], attend(false, 2));
            x = layer.cross.end(parameters, x, found, s, noise(3));
            x = layer.feed_forward.run(parameters, x, s, [noise(4), noise(5)]);
        }
        self.scores_of(parameters, x, s.noise(noise_seed, 1 + SITES * self.layers.len() as u64, 0))
    }

    /// Vectors of tokens, `start` in place of each text's first.
    fn looked_up(
        &self,
        parameters: &Parameters,
        (ids, rows): (&[u32], &Rows),
        start: Option<Tensor<2>>,
    ) -> Tensor<2> {
        let table = parameters.get(self.table);
        let Some(start) = start else { return kernels::embed(table, &parameters.places(self.table, ids)) };
        let mut first = vec![false; ids.len()];
        rows.windows(2).filter(|row| row[0] < row[1]).for_each(|row| first[row[0]] = true);
        let others: Vec<u32> =
            ids.iter().zip(&first).filter(|(_, first)| !**first).map(|(id, _)| *id).collect();
        let mut next = 0;
        let mut place = |first: &bool| {
            next += u32::from(!first);
            if *first { others.len() as u32 } else { next - 1 }
        };
        let index: Vec<u32> = first.iter().map(&mut place).collect();
        let known = kernels::embed(table, &parameters.places(self.table, &others));
        kernels::pick(Tensor::cat(vec![known, start], 0), &index)
    }

    /// Queries of a cross attention. The kernel divides scores by a root, which T5 does not: they are as much larger.
    fn cross_queries(&self, layer: &Layer, parameters: &Parameters, x: Tensor<2>) -> Tensor<2> {
        let s = &self.settings.blocks;
        let normed = layer.cross.normed(parameters, x, s);
        layer.cross.queries(parameters, normed, s) * ((s.inner / s.heads) as f32).sqrt()
    }

    fn scores_of(&self, parameters: &Parameters, x: Tensor<2>, noise: Option<kernels::Noise>) -> Tensor<2> {
        let s = &self.settings.blocks;
        let x = kernels::dropout(kernels::rms_norm(x, parameters.at(self.norm), s.eps), noise);
        let x = if self.settings.scaled { x * (s.hidden as f32).powf(-0.5) } else { x };
        linear(parameters, x, self.output.unwrap_or(self.table), s.precision)
    }
}
