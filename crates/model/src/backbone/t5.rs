//! T5 and its relatives: an encoder that sees the whole row, and a decoder that writes text from its states.
//!
//! ```text
//! x = dropout(E[id])
//! for every layer:
//!   n = rms_norm(x);  x = x + dropout(Wo softmax((Wq n)(Wk n)^T + bias) Wv n)      a bias for each head and distance
//!   n = rms_norm(x);  x = x + dropout(W2 dropout(gelu(W1 n) (Wg n)))               or W2 dropout(relu(W1 n)), without a gate
//! states = dropout(rms_norm(x))
//! ```
//!
//! Shapes: states `[tokens, hidden]`; Wq, Wk, Wv `[heads head_width, hidden]`, Wo `[hidden, heads head_width]`, W1, Wg
//! `[feed_forward, hidden]`, W2 `[hidden, feed_forward]`; the biases `[32, heads]` are one table for all layers, by ranges of
//! distances. No vector is added for a place, so that rows may be of any length. The decoder has the same layers with an attention
//! to the states between the two parts; tasks that read the encoder alone do not run it.
//! From a folder in Hugging Face layout: T5, T5 v1.1, flan-T5 and mT5; f32, f16 or bf16 safetensors; tied output or its own. The
//! result is saved in f32 in the same layout and opens with transformers.
//! From scratch: `{ t5 = { layers = 4, decoder_layers = 4, hidden = 256, heads = 4 } }`; feed_forward is 4 hidden, dropout 0.1, the
//! output is the token table. Use it with `[tokenizer]`.
//! Cost: about 2 layers (4 hidden^2 + 3 hidden feed_forward) + 4 layers hidden length operations a token of the encoder, half as
//! much more in the attention of the decoder, and 2 hidden vocabulary a written token.
//! When to use: translation and generation, alone or beside tasks on the encoder.
//! Errors: an activation other than relu and gated-gelu, and weights that do not fit config.json are refused with what was
//! found and expected.
//! Papers: Raffel et al. 2020, "Exploring the limits of transfer learning with a unified text-to-text transformer"; Shazeer 2020,
//! "GLU variants improve transformer"; Xue et al. 2021, "mT5"; Chung et al. 2022, "Scaling instruction-finetuned language models"
//! (flan-T5).

mod settings;

use super::{Backbone, Before, Read, Tokens, corpora, freeze_named};
use crate::blocks::{Attention, FeedForward, longest};
use crate::checkpoint::Kept;
use crate::decoder::Decoder;
use crate::error::ModelError;
use crate::init::Init;
use crate::names::{Maker, NameTable};
use crate::parameters::{Matrix, Parameters, Vector};
use burn::tensor::Tensor;
use kernels::{AttentionSettings, Precision};
pub use settings::T5Config;
pub(crate) use settings::{MODEL_TYPES, Settings};
use std::ops::Range;
use std::sync::Arc;

/// The network: see the module.
#[derive(Debug)]
pub struct T5 {
    settings: Settings,
    names: NameTable,
    table: Matrix,
    distances: Matrix,
    layers: Vec<Layer>,
    norm: Vector,
    decoder: Arc<Decoder>,
    corpora: Option<Matrix>,
    frozen: Option<usize>,
    pub(crate) kept: Vec<Kept>,
    pub(crate) notes: Vec<String>,
}

#[derive(Debug)]
struct Layer {
    attention: Attention,
    feed_forward: FeedForward,
}

/// Dropout sites of a layer: attention weights, attention output, inside the feed-forward part, its output.
const SITES: u64 = 4;

impl T5 {
    /// Builds one with drawn first values and adds its parameters to the table. `ends` are the tokens that a written text begins
    /// after and ends with.
    ///
    /// # Errors
    /// [`ModelError::Size`].
    pub fn from_scratch(
        config: &T5Config,
        vocabulary: usize,
        ends: [u32; 2],
        parameters: &mut Parameters,
    ) -> Result<Self, ModelError> {
        let settings = Settings::from_scratch(config, vocabulary, ends)?;
        let names = settings.names();
        Ok(Self::assemble(settings, names, parameters, &mut |_, init| init))
    }

