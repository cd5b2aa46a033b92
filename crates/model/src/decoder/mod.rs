//! A decoder: writes a text token by token, reading the states of an encoder.
//!
//! ```text
//! x = dropout(E[id])                                      the tokens written so far, the first a start token
//! for every layer:
//!   x = self attention(x)                                 to the tokens before, with a bias for each head and distance
//!   x = cross attention(x, states of the encoder)
//!   x = feed-forward(x)                                   blocks as in `layers/`
//! scores = dropout(rms_norm(x)) W^T                       W is E (times hidden^-1/2 in T5), or a table of its own
//! ```
//!
//! It belongs to a backbone (T5), or is put fresh on one that has none: `[model] decoder = { layers = 3 }`. Then it shares the
//! backbone's token table, and begins untrained.
//!
//! Paper: Vaswani et al. 2017, "Attention is all you need"; Raffel et al. 2020, "Exploring the limits of transfer learning with
//! a unified text-to-text transformer".

mod config;
mod kv_cache;

use crate::cast::to_u32;
use crate::init::Init;
use crate::io::names::{NameTable, ParameterBuilder};
use crate::layers::{Attention, BlockSettings, FeedForward, RelativePositionBuckets, lecun_normal, longest};
use crate::parameters::{Depth, Level, MatrixId, Parameters, Role, VectorId};
use crate::trunk::{LayerContext, LinearId};
use burn::tensor::Tensor;
pub use config::DecoderConfig;
use kernels::{AttentionSettings, Precision, RowOffsets};
pub use kv_cache::KvCache;
use std::fmt::Debug;

/// What writes texts token by token from the states of an encoder.
pub trait Generator: Send + Sync + Debug {
    /// The token that every text begins after.
    fn decoder_start_token_id(&self) -> u32;

    /// The token that ends every text.
    fn eos_token_id(&self) -> u32;

    /// The width of the states that it reads.
    fn hidden(&self) -> usize;

    /// The names of its parameters here and in files.
    fn names(&self) -> NameTable;

    /// Logits `[tokens, vocabulary]` of what follows each token of `ids` `[tokens]`, texts in `rows` end to end, each text reading
    /// the encoder's row of the same number, `states` `[n, hidden]` in `states_rows`. `start` `[1, hidden]` stands for the vector
    /// of every text's first token, where given. With `dropout_seed` there is dropout, a pure function of the seed.
    fn logits(
        &self,
        parameters: &Parameters,
        texts: (&[u32], &RowOffsets),
        states: (Tensor<2>, &RowOffsets),
        start: Option<Tensor<2>>,
        dropout_seed: Option<u64>,
    ) -> Tensor<2>;

    /// Begins a text for each row of the encoder's states, `[n, hidden]` in `rows`.
    fn start(&self, parameters: &Parameters, states: &Tensor<2>, rows: &RowOffsets) -> KvCache;

    /// Adds a token to texts; logits `[texts, vocabulary]` of what may follow. Text `i` goes on from text `from[i]` of the step
    /// before (of the first step: it reads row `from[i]`) with token `ids[i]`; texts that no other goes on from are dropped.
    /// `start` is as in [`Generator::logits`].
    fn step(
        &self,
        parameters: &Parameters,
        cache: &mut KvCache,
        from: &[u32],
        ids: &[u32],
        start: Option<Tensor<2>>,
    ) -> Tensor<2>;
}

/// The network: see the module.
#[derive(Debug, Clone)]
pub struct Decoder {
    pub(crate) settings: DecoderSettings,
    precision: Precision,
    table: MatrixId,
    relative_position_bias: MatrixId,
    layers: Vec<Layer>,
    norm: VectorId,
    lm_head: Option<MatrixId>,
}

/// Everything about a decoder but its weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DecoderSettings {
    pub blocks: BlockSettings,
    pub layers: usize,
    pub buckets: RelativePositionBuckets,
    /// Rows of the output table, where it has one of its own.
    pub untied_lm_head: Option<usize>,
    /// Whether states are divided by the root of their width before the logits are made.
    pub scale_logits: bool,
    /// The token that every text begins after.
    pub decoder_start_token_id: u32,
    /// The token that ends every text.
    pub eos_token_id: u32,
}

