//! BERT and its relatives: a transformer encoder that sees the whole row at once; usually pretrained.
//!
//! ```text
//! x   = dropout(norm(E_word[id] + E_position[p] + E_type[segment]))
//! for every layer:
//!   a = attention(x Wqkv^T + bqkv)                  inside each row; softmax(q k^T / sqrt(hidden / heads)) v, with dropout
//!   x = norm(dropout(a Wo^T + bo) + x)
//!   x = norm(dropout(gelu(x W1^T + b1) W2^T + b2) + x)
//! ```
//!
//! Shapes: states `[tokens, hidden]`; Wqkv `[3 hidden, hidden]` (query, key and value above one another), Wo
//! `[hidden, hidden]`, W1 `[feed_forward, hidden]`, W2 `[hidden, feed_forward]`. gelu is the exact one.
//! From a folder in Hugging Face layout: BERT (MiniLM and most sentence encoders are BERTs), DistilBERT, RoBERTa and XLM-R;
//! f32, f16 or bf16 safetensors, one file or shards; with or without pooler; saved from the bare encoder or from inside a
//! larger model, whose heads are left out. The result is saved in f32 in the same layout and opens with transformers.
//! From scratch: `{ bert = { layers = 4, hidden = 256, heads = 4 } }`; feed_forward is 4 hidden, max_length 512, dropout 0.1.
//! Cost: about 2 layers (4 hidden^2 + 2 hidden feed_forward) + 4 layers hidden length operations a token, three times that in
//! training. MiniLM-L6: 22.7 M parameters, of them 10.6 M in the layers.
//! When to use: whenever a pretrained checkpoint for the language exists. From scratch only with much data.
//! Errors: an activation other than gelu, relative positions, a decoder, and weights that do not fit config.json are refused
//! with what was found and expected.
//! Papers: Devlin et al. 2019, "BERT"; Sanh et al. 2019, "DistilBERT"; Liu et al. 2019, "RoBERTa"; Conneau et al. 2020,
//! "Unsupervised cross-lingual representation learning at scale" (XLM-R).

pub mod architecture;
mod settings;

use super::{Backbone, Before, Read, Tokens, corpora, freeze_named, noise};
use crate::checkpoint::Kept;
use crate::error::ModelError;
use crate::init::Init;
use crate::names::{Maker, NameTable};
use crate::parameters::{Matrix, Parameters, Vector};
use burn::tensor::Tensor;
use kernels::{AttentionSettings, LayerSettings, LayerWeights, Precision};
pub use settings::{BertConfig, Settings};
use std::ops::Range;

/// The network: see the module.
#[derive(Debug)]
pub struct Bert {
    settings: Settings,
    names: NameTable,
    word: Matrix,
    position: Matrix,
    types: Option<Matrix>,
    norm: Norm,
    layers: Vec<Layer>,
    corpora: Option<Matrix>,
    frozen: Option<usize>,
    precision: Precision,
    recompute: bool,
    pub(crate) kept: Vec<Kept>,
    pub(crate) notes: Vec<String>,
}

#[derive(Debug)]
struct Norm {
    gamma: Vector,
    beta: Vector,
}

#[derive(Debug)]
struct Linear {
    weight: Matrix,
    bias: Vector,
}

#[derive(Debug)]
struct Layer {
    qkv: Linear,
    output: Linear,
    attention_norm: Norm,
    wide: Linear,
    narrow: Linear,
    norm: Norm,
}

/// Dropout sites of a layer: attention weights, attention output, feed-forward output.
const SITES: u64 = 3;

