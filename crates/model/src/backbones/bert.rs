//! BERT and its relatives: a transformer encoder that sees the whole row at once; usually pretrained.
//!
//! ```text
//! x   = dropout(norm(E_word[id] + E_position[p] + E_type[segment]))                 ELECTRA, ALBERT: narrow, then x We^T + be
//! for every layer:
//!   a = attention(x Wqkv^T + bqkv)                  inside each row; softmax(q k^T / sqrt(hidden / heads)) v, with dropout
//!                                                   MPNet: softmax(q k^T / sqrt(hidden / heads) + bias) v, a bias by distance
//!   x = norm(dropout(a Wo^T + bo) + x)
//!   x = norm(dropout(gelu(x W1^T + b1) W2^T + b2) + x)
//! ```
//!
//! Shapes: states `[tokens, hidden]`; Wqkv `[3 hidden, hidden]` (query, key and value above one another), Wo
//! `[hidden, hidden]`, W1 `[intermediate_size, hidden]`, W2 `[hidden, intermediate_size]`, We `[hidden, embedding_size]`. gelu is the
//! exact one, or the one with tanh, or relu, as `hidden_act` says. ALBERT's layers have the same parameters, or groups of them have.
//! From a folder in Hugging Face layout: BERT (MiniLM and most sentence encoders are BERTs), DistilBERT, RoBERTa, XLM-R,
//! ELECTRA, MPNet and ALBERT; f32, f16 or bf16 safetensors, one file or shards; with or without pooler; saved from the bare encoder or from inside a
//! larger model, whose heads are left out. The result is saved in f32 in the same layout and opens with transformers.
//! From scratch: `{ bert = { layers = 4, hidden = 256, heads = 4 } }`; intermediate_size is 4 hidden, max_length 512, dropout 0.1.
//! Cost: about 2 layers (4 hidden^2 + 2 hidden intermediate_size) + 4 layers hidden length operations a token, three times that in
//! training. MiniLM-L6: 22.7 M parameters, of them 10.6 M in the layers.
//! When to use: whenever a pretrained checkpoint for the language exists. From scratch only with much data.
//! Errors: another activation, other relative positions than MPNet's, a decoder, and weights that do not fit config.json are refused
//! with what was found and expected.
//! Papers: Devlin et al. 2019, "BERT"; Sanh et al. 2019, "DistilBERT"; Liu et al. 2019, "RoBERTa"; Conneau et al. 2020,
//! "Unsupervised cross-lingual representation learning at scale" (XLM-R); Clark et al. 2020, "ELECTRA"; Song et al. 2020, "MPNet"; Lan et al.
//! 2020, "ALBERT".

pub mod architecture;
mod onnx;
mod settings;

use super::{Backbone, BackboneSpec};
use crate::cast::to_u32;
use crate::error::ModelError;
use crate::init::Init;
use crate::io::names::{NameTable, ParameterBuilder};
use crate::io::{self, Checkpoint};
use crate::layers::longest;
use crate::onnx::{OnnxGraph, Value};
use crate::parameters::{MatrixId, Parameters, VectorId};
use crate::pruning::{CuttableSizes, HeadSizes, StateGate, StateWidth, WidthOfHeads};
use crate::sharing::{Half, Map, SiteWeight};
use crate::trunk::{EncoderInput, FeedForwardId, LayerContext, LinearId, Prefixed, TokenSelection};
use architecture::DISTANCES;
use burn::tensor::Tensor;
use kernels::{AttentionSettings, RowOffsets};
pub use settings::{BertConfig, Settings};

/// The network: see the module.
#[derive(Debug)]
pub struct Bert {
    settings: Settings,
    spec: BackboneSpec,
    word: MatrixId,
    position: MatrixId,
    types: Option<MatrixId>,
    norm: Norm,
    projection: Option<LinearId>,
    distances: Option<MatrixId>,
    layers: Vec<Layer>,
}

#[derive(Debug, Clone, Copy)]
struct Norm {
    gamma: VectorId,
    beta: VectorId,
}

#[derive(Debug, Clone)]
struct Layer {
    qkv: LinearId,
    output: LinearId,
    attention_norm: Norm,
    feed_forward: FeedForwardId,
    norm: Norm,
}

/// Dropout sites of a layer: attention probabilities, attention output, feed-forward output. Site 0 is that of the embeddings.
const SITES: u64 = 3;

