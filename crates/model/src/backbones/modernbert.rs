//! ModernBERT: an encoder with rotary positions, of which most layers look at near tokens alone; for long rows; usually pretrained.
//!
//! ```text
//! x = dropout(norm(E_word[id]))
//! for every layer:
//!   n = norm(x), in the first layer x itself;  q, k, v = n Wqkv^T
//!   x = x + dropout(softmax(rotate(q) rotate(k)^T / sqrt(hidden / heads)) v Wo^T)    over the row, or a window around each token
//!   n = norm(x);  a, b = n Wi^T;  x = x + dropout(gelu(a) b) W2^T
//! states = norm(x)
//! ```
//!
//! Shapes: states `[tokens, hidden]`; Wqkv `[3 hidden, hidden]`, Wo `[hidden, hidden]`, Wi `[2 intermediate_size, hidden]` (what is activated
//! above what it is multiplied by), W2 `[hidden, intermediate_size]`. Norms have no shift and linear layers no bias, unless config.json
//! says so. Every third layer sees the whole row, the others the 64 tokens on each side; the two sorts have rotary positions of
//! different bases. gelu is the exact one.
//! From a folder in Hugging Face layout: `model_type` modernbert, with the keys of transformers 4 or 5; f32, f16 or bf16 safetensors. The
//! result is saved in f32 in the same layout and opens with transformers.
//! From scratch: `{ modernbert = { layers = 6, hidden = 256, heads = 4 } }`; intermediate_size is 3/2 hidden, max_length 8192, dropout 0.1.
//! Cost: about 2 layers (4 hidden^2 + 3 hidden intermediate_size) + 4 layers hidden length operations a token, three times that in
//! training. The scores of a window are computed for the whole row, and those outside left out.
//! When to use: English texts and code, above all longer than the 512 tokens of BERT. ModernBERT-base: 149 M parameters.
//! Errors: activations other than gelu and silu, layer types that are not known, and weights that do not fit config.json are refused
//! with what was found and expected. PEFT has no adapters for queries, keys and values in one tensor: none are written.
//! Papers: Warner et al. 2024, "Smarter, better, faster, longer: a modern bidirectional encoder"; Su et al. 2021, "RoFormer"; Shazeer
//! 2020, "GLU variants improve transformer".

mod onnx;
mod settings;

use super::rope::Rotary;
use super::{Backbone, BackboneSpec, types_of_windows};
use crate::error::ModelError;
use crate::init::Init;
use crate::io::names::{NameTable, ParameterBuilder};
use crate::io::{self, Checkpoint, TensorNaming};
use crate::onnx::{OnnxGraph, Value};
use crate::parameters::{MatrixId, Parameters, VectorId};
use crate::pruning::CuttableSizes;
use crate::sharing::{Half, Map, SiteWeight};
use crate::trunk::{Activation, EncoderInput, FeedForwardId, LayerContext, LinearId, TokenSelection};
use burn::tensor::Tensor;
use kernels::AttentionSettings;
pub use settings::ModernBertConfig;
use settings::Settings;

/// The network: see the module.
#[derive(Debug)]
pub struct ModernBert {
    settings: Settings,
    spec: BackboneSpec,
    word: MatrixId,
    norm: Norm,
    layers: Vec<Layer>,
    final_norm: Norm,
    /// Rotary positions of layers that see the whole row, and of those with a window.
    rotary: [Rotary; 2],
}

#[derive(Debug, Clone, Copy)]
struct Norm {
    gamma: VectorId,
    beta: Option<VectorId>,
}

#[derive(Debug)]
struct Layer {
    /// The first layer has none.
    attention_norm: Option<Norm>,
    qkv: LinearId,
    output: LinearId,
    norm: Norm,
    feed_forward: FeedForwardId,
}

/// Dropout sites of a layer: attention probabilities, attention output, inside the feed-forward block. Site 0 is that of the
/// embeddings.
const SITES: u64 = 3;

/// What the rows of the fused projection are.
const QKV: [Map; 3] = [Map::Query, Map::Key, Map::Value];

/// What `model_type` may be.
pub(super) const MODEL_TYPES: &[&str] = &["modernbert"];

