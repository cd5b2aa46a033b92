//! Llama and its relatives: decoders, in which a token sees only those before it; usually pretrained.
//!
//! ```text
//! x = E[id]                                                               Gemma: times the root of the width
//! for every layer:
//!   n = norm(x);  q, k, v = n Wq^T, n Wk^T, n Wv^T                        Qwen 3, Gemma 3: q and k of each head pass a norm
//!   x = x + softmax(rotate(q) rotate(k)^T / sqrt(head_dim)) v Wo^T        to the tokens before, within a window in some families
//!   n = norm(x);  x = x + (silu(n Wg^T) * (n W1^T)) W2^T                  Gemma: gelu; norms also after both halves
//! states = norm(x);  logits = states W^T                                  W is E where the two are tied
//! ```
//!
//! Shapes: states `[tokens, hidden]`; Wq `[heads head_dim, hidden]`, Wk and Wv `[kv_heads head_dim, hidden]` in one matrix, Wo
//! `[hidden, heads head_dim]`, Wg and W1 `[intermediate_size, hidden]`, W2 `[hidden, intermediate_size]`. Norms are RMS norms. Positions
//! rotate pairs of columns and restart with every row.
//! From a folder in Hugging Face layout or a GGUF file: Llama 2 and 3, SmolLM2, Mistral, Qwen 2, 2.5 and 3, Gemma 3 (text); f32, f16 or
//! bf16 safetensors, one file or shards, or any quantization of GGUF that is common, computed with in f32; rotary scaling `linear`, `dynamic`, `yarn` and `llama3`, with the keys of transformers 4 and 5. The result is
//! saved in f32 in the same layout and opens with transformers.
//! From scratch: `{ llama = { layers = 8, hidden = 512, heads = 8 } }`; kv_heads as many as heads, intermediate_size 8/3 hidden, max_length
//! 2048, no dropout, tied output. Use it with `[tokenizer]`.
//! Cost: about 2 layers (2 hidden (heads + kv_heads) head_dim + 3 hidden intermediate_size) + 4 layers heads head_dim length operations a
//! token, three times that in training, and 2 hidden vocabulary for each token that is predicted.
//! When to use: texts to be written, and whatever a pretrained decoder knows. For labels alone an encoder of the size is better.
//! Errors: every key of config.json that changes the network and is not supported is refused with what was found and expected, as are
//! weights that do not fit it. A row may have no more tokens than `max_position_embeddings`.
//! Papers: Touvron et al. 2023, "LLaMA"; Su et al. 2021, "RoFormer"; Ainslie et al. 2023, "GQA"; Jiang et al. 2023, "Mistral 7B"; Yang et
//! al. 2024, "Qwen2 technical report"; Gemma team 2025, "Gemma 3 technical report".

mod family;
mod gguf;
mod onnx;
mod settings;

use super::rope::Rotary;
use super::{Backbone, BackboneSpec, LanguageModel, types_of_windows};
use crate::error::ModelError;
use crate::init::Init;
use crate::io::names::{NameTable, ParameterBuilder};
use crate::io::{self, Checkpoint, GgufModel, TensorNaming};
use crate::layers::lecun_normal;
use crate::onnx::{OnnxGraph, Value};
use crate::parameters::{MatrixId, Parameters, VectorId};
use crate::pruning::{CuttableSizes, HeadSizes, StateGate, StateWidth, WidthOfHeads};
use crate::sharing::{Half, Map, SiteWeight};
use crate::trunk::{Activation, EncoderInput, FeedForwardId, LayerContext, LinearId, TokenSelection};
use burn::tensor::Tensor;
use kernels::AttentionSettings;
pub use settings::LlamaConfig;
use settings::Settings;

/// The network: see the module.
#[derive(Debug)]
pub struct Llama {
    settings: Settings,
    spec: BackboneSpec,
    word: MatrixId,
    layers: Vec<Layer>,
    norm: VectorId,
    /// Rotary positions of layers without a window, and of those with one.
    rotary: [Rotary; 2],
}

#[derive(Debug)]
struct Layer {
    attention_norm: VectorId,
    q: LinearId,
    kv: LinearId,
    /// Norms of each head's queries and keys.
    qk_norm: Option<[VectorId; 2]>,
    output: LinearId,
    /// Norms of what the attention and the feed-forward part give.
    post_norms: Option<[VectorId; 2]>,
    feed_forward_norm: VectorId,
    feed_forward: FeedForwardId,
}

/// Every `model_type` of the family.
pub(super) const MODEL_TYPES: &[&str] = &["llama", "mistral", "qwen2", "qwen3", "gemma3_text"];

