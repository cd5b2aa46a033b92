//! DeBERTa, versions 2 and 3: an encoder whose attention reads what tokens are and how far apart they stand by separate products.
//!
//! ```text
//! x = dropout(norm(E_word[id] (+ E_position[p]) (+ E_type[segment])))
//! R = norm(E_distance)                            a vector for each of 2 position_buckets distances, ranges farther away
//! for every layer:
//!   q, k, v = x Wqkv^T + bqkv;  Pk, Pq = dropout(R) by the weights of k and q, or by their own
//!   score[i, j] = (q_i k_j + q_i Pk[r] + k_j Pq[r]) / sqrt(3 hidden / heads)       r is the bucket of i - j
//!   x = norm(dropout(dropout(softmax(score)) v Wo^T + bo) + x)
//!   x = norm(dropout(gelu(x W1^T + b1) W2^T + b2) + x)
//! ```
//!
//! Shapes: states `[tokens, hidden]`; Wqkv `[3 hidden, hidden]`, E_distance `[2 position_buckets, hidden]`, the others as in `bert`.
//! The distances of a pack are looked up once, and only those that its longest row has are multiplied.
//! From a folder in Hugging Face layout: `model_type` deberta-v2, which DeBERTa-v2 and v3 and mDeBERTa have; f32, f16 or bf16
//! safetensors; with or without `share_att_key`, absolute positions, token types. Saved in f32 in the same layout; opens with
//! transformers.
//! From scratch: `{ deberta = { layers = 4, hidden = 256, heads = 4 } }`, as version 3; intermediate_size is 4 hidden, max_length 512,
//! dropout 0.1.
//! Sharing schemes: with `share_att_key` an update of queries or keys changes the vectors of distances, too, as in transformers, where
//! they are made by the same module.
//! Cost: that of `bert`, and for each layer 4 distances hidden^2 operations a pack and twice the products of attention scores for
//! each row.
//! When to use: DeBERTa-v3 is among the strongest encoders of its size on classification and tagging; slower than BERT.
//! Errors: a convolution (`conv_kernel_size`, DeBERTa-v2-xlarge), attention without distances, narrow embeddings, other activations
//! than gelu and relu, and weights that do not fit config.json are refused with what was found and expected.
//! Papers: He et al. 2021, "DeBERTa: decoding-enhanced BERT with disentangled attention"; He, Gao and Chen 2023, "DeBERTaV3".

mod distances;
mod onnx;
mod settings;

use super::{Backbone, BackboneSpec};
use crate::cast::to_u32;
use crate::error::ModelError;
use crate::init::Init;
use crate::io::names::{NameTable, ParameterBuilder};
use crate::io::{self, Checkpoint, TensorNaming};
use crate::onnx::{OnnxGraph, Value};
use crate::parameters::{MatrixId, Parameters, VectorId};
use crate::pruning::CuttableSizes;
use crate::sharing::{Half, Map, SiteWeight};
use crate::trunk::{
    EncoderInput, FeedForwardId, LayerContext, LinearId, TokenSelection, from_zero, sequences_of,
};
use burn::tensor::Tensor;
use distances::Distances;
use kernels::{DisentangledSettings, Dropout, RowOffsets};
pub use settings::DebertaConfig;
use settings::Settings;

/// The network: see the module.
#[derive(Debug)]
pub struct Deberta {
    settings: Settings,
    spec: BackboneSpec,
    word: MatrixId,
    position: Option<MatrixId>,
    types: Option<MatrixId>,
    norm: Norm,
    distances: MatrixId,
    distances_norm: Option<Norm>,
    layers: Vec<Layer>,
}

#[derive(Debug, Clone, Copy)]
struct Norm {
    gamma: VectorId,
    beta: VectorId,
}

#[derive(Debug)]
struct Layer {
    qkv: LinearId,
    /// What makes keys, and queries, of distances; `None` where the layer's own do, or nothing.
    of_distances: [Option<LinearId>; 2],
    output: LinearId,
    attention_norm: Norm,
    feed_forward: FeedForwardId,
    norm: Norm,
}