/// Opens a checkpoint.
pub(super) fn open(
    checkpoint: Checkpoint<'_>,
    parameters: &mut Parameters,
) -> Result<Box<dyn Backbone>, ModelError> {
    let Checkpoint { weights, path, json, dropout } = checkpoint;
    let settings = Settings::from_json(path, json, dropout)?;
    let names = settings.names();
    let own = &["embeddings.", "layers.", "final_norm."];
    let naming = TensorNaming { prefix: "model.", own, copies: &[] };
    let (values, rest) = io::read(&*weights.open()?, &names, naming)?;
    let mut network = ModernBert::assemble(settings, names, parameters, &mut io::first_values(values));
    (network.spec.passthrough, network.spec.notes) = (rest.passthrough, rest.notes);
    Ok(Box::new(network))
}

impl ModernBert {
    /// Builds one with drawn first values and adds its parameters to the table.
    ///
    /// # Errors
    /// [`ModelError::Size`].
    pub fn from_scratch(
        config: &ModernBertConfig,
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
        let word = make.matrix("backbone.embeddings.word", Init::Normal(0.02));
        let embedding_norm = Norm::make(&mut make, "backbone.embeddings.norm", &settings);
        let layers: Vec<Layer> =
            (0..settings.windows.len()).map(|i| Layer::make(&mut make, i, &settings)).collect();
        let final_norm = Norm::make(&mut make, "backbone.norm", &settings);
        let spec = BackboneSpec {
            name: "modernbert",
            hidden: settings.hidden,
            max_length: settings.max_length,
            vocabulary: settings.vocabulary,
            token_embedding: word,
            layers: layers.iter().map(|layer| layer.site_weights(&settings)).collect(),
            // Keys before those of a sequence are at no position.
            takes_prefixes: false,
            language_model: None,
            names,
            config_json: settings.json.clone(),
            passthrough: Vec::new(),
            notes: Vec::new(),
        };
        let head_dim = settings.hidden / settings.heads;
        let rotary = settings.rotary.each_ref().map(|rotary| rotary.build(head_dim));
        Self { settings, spec, word, norm: embedding_norm, layers, final_norm, rotary }
    }

    fn layer_norm(&self, context: &LayerContext<'_>, x: Tensor<2>, norm: Norm) -> Tensor<2> {
        let gamma = context.vector(norm.gamma);
        let beta = match norm.beta {
            Some(beta) => context.vector(beta),
            None => Tensor::zeros([self.settings.hidden], &gamma.device()),
        };
        kernels::norm(x, gamma, beta, self.settings.eps)
    }

    /// Rotates the first `heads` heads of tokens at these positions.
    fn rotate(&self, index: usize, x: Tensor<2>, heads: usize, positions: &[u32]) -> Tensor<2> {
        self.rotary[usize::from(self.settings.windows[index].is_some())].rotate(x, heads, positions)
    }

    /// The attention of a layer.
    fn attention(&self, index: usize, context: &LayerContext<'_>) -> AttentionSettings {
        let s = &self.settings;
        AttentionSettings {
            window: s.windows[index],
            dropout: context.attention_dropout(s.attention_dropout, site(index, 0)),
            ..AttentionSettings::new(s.heads)
        }
    }
}

fn site(layer: usize, number: u64) -> u64 {
    1 + SITES * layer as u64 + number
}

impl Norm {
    fn make(make: &mut ParameterBuilder<'_>, name: &str, s: &Settings) -> Self {
        Norm {
            gamma: make.vector(&format!("{name}.weight"), Init::Ones),
            beta: s.norm_bias.then(|| make.vector(&format!("{name}.bias"), Init::Zeros)),
        }
    }
}

