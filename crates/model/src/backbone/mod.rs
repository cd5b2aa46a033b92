//! Backbones: what turns tokens into states. One file each; its leading comment is its documentation.

pub mod bag;
pub mod bert;
pub(crate) mod corpora;
mod reader;
pub mod t5;

use crate::decoder::{Decoder, DecoderConfig};
use crate::error::ModelError;
use crate::names::NameTable;
use crate::parameters::{Matrix, Parameters};
use bag::BagConfig;
use bert::BertConfig;
use burn::tensor::Tensor;
use kernels::Precision;
pub(crate) use reader::{Reader, saved_json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use t5::T5Config;

/// Every backbone: its name and the source whose leading comment documents it.
pub const CATALOGUE: &[(&str, &str)] =
    &[("bag", include_str!("bag.rs")), ("bert", include_str!("bert.rs")), ("t5", include_str!("t5.rs"))];

/// What a backbone reads of a pack: the rows' tokens end to end, without padding.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a> {
    /// `[tokens]`: ids below [`Backbone::vocabulary`].
    pub ids: &'a [u32],
    /// `[tokens]`: each token's place in its row, from 0, below [`Backbone::max_length`].
    pub positions: &'a [u32],
    /// `[tokens]`: which segment each token is of: 1 in the second text of a pair, else 0.
    pub segments: &'a [u32],
    /// `[rows + 1]`: where each row begins, and the end of the last.
    pub rows: &'a kernels::Rows,
    /// `[tokens]`: which corpus each token is of, a row of [`Backbone::corpora`]. Only [`Backbone::lower`] reads it, and only where
    /// there is such a table; otherwise it may be empty.
    pub corpora: &'a [u32],
    /// What of the pack comes before, where these are only a part of it.
    pub before: Before,
}

/// How much of a pack comes before a part of it: dropout draws for a part what it draws for it within the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Before {
    /// Tokens.
    pub tokens: usize,
    /// Pairs of a token and one of its row that it attends to.
    pub pairs: usize,
}

/// Those tokens of a pack whose states somebody reads.
#[derive(Debug, Clone, Copy)]
pub struct Read<'a> {
    /// Their places in the pack, rising.
    pub tokens: &'a [u32],
    /// `[rows + 1]`: where each row of the pack begins among them, and their number.
    pub rows: &'a kernels::Rows,
    /// What is read of the pack before, where this is only a part of it.
    pub before: Before,
}