impl Bert {
    /// Builds one with drawn first values and adds its parameters to the table.
    ///
    /// # Errors
    /// [`ModelError::Size`].
    pub fn from_scratch(
        config: &BertConfig,
        vocabulary: usize,
        parameters: &mut Parameters,
    ) -> Result<Self, ModelError> {
        let settings = Settings::from_scratch(config, vocabulary)?;
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
        // The first values of BERT's own code.
        let draw = || Init::Normal(0.02);
        let word = make.matrix("backbone.embeddings.word", draw());
        let position = make.matrix("backbone.embeddings.position", draw());
        let types = (settings.sizes.types > 0).then(|| make.matrix("backbone.embeddings.type", draw()));
        let norm = |make: &mut Maker<'_>, name: &str| Norm {
            gamma: make.vector(&format!("{name}.weight"), Init::Ones),
            beta: make.vector(&format!("{name}.bias"), Init::Zeros),
        };
        let linear = |make: &mut Maker<'_>, name: &str| Linear {
            weight: make.matrix(&format!("{name}.weight"), draw()),
            bias: make.vector(&format!("{name}.bias"), Init::Zeros),
        };
        let embedding_norm = norm(&mut make, "backbone.embeddings.norm");
        let layers = (0..settings.sizes.layers)
            .map(|i| {
                let at = |part: &str| format!("backbone.layer.{i}.{part}");
                Layer {
                    qkv: linear(&mut make, &at("attention.qkv")),
                    output: linear(&mut make, &at("attention.output")),
                    attention_norm: norm(&mut make, &at("attention.norm")),
                    wide: linear(&mut make, &at("feed_forward.in")),
                    narrow: linear(&mut make, &at("feed_forward.out")),
                    norm: norm(&mut make, &at("feed_forward.norm")),
                }
            })
            .collect();
        let (kept, notes) = (Vec::new(), Vec::new());
        Self {
            settings,
            names,
            word,
            position,
            types,
            norm: embedding_norm,
            layers,
            corpora: None,
            frozen: None,
            precision: Precision::F32,
            recompute: false,
            kept,
            notes,
        }
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
        layers.fold(x, |x, i| {
            let settings = self.layer_settings(i, noise_seed, tokens.before);
            self.layers[i].states(parameters, x, tokens.rows, settings, self.recompute)
        })
    }

    /// `before` says what comes before of the states that the layer gives, and of what its attention sees.
    fn layer_settings(&self, layer: usize, noise_seed: Option<u64>, before: Before) -> LayerSettings {
        let s = &self.settings;
        let output_rate = if s.architecture.attention_output_dropout { s.dropout } else { 0.0 };
        let noise = |rate, site, before| noise(rate, noise_seed, 1 + SITES * layer as u64 + site, before);
        let Before { tokens, pairs } = before;
        LayerSettings {
            heads: s.sizes.heads,
            precision: self.precision,
            eps: s.eps,
            noise: [
                noise(s.attention_dropout, 0, pairs),
                noise(output_rate, 1, tokens),
                noise(s.dropout, 2, tokens),
            ],
        }
    }

    /// Rows of the position table for the pack's tokens.
    fn positions(&self, tokens: Tokens<'_>) -> Vec<u32> {
        let Some(padding) = self.settings.padding_before_positions() else {
            return tokens.positions.to_vec();
        };
        // As transformers counts: a padding id inside a row sits at the padding's own place and is not counted.
        let mut positions = Vec::with_capacity(tokens.ids.len());
        for row in tokens.rows.windows(2) {
            let mut skipped = 0;
            for i in row[0]..row[1] {
                if tokens.ids[i] == padding {
                    skipped += 1;
                    positions.push(padding);
                } else {
                    positions.push(tokens.positions[i] + padding + 1 - skipped);
                }
            }
        }
        positions
    }
}

impl Layer {
    /// States after the layer from those before. With `recompute` the backward pass computes it again.
    fn states(
        &self,
        parameters: &Parameters,
        x: Tensor<2>,
        rows: &kernels::Rows,
        settings: LayerSettings,
        recompute: bool,
    ) -> Tensor<2> {
        let w = self.weights(parameters);
        if recompute {
            return kernels::recomputed_layer(x, w, rows, settings);
        }
        let qkv = kernels::linear(x.clone(), w.qkv.0.clone(), w.qkv.1.clone(), settings.precision);
        let a = kernels::attention(qkv, rows, attention(settings));
        after_attention(a, x, w, settings)
    }

    /// States after the layer of the tokens that are read: keys and values are made of all tokens, the rest only for these.
    fn states_read(
        &self,
        parameters: &Parameters,
        x: Tensor<2>,
        rows: &kernels::Rows,
        read: Read<'_>,
        settings: LayerSettings,
    ) -> Tensor<2> {
        let (w, h) = (self.weights(parameters), x.dims()[1]);
        let part = |columns: Range<usize>| {
            let (weight, bias) = &w.qkv;
            (weight.clone().slice([columns.clone(), 0..h]), bias.clone().slice([columns]))
        };
        let ((w_q, b_q), (w_kv, b_kv)) = (part(0..h), part(h..3 * h));
        let kv = kernels::linear(x.clone(), w_kv, b_kv, settings.precision);
        let x = kernels::pick(x, read.tokens);
        let q = kernels::linear(x.clone(), w_q, b_q, settings.precision);
        let a = kernels::cross_attention(q, kv, [read.rows, rows], attention(settings));
        after_attention(a, x, w, settings)
    }

    fn weights(&self, parameters: &Parameters) -> LayerWeights {
        let linear = |l: &Linear| (parameters.get(l.weight), parameters.at(l.bias));
        let norm = |n: &Norm| (parameters.at(n.gamma), parameters.at(n.beta));
        LayerWeights {
            qkv: linear(&self.qkv),
            output: linear(&self.output),
            attention_norm: norm(&self.attention_norm),
            wide: linear(&self.wide),
            narrow: linear(&self.narrow),
            norm: norm(&self.norm),
        }
    }
}

fn attention(settings: LayerSettings) -> AttentionSettings {
    AttentionSettings { heads: settings.heads, causal: false, noise: settings.noise[0] }
}