impl Llama {
    /// Builds one with drawn first values and adds its parameters to the table. `ends` are the tokens that a written text begins
    /// after and ends with.
    ///
    /// # Errors
    /// [`ModelError::Size`].
    pub fn from_scratch(
        config: &LlamaConfig,
        vocabulary: usize,
        ends: [u32; 2],
        parameters: &mut Parameters,
    ) -> Result<Self, ModelError> {
        let settings = Settings::from_scratch(config, vocabulary, ends)?;
        let names = settings.names("model.", false);
        Ok(Self::assemble(settings, names, false, parameters, &mut |_, init| init))
    }

    /// Adds the parameters that `names` tells; `first` may replace their first values. `output` tells whether the logits have a table of
    /// their own among them.
    fn assemble(
        settings: Settings,
        names: NameTable,
        output: bool,
        parameters: &mut Parameters,
        first: &mut dyn FnMut(&str, Init) -> Init,
    ) -> Self {
        let mut make = ParameterBuilder { parameters, table: &names, first };
        let word = make.matrix("backbone.embeddings.word", Init::Normal(0.02));
        let layers: Vec<Layer> =
            (0..settings.windows.len()).map(|i| Layer::make(&mut make, i, &settings)).collect();
        let norm = make.vector("backbone.norm", first_norm(&settings));
        let lm_head = output.then(|| make.matrix("backbone.lm_head", Init::Normal(0.02)));
        let language_model = LanguageModel {
            output: lm_head.or(settings.tied.then_some(word)),
            eos_token_ids: settings.eos_token_ids.clone(),
        };
        let spec = BackboneSpec {
            name: "llama",
            hidden: settings.hidden,
            max_length: settings.max_length,
            vocabulary: settings.vocabulary,
            token_embedding: word,
            layers: layers.iter().map(|layer| layer.site_weights(&settings)).collect(),
            takes_prefixes: false,
            language_model: Some(language_model),
            names,
            config_json: settings.json.clone(),
            passthrough: Vec::new(),
            notes: Vec::new(),
        };
        let rotary = settings.rotary.each_ref().map(|rotary| rotary.build(settings.head_dim));
        Self { settings, spec, word, layers, norm, rotary }
    }

    /// An RMS norm of rows as long as the weight.
    fn rms_norm(&self, context: &LayerContext<'_>, x: Tensor<2>, norm: VectorId) -> Tensor<2> {
        let (weight, offset) = (context.vector(norm), self.settings.family.norm_offset);
        let weight = if offset == 0.0 { weight } else { weight + offset };
        kernels::rms_norm(x, weight, self.settings.eps)
    }

    /// The same of each head by itself.
    fn head_norm(&self, context: &LayerContext<'_>, x: Tensor<2>, norm: VectorId) -> Tensor<2> {
        let ([n, width], d) = (x.dims(), self.settings.head_dim);
        self.rms_norm(context, x.reshape([n * width / d, d]), norm).reshape([n, width])
    }

    /// Rotated queries `[n, heads head_dim]` of normed states at these positions.
    fn queries(
        &self,
        index: usize,
        context: &LayerContext<'_>,
        n: Tensor<2>,
        positions: &[u32],
    ) -> Tensor<2> {
        let layer = &self.layers[index];
        let q = context.linear(Some(index), &[Map::Query], n, layer.q);
        let q = match layer.qk_norm {
            Some([norm, _]) => self.head_norm(context, q, norm),
            None => q,
        };
        self.rotate(index, q, self.settings.heads, positions)
    }

    /// Rotated keys and values, `[n, 2 kv_heads head_dim]`, of normed states at these positions.
    fn keys_and_values(
        &self,
        index: usize,
        context: &LayerContext<'_>,
        n: Tensor<2>,
        positions: &[u32],
    ) -> Tensor<2> {
        let (layer, width) = (&self.layers[index], self.settings.kv_dim());
        let kv = context.linear(Some(index), &[Map::Key, Map::Value], n, layer.kv);
        let kv = match layer.qk_norm {
            Some([_, norm]) => {
                let keys = self.head_norm(context, kernels::take_columns(kv.clone(), 0..width), norm);
                kernels::join_columns(vec![keys, kernels::take_columns(kv, width..2 * width)])
            }
            None => kv,
        };
        self.rotate(index, kv, self.settings.kv_heads, positions)
    }

    fn rotate(&self, index: usize, x: Tensor<2>, heads: usize, positions: &[u32]) -> Tensor<2> {
        self.rotary[usize::from(self.settings.windows[index].is_some())].rotate(x, heads, positions)
    }

    /// The attention of a layer.
    fn attention(&self, index: usize, context: &LayerContext<'_>) -> AttentionSettings {
        let s = &self.settings;
        AttentionSettings {
            kv_heads: s.kv_heads,
            causal: true,
            window: s.windows[index].map(|keys| keys - 1),
            scale: Some(s.scale),
            dropout: context.attention_dropout(s.dropout, index as u64),
            ..AttentionSettings::new(s.heads)
        }
    }
}

