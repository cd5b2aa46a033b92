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
//! `[intermediate_size, hidden]`, W2 `[hidden, intermediate_size]`; the biases `[32, heads]` are one table for all layers, by ranges of
//! distances. No vector is added for a place, so that rows may be of any length. The decoder has the same layers with an attention
//! to the states between the two parts; tasks that read the encoder alone do not run it.
//! From a folder in Hugging Face layout: T5, T5 v1.1, flan-T5 and mT5; f32, f16 or bf16 safetensors; tied output or its own. The
//! result is saved in f32 in the same layout and opens with transformers.
//! From scratch: `{ t5 = { layers = 4, decoder_layers = 4, hidden = 256, heads = 4 } }`; intermediate_size is 4 hidden, dropout 0.1, the
//! output is the token table. Use it with `[tokenizer]`.
//! Cost: about 2 layers (4 hidden^2 + 3 hidden intermediate_size) + 4 layers hidden length operations a token of the encoder, half as
//! much more in the attention of the decoder, and 2 hidden vocabulary a written token.
//! When to use: translation and generation, alone or beside tasks on the encoder.
//! Errors: an activation other than relu and gated-gelu, and weights that do not fit config.json are refused with what was
//! found and expected.
//! Papers: Raffel et al. 2020, "Exploring the limits of transfer learning with a unified text-to-text transformer"; Shazeer 2020,
//! "GLU variants improve transformer"; Xue et al. 2021, "mT5"; Chung et al. 2022, "Scaling instruction-finetuned language models"
//! (flan-T5).

mod settings;

use super::{Backbone, BackboneSpec};
use crate::decoder::{Decoder, Generator};
use crate::error::ModelError;
use crate::init::Init;
use crate::io::names::{NameTable, ParameterBuilder};
use crate::io::{self, Checkpoint, TensorNaming};
use crate::layers::{Attention, FeedForward, longest};
use crate::parameters::{MatrixId, Parameters, VectorId};
use crate::trunk::{EncoderInput, LayerContext, TokenSelection};
use burn::tensor::Tensor;
use kernels::{AttentionSettings, Precision};
pub use settings::T5Config;
pub(crate) use settings::{MODEL_TYPES, Settings};
use std::sync::Arc;

/// The network: see the module.
#[derive(Debug)]
pub struct T5 {
    settings: Settings,
    spec: BackboneSpec,
    table: MatrixId,
    distances: MatrixId,
    layers: Vec<Layer>,
    norm: VectorId,
    decoder: Decoder,
}

#[derive(Debug)]
struct Layer {
    attention: Attention,
    feed_forward: FeedForward,
}

/// Dropout sites of a layer: attention probabilities, attention output, inside the feed-forward block, its output. Site 0 is
/// that of the embeddings, the one after the last layer's that of the final norm.
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
        let mut make = ParameterBuilder { parameters, table: &names, first };
        let blocks = &settings.blocks;
        let table = make.matrix("backbone.embeddings.word", Init::Normal(1.0));
        let distances = make.matrix("backbone.embeddings.distances", Init::Zeros);
        let layer = |i: usize| Layer {
            attention: Attention::make(&mut make, &format!("backbone.layer.{i}.attention"), Some(i), blocks),
            feed_forward: FeedForward::make(
                &mut make,
                &format!("backbone.layer.{i}.feed_forward"),
                Some(i),
                blocks,
            ),
        };
        let layers: Vec<Layer> = (0..settings.layers).map(layer).collect();
        let norm = make.vector("backbone.norm", Init::Ones);
        let decoder = Decoder::make(&mut make, settings.decoder, table);
        let sites = |layer: &Layer| {
            [layer.attention.site_weights(blocks), layer.feed_forward.site_weights(blocks)].concat()
        };
        let spec = BackboneSpec {
            name: "t5",
            hidden: blocks.hidden,
            max_length: settings::LONGEST,
            vocabulary: settings.vocabulary,
            token_embedding: table,
            layers: layers.iter().map(sites).collect(),
            takes_prefixes: false,
            language_model: None,
            names,
            config_json: settings.json.clone(),
            passthrough: Vec::new(),
            notes: Vec::new(),
        };
        Self { settings, spec, table, distances, layers, norm, decoder }
    }
}