/// What a layer makes of what its attention found and of the states before it.
fn after_attention(a: Tensor<2>, x: Tensor<2>, w: LayerWeights, settings: LayerSettings) -> Tensor<2> {
    let LayerSettings { precision, eps, noise: [_, output_noise, noise], .. } = settings;
    let y = kernels::linear(a, w.output.0, w.output.1, precision);
    let x = kernels::add_norm(y, x, w.attention_norm.0, w.attention_norm.1, eps, output_noise);
    let y = kernels::ffn(x.clone(), w.wide.0, w.wide.1, w.narrow.0, w.narrow.1, precision);
    kernels::add_norm(y, x, w.norm.0, w.norm.1, eps, noise)
}

impl Backbone for Bert {
    fn kind(&self) -> &'static str {
        "bert"
    }
    fn hidden(&self) -> usize {
        self.settings.sizes.hidden
    }
    fn max_length(&self) -> usize {
        self.settings.max_length()
    }
    fn vocabulary(&self) -> usize {
        self.settings.sizes.vocabulary
    }

    fn token_table(&self) -> Matrix {
        self.word
    }
    fn add_corpora(&mut self, corpora: usize, parameters: &mut Parameters) {
        self.corpora = Some(corpora::table(corpora, self.hidden(), parameters));
    }
    fn corpora(&self) -> Option<Matrix> {
        self.corpora
    }
    fn layers(&self) -> usize {
        self.layers.len()
    }
    fn frozen(&self) -> Option<usize> {
        self.frozen
    }
    fn freeze(&mut self, layers: usize, parameters: &mut Parameters) {
        freeze_named(parameters, &self.names_below(layers));
        self.frozen = Some(layers);
    }
    fn names_below(&self, layers: usize) -> Vec<String> {
        let mut prefixes = vec!["backbone.embeddings.".to_owned()];
        prefixes.extend((0..layers).map(|i| format!("backbone.layer.{i}.")));
        prefixes
    }
    fn recompute_layers(&mut self) -> Result<(), ModelError> {
        self.recompute = true;
        Ok(())
    }

    fn precision(&self) -> Precision {
        self.precision
    }
    fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }

    fn lower(&self, parameters: &Parameters, tokens: Tokens<'_>, noise_seed: Option<u64>) -> Tensor<2> {
        let s = &self.settings;
        let noise_seed = noise_seed.filter(|_| self.frozen.is_none());
        // RoBERTa has one type, DistilBERT none: there the second text of a pair is only told by what stands before it.
        let last_type = s.sizes.types.saturating_sub(1) as u32;
        let segments: Vec<u32> = tokens.segments.iter().map(|segment| last_type.min(*segment)).collect();
        let positions = self.positions(tokens);
        let types = match self.types {
            Some(types) => parameters.get(types),
            None => Tensor::zeros([1, s.sizes.hidden], parameters.device()),
        };
        let (types, segments) = match self.corpora {
            Some(table) => {
                corpora::with_segments((types, &segments), (parameters.get(table), tokens.corpora))
            }
            None => (types, segments),
        };
        let ids = parameters.places(self.word, tokens.ids);
        let tables = [
            (parameters.get(self.word), &*ids),
            (parameters.get(self.position), &positions),
            (types, &segments),
        ];
        let (gamma, beta) = (parameters.at(self.norm.gamma), parameters.at(self.norm.beta));
        let x = kernels::embed_norm(
            tables,
            gamma,
            beta,
            s.eps,
            noise(s.dropout, noise_seed, 0, tokens.before.tokens),
        );
        self.run(0..self.frozen.unwrap_or(0), parameters, x, tokens, None)
    }

    fn middle(
        &self,
        parameters: &Parameters,
        below: Tensor<2>,
        tokens: Tokens<'_>,
        noise_seed: Option<u64>,
    ) -> Tensor<2> {
        let (first, end) = (self.frozen.unwrap_or(0), self.layers.len());
        self.run(first..end.saturating_sub(1), parameters, below, tokens, noise_seed)
    }

    fn last(
        &self,
        parameters: &Parameters,
        states: Tensor<2>,
        tokens: Tokens<'_>,
        read: Option<Read<'_>>,
        noise_seed: Option<u64>,
    ) -> Tensor<2> {
        let (first, end) = (self.frozen.unwrap_or(0), self.layers.len());
        match read {
            None => self.run(first.max(end.saturating_sub(1))..end, parameters, states, tokens, noise_seed),
            Some(read) if first == end => kernels::pick(states, read.tokens),
            Some(read) => {
                let settings = self.layer_settings(end - 1, noise_seed, read.before);
                self.layers[end - 1].states_read(parameters, states, tokens.rows, read, settings)
            }
        }
    }

    fn last_layer(&self) -> Vec<String> {
        self.layers.len().checked_sub(1).map(|last| format!("backbone.layer.{last}.")).into_iter().collect()
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