/// A network from tokens to states. It holds sizes and handles; the weights are in [`Parameters`].
pub trait Backbone: Send + Sync {
    /// Its name in the catalogue.
    fn kind(&self) -> &'static str;
    /// The width of a state.
    fn hidden(&self) -> usize;
    /// The longest row it takes, in tokens.
    fn max_length(&self) -> usize;
    /// How many token ids it knows.
    fn vocabulary(&self) -> usize;
    /// The table `[vocabulary, width]` of which [`Backbone::lower`] looks up the rows of the pack's ids, and no others.
    /// Scores of tokens may be made with it too ([`Backbone::decoder`]).
    fn token_table(&self) -> Matrix;
    /// From now on adds to the vector of every token one of its corpus ([`Tokens::corpora`]), of a table `[corpora, hidden]` that
    /// begins as zeros, before the first norm, dropout or layer. At most once, and before anything is frozen.
    fn add_corpora(&mut self, corpora: usize, parameters: &mut Parameters);
    /// That table; `None` where corpora have no vectors.
    fn corpora(&self) -> Option<Matrix>;
    /// What writes texts from the states, where the backbone has it.
    fn decoder(&self) -> Option<&Arc<Decoder>> {
        None
    }
    /// How many layers stand above the embeddings.
    fn layers(&self) -> usize;
    /// How many of them are frozen together with the embeddings; `None` where everything is trained.
    fn frozen(&self) -> Option<usize>;
    /// Freezes the embeddings and the first `layers` layers (at most [`Backbone::layers`]): their parameters are not
    /// trained, nothing is saved for their gradients, and there is no dropout in them.
    fn freeze(&mut self, layers: usize, parameters: &mut Parameters);
    /// What the names of the parameters of its embeddings and first `layers` layers begin with.
    fn names_below(&self, layers: usize) -> Vec<String>;
    /// What its large products are made of; f32 to begin with.
    fn precision(&self) -> Precision;
    /// From now on makes its large products of such numbers, where the device can.
    fn set_precision(&mut self, precision: Precision);
    /// From now on keeps only what enters each trained layer for the backward pass, and computes the rest of the layer again
    /// then: the same numbers, less memory, about a quarter more time.
    ///
    /// # Errors
    /// [`ModelError::NoRecompute`] for a backbone that is not made of such layers.
    fn recompute_layers(&mut self) -> Result<(), ModelError> {
        Err(ModelError::NoRecompute { kind: self.kind() })
    }
    /// States `[tokens, hidden]` below the lowest trained layer: out of the frozen part, or out of the embeddings where
    /// nothing is frozen. With `noise_seed` there is dropout outside the frozen part, a pure function of the seed.
    fn lower(&self, parameters: &Parameters, tokens: Tokens<'_>, noise_seed: Option<u64>) -> Tensor<2>;
    /// States `[tokens, hidden]` that enter the last layer, from those below the lowest trained layer; these themselves where
    /// the last layer is frozen, or where there is none.
    fn middle(
        &self,
        parameters: &Parameters,
        below: Tensor<2>,
        tokens: Tokens<'_>,
        noise_seed: Option<u64>,
    ) -> Tensor<2>;
    /// States `[tokens, hidden]` of the whole backbone from those that enter the last layer; where `read` is given, only those
    /// of the tokens read, in their order. The last layer then does for the other tokens only what these see of them.
    fn last(
        &self,
        parameters: &Parameters,
        states: Tensor<2>,
        tokens: Tokens<'_>,
        read: Option<Read<'_>>,
        noise_seed: Option<u64>,
    ) -> Tensor<2>;
    /// What the names of the last layer's parameters begin with; none where there is no layer.
    fn last_layer(&self) -> Vec<String>;
    /// [`Backbone::last`] of [`Backbone::middle`].
    fn upper(
        &self,
        parameters: &Parameters,
        below: Tensor<2>,
        tokens: Tokens<'_>,
        read: Option<Read<'_>>,
        noise_seed: Option<u64>,
    ) -> Tensor<2> {
        let states = self.middle(parameters, below, tokens, noise_seed);
        self.last(parameters, states, tokens, read, noise_seed)
    }
    /// States `[tokens, hidden]` of all tokens. With `noise_seed` there is dropout, a pure function of the seed; `None` is evaluation.
    fn states(&self, parameters: &Parameters, tokens: Tokens<'_>, noise_seed: Option<u64>) -> Tensor<2> {
        let below = self.lower(parameters, tokens, noise_seed);
        self.upper(parameters, below, tokens, None, noise_seed)
    }
    /// `config.json`: what [`crate::open`] needs to build it again.
    fn config_json(&self) -> serde_json::Value;
    /// The names of its parameters here and in `model.safetensors`.
    fn hf_names(&self) -> &NameTable;
    /// Tensors of the checkpoint that it does not use but gives back unchanged when it is saved (a pooler).
    fn kept(&self) -> &[crate::checkpoint::Kept] {
        &[]
    }
    /// What a user should know about how the checkpoint was read, a sentence each: for example tensors left out.
    fn notes(&self) -> &[String] {
        &[]
    }
}

/// `[model]`: the network that all tasks share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// A folder in Hugging Face layout (config.json, model.safetensors, tokenizer.json), "hf:owner/name@revision" for one
    /// from the Hugging Face Hub, or a table that builds one from scratch: { bag = {} }, { bert = {} } or { t5 = {} }.
    pub backbone: BackboneConfig,
    /// Dropout of a pretrained backbone, everywhere in it, instead of what its config.json says. A backbone from scratch
    /// has its own.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: Option<f32>,
    /// A fresh decoder on the backbone, for tasks that write text; T5 has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder: Option<DecoderConfig>,
    /// Learns a vector for each corpus that a task reads, and adds it to the vector of every token of its rows: for corpora of one
    /// sort that differ in how they are labelled or written. Using the model, each task has the vector of its corpus. Does not go
    /// with `freeze`. False by default.
    #[serde(default)]
    pub corpus_embeddings: bool,
    /// The lower part of the backbone that stays as it is: `freeze = { layers = 4 }`. Off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
}

/// `freeze = { layers = 4, cache = true }`: embeddings and lower layers that are not trained. They are not differentiated,
/// and there is no dropout in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// How many layers are frozen together with the embeddings; 0 freezes the embeddings alone, all of them leaves only
    /// the heads to train.
    pub layers: usize,
    /// Keep what the frozen part says of every training row in a file of the run's folder, so that later epochs do not
    /// compute it again. It takes 4 bytes for each token and number of a state, and is removed at the end of the run.
    #[serde(default)]
    pub cache: bool,
}

impl Freeze {
    /// Freezes the lower part of a backbone.
    ///
    /// # Errors
    /// [`ModelError::Layers`] if it has fewer layers; [`ModelError::FrozenCorpora`] if corpora have vectors.
    pub fn apply(&self, backbone: &mut dyn Backbone, parameters: &mut Parameters) -> Result<(), ModelError> {
        if backbone.corpora().is_some() {
            return Err(ModelError::FrozenCorpora);
        }
        let (found, most) = (self.layers, backbone.layers());
        if found > most {
            return Err(ModelError::Layers { found, most });
        }
        backbone.freeze(found, parameters);
        Ok(())
    }
}