/// What the rows of the fused projection are.
const QKV: [Map; 3] = [Map::Query, Map::Key, Map::Value];

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
        let mut make = ParameterBuilder { parameters, table: &names, first };
        // The first values of BERT's own code.
        let init = || Init::Normal(0.02);
        let word = make.matrix("backbone.embeddings.word", init());
        let position = make.matrix("backbone.embeddings.position", init());
        let types = (settings.sizes.types > 0).then(|| make.matrix("backbone.embeddings.type", init()));
        let norm = |make: &mut ParameterBuilder<'_>, name: &str| Norm {
            gamma: make.vector(&format!("{name}.weight"), Init::Ones),
            beta: make.vector(&format!("{name}.bias"), Init::Zeros),
        };
        let linear = |make: &mut ParameterBuilder<'_>, name: &str| LinearId {
            weight: make.matrix(&format!("{name}.weight"), init()),
            bias: Some(make.vector(&format!("{name}.bias"), Init::Zeros)),
        };
        let embedding_norm = norm(&mut make, "backbone.embeddings.norm");
        let projection = settings
            .architecture
            .projection_of(&settings.sizes)
            .map(|_| linear(&mut make, "backbone.embeddings.projection"));
        let distances = (settings.architecture.relative_bias)
            .map(|_| make.matrix("backbone.embeddings.distances", Init::Zeros));
        let layer = |i: usize| {
            let at = |part: &str| format!("backbone.layer.{i}.{part}");
            Layer {
                qkv: linear(&mut make, &at("attention.qkv")),
                output: linear(&mut make, &at("attention.output")),
                attention_norm: norm(&mut make, &at("attention.norm")),
                feed_forward: FeedForwardId {
                    ffn_in: linear(&mut make, &at("feed_forward.in")),
                    gate: None,
                    ffn_out: linear(&mut make, &at("feed_forward.out")),
                    activation: settings.activation,
                },
                norm: norm(&mut make, &at("feed_forward.norm")),
            }
        };
        let stacks: Vec<Layer> = (0..settings.sizes.stacks()).map(layer).collect();
        let layers = (0..settings.sizes.layers).map(|i| stacks[settings.sizes.stack(i)].clone());
        let layers: Vec<Layer> = layers.collect();
        let spec = BackboneSpec {
            name: "bert",
            hidden: settings.sizes.hidden,
            max_length: settings.max_length(),
            vocabulary: settings.sizes.vocabulary,
            token_embedding: word,
            layers: layers.iter().map(|layer| layer.site_weights(&settings)).collect(),
            // Keys before those of a sequence are at no distance.
            takes_prefixes: distances.is_none(),
            language_model: None,
            names,
            config_json: settings.json.clone(),
            passthrough: Vec::new(),
            notes: Vec::new(),
        };
        let norm = embedding_norm;
        Self { settings, spec, word, position, types, norm, projection, distances, layers }
    }

    /// Rows of the position table for the pack's tokens.
    fn positions(&self, input: &EncoderInput<'_>) -> Vec<u32> {
        let Some(padding) = self.settings.padding_before_positions() else {
            return input.positions.to_vec();
        };
        // As transformers counts: a padding id inside a row has the padding's own position and is not counted.
        let mut positions = Vec::with_capacity(input.ids.len());
        for row in input.offsets.windows(2) {
            let mut skipped = 0;
            for i in row[0]..row[1] {
                if input.ids[i] == padding {
                    skipped += 1;
                    positions.push(padding);
                } else {
                    positions.push(input.positions[i] + padding + 1 - skipped);
                }
            }
        }
        positions
    }

    /// The bias of attention scores `[2 max_distance + 1, heads]`, where there is one.
    fn bias(&self, context: &LayerContext<'_>, input: &EncoderInput<'_>) -> Option<Tensor<2>> {
        let distances = self.distances?;
        let reach = longest(input.offsets).max(1) - 1;
        Some(context.once(|| DISTANCES.bias(context.parameters(), distances, reach)))
    }

    /// `norm(dropout(y) + residual)`
    fn add_norm(
        &self,
        context: &LayerContext<'_>,
        [y, residual]: [Tensor<2>; 2],
        norm: Norm,
        dropout: Option<kernels::Dropout>,
    ) -> Tensor<2> {
        let (gamma, beta) = (context.vector(norm.gamma), context.vector(norm.beta));
        kernels::add_norm(y, residual, gamma, beta, self.settings.eps, dropout)
    }
}