/// The first value of a norm's weight.
fn first_norm(settings: &Settings) -> Init {
    if settings.family.norm_offset == 0.0 { Init::Ones } else { Init::Zeros }
}

impl Layer {
    fn make(make: &mut ParameterBuilder<'_>, index: usize, s: &Settings) -> Self {
        let at = |part: &str| format!("backbone.layer.{index}.{part}");
        let linear = |make: &mut ParameterBuilder<'_>, part: &str, inputs: usize, bias: bool| LinearId {
            weight: make.matrix(&at(&format!("{part}.weight")), lecun_normal(inputs)),
            bias: bias.then(|| make.vector(&at(&format!("{part}.bias")), Init::Zeros)),
        };
        let norm = |make: &mut ParameterBuilder<'_>, part: &str| make.vector(&at(part), first_norm(s));
        let attention_norm = norm(make, "attention.norm");
        let (q, kv) = (
            linear(make, "attention.q", s.hidden, s.qkv_bias),
            linear(make, "attention.kv", s.hidden, s.qkv_bias),
        );
        let qk_norm =
            s.family.qk_norm.then(|| ["attention.q_norm", "attention.k_norm"].map(|part| norm(make, part)));
        let output = linear(make, "attention.output", s.q_dim(), s.output_bias);
        let post_norms = s
            .family
            .post_norms
            .then(|| ["attention.post_norm", "feed_forward.post_norm"].map(|part| norm(make, part)));
        let feed_forward_norm = norm(make, "feed_forward.norm");
        let feed_forward = FeedForwardId {
            ffn_in: linear(make, "feed_forward.in", s.hidden, s.mlp_bias),
            gate: Some(linear(make, "feed_forward.gate", s.hidden, s.mlp_bias)),
            ffn_out: linear(make, "feed_forward.out", s.intermediate_size, s.mlp_bias),
            activation: Activation::GluOfGate(s.activation),
        };
        Layer { attention_norm, q, kv, qk_norm, output, post_norms, feed_forward_norm, feed_forward }
    }

    fn site_weights(&self, s: &Settings) -> Vec<SiteWeight> {
        let (h, f, q, kv) = (s.hidden, s.intermediate_size, s.q_dim(), s.kv_dim());
        let part = |map, linear: LinearId, rows, inputs| SiteWeight {
            map,
            weight: linear.weight,
            bias: linear.bias,
            rows,
            inputs,
        };
        let FeedForwardId { ffn_in, gate, ffn_out, .. } = self.feed_forward;
        let mut sites = vec![
            part(Map::Query, self.q, 0..q, h),
            part(Map::Key, self.kv, 0..kv, h),
            part(Map::Value, self.kv, kv..2 * kv, h),
            part(Map::AttentionOutput, self.output, 0..h, q),
            part(Map::FfnIn, ffn_in, 0..f, h),
        ];
        sites.extend(gate.map(|gate| part(Map::FfnGate, gate, 0..f, h)));
        sites.push(part(Map::FfnOut, ffn_out, 0..h, f));
        sites
    }
}

/// Opens a checkpoint.
pub(super) fn open(
    checkpoint: Checkpoint<'_>,
    parameters: &mut Parameters,
) -> Result<Box<dyn Backbone>, ModelError> {
    let Checkpoint { weights, path, mut json, dropout } = checkpoint;
    if let Some(ends) = settings::ends_of_generation(path) {
        json["eos_token_id"] = ends;
    }
    let reader = weights.open()?;
    let has = |name: &str| reader.shape(name).is_some();
    let mut settings = Settings::from_json(path, json, dropout)?;
    // Saved without what makes logits, the network's names have no prefix.
    let bare = has("embed_tokens.weight") && !has("model.embed_tokens.weight");
    let prefix = if bare { "" } else { "model." };
    if bare {
        settings.json["architectures"] = serde_json::json!([settings.family.bare_class()]);
    }
    let output = !settings.tied && has("lm_head.weight");
    let names = settings.names(prefix, output);
    let own = &["model.", "layers.", "embed_tokens.", "norm.", "lm_head."];
    // Of a tied output a file may hold a copy. Older files have the frequencies of rotary positions.
    let copies = if output { &[][..] } else { &["lm_head.weight"] };
    let naming = TensorNaming { prefix: "", own, copies };
    let (values, rest) = io::read(&*reader, &names, naming)?;
    let mut llama = Llama::assemble(settings, names, output, parameters, &mut io::first_values(values));
    (llama.spec.passthrough, llama.spec.notes) = (rest.passthrough, rest.notes);
    Ok(Box::new(llama))
}

