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

use super::{Backbone, Read, Tokens, corpora, freeze_named, noise, rate, size};
use crate::error::ModelError;
use crate::init::Init;
use crate::names::{Maker, NameTable};
use crate::parameters::{Matrix, Parameters, Vector};
use burn::tensor::Tensor;
use kernels::Precision;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

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
    vocabulary: usize,
    embeddings: Matrix,
    mixing: Option<Mixing>,
    corpora: Option<Matrix>,
    frozen: Option<usize>,
    precision: Precision,
    names: NameTable,
}

/// What a window adds to the embeddings.
#[derive(Debug)]
struct Mixing {
    edge: Matrix,
    w1: Matrix,
    b1: Vector,
    w2: Matrix,
    b2: Vector,
    gamma: Vector,
    beta: Vector,
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
        let mut push = |name: &str, shape: &[usize]| names.push(format!("backbone.{name}"), [name], shape);
        push("embeddings", &[vocabulary, width]);
        if config.window > 0 {
            push("edge", &[1, width]);
            push("window.weight", &[width, (2 * config.window + 1) * width]);
            push("window.bias", &[width]);
            push("output.weight", &[width, width]);
            push("output.bias", &[width]);
            push("norm.weight", &[width]);
            push("norm.bias", &[width]);
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
        let mut make = Maker { parameters, table: &names, first };
        let (width, around) = (config.width, (2 * config.window + 1) * config.width);
        let embeddings = make.matrix("backbone.embeddings", Init::Normal(0.1));
        let mixing = (config.window > 0).then(|| Mixing {
            edge: make.matrix("backbone.edge", Init::Normal(0.1)),
            w1: make.matrix("backbone.window.weight", Init::glorot(around, width)),
            b1: make.vector("backbone.window.bias", Init::Zeros),
            w2: make.matrix("backbone.output.weight", Init::glorot(width, width)),
            b2: make.vector("backbone.output.bias", Init::Zeros),
            gamma: make.vector("backbone.norm.weight", Init::Ones),
            beta: make.vector("backbone.norm.bias", Init::Zeros),
        });
        Self {
            config: config.clone(),
            vocabulary,
            embeddings,
            mixing,
            corpora: None,
            frozen: None,
            precision: Precision::F32,
            names,
        }
    }
}

impl Bag {
    /// What a token sees of its neighbours, added to its own vector; of the tokens read, where `read` is given.
    fn mix(
        &self,
        m: &Mixing,
        parameters: &Parameters,
        x: Tensor<2>,
        (tokens, read): (Tokens<'_>, Option<Read<'_>>),
        noise_seed: Option<u64>,
    ) -> Tensor<2> {
        let (seen, width) = (2 * self.config.window + 1, self.config.width);
        let mut around = neighbours(tokens.rows, self.config.window);
        let with_edge = Tensor::cat(vec![x.clone(), parameters.get(m.edge)], 0);
        let x = match read {
            None => x,
            Some(read) => {
                let of = |token: &u32| &around[*token as usize * seen..][..seen];
                around = read.tokens.iter().flat_map(of).copied().collect();
                kernels::pick(x, read.tokens)
            }
        };
        let around = kernels::pick(with_edge, &around).reshape([x.dims()[0], seen * width]);
        let y = kernels::ffn(
            around,
            parameters.get(m.w1),
            parameters.at(m.b1),
            parameters.get(m.w2),
            parameters.at(m.b2),
            self.precision,
        );
        let (gamma, beta) = (parameters.at(m.gamma), parameters.at(m.beta));
        let before = read.map_or(tokens.before, |read| read.before).tokens;
        kernels::add_norm(y, x, gamma, beta, EPS, noise(self.config.dropout, noise_seed, 1, before))
    }
}

impl Backbone for Bag {
    fn kind(&self) -> &'static str {
        "bag"
    }
    fn hidden(&self) -> usize {
        self.config.width
    }
    fn max_length(&self) -> usize {
        self.config.max_length
    }
    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn token_table(&self) -> Matrix {
        self.embeddings
    }
    fn add_corpora(&mut self, corpora: usize, parameters: &mut Parameters) {
        self.corpora = Some(corpora::table(corpora, self.hidden(), parameters));
    }
    fn corpora(&self) -> Option<Matrix> {
        self.corpora
    }
    fn layers(&self) -> usize {
        usize::from(self.mixing.is_some())
    }
    fn frozen(&self) -> Option<usize> {
        self.frozen
    }
    fn freeze(&mut self, layers: usize, parameters: &mut Parameters) {
        freeze_named(parameters, &self.names_below(layers));
        self.frozen = Some(layers);
    }
    fn names_below(&self, layers: usize) -> Vec<String> {
        vec![if layers == 0 { "backbone.embeddings".into() } else { "backbone.".into() }]
    }

    fn precision(&self) -> Precision {
        self.precision
    }
    fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }

    fn lower(&self, parameters: &Parameters, tokens: Tokens<'_>, noise_seed: Option<u64>) -> Tensor<2> {
        let noise_seed = noise_seed.filter(|_| self.frozen.is_none());
        let ids = parameters.places(self.embeddings, tokens.ids);
        let x = kernels::embed(parameters.get(self.embeddings), &ids);
        let x = corpora::added(x, self.corpora, parameters, tokens);
        let x = kernels::dropout(x, noise(self.config.dropout, noise_seed, 0, tokens.before.tokens));
        match (self.frozen, &self.mixing) {
            (Some(1..), Some(mixing)) => self.mix(mixing, parameters, x, (tokens, None), None),
            _ => x,
        }
    }

    fn middle(
        &self,
        _parameters: &Parameters,
        below: Tensor<2>,
        _tokens: Tokens<'_>,
        _noise_seed: Option<u64>,
    ) -> Tensor<2> {
        below
    }

    fn last(
        &self,
        parameters: &Parameters,
        states: Tensor<2>,
        tokens: Tokens<'_>,
        read: Option<Read<'_>>,
        noise_seed: Option<u64>,
    ) -> Tensor<2> {
        match (self.frozen, &self.mixing, read) {
            (None | Some(0), Some(mixing), _) => {
                self.mix(mixing, parameters, states, (tokens, read), noise_seed)
            }
            (_, _, Some(read)) => kernels::pick(states, read.tokens),
            (_, _, None) => states,
        }
    }

    fn last_layer(&self) -> Vec<String> {
        match self.mixing {
            Some(_) => ["edge", "window.", "output.", "norm."].map(|part| format!("backbone.{part}")).into(),
            None => Vec::new(),
        }
    }

    fn config_json(&self) -> serde_json::Value {
        let c = &self.config;
        json!({
            "model_type": MODEL_TYPE,
            "vocab_size": self.vocabulary,
            "width": c.width,
            "window": c.window,
            "dropout": c.dropout,
            "max_length": c.max_length,
        })
    }
    fn hf_names(&self) -> &NameTable {
        &self.names
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
                Some(j) if (row[0]..row[1]).contains(&j) => j as u32,
                _ => tokens as u32,
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