#[derive(Debug, Clone)]
struct Layer {
    self_attention: Attention,
    cross_attention: Attention,
    feed_forward: FeedForward,
}

/// Dropout sites of a layer: two an attention, two in the feed-forward part.
const SITES: u64 = 6;

impl DecoderSettings {
    /// Names and shapes of the parameters, in files as T5 has them.
    pub fn name(&self, names: &mut NameTable) {
        let blocks = &self.blocks;
        let embeddings = Depth::decoder(Level::Embeddings);
        let hf_name = "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
        let shape = [self.buckets.count, blocks.heads];
        names.push("decoder.embeddings.distances", [hf_name], &shape, (Role::PositionBias, embeddings));
        for i in 0..self.layers {
            let (name, hf_name) = (format!("decoder.layer.{i}"), format!("decoder.block.{i}.layer"));
            // There are at most 1,000 layers.
            let depth = Depth::decoder(Level::layer(i));
            let norm = |part: usize| format!("{hf_name}.{part}.layer_norm");
            let attention = format!("{hf_name}.0.SelfAttention");
            blocks.name_attention(names, &format!("{name}.attention"), [&attention, &norm(0)], depth);
            let cross = format!("{hf_name}.1.EncDecAttention");
            blocks.name_attention(names, &format!("{name}.cross"), [&cross, &norm(1)], depth);
            let feed_forward = format!("{hf_name}.2.DenseReluDense");
            let names_of = [&feed_forward[..], &norm(2)];
            blocks.name_feed_forward(names, &format!("{name}.feed_forward"), names_of, depth);
        }
        let output = Depth::decoder(Level::Output);
        names.push(
            "decoder.norm",
            ["decoder.final_layer_norm.weight"],
            &[blocks.hidden],
            (Role::Norm, output),
        );
        if let Some(vocabulary) = self.untied_lm_head {
            let (shape, role) = ([vocabulary, blocks.hidden], (Role::Embedding, output));
            names.push("decoder.embeddings.output", ["lm_head.weight"], &shape, role);
        }
    }
}

impl Decoder {
    /// Makes the parameters that the builder's table names. `table` is the one that tokens are looked up in.
    pub(crate) fn make(make: &mut ParameterBuilder<'_>, settings: DecoderSettings, table: MatrixId) -> Self {
        let blocks = &settings.blocks;
        let attention = |make: &mut ParameterBuilder<'_>, i: usize, name: &str| {
            Attention::make(make, &format!("decoder.layer.{i}.{name}"), None, blocks)
        };
        let layer = |make: &mut ParameterBuilder<'_>, i: usize| Layer {
            self_attention: attention(make, i, "attention"),
            cross_attention: attention(make, i, "cross"),
            feed_forward: FeedForward::make(make, &format!("decoder.layer.{i}.feed_forward"), None, blocks),
        };
        Self {
            settings,
            precision: Precision::F32,
            table,
            relative_position_bias: make.matrix("decoder.embeddings.distances", Init::Zeros),
            layers: (0..settings.layers).map(|i| layer(make, i)).collect(),
            norm: make.vector("decoder.norm", Init::Ones),
            lm_head: settings
                .untied_lm_head
                .map(|_| make.matrix("decoder.embeddings.output", lecun_normal(settings.blocks.hidden))),
        }
    }

    /// The same network with large products of such numbers, where the device can.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Vectors of tokens, `start` in place of each text's first.
    fn embed(
        &self,
        parameters: &Parameters,
        (ids, rows): (&[u32], &RowOffsets),
        start: Option<Tensor<2>>,
    ) -> Tensor<2> {
        let vectors =
            |ids: &[u32]| parameters.rows_of(parameters.weight(self.table), self.table, ids, self.precision);
        let Some(start) = start else { return vectors(ids) };
        let mut first = vec![false; ids.len()];
        rows.windows(2).filter(|row| row[0] < row[1]).for_each(|row| first[row[0]] = true);
        let others: Vec<u32> =
            ids.iter().zip(&first).filter(|(_, first)| !**first).map(|(id, _)| *id).collect();
        let mut next = 0;
        let mut index_of = |first: &bool| {
            next += u32::from(!first);
            if *first { to_u32(others.len()) } else { next - 1 }
        };
        let index: Vec<u32> = first.iter().map(&mut index_of).collect();
        kernels::gather_rows_concat(vectors(&others), start, &index)
    }

    /// Queries of a cross attention. The kernel divides scores by a root, which T5 does not: they are as much larger.
    fn cross_queries(&self, layer: &Layer, context: &LayerContext<'_>, x: Tensor<2>) -> Tensor<2> {
        let s = &self.settings.blocks;
        let normed = layer.cross_attention.pre_norm(context, x, s);
        layer.cross_attention.queries(context, normed) * ((s.attention_dim / s.heads) as f32).sqrt()
    }

    /// Logits of the last layer's states; `site` is the dropout site of the final norm.
    fn lm_head(&self, context: &LayerContext<'_>, x: Tensor<2>, site: u64) -> Tensor<2> {
        let s = &self.settings.blocks;
        let dropout = context.dropout(s.dropout, site);
        let x = kernels::dropout(kernels::rms_norm(x, context.vector(self.norm), s.eps), dropout);
        let x = if self.settings.scale_logits { x * (s.hidden as f32).powf(-0.5) } else { x };
        let weight = self.lm_head.unwrap_or(self.table);
        context.linear(None, &[], x, LinearId { weight, bias: None })
    }

    /// The site of the dropout after the final norm.
    fn last_site(&self) -> u64 {
        1 + SITES * self.layers.len() as u64
    }
}