impl Layer {
    fn make(make: &mut ParameterBuilder<'_>, index: usize, s: &Settings) -> Self {
        let at = |part: &str| format!("backbone.layer.{index}.{part}");
        // The first values of its own code: smaller where they are added to the states.
        let out = 0.02 / (2.0 * s.windows.len() as f32).sqrt();
        let linear = |make: &mut ParameterBuilder<'_>, part: &str, size: f32, bias: bool| LinearId {
            weight: make.matrix(&at(&format!("{part}.weight")), Init::Normal(size)),
            bias: bias.then(|| make.vector(&at(&format!("{part}.bias")), Init::Zeros)),
        };
        Layer {
            attention_norm: (index > 0).then(|| Norm::make(make, &at("attention.norm"), s)),
            qkv: linear(make, "attention.qkv", 0.02, s.attention_bias),
            output: linear(make, "attention.output", out, s.attention_bias),
            norm: Norm::make(make, &at("feed_forward.norm"), s),
            feed_forward: FeedForwardId {
                ffn_in: linear(make, "feed_forward.in", 0.02, s.mlp_bias),
                gate: None,
                ffn_out: linear(make, "feed_forward.out", out, s.mlp_bias),
                activation: Activation::GluOfHalves(s.activation),
            },
        }
    }

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
            part(Map::FfnGate, ffn_in, f..2 * f, h),
            part(Map::FfnOut, ffn_out, 0..h, f),
        ]
    }
}

impl Backbone for ModernBert {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn embed(&self, context: &LayerContext<'_>, input: &EncoderInput<'_>) -> Tensor<2> {
        let x = context.token_vectors(self.word, input.ids);
        let x = match context.dataset_vectors(input) {
            Some(datasets) => kernels::add(x, datasets),
            None => x,
        };
        let x = self.layer_norm(context, x, self.norm);
        kernels::dropout(x, context.dropout(self.settings.embedding_dropout, 0))
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
        let (h, heads) = (s.hidden, s.heads);
        let normed = |x: &Tensor<2>| match layer.attention_norm {
            Some(norm) => self.layer_norm(context, x.clone(), norm),
            None => x.clone(),
        };
        let n = normed(&x);
        let narrowed;
        let (context, attended, x, n) = match selection {
            None => {
                let qkv = context.linear(Some(index), &QKV, n.clone(), layer.qkv);
                let qkv = self.rotate(index, qkv, 2 * heads, input.positions);
                let settings = self.attention(index, context);
                (context, kernels::attention(qkv, input.offsets, settings), x, n)
            }
            // Keys and values of all tokens, everything else of the selected ones.
            Some(selection) => {
                let kv = context.linear_part(Some(index), &QKV[1..], n.clone(), layer.qkv, h..3 * h);
                let kv = self.rotate(index, kv, heads, input.positions);
                narrowed = context.select(selection);
                let [x, n] = [x, n].map(|x| kernels::gather_rows(x, selection.tokens));
                let q = narrowed.linear_part(Some(index), &QKV[..1], n.clone(), layer.qkv, 0..h);
                let positions = selection.positions(input);
                let q = self.rotate(index, q, heads, &positions);
                let (rows, settings) = ([selection.offsets, input.offsets], self.attention(index, &narrowed));
                (&narrowed, kernels::cross_attention(q, kv, rows, Some(&positions), settings), x, n)
            }
        };
        let y = context.linear(Some(index), &[Map::AttentionOutput], attended, layer.output);
        let dropout = context.dropout(s.attention_dropout, site(index, 1));
        let (y, dropout) = context.after_half(Some(index), Half::Attention, &n, y, dropout);
        let x = kernels::add(x, kernels::dropout(y, dropout));
        let n = self.layer_norm(context, x.clone(), layer.norm);
        let inside = context.dropout(s.mlp_dropout, site(index, 2));
        let y = context.feed_forward(Some(index), n.clone(), &layer.feed_forward, inside);
        let (y, _) = context.after_half(Some(index), Half::FeedForward, &n, y, None);
        kernels::add(x, y)
    }

    fn finish(&self, context: &LayerContext<'_>, x: Tensor<2>) -> Tensor<2> {
        self.layer_norm(context, x, self.final_norm)
    }

    fn layer_types(&self) -> Option<Vec<&'static str>> {
        Some(types_of_windows(&self.settings.windows))
    }

    fn cuttable(&self) -> CuttableSizes {
        // The first layer has no norm before its attention.
        CuttableSizes { first_layer_stays: true, ..CuttableSizes::ffn_alone("intermediate_size") }
    }

    fn onnx(&self, graph: &mut OnnxGraph) -> Result<Value, ModelError> {
        Ok(onnx::states(self, graph))
    }
}