/// Every `model_type` of the family.
pub(super) const MODEL_TYPES: &[&str] =
    &["bert", "distilbert", "roberta", "xlm-roberta", "electra", "mpnet", "albert"];

/// Opens a checkpoint.
pub(super) fn open(
    checkpoint: Checkpoint<'_>,
    parameters: &mut Parameters,
) -> Result<Box<dyn Backbone>, ModelError> {
    let Checkpoint { weights, path, json, dropout } = checkpoint;
    let settings = Settings::from_json(path, json, dropout)?;
    let names = settings.names();
    let (values, rest) = io::read(&*weights.open()?, &names, settings.architecture.naming())?;
    let mut bert = Bert::assemble(settings, names, parameters, &mut io::first_values(values));
    (bert.spec.passthrough, bert.spec.notes) = (rest.passthrough, rest.notes);
    Ok(Box::new(bert))
}

impl Layer {
    fn site_weights(&self, settings: &Settings) -> Vec<SiteWeight> {
        let (h, f) = (settings.sizes.hidden, settings.sizes.intermediate_size);
        let part = |map, linear: LinearId, rows, inputs| SiteWeight {
            map,
            weight: linear.weight,
            bias: linear.bias,
            rows,
            inputs,
        };
        let FeedForwardId { ffn_in, ffn_out, .. } = self.feed_forward;
        vec![
            part(Map::Query, self.qkv, 0..h, h),
            part(Map::Key, self.qkv, h..2 * h, h),
            part(Map::Value, self.qkv, 2 * h..3 * h, h),
            part(Map::AttentionOutput, self.output, 0..h, h),
            part(Map::FfnIn, ffn_in, 0..f, h),
            part(Map::FfnOut, ffn_out, 0..h, f),
        ]
    }
}

impl Backbone for Bert {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn embed(&self, context: &LayerContext<'_>, input: &EncoderInput<'_>) -> Tensor<2> {
        let s = &self.settings;
        // RoBERTa has one token type, DistilBERT none: there only the separator tells the second text of a pair from the first.
        let last_type = to_u32(s.sizes.types.saturating_sub(1));
        let segments: Vec<u32> = input.segments.iter().map(|segment| last_type.min(*segment)).collect();
        let positions = self.positions(input);
        let types = match self.types {
            Some(types) => context.matrix(types),
            None => Tensor::zeros([1, s.sizes.embedding], context.parameters().device()),
        };
        let datasets = context.dataset_vectors(input);
        let (types, segments) = match (datasets.clone(), self.projection) {
            (Some(datasets), None) => {
                let sum = kernels::add(kernels::gather_rows(types, &segments), datasets);
                (sum, (0..to_u32(input.ids.len())).collect())
            }
            // Vectors of corpora are as wide as states.
            _ => (types, segments),
        };
        let (words, ids) = context.token_table(self.word, input.ids);
        let tables =
            [(words, &*ids), (context.matrix(self.position), &positions[..]), (types, &segments[..])];
        let (gamma, beta) = (context.vector(self.norm.gamma), context.vector(self.norm.beta));
        let x = kernels::embed_norm(tables, gamma, beta, s.eps, context.dropout(s.dropout, 0));
        let Some(projection) = self.projection else { return x };
        let x = context.linear(None, &[], x, projection);
        match datasets {
            Some(datasets) => kernels::add(x, datasets),
            None => x,
        }
    }