/// Dropout sites of a layer: attention probabilities, attention output, feed-forward output, vectors of distances. Site 0 is that of
/// the embeddings.
const SITES: u64 = 4;

/// What the rows of the fused projection are.
const QKV: [Map; 3] = [Map::Query, Map::Key, Map::Value];

/// What `model_type` may be.
pub(super) const MODEL_TYPES: &[&str] = &["deberta-v2"];

/// Opens a checkpoint.
pub(super) fn open(
    checkpoint: Checkpoint<'_>,
    parameters: &mut Parameters,
) -> Result<Box<dyn Backbone>, ModelError> {
    let Checkpoint { weights, path, json, dropout } = checkpoint;
    let settings = Settings::from_json(path, json, dropout)?;
    let names = settings.names();
    let naming = TensorNaming { prefix: "deberta.", own: &["embeddings.", "encoder."], copies: &[] };
    let (values, rest) = io::read(&*weights.open()?, &names, naming)?;
    let mut deberta = Deberta::assemble(settings, names, parameters, &mut io::first_values(values));
    (deberta.spec.passthrough, deberta.spec.notes) = (rest.passthrough, rest.notes);
    Ok(Box::new(deberta))
}

impl Deberta {
    /// Builds one with drawn first values and adds its parameters to the table.
    ///
    /// # Errors
    /// [`ModelError::Size`].
    pub fn from_scratch(
        config: &DebertaConfig,
        vocabulary: usize,
        parameters: &mut Parameters,
    ) -> Result<Self, ModelError> {
        let settings = Settings::from_scratch(config, vocabulary)?;
        let names = settings.names();
        Ok(Self::assemble(settings, names, parameters, &mut |_, init| init))
    }

