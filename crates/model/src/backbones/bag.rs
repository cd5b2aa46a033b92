//! Embeddings that look at their neighbours, averaged by the text heads: a few hundred thousand parameters, no pretraining.
//!
//! Every token id has a vector of `width` numbers. With `window` = 0 these vectors are the token states, and a text head
//! that averages them is the classic bag of words. With a window w > 0 a token also sees the w tokens before and after it
//! in its row, so that a tagging head can tell "Apple" the company from the fruit:
//!
//! ```text
//! e_i = dropout(E[id_i])                                        [width]
//! c_i = (e_{i-w}, ..., e_i, ..., e_{i+w})                       [(2w+1) width]; a learned vector stands beyond the row's ends
//! s_i = norm(e_i + dropout(W2 gelu(W1 c_i + b1) + b2))          [width]
//! ```
//!
//! Shapes: E `[vocabulary, width]`, W1 `[width, (2w+1) width]`, W2 `[width, width]`, one set for all places.
//! Defaults: width 128, window 2, dropout 0.1. Nothing is cut before 512 tokens (`max_length`), which costs nothing to raise.
//! Cost: about 2 (2w+2) width^2 floating-point operations a token: for the defaults a hundredth of MiniLM-L6.
//! When to use: a baseline, a demonstration, short texts with much labelled data, or where a prediction has to take
//! microseconds. Word order beyond the window is lost.
//! Errors: a size out of its range is refused with the range.
//! Papers: Joulin et al. 2017, "Bag of tricks for efficient text classification" (the average); Collobert et al. 2011,
//! "Natural language processing (almost) from scratch" (the window).

mod onnx;

use super::{Backbone, BackboneSpec};
use crate::cast::to_u32;
use crate::checks::{rate, size};
use crate::error::ModelError;
use crate::init::Init;
use crate::io::names::{NameTable, ParameterBuilder};
use crate::io::{self, Checkpoint};
use crate::onnx::{OnnxGraph, Value as OnnxValue};
use crate::parameters::{Depth, Level, MatrixId, Parameters, Role, VectorId};
use crate::sharing::{Half, Map, SiteWeight};
use crate::trunk::{Activation, EncoderInput, FeedForwardId, LayerContext, LinearId, TokenSelection};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// `{ bag = { width = 128, window = 2 } }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BagConfig {
    /// Numbers per token.
    #[schemars(range(min = 1, max = 65536))]
    pub width: usize,
    /// How many tokens to each side a token sees; 0 is the classic bag of words.
    #[schemars(range(min = 0, max = 16))]
    pub window: usize,
    /// Share of the numbers set to 0 in training.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f32,
    /// The longest row in tokens.
    #[schemars(range(min = 1, max = 1000000))]
    pub max_length: usize,
}

impl Default for BagConfig {
    fn default() -> Self {
        Self { width: 128, window: 2, dropout: 0.1, max_length: 512 }
    }
}

/// The network: see the module.
#[derive(Debug)]
pub struct Bag {
    config: BagConfig,
    spec: BackboneSpec,
    embeddings: MatrixId,
    mixing: Option<WindowMixing>,
}

/// What a window adds to the embeddings: the network's one layer.
#[derive(Debug)]
struct WindowMixing {
    boundary_embedding: MatrixId,
    feed_forward: FeedForwardId,
    gamma: VectorId,
    beta: VectorId,
}

/// `model_type` in config.json.
pub(crate) const MODEL_TYPE: &str = "polytask-bag";
const EPS: f32 = 1e-5;

impl Bag {
    /// Builds it with drawn first values and adds its parameters to the table.
    ///
    /// # Errors
    /// [`ModelError::Size`].
    pub fn new(
        config: &BagConfig,
        vocabulary: usize,
        parameters: &mut Parameters,
    ) -> Result<Self, ModelError> {
        let names = Self::names(config, vocabulary)?;
        Ok(Self::assemble(config, vocabulary, names, parameters, &mut |_, init| init))
    }

