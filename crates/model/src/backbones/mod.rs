//! Backbones: networks from tokens to states, layer by layer. One file each; its leading comment is its documentation.

pub mod bag;
pub mod bert;
pub mod deberta;
pub mod llama;
pub mod modernbert;
mod registry;
mod rope;
pub mod t5;

pub use registry::{BackboneConfig, CATALOGUE, FromScratch, build};
pub(crate) use registry::{OPENERS, is_decoder, supported};

use crate::decoder::Generator;
use crate::error::ModelError;
use crate::io::GgufModel;
use crate::io::PassthroughTensor;
use crate::io::names::NameTable;
use crate::onnx::{OnnxGraph, Value};
use crate::parameters::{MatrixId, VectorId};
use crate::pruning::{CuttableSizes, StateGate};
use crate::sharing::{Map, SiteWeight, TrunkShape};
use crate::trunk::{EncoderInput, LayerContext, TokenSelection};
use burn::tensor::Tensor;
use kernels::Precision;
use std::fmt::Debug;
use std::sync::Arc;

/// What is constant about a backbone.
#[derive(Debug, Clone)]
pub struct BackboneSpec {
    /// Its name in the catalogue.
    pub name: &'static str,
    /// The width of a state.
    pub hidden: usize,
    /// The longest sequence it takes, in tokens.
    pub max_length: usize,
    /// How many token ids it knows.
    pub vocabulary: usize,
    /// The table `[vocabulary, hidden]`, or narrower where a projection follows, of which [`Backbone::embed`] looks up the rows of the pack's ids, and no others. Logits
    /// may be made with it too.
    pub token_embedding: MatrixId,
    /// For each layer its linear maps.
    pub layers: Vec<Vec<SiteWeight>>,
    /// Whether its layers ask for keys and values that stand before those of a sequence ([`LayerContext::with_prefixes`]).
    pub takes_prefixes: bool,
    /// What predicts the next token from a state, of a network in which a token sees none after it; `None` of an encoder.
    pub language_model: Option<LanguageModel>,
    /// The names of its parameters here and in `model.safetensors`.
    pub names: NameTable,
    /// `config.json`: what [`crate::open`] needs to build it again.
    pub config_json: serde_json::Value,
    /// Tensors of the checkpoint that it does not use but gives back unchanged when it is saved (a pooler).
    pub passthrough: Vec<PassthroughTensor>,
    /// What a user should know about how the checkpoint was read, a sentence each: for example tensors left out.
    pub notes: Vec<String>,
}

/// What predicts the next token of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanguageModel {
    /// The table `[vocabulary, hidden]` that logits are made with; `None` where the checkpoint has none.
    pub output: Option<MatrixId>,
    /// The tokens that end a text.
    pub eos_token_ids: Vec<u32>,
}

impl BackboneSpec {
    /// Whether a token sees none after it.
    pub fn is_causal(&self) -> bool {
        self.language_model.is_some()
    }

    /// What a sharing scheme is told of it.
    pub fn shape(&self) -> TrunkShape {
        TrunkShape {
            hidden: self.hidden,
            layers: self.layers.clone(),
            takes_prefixes: self.takes_prefixes,
            causal: self.is_causal(),
        }
    }
}

/// `layer_types` of layers with these windows.
fn types_of_windows(windows: &[Option<usize>]) -> Vec<&'static str> {
    let name = |window: &Option<usize>| if window.is_some() { "sliding_attention" } else { "full_attention" };
    windows.iter().map(name).collect()
}

/// A network, layer by layer. It holds sizes and handles; it knows no freezing, no precision, no dataset embeddings and no
/// sharing scheme: [`crate::Trunk`] does, and hands it a [`LayerContext`].
pub trait Backbone: Send + Sync + Debug {
    /// What is constant about it.
    fn spec(&self) -> &BackboneSpec;

    /// States `[tokens, hidden]` that enter the first layer.
    fn embed(&self, context: &LayerContext<'_>, input: &EncoderInput<'_>) -> Tensor<2>;

    /// States `[tokens, hidden]` after layer `index` from those before it, `x` `[tokens, hidden]`. With a selection only those of
    /// the selected tokens, in their order.
    fn layer(
        &self,
        index: usize,
        context: &LayerContext<'_>,
        x: Tensor<2>,
        input: &EncoderInput<'_>,
        selection: Option<&TokenSelection<'_>>,
    ) -> Tensor<2>;

    /// What follows the last layer: the last norm of a pre-norm network.
    fn finish(&self, _context: &LayerContext<'_>, x: Tensor<2>) -> Tensor<2> {
        x
    }

    /// Which of its sizes can be made smaller, so that its config.json says so.
    fn cuttable(&self) -> CuttableSizes {
        CuttableSizes::none("the backbone has none of its own in each layer that config.json could say")
    }

    /// For each layer the keys that a token sees as config.json's `layer_types` says it, where layers differ in that; `None` where they do
    /// not, or where config.json has no such key.
    fn layer_types(&self) -> Option<Vec<&'static str>> {
        None
    }

    /// The parameters whose sum of (offset + weight) times gradient is the derivative of a loss by a number that everything which layer
    /// `index` adds to the states is multiplied by: index and offset. Those of the maps out of the layer's two halves, unless norms follow.
    fn layer_gate(&self, index: usize) -> Vec<(usize, f64)> {
        let out = self.spec().layers[index]
            .iter()
            .filter(|site| matches!(site.map, Map::AttentionOutput | Map::FfnOut));
        out.flat_map(|site| [Some(site.weight.index()), site.bias.map(VectorId::index)])
            .flatten()
            .map(|parameter| (parameter, 0.0))
            .collect()
    }

    /// What writes the states: the parameters whose numbers times gradients, summed up for each dimension, are the derivatives of a loss by
    /// numbers that the dimensions are multiplied by wherever states are written. Nothing where the width cannot be cut.
    fn state_gates(&self) -> Vec<StateGate> {
        Vec::new()
    }

    /// The parameters as long as a head is wide, whatever the width of states is.
    fn of_a_head(&self) -> Vec<usize> {
        Vec::new()
    }

    /// Adds the whole network to an ONNX graph, and returns its states `[batch, length, hidden]` out of [`Backbone::finish`].
    ///
    /// # Errors
    /// [`ModelError::NoExport`] of a network that has no graph.
    fn onnx(&self, _graph: &mut OnnxGraph) -> Result<Value, ModelError> {
        Err(ModelError::NoExport {
            format: "ONNX",
            reason: format!("the backbone `{}` has no graph", self.spec().name),
            remedy: "a model on one of bag, bert, deberta, llama, modernbert".into(),
        })
    }

    /// What the keys and tensors of a GGUF file are made of.
    ///
    /// # Errors
    /// [`ModelError::NoExport`] of a network that llama.cpp does not have.
    fn gguf(&self) -> Result<GgufModel, ModelError> {
        Err(ModelError::NoExport {
            format: "GGUF",
            reason: format!("the backbone `{}` is no decoder of llama.cpp", self.spec().name),
            remedy: "a model on a Llama, Mistral, Qwen 2 or 3, or Gemma 3; or --format onnx".into(),
        })
    }

    /// What in the config.json that a GGUF file stands for is not as in this network.
    fn gguf_difference(&self, _config: serde_json::Value) -> Option<String> {
        None
    }

    /// What writes texts from the states, where the network has it, with products of such numbers.
    fn generator(&self, _precision: Precision) -> Option<Arc<dyn Generator>> {
        None
    }
}