    fn assemble(
        settings: Settings,
        names: NameTable,
        parameters: &mut Parameters,
        first: &mut dyn FnMut(&str, Init) -> Init,
    ) -> Self {
        let mut make = ParameterBuilder { parameters, table: &names, first };
        // The first values of its own code.
        let init = || Init::Normal(0.02);
        let norm = |make: &mut ParameterBuilder<'_>, name: &str| Norm {
            gamma: make.vector(&format!("{name}.weight"), Init::Ones),
            beta: make.vector(&format!("{name}.bias"), Init::Zeros),
        };
        let linear = |make: &mut ParameterBuilder<'_>, name: &str| LinearId {
            weight: make.matrix(&format!("{name}.weight"), init()),
            bias: Some(make.vector(&format!("{name}.bias"), Init::Zeros)),
        };
        let s = &settings;
        let word = make.matrix("backbone.embeddings.word", init());
        let position = s.absolute_positions.then(|| make.matrix("backbone.embeddings.position", init()));
        let types = (s.types > 0).then(|| make.matrix("backbone.embeddings.type", init()));
        let embedding_norm = norm(&mut make, "backbone.embeddings.norm");
        let distances = make.matrix("backbone.embeddings.distances", init());
        let distances_norm = s.norm_distances.then(|| norm(&mut make, "backbone.embeddings.distances_norm"));
        let layer = |i: usize| {
            let at = |part: &str| format!("backbone.layer.{i}.{part}");
            let own = |wanted: bool| wanted && !s.share_att_key;
            Layer {
                qkv: linear(&mut make, &at("attention.qkv")),
                of_distances: [
                    own(s.content_to_position).then(|| linear(&mut make, &at("attention.distance_key"))),
                    own(s.position_to_content).then(|| linear(&mut make, &at("attention.distance_query"))),
                ],
                output: linear(&mut make, &at("attention.output")),
                attention_norm: norm(&mut make, &at("attention.norm")),
                feed_forward: FeedForwardId {
                    ffn_in: linear(&mut make, &at("feed_forward.in")),
                    gate: None,
                    ffn_out: linear(&mut make, &at("feed_forward.out")),
                    activation: s.activation,
                },
                norm: norm(&mut make, &at("feed_forward.norm")),
            }
        };
        let layers: Vec<Layer> = (0..s.layers).map(layer).collect();
        let spec = BackboneSpec {
            name: "deberta",
            hidden: s.hidden,
            max_length: s.positions,
            vocabulary: s.vocabulary,
            token_embedding: word,
            layers: layers.iter().map(|layer| layer.site_weights(s)).collect(),
            // Keys before those of a sequence are at no distance.
            takes_prefixes: false,
            language_model: None,
            names,
            config_json: s.json.clone(),
            passthrough: Vec::new(),
            notes: Vec::new(),
        };
        let norm = embedding_norm;
        Self { settings, spec, word, position, types, norm, distances, distances_norm, layers }
    }

    /// The vectors of the distances of a pack, normed: `[rows, hidden]`.
    fn vectors(&self, context: &LayerContext<'_>, distances: &Distances) -> Tensor<2> {
        let rows = kernels::take_rows(context.matrix(self.distances), distances.rows.clone());
        match self.distances_norm {
            Some(Norm { gamma, beta }) => {
                kernels::norm(rows, context.vector(gamma), context.vector(beta), self.settings.eps)
            }
            None => rows,
        }
    }

    /// Keys and queries of distances `[rows, hidden]`, those that the attention has; with the updates that a task's lane has.
    fn tables(
        &self,
        index: usize,
        context: &LayerContext<'_>,
        distances: &Distances,
        task: Option<&str>,
    ) -> [Option<Tensor<2>>; 2] {
        let (s, layer) = (&self.settings, &self.layers[index]);
        let vectors = context.once(|| self.vectors(context, distances));
        let own = context.of_table(task, distances.rows.clone());
        let vectors = kernels::dropout(vectors, own.dropout(s.dropout, site(index, 3)));
        let h = s.hidden;
        let of = |wanted: bool, linear: Option<LinearId>, map: Map, rows: std::ops::Range<usize>| {
            wanted.then(|| match linear {
                Some(linear) => own.linear(None, &[], vectors.clone(), linear),
                None => own.linear_part(Some(index), &[map], vectors.clone(), layer.qkv, rows),
            })
        };
        let [key, query] = layer.of_distances;
        [
            of(s.content_to_position, key, Map::Key, h..2 * h),
            of(s.position_to_content, query, Map::Query, 0..h),
        ]
    }

    /// The attention's context `[queries, hidden]`. `own` is the context of all tokens.
    fn attend(
        &self,
        index: usize,
        own: &LayerContext<'_>,
        [q, kv]: [Tensor<2>; 2],
        (rows, positions): (&RowOffsets, Option<&[u32]>),
        input: &EncoderInput<'_>,
        dropout: Option<Dropout>,
    ) -> Tensor<2> {
        let distances = self.settings.distances.of_rows(input.offsets);
        let settings =
            DisentangledSettings { heads: self.settings.heads, index: distances.index.clone(), dropout };
        let updated = self.settings.share_att_key && own.hooks(index, &[Map::Query, Map::Key]);
        if !updated || own.lanes().is_empty() {
            let tables = self.tables(index, own, &distances, None);
            let rows = [rows, input.offsets];
            return kernels::disentangled_attention(q, kv, tables, rows, positions, settings);
        }
        let mut parts = Vec::new();
        for lane in own.lanes().iter() {
            let sequences = sequences_of(input.offsets, &lane.tokens);
            let queries = rows[sequences.start]..rows[sequences.end];
            if queries.is_empty() {
                continue;
            }
            let length = |rows: &[usize], sequence: usize| rows[sequence + 1] - rows[sequence];
            let before: usize =
                (0..sequences.start).map(|i| length(rows, i) * length(input.offsets, i)).sum();
            let dropout = dropout.map(|dropout| dropout.with_offset(dropout.offset + before));
            let settings = DisentangledSettings { dropout, ..settings.clone() };
            let tables = self.tables(index, own, &distances, Some(&lane.task));
            let [own_rows, keys] = [rows, input.offsets].map(|rows| from_zero(rows, &sequences));
            let q = kernels::take_rows(q.clone(), queries.clone());
            let kv = kernels::take_rows(kv.clone(), lane.tokens.clone());
            let positions = positions.map(|positions| &positions[queries]);
            let rows = [&own_rows, &keys];
            parts.push(kernels::disentangled_attention(q, kv, tables, rows, positions, settings));
        }
        Tensor::cat(parts, 0)
    }

    /// `norm(dropout(y) + residual)`
    fn add_norm(
        &self,
        context: &LayerContext<'_>,
        [y, residual]: [Tensor<2>; 2],
        norm: Norm,
        dropout: Option<Dropout>,
    ) -> Tensor<2> {
        let (gamma, beta) = (context.vector(norm.gamma), context.vector(norm.beta));
        kernels::add_norm(y, residual, gamma, beta, self.settings.eps, dropout)
    }
}