    /// Adds the parameters that `names` tells; `first` may replace their first values.
    pub(crate) fn assemble(
        settings: Settings,
        names: NameTable,
        parameters: &mut Parameters,
        first: &mut dyn FnMut(&str, Init) -> Init,
    ) -> Self {
        let mut make = Maker { parameters, table: &names, first };
        let blocks = &settings.blocks;
        let table = make.matrix("backbone.embeddings.word", Init::Normal(1.0));
        let distances = make.matrix("backbone.embeddings.distances", Init::Zeros);
        let layer = |make: &mut Maker<'_>, i: usize| Layer {
            attention: Attention::make(make, &format!("backbone.layer.{i}.attention"), blocks),
            feed_forward: FeedForward::make(make, &format!("backbone.layer.{i}.feed_forward"), blocks),
        };
        let layers = (0..settings.layers).map(|i| layer(&mut make, i)).collect();
        let norm = make.vector("backbone.norm", Init::Ones);
        let decoder = Arc::new(Decoder::make(&mut make, settings.decoder, table));
        let (kept, notes) = (Vec::new(), Vec::new());
        let (corpora, frozen) = (None, None);
        Self { settings, names, table, distances, layers, norm, decoder, corpora, frozen, kept, notes }
    }

    /// States after some layers from those before.
    fn run(
        &self,
        layers: Range<usize>,
        parameters: &Parameters,
        x: Tensor<2>,
        tokens: Tokens<'_>,
        noise_seed: Option<u64>,
    ) -> Tensor<2> {
        if layers.is_empty() {
            return x;
        }
        let (s, rows) = (&self.settings.blocks, tokens.rows);
        let bias = self.settings.buckets.bias(parameters, self.distances, longest(rows).max(1) - 1);
        layers.fold(x, |x, i| {
            let Layer { attention, feed_forward } = &self.layers[i];
            let Before { tokens, pairs } = tokens.before;
            let noise = |site, before| s.noise(noise_seed, 1 + SITES * i as u64 + site, before);
            let normed = attention.normed(parameters, x.clone(), s);
            let q = attention.queries(parameters, normed.clone(), s);
            let kv = attention.keys(parameters, normed, s);
            let attend = AttentionSettings { heads: s.heads, causal: false, noise: noise(0, pairs) };
            let found = kernels::relative_attention(q, kv, bias.clone(), [rows, rows], attend);
            let x = attention.end(parameters, x, found, s, noise(1, tokens));
            feed_forward.run(parameters, x, s, [noise(2, tokens), noise(3, tokens)])
        })
    }

    /// The number of the last layer.
    fn top(&self) -> usize {
        self.layers.len().saturating_sub(1)
    }
}

impl Backbone for T5 {
    fn kind(&self) -> &'static str {
        "t5"
    }
    fn hidden(&self) -> usize {
        self.settings.blocks.hidden
    }
    fn max_length(&self) -> usize {
        settings::LONGEST
    }
    fn vocabulary(&self) -> usize {
        self.settings.vocabulary
    }

    fn token_table(&self) -> Matrix {
        self.table
    }
    fn add_corpora(&mut self, corpora: usize, parameters: &mut Parameters) {
        self.corpora = Some(corpora::table(corpora, self.hidden(), parameters));
    }
    fn corpora(&self) -> Option<Matrix> {
        self.corpora
    }
    fn decoder(&self) -> Option<&Arc<Decoder>> {
        Some(&self.decoder)
    }
    fn layers(&self) -> usize {
        self.layers.len()
    }
    fn frozen(&self) -> Option<usize> {
        self.frozen
    }
    /// The biases of distances are embeddings: they are frozen for all layers.
    fn freeze(&mut self, layers: usize, parameters: &mut Parameters) {
        freeze_named(parameters, &self.names_below(layers));
        self.frozen = Some(layers);
    }
    fn names_below(&self, layers: usize) -> Vec<String> {
        let mut prefixes = vec!["backbone.embeddings.".to_owned()];
        prefixes.extend((0..layers).map(|i| format!("backbone.layer.{i}.")));
        prefixes.extend((layers == self.layers.len()).then(|| "backbone.norm".to_owned()));
        prefixes
    }

    fn precision(&self) -> Precision {
        self.settings.blocks.precision
    }
    fn set_precision(&mut self, precision: Precision) {
        self.settings.blocks.precision = precision;
        Arc::make_mut(&mut self.decoder).set_precision(precision);
    }

    fn lower(&self, parameters: &Parameters, tokens: Tokens<'_>, noise_seed: Option<u64>) -> Tensor<2> {
        let noise_seed = noise_seed.filter(|_| self.frozen.is_none());
        let ids = parameters.places(self.table, tokens.ids);
        let x = kernels::embed(parameters.get(self.table), &ids);
        let x = corpora::added(x, self.corpora, parameters, tokens);
        let x = kernels::dropout(x, self.settings.blocks.noise(noise_seed, 0, tokens.before.tokens));
        self.run(0..self.frozen.unwrap_or(0), parameters, x, tokens, None)
    }

    fn middle(
        &self,
        parameters: &Parameters,
        below: Tensor<2>,
        tokens: Tokens<'_>,
        noise_seed: Option<u64>,
    ) -> Tensor<2> {
        self.run(self.frozen.unwrap_or(0)..self.top(), parameters, below, tokens, noise_seed)
    }

    /// The whole last layer, of which the tokens that are read are picked.
    fn last(
        &self,
        parameters: &Parameters,
        states: Tensor<2>,
        tokens: Tokens<'_>,
        read: Option<Read<'_>>,
        noise_seed: Option<u64>,
    ) -> Tensor<2> {
        let (s, end) = (&self.settings.blocks, self.layers.len());
        let first = self.frozen.unwrap_or(0);
        let noise_seed = noise_seed.filter(|_| first < end);
        let x = self.run(first.max(self.top())..end, parameters, states, tokens, noise_seed);
        let x = match read {
            Some(read) => kernels::pick(x, read.tokens),
            None => x,
        };
        let x = kernels::rms_norm(x, parameters.at(self.norm), s.eps);
        let before = read.map_or(tokens.before, |read| read.before).tokens;
        kernels::dropout(x, s.noise(noise_seed, 1 + SITES * end as u64, before))
    }

    fn last_layer(&self) -> Vec<String> {
        vec![format!("backbone.layer.{}.", self.top()), "backbone.norm".into(), "decoder.".into()]
    }

    fn config_json(&self) -> serde_json::Value {
        self.settings.json.clone()
    }
    fn hf_names(&self) -> &NameTable {
        &self.names
    }
    fn kept(&self) -> &[Kept] {
        &self.kept
    }
    fn notes(&self) -> &[String] {
        &self.notes
    }
}