impl Generator for Decoder {
    fn decoder_start_token_id(&self) -> u32 {
        self.settings.decoder_start_token_id
    }

    fn eos_token_id(&self) -> u32 {
        self.settings.eos_token_id
    }

    fn hidden(&self) -> usize {
        self.settings.blocks.hidden
    }

    fn names(&self) -> NameTable {
        let mut names = NameTable::default();
        self.settings.name(&mut names);
        names
    }

    fn logits(
        &self,
        parameters: &Parameters,
        (ids, rows): (&[u32], &RowOffsets),
        (states, states_rows): (Tensor<2>, &RowOffsets),
        start: Option<Tensor<2>>,
        dropout_seed: Option<u64>,
    ) -> Tensor<2> {
        let s = &self.settings.blocks;
        let context = LayerContext::plain(parameters, self.precision, dropout_seed);
        let distance = longest(rows).saturating_sub(1);
        let bias = self.settings.buckets.bias(parameters, self.relative_position_bias, distance);
        let x = self.embed(parameters, (ids, rows), start);
        let mut x = kernels::dropout(x, context.dropout(s.dropout, 0));
        for (i, layer) in self.layers.iter().enumerate() {
            let Layer { self_attention, cross_attention, feed_forward } = layer;
            let dropout = |site| context.dropout(s.dropout, 1 + SITES * i as u64 + site);
            let heads = AttentionSettings::new(s.heads);
            let attend = |causal, site| AttentionSettings { causal, dropout: dropout(site), ..heads };
            let n = self_attention.pre_norm(&context, x.clone(), s);
            let q = self_attention.queries(&context, n.clone());
            let kv = self_attention.keys_and_values(&context, n);
            let attended =
                kernels::relative_attention(q, kv, bias.clone(), [rows, rows], None, attend(true, 0));
            x = self_attention.output_projection(&context, x, attended, None, dropout(1));
            let kv = cross_attention.keys_and_values(&context, states.clone());
            let q = self.cross_queries(layer, &context, x.clone());
            let attended = kernels::cross_attention(q, kv, [rows, states_rows], None, attend(false, 2));
            x = cross_attention.output_projection(&context, x, attended, None, dropout(3));
            x = feed_forward.run(&context, x, s, [dropout(4), dropout(5)]);
        }
        self.lm_head(&context, x, self.last_site())
    }

    fn start(&self, parameters: &Parameters, states: &Tensor<2>, rows: &RowOffsets) -> KvCache {
        self.start_cache(parameters, states, rows)
    }

    fn step(
        &self,
        parameters: &Parameters,
        cache: &mut KvCache,
        from: &[u32],
        ids: &[u32],
        start: Option<Tensor<2>>,
    ) -> Tensor<2> {
        self.step_cached(parameters, cache, (from, ids), start)
    }
}