    /// Names and shapes of its parameters.
    pub(crate) fn names(config: &BagConfig, vocabulary: usize) -> Result<NameTable, ModelError> {
        let width = size("bag.width", config.width, 1, 65_536)?;
        size("bag.window", config.window, 0, 16)?;
        size("bag.max_length", config.max_length, 1, 1_000_000)?;
        size("bag.vocabulary", vocabulary, 1, i32::MAX as usize)?;
        rate("bag.dropout", config.dropout)?;
        let mut names = NameTable::default();
        let mut push = |name: &str, shape: &[usize], role, level| {
            names.push(format!("backbone.{name}"), [name], shape, (role, Depth::encoder(level)));
        };
        push("embeddings", &[vocabulary, width], Role::Embedding, Level::Embeddings);
        if config.window > 0 {
            let layer = Level::Layer(0);
            push("edge", &[1, width], Role::Embedding, layer);
            push("window.weight", &[width, (2 * config.window + 1) * width], Role::Linear, layer);
            push("window.bias", &[width], Role::Bias, layer);
            push("output.weight", &[width, width], Role::Linear, layer);
            push("output.bias", &[width], Role::Bias, layer);
            push("norm.weight", &[width], Role::Norm, layer);
            push("norm.bias", &[width], Role::NormShift, layer);
        }
        Ok(names)
    }

    /// Adds the parameters that `names` tells; `first` may replace their first values.
    pub(crate) fn assemble(
        config: &BagConfig,
        vocabulary: usize,
        names: NameTable,
        parameters: &mut Parameters,
        first: &mut dyn FnMut(&str, Init) -> Init,
    ) -> Self {
        let mut make = ParameterBuilder { parameters, table: &names, first };
        let (width, around) = (config.width, (2 * config.window + 1) * config.width);
        let embeddings = make.matrix("backbone.embeddings", Init::Normal(0.1));
        let linear = |make: &mut ParameterBuilder<'_>, name: &str, inputs| LinearId {
            weight: make.matrix(&format!("backbone.{name}.weight"), Init::glorot(inputs, width)),
            bias: Some(make.vector(&format!("backbone.{name}.bias"), Init::Zeros)),
        };
        let mixing = (config.window > 0).then(|| WindowMixing {
            boundary_embedding: make.matrix("backbone.edge", Init::Normal(0.1)),
            feed_forward: FeedForwardId {
                ffn_in: linear(&mut make, "window", around),
                gate: None,
                ffn_out: linear(&mut make, "output", width),
                activation: Activation::Gelu,
            },
            gamma: make.vector("backbone.norm.weight", Init::Ones),
            beta: make.vector("backbone.norm.bias", Init::Zeros),
        });
        let sites = |mixing: &WindowMixing| {
            let FeedForwardId { ffn_in, ffn_out, .. } = mixing.feed_forward;
            let part = |map, linear: LinearId, inputs| SiteWeight {
                map,
                weight: linear.weight,
                bias: linear.bias,
                rows: 0..width,
                inputs,
            };
            vec![part(Map::FfnIn, ffn_in, around), part(Map::FfnOut, ffn_out, width)]
        };
        let spec = BackboneSpec {
            name: "bag",
            hidden: width,
            max_length: config.max_length,
            vocabulary,
            token_embedding: embeddings,
            layers: mixing.iter().map(sites).collect(),
            takes_prefixes: false,
            language_model: None,
            names,
            config_json: json!({
                "model_type": MODEL_TYPE,
                "vocab_size": vocabulary,
                "width": config.width,
                "window": config.window,
                "dropout": config.dropout,
                "max_length": config.max_length,
            }),
            passthrough: Vec::new(),
            notes: Vec::new(),
        };
        Self { config: config.clone(), spec, embeddings, mixing }
    }
}

/// Opens a checkpoint.
pub(super) fn open(
    checkpoint: Checkpoint<'_>,
    parameters: &mut Parameters,
) -> Result<Box<dyn Backbone>, ModelError> {
    let Checkpoint { weights, path, mut json, dropout } = checkpoint;
    let wrong = |key: &str, found: String, expected: &str| {
        let expected = expected.to_owned();
        ModelError::Config { path: path.to_owned(), key: key.to_owned(), found, expected }
    };
    let removed = json.as_object_mut().and_then(|map| {
        map.remove("model_type");
        map.remove("vocab_size")
    });
    let vocabulary = removed.as_ref().and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let vocabulary =
        vocabulary.ok_or_else(|| wrong("vocab_size", format!("{removed:?}"), "a whole number"))?;
    let mut config: BagConfig = serde_json::from_value(json)
        .map_err(|error| wrong("the sizes", error.to_string(), "width, window, dropout and max_length"))?;
    config.dropout = dropout.unwrap_or(config.dropout);
    let names = Bag::names(&config, vocabulary)
        .map_err(|error| wrong("the sizes", error.to_string(), "what polytask writes"))?;
    let (values, _) = io::read(&*weights.open()?, &names, io::PLAIN)?;
    Ok(Box::new(Bag::assemble(&config, vocabulary, names, parameters, &mut io::first_values(values))))
}