/// Freezes the parameters whose names begin with one of `prefixes`.
fn freeze_named(parameters: &mut Parameters, prefixes: &[String]) {
    for index in 0..parameters.len() {
        let name = &parameters.parameter(index).name;
        if prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())) {
            parameters.set_trainable(index, false);
        }
    }
}

/// Where the backbone comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum BackboneConfig {
    /// A folder, or "hf:owner/name@revision".
    Pretrained(String),
    /// Built from scratch by sizes.
    Scratch(Scratch),
}

/// A backbone from scratch: exactly one table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scratch {
    /// Embeddings that look at their neighbours: small, fast, no pretraining needed.
    Bag(BagConfig),
    /// A BERT encoder.
    Bert(BertConfig),
    /// An encoder and a decoder as in T5.
    T5(T5Config),
}

/// Builds a backbone from scratch for ids below `vocabulary` and adds its parameters to the table. `ends` are the tokens that a
/// written text begins after and ends with.
///
/// # Errors
/// [`ModelError::Size`] for a size out of its range.
pub fn build(
    scratch: &Scratch,
    vocabulary: usize,
    ends: [u32; 2],
    parameters: &mut Parameters,
) -> Result<Box<dyn Backbone>, ModelError> {
    match scratch {
        Scratch::Bag(config) => Ok(Box::new(bag::Bag::new(config, vocabulary, parameters)?)),
        Scratch::Bert(config) => Ok(Box::new(bert::Bert::from_scratch(config, vocabulary, parameters)?)),
        Scratch::T5(config) => Ok(Box::new(t5::T5::from_scratch(config, vocabulary, ends, parameters)?)),
    }
}

/// `value` if it lies in `least..=most`, else an error about `key`.
pub(crate) fn size(key: &'static str, value: usize, least: usize, most: usize) -> Result<usize, ModelError> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(ModelError::Size {
        key,
        found: value.to_string(),
        expected: format!("a number from {least} to {most}"),
    })
}

/// A dropout rate in `0..=0.95`, else an error about `key`.
pub(crate) fn rate(key: &'static str, value: f32) -> Result<f32, ModelError> {
    if (0.0..=0.95).contains(&value) {
        return Ok(value);
    }
    Err(ModelError::Size { key, found: value.to_string(), expected: "a rate from 0 to 0.95".into() })
}

/// The noise of one dropout site, after what comes `before`: none without a seed or a rate; sites of one step get seeds that have
/// nothing in common.
pub(crate) fn noise(rate: f32, seed: Option<u64>, site: u64, before: usize) -> Option<kernels::Noise> {
    let seed = seed.filter(|_| rate > 0.0)?;
    // SplitMix64 (Steele, Lea and Flood 2014): the site's place in the sequence that the seed starts.
    let mut z = seed.wrapping_add((site + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    Some(kernels::Noise::new(rate, z ^ (z >> 31)).after(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_and_seeds_have_their_own_noise() {
        let seeds: Vec<u64> = [(1, 0), (1, 1), (2, 0), (2, 1)]
            .iter()
            .map(|&(s, site)| noise(0.1, Some(s), site, 0).unwrap().seed)
            .collect();
        for (i, a) in seeds.iter().enumerate() {
            assert!(seeds[i + 1..].iter().all(|b| a != b));
        }
        assert!(noise(0.0, Some(1), 0, 0).is_none() && noise(0.1, None, 0, 0).is_none());
    }

    #[test]
    fn the_config_reads_a_folder_or_a_table() {
        let parse = |text: &str| serde_json::from_str::<ModelConfig>(text);
        assert_eq!(
            parse(r#"{"backbone": "a/b"}"#).unwrap().backbone,
            BackboneConfig::Pretrained("a/b".into())
        );
        let bag = parse(r#"{"backbone": {"bag": {"width": 64}}}"#).unwrap().backbone;
        let BackboneConfig::Scratch(Scratch::Bag(bag)) = bag else { panic!("{bag:?}") };
        assert_eq!((bag.width, bag.window), (64, 2));
        assert!(parse(r#"{"backbone": {"bag": {"wdth": 64}}}"#).is_err());
        assert!(parse(r#"{"backbone": {"bag": {}}, "drop": 1}"#).is_err());
    }

    #[test]
    fn every_backbone_documents_itself() {
        for (name, source) in CATALOGUE {
            assert!(source.starts_with("//! "), "{name} must begin with its documentation");
        }
    }
}