impl Backbone for Llama {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn embed(&self, context: &LayerContext<'_>, input: &EncoderInput<'_>) -> Tensor<2> {
        let x = context.token_vectors(self.word, input.ids);
        let x = match self.settings.family.scales_embeddings {
            true => kernels::scale(x, f64::from((self.settings.hidden as f32).sqrt())),
            false => x,
        };
        match context.dataset_vectors(input) {
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
        let layer = &self.layers[index];
        let n = self.rms_norm(context, x.clone(), layer.attention_norm);
        let kv = self.keys_and_values(index, context, n.clone(), input.positions);
        let narrowed;
        let (context, x, n, offsets, positions) = match selection {
            None => (context, x, n, input.offsets, None),
            // Keys and values of all tokens, everything else of the selected ones.
            Some(selection) => {
                narrowed = context.select(selection);
                let [x, n] = [x, n].map(|x| kernels::gather_rows(x, selection.tokens));
                (&narrowed, x, n, selection.offsets, Some(selection.positions(input)))
            }
        };
        let at = positions.as_deref().unwrap_or(input.positions);
        let q = self.queries(index, context, n.clone(), at);
        let settings = self.attention(index, context);
        let attended = match context.cache() {
            Some(cache) => cache.attend(index, q, kv, input.offsets, settings),
            None => kernels::cross_attention(q, kv, [offsets, input.offsets], positions.as_deref(), settings),
        };
        let y = context.linear(Some(index), &[Map::AttentionOutput], attended, layer.output);
        let y = match layer.post_norms {
            Some([norm, _]) => self.rms_norm(context, y, norm),
            None => y,
        };
        let (y, _) = context.after_half(Some(index), Half::Attention, &n, y, None);
        let x = kernels::add(x, y);
        let n = self.rms_norm(context, x.clone(), layer.feed_forward_norm);
        let y = context.feed_forward(Some(index), n.clone(), &layer.feed_forward, None);
        let y = match layer.post_norms {
            Some([_, norm]) => self.rms_norm(context, y, norm),
            None => y,
        };
        let (y, _) = context.after_half(Some(index), Half::FeedForward, &n, y, None);
        kernels::add(x, y)
    }

    fn finish(&self, context: &LayerContext<'_>, x: Tensor<2>) -> Tensor<2> {
        self.rms_norm(context, x, self.norm)
    }

    fn layer_types(&self) -> Option<Vec<&'static str>> {
        let has_key = self.settings.family.keys.contains(&"layer_types");
        has_key.then(|| types_of_windows(&self.settings.windows))
    }

    fn cuttable(&self) -> CuttableSizes {
        let s = &self.settings;
        let divide = s.family.heads_divide_hidden.then_some(s.hidden);
        let heads = HeadSizes { heads: s.heads, kv_heads: s.kv_heads, head_dim: s.head_dim, divide };
        let width = StateWidth { key: "hidden_size", width: s.hidden, of_heads: WidthOfHeads::Free(heads) };
        CuttableSizes {
            ffn: Ok("intermediate_size"),
            heads: Ok(heads),
            hidden: match s.family.scales_embeddings {
                true => Err("token vectors are multiplied by the root of the width, which would be another"),
                false => Ok(width),
            },
            layers: Ok(()),
            first_layer_stays: false,
        }
    }

    fn state_gates(&self) -> Vec<StateGate> {
        let of_layer = |index: usize| self.layer_gate(index).into_iter();
        let of_layers = (0..self.layers.len()).flat_map(of_layer);
        let rows = of_layers.map(|(parameter, offset)| StateGate::rows(parameter, offset));
        [StateGate::columns(self.word.index())].into_iter().chain(rows).collect()
    }

    fn of_a_head(&self) -> Vec<usize> {
        self.layers.iter().flat_map(|layer| layer.qk_norm).flatten().map(VectorId::index).collect()
    }

    fn layer_gate(&self, index: usize) -> Vec<(usize, f64)> {
        let layer = &self.layers[index];
        let offset = f64::from(self.settings.family.norm_offset);
        match layer.post_norms {
            // A norm takes a factor before it out again.
            Some(norms) => norms.map(|norm| (norm.index(), offset)).to_vec(),
            None => [layer.output, layer.feed_forward.ffn_out]
                .into_iter()
                .flat_map(|linear| [Some(linear.weight.index()), linear.bias.map(VectorId::index)])
                .flatten()
                .map(|parameter| (parameter, 0.0))
                .collect(),
        }
    }

    fn onnx(&self, graph: &mut OnnxGraph) -> Result<Value, ModelError> {
        Ok(onnx::states(self, graph))
    }

    fn gguf(&self) -> Result<GgufModel, ModelError> {
        gguf::described(&self.settings)
    }

    fn gguf_difference(&self, config: serde_json::Value) -> Option<String> {
        gguf::difference(&self.settings, config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_opened_by_its_model_type() {
        let types: Vec<&str> = family::ALL.iter().map(|family| family.model_type).collect();
        assert_eq!(types, MODEL_TYPES);
    }
}