/// Opens a checkpoint.
pub(super) fn open(
    checkpoint: Checkpoint<'_>,
    parameters: &mut Parameters,
) -> Result<Box<dyn Backbone>, ModelError> {
    let Checkpoint { weights, path, json, dropout } = checkpoint;
    let reader = weights.open()?;
    let output = reader.shape("lm_head.weight").is_some();
    let settings = Settings::from_json(path, json, output, dropout)?;
    let names = settings.names();
    let own = &["encoder.", "decoder.", "shared.", "lm_head."];
    let naming = TensorNaming { prefix: "", own, copies: settings.copies() };
    let (values, rest) = io::read(&*reader, &names, naming)?;
    let mut t5 = T5::assemble(settings, names, parameters, &mut io::first_values(values));
    (t5.spec.passthrough, t5.spec.notes) = (rest.passthrough, rest.notes);
    Ok(Box::new(t5))
}

impl Backbone for T5 {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn generator(&self, precision: Precision) -> Option<Arc<dyn Generator>> {
        Some(Arc::new(self.decoder.clone().with_precision(precision)))
    }

    fn embed(&self, context: &LayerContext<'_>, input: &EncoderInput<'_>) -> Tensor<2> {
        let x = context.token_vectors(self.table, input.ids);
        let x = match context.dataset_vectors(input) {
            Some(datasets) => kernels::add(x, datasets),
            None => x,
        };
        kernels::dropout(x, context.dropout(self.settings.blocks.dropout, 0))
    }

    fn layer(
        &self,
        index: usize,
        context: &LayerContext<'_>,
        x: Tensor<2>,
        input: &EncoderInput<'_>,
        selection: Option<&TokenSelection<'_>>,
    ) -> Tensor<2> {
        let (s, Layer { attention, feed_forward }) = (&self.settings.blocks, &self.layers[index]);
        let bias = context.once(|| {
            let distance = longest(input.offsets).max(1) - 1;
            self.settings.buckets.bias(context.parameters(), self.distances, distance)
        });
        let site = |site| 1 + SITES * index as u64 + site;
        let normed = attention.pre_norm(context, x.clone(), s);
        let kv = attention.keys_and_values(context, normed.clone());
        let narrowed;
        let (context, x, normed, offsets, positions) = match selection {
            None => (context, x, normed, input.offsets, None),
            // Keys and values of all tokens, everything else of the selected ones.
            Some(selection) => {
                narrowed = context.select(selection);
                let [x, normed] = [x, normed].map(|x| kernels::gather_rows(x, selection.tokens));
                (&narrowed, x, normed, selection.offsets, Some(selection.positions(input)))
            }
        };
        let q = attention.queries(context, normed.clone());
        let dropout = context.attention_dropout(s.dropout, site(0));
        let settings = AttentionSettings { dropout, ..AttentionSettings::new(s.heads) };
        let offsets = [offsets, input.offsets];
        let attended = kernels::relative_attention(q, kv, bias, offsets, positions.as_deref(), settings);
        let dropout = context.dropout(s.dropout, site(1));
        let x = attention.output_projection(context, x, attended, Some(&normed), dropout);
        let dropout = [2, 3].map(|number| context.dropout(s.dropout, site(number)));
        feed_forward.run(context, x, s, dropout)
    }

    fn finish(&self, context: &LayerContext<'_>, x: Tensor<2>) -> Tensor<2> {
        let s = &self.settings.blocks;
        let x = kernels::rms_norm(x, context.vector(self.norm), s.eps);
        kernels::dropout(x, context.dropout(s.dropout, 1 + SITES * self.layers.len() as u64))
    }
}