impl BagConfig {
    pub(super) fn max_length(&self) -> Option<usize> {
        Some(self.max_length)
    }

    pub(super) fn has_linear_layers(&self) -> bool {
        self.window > 0
    }
}

impl Backbone for Bag {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn embed(&self, context: &LayerContext<'_>, input: &EncoderInput<'_>) -> Tensor<2> {
        let x = context.token_vectors(self.embeddings, input.ids);
        let x = match context.dataset_vectors(input) {
            Some(datasets) => kernels::add(x, datasets),
            None => x,
        };
        kernels::dropout(x, context.dropout(self.config.dropout, 0))
    }

    /// What a token sees of its neighbours, added to its own vector.
    fn layer(
        &self,
        index: usize,
        context: &LayerContext<'_>,
        x: Tensor<2>,
        input: &EncoderInput<'_>,
        selection: Option<&TokenSelection<'_>>,
    ) -> Tensor<2> {
        let Some(m) = &self.mixing else { return x };
        let (seen, width) = (2 * self.config.window + 1, self.config.width);
        let mut around = neighbours(input.offsets, self.config.window);
        let (all, boundary) = (x.clone(), context.matrix(m.boundary_embedding));
        let narrowed;
        let (context, x) = match selection {
            None => (context, x),
            Some(selection) => {
                let of = |token: &u32| &around[*token as usize * seen..][..seen];
                around = selection.tokens.iter().flat_map(of).copied().collect();
                narrowed = context.select(selection);
                (&narrowed, kernels::gather_rows(x, selection.tokens))
            }
        };
        let around = kernels::gather_rows_concat(all, boundary, &around).reshape([x.dims()[0], seen * width]);
        let y = context.feed_forward(Some(index), around, &m.feed_forward, None);
        let dropout = context.dropout(self.config.dropout, 1);
        let (y, dropout) = context.after_half(Some(index), Half::FeedForward, &x, y, dropout);
        let (gamma, beta) = (context.vector(m.gamma), context.vector(m.beta));
        kernels::add_norm(y, x, gamma, beta, EPS, dropout)
    }

    fn onnx(&self, graph: &mut OnnxGraph) -> Result<OnnxValue, ModelError> {
        Ok(onnx::states(self, graph))
    }
}

/// For every token the indices of its neighbours from `window` before to `window` after, itself in the middle;
/// the number of tokens stands for "beyond the row".
fn neighbours(rows: &[usize], window: usize) -> Vec<u32> {
    let tokens = rows.last().copied().unwrap_or(0);
    let mut index = Vec::with_capacity(tokens * (2 * window + 1));
    for row in rows.windows(2) {
        for i in row[0]..row[1] {
            index.extend((i..=i + 2 * window).map(|shifted| match shifted.checked_sub(window) {
                Some(j) if (row[0]..row[1]).contains(&j) => to_u32(j),
                _ => to_u32(tokens),
            }));
        }
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_stay_inside_their_row() {
        assert_eq!(neighbours(&[0, 2, 3], 1), [3, 0, 1, 0, 1, 3, 3, 2, 3]);
        assert_eq!(neighbours(&[0, 2, 2, 3], 0), [0, 1, 2]);
        assert!(neighbours(&[0], 2).is_empty());
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        let mut parameters = Parameters::new(&burn::tensor::Device::flex(), 1);
        let error = Bag::new(&BagConfig { width: 0, ..Default::default() }, 10, &mut parameters).unwrap_err();
        assert_eq!(error.to_string(), "model.backbone.bag.width: found 0, expected a number from 1 to 65536");
        let error = Bag::new(&BagConfig { dropout: f32::NAN, ..Default::default() }, 10, &mut parameters);
        assert!(error.unwrap_err().to_string().contains("expected a rate from 0 to 0.95"));
    }
}