fn site(layer: usize, number: u64) -> u64 {
    1 + SITES * layer as u64 + number
}

impl Layer {
    fn site_weights(&self, s: &Settings) -> Vec<SiteWeight> {
        let (h, f) = (s.hidden, s.intermediate_size);
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

impl Backbone for Deberta {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn embed(&self, context: &LayerContext<'_>, input: &EncoderInput<'_>) -> Tensor<2> {
        let s = &self.settings;
        let nothing = || Tensor::zeros([1, s.hidden], context.parameters().device());
        let none = vec![0; input.ids.len()];
        let last_type = to_u32(s.types.saturating_sub(1));
        let segments: Vec<u32> = input.segments.iter().map(|segment| last_type.min(*segment)).collect();
        let types = self.types.map_or_else(nothing, |types| context.matrix(types));
        let (types, segments) = match context.dataset_vectors(input) {
            Some(datasets) => {
                let sum = kernels::add(kernels::gather_rows(types, &segments), datasets);
                (sum, (0..to_u32(input.ids.len())).collect())
            }
            None => (types, segments),
        };
        let positions = match self.position {
            Some(position) => (context.matrix(position), input.positions),
            None => (nothing(), &none[..]),
        };
        let (words, ids) = context.token_table(self.word, input.ids);
        let tables = [(words, &*ids), positions, (types, &segments[..])];
        let (gamma, beta) = (context.vector(self.norm.gamma), context.vector(self.norm.beta));
        kernels::embed_norm(tables, gamma, beta, s.eps, context.dropout(s.dropout, 0))
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
        let (own, h, narrowed) = (context, s.hidden, selection.map(|selection| context.select(selection)));
        let kv = own.linear_part(Some(index), &QKV[1..], x.clone(), layer.qkv, h..3 * h);
        // Keys and values of all tokens, everything else of the selected ones.
        let context = narrowed.as_ref().unwrap_or(own);
        let x = match selection {
            Some(selection) => kernels::gather_rows(x, selection.tokens),
            None => x,
        };
        let q = context.linear_part(Some(index), &QKV[..1], x.clone(), layer.qkv, 0..h);
        let dropout = context.attention_dropout(s.attention_dropout, site(index, 0));
        let positions = selection.map(|selection| selection.positions(input));
        let rows = selection.map_or(input.offsets, |selection| selection.offsets);
        let attended = self.attend(index, own, [q, kv], (rows, positions.as_deref()), input, dropout);
        let y = context.linear(Some(index), &[Map::AttentionOutput], attended, layer.output);
        let dropout = context.dropout(s.dropout, site(index, 1));
        let (y, dropout) = context.after_half(Some(index), Half::Attention, &x, y, dropout);
        let x = self.add_norm(context, [y, x], layer.attention_norm, dropout);
        let y = context.feed_forward(Some(index), x.clone(), &layer.feed_forward, None);
        let dropout = context.dropout(s.dropout, site(index, 2));
        let (y, dropout) = context.after_half(Some(index), Half::FeedForward, &x, y, dropout);
        self.add_norm(context, [y, x], layer.norm, dropout)
    }

    fn cuttable(&self) -> CuttableSizes {
        CuttableSizes::ffn_alone("intermediate_size")
    }

    fn onnx(&self, graph: &mut OnnxGraph) -> Result<Value, ModelError> {
        Ok(onnx::states(self, graph))
    }
}