    fn layer(
        &self,
        index: usize,
        context: &LayerContext<'_>,
        x: Tensor<2>,
        input: &EncoderInput<'_>,
        selection: Option<&TokenSelection<'_>>,
    ) -> Tensor<2> {
        let (s, layer) = (&self.settings, &self.layers[index]);
        let site = |site| 1 + SITES * index as u64 + site;
        let attention = |context: &LayerContext<'_>| AttentionSettings {
            dropout: context.attention_dropout(s.attention_dropout, site(0)),
            ..AttentionSettings::new(s.sizes.heads)
        };
        let narrowed;
        let own = context;
        let h = s.sizes.hidden;
        let keys_and_values = || context.linear_part(Some(index), &QKV[1..], x.clone(), layer.qkv, h..3 * h);
        let queries = |context: &LayerContext<'_>, x: &Tensor<2>| {
            context.linear_part(Some(index), &QKV[..1], x.clone(), layer.qkv, 0..h)
        };
        let across = |context: &LayerContext<'_>, q: Tensor<2>, rows: &RowOffsets, at: Option<&[u32]>| {
            let kv = keys_and_values();
            if let Some(bias) = self.bias(own, input) {
                // With a bias scores are not divided by themselves.
                let d = (s.sizes.hidden / s.sizes.heads) as f32;
                let settings = AttentionSettings { scale: Some(d.powf(-0.5)), ..attention(context) };
                return kernels::relative_attention(q, kv, bias, [rows, input.offsets], at, settings);
            }
            // The lanes of the keys are those of all tokens.
            match own.with_prefixes(index, &kv, input.offsets) {
                Some(Prefixed { kv, offsets, length }) => {
                    let dropout = context.prefixed_dropout(s.attention_dropout, site(0), length);
                    let settings = AttentionSettings { dropout, ..attention(context) };
                    kernels::cross_attention(q, kv, [rows, &offsets], None, settings)
                }
                None => kernels::cross_attention(q, kv, [rows, input.offsets], None, attention(context)),
            }
        };
        let (context, attended, x) = match selection {
            None if self.distances.is_some() || context.has_prefixes(index) => {
                let attended = across(context, queries(context, &x), input.offsets, None);
                (context, attended, x.clone())
            }
            None => {
                let qkv = context.linear(Some(index), &QKV, x.clone(), layer.qkv);
                (context, kernels::attention(qkv, input.offsets, attention(context)), x.clone())
            }
            // Keys and values of all tokens, everything else of the selected ones.
            Some(selection) => {
                narrowed = context.select(selection);
                let selected = kernels::gather_rows(x.clone(), selection.tokens);
                let positions = selection.positions(input);
                let q = queries(&narrowed, &selected);
                let attended = across(&narrowed, q, selection.offsets, Some(&positions));
                (&narrowed, attended, selected)
            }
        };
        let output_rate = if s.architecture.attention_output_dropout { s.dropout } else { 0.0 };
        let y = context.linear(Some(index), &[Map::AttentionOutput], attended, layer.output);
        let dropout = context.dropout(output_rate, site(1));
        let (y, dropout) = context.after_half(Some(index), Half::Attention, &x, y, dropout);
        let x = self.add_norm(context, [y, x], layer.attention_norm, dropout);
        let y = context.feed_forward(Some(index), x.clone(), &layer.feed_forward, None);
        let feed_forward_rate = if s.architecture.feed_forward_dropout { s.dropout } else { 0.0 };
        let dropout = context.dropout(feed_forward_rate, site(2));
        let (y, dropout) = context.after_half(Some(index), Half::FeedForward, &x, y, dropout);
        self.add_norm(context, [y, x], layer.norm, dropout)
    }

    fn cuttable(&self) -> CuttableSizes {
        let (sizes, keys) = (&self.settings.sizes, &self.settings.architecture.keys);
        let cuttable = CuttableSizes::ffn_alone(keys.intermediate_size);
        let (heads, head_dim) = (sizes.heads, sizes.hidden / sizes.heads);
        let heads = HeadSizes { heads, kv_heads: heads, head_dim, divide: None };
        let of_heads = WidthOfHeads::Follow(keys.heads, heads);
        let width = StateWidth { key: keys.hidden, width: sizes.hidden, of_heads };
        let is_plain = self.projection.is_none() && self.distances.is_none();
        let hidden = if is_plain { Ok(width) } else { cuttable.hidden };
        match sizes.stacks() < sizes.layers {
            true => CuttableSizes {
                layers: Err("layers have the same weights, so that none of them is more important"),
                ..cuttable
            },
            false => CuttableSizes { hidden, ..cuttable },
        }
    }

    /// Norms are what writes states last.
    fn state_gates(&self) -> Vec<StateGate> {
        let of_layers = self.layers.iter().flat_map(|layer| [layer.attention_norm, layer.norm]);
        let norms = [self.norm].into_iter().chain(of_layers);
        let both = norms.flat_map(|norm| [norm.gamma, norm.beta]);
        both.map(|vector| StateGate::rows(vector.index(), 0.0)).collect()
    }

    fn onnx(&self, graph: &mut OnnxGraph) -> Result<Value, ModelError> {
        Ok(onnx::states(self, graph))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_architecture_is_opened_by_its_model_type() {
        let types: Vec<&str> = architecture::ALL.iter().map(|architecture| architecture.model_type).collect();
        assert_eq!(types, MODEL_TYPES);
    }
}
