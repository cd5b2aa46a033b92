//! A DeBERTa's settings: from `[model]`, or from a checkpoint's config.json, checked either way.

use super::distances::DistanceBuckets;
use crate::checks::{rate, size};
use crate::error::ModelError;
use crate::io::config_reader::{ConfigReader, saved_json};
use crate::io::names::NameTable;
use crate::parameters::{Depth, Level, Role};
use crate::trunk::Activation;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

/// `{ deberta = { layers = 4, hidden = 256, heads = 4 } }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DebertaConfig {
    /// Number of layers.
    #[schemars(range(min = 1, max = 1000))]
    pub layers: usize,
    /// Width of a state; a multiple of `heads`.
    #[schemars(range(min = 1, max = 65536))]
    pub hidden: usize,
    /// Attention heads a layer.
    #[schemars(range(min = 1, max = 65536))]
    pub heads: usize,
    /// Width inside the feed-forward part. Left out: four times `hidden`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1048576))]
    pub intermediate_size: Option<usize>,
    /// The longest row in tokens.
    #[schemars(range(min = 1, max = 1000000))]
    pub max_length: usize,
    /// Share of the numbers set to 0 in training, in states and attention weights.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f32,
}

impl Default for DebertaConfig {
    fn default() -> Self {
        Self { layers: 4, hidden: 256, heads: 4, intermediate_size: None, max_length: 512, dropout: 0.1 }
    }
}

impl DebertaConfig {
    pub(crate) fn max_length(&self) -> Option<usize> {
        Some(self.max_length)
    }

    pub(crate) fn has_linear_layers(&self) -> bool {
        true
    }
}

/// Everything about a DeBERTa but its weights.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub vocabulary: usize,
    /// Tokens of the longest row; rows of the table of absolute positions where there is one.
    pub positions: usize,
    /// Rows of the token type table; 0 without one.
    pub types: usize,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub intermediate_size: usize,
    pub activation: Activation,
    /// Whether the embeddings have a vector for each place, beside the distances of the attention.
    pub absolute_positions: bool,
    pub distances: DistanceBuckets,
    /// Whether the vectors of distances are normed.
    pub norm_distances: bool,
    /// Whether keys and queries of distances are made by the maps of tokens.
    pub share_att_key: bool,
    /// Whether queries read keys of distances.
    pub content_to_position: bool,
    /// Whether keys read queries of distances.
    pub position_to_content: bool,
    pub eps: f32,
    pub dropout: f32,
    pub attention_dropout: f32,
    /// config.json as it is saved.
    pub json: Value,
}

const CLASS: &str = "DebertaV2Model";

impl Settings {
    pub(super) fn from_scratch(config: &DebertaConfig, vocabulary: usize) -> Result<Self, ModelError> {
        let hidden = size("deberta.hidden", config.hidden, 1, 65_536)?;
        let heads = size("deberta.heads", config.heads, 1, 65_536)?;
        if !hidden.is_multiple_of(heads) {
            let expected = format!("a divisor of hidden = {hidden}");
            return Err(ModelError::Size { key: "deberta.heads", found: heads.to_string(), expected });
        }
        let intermediate_size = config.intermediate_size.unwrap_or(4 * hidden);
        let dropout = rate("deberta.dropout", config.dropout)?;
        // What DeBERTa-v3 has.
        let json = json!({
            "architectures": [CLASS],
            "model_type": "deberta-v2",
            "vocab_size": size("deberta.vocabulary", vocabulary, 1, i32::MAX as usize)?,
            "hidden_size": hidden,
            "num_hidden_layers": size("deberta.layers", config.layers, 1, 1000)?,
            "num_attention_heads": heads,
            "intermediate_size": size("deberta.intermediate_size", intermediate_size, 1, 1 << 20)?,
            "hidden_act": "gelu",
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": dropout,
            "max_position_embeddings": size("deberta.max_length", config.max_length, 1, 1_000_000)?,
            "type_vocab_size": 0,
            "layer_norm_eps": 1e-7,
            "initializer_range": 0.02,
            "pad_token_id": 0,
            "relative_attention": true,
            "max_relative_positions": -1,
            "position_buckets": 256,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": true,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": false,
            "dtype": "float32",
        });
        Self::read(&ConfigReader { path: Path::new("config.json"), json: &json }, None, json.clone())
    }

    /// Reads a config.json; `dropout` overrides what it says.
    ///
    /// # Errors
    /// [`ModelError::Config`] with the key.
    pub(super) fn from_json(path: &Path, json: Value, dropout: Option<f32>) -> Result<Self, ModelError> {
        Self::read(&ConfigReader { path, json: &json }, dropout, saved_json(json.clone(), CLASS))
    }

    fn read(read: &ConfigReader<'_>, dropout: Option<f32>, json: Value) -> Result<Self, ModelError> {
        let hidden = read.size("hidden_size", None, 65_536)?;
        let heads = read.size("num_attention_heads", None, 65_536)?;
        if !hidden.is_multiple_of(heads) {
            return Err(read.error("num_attention_heads", format!("a divisor of hidden_size = {hidden}")));
        }
        refuse_unsupported(read, hidden, heads)?;
        let positions = read.size("max_position_embeddings", Some(512), 1_000_000)?;
        let [content_to_position, position_to_content] = attention_types(read)?;
        let [own_dropout, own_attention_dropout] =
            [read.rate("hidden_dropout_prob")?, read.rate("attention_probs_dropout_prob")?];
        if let Some(dropout) = dropout {
            rate("dropout", dropout)?;
        }
        let types = match read.json.get("type_vocab_size") {
            None => 0,
            Some(found) if found.as_u64() == Some(0) => 0,
            Some(_) => read.size("type_vocab_size", None, 65_536)?,
        };
        Ok(Self {
            vocabulary: read.size("vocab_size", None, i32::MAX as usize)?,
            positions,
            types,
            hidden,
            layers: read.size("num_hidden_layers", None, 1000)?,
            heads,
            intermediate_size: read.size("intermediate_size", None, 1 << 20)?,
            activation: read.activation("hidden_act", "gelu")?,
            absolute_positions: read.flag("position_biased_input", true)?,
            distances: distances(read, positions)?,
            norm_distances: norms_distances(read)?,
            share_att_key: read.flag("share_att_key", false)?,
            content_to_position,
            position_to_content,
            eps: read.eps("layer_norm_eps", 1e-7)?,
            dropout: dropout.unwrap_or(own_dropout),
            attention_dropout: dropout.unwrap_or(own_attention_dropout),
            json,
        })
    }

    /// Names and shapes of the network's parameters.
    pub(super) fn names(&self) -> NameTable {
        let mut names = NameTable::default();
        let (h, f) = (self.hidden, self.intermediate_size);
        let embeddings = Depth::encoder(Level::Embeddings);
        let tables = [
            ("word", "embeddings.word_embeddings", self.vocabulary),
            (
                "position",
                "embeddings.position_embeddings",
                if self.absolute_positions { self.positions } else { 0 },
            ),
            ("type", "embeddings.token_type_embeddings", self.types),
            ("distances", "encoder.rel_embeddings", 2 * self.distances.span),
        ];
        for (name, hf_name, rows) in tables.into_iter().filter(|(_, _, rows)| *rows > 0) {
            let (name, hf_name) = (format!("backbone.embeddings.{name}"), format!("{hf_name}.weight"));
            names.push(name, [hf_name], &[rows, h], (Role::Embedding, embeddings));
        }
        let mut norm = |name: &str, hf_name: &str, depth: Depth| {
            for (part, role) in [("weight", Role::Norm), ("bias", Role::NormShift)] {
                names.push(format!("{name}.{part}"), [format!("{hf_name}.{part}")], &[h], (role, depth));
            }
        };
        norm("backbone.embeddings.norm", "embeddings.LayerNorm", embeddings);
        if self.norm_distances {
            norm("backbone.embeddings.distances_norm", "encoder.LayerNorm", embeddings);
        }
        for i in 0..self.layers {
            // There are at most 1,000 layers.
            let depth = Depth::encoder(Level::layer(i));
            let (name, hf_name) = (format!("backbone.layer.{i}"), format!("encoder.layer.{i}"));
            let own = |wanted: bool| wanted && !self.share_att_key;
            let linears: [(&str, &[&str], [usize; 2], bool); 6] = [
                ("attention.qkv", &["query_proj", "key_proj", "value_proj"], [3 * h, h], true),
                ("attention.distance_key", &["pos_key_proj"], [h, h], own(self.content_to_position)),
                ("attention.distance_query", &["pos_query_proj"], [h, h], own(self.position_to_content)),
                ("attention.output", &[], [h, h], true),
                ("feed_forward.in", &[], [f, h], true),
                ("feed_forward.out", &[], [h, f], true),
            ];
            for (part, of_attention, shape, _) in linears.into_iter().filter(|(.., wanted)| *wanted) {
                let modules: Vec<String> = match part {
                    "attention.output" => vec![format!("{hf_name}.attention.output.dense")],
                    "feed_forward.in" => vec![format!("{hf_name}.intermediate.dense")],
                    "feed_forward.out" => vec![format!("{hf_name}.output.dense")],
                    _ => of_attention.iter().map(|own| format!("{hf_name}.attention.self.{own}")).collect(),
                };
                let weights = modules.iter().map(|module| format!("{module}.weight"));
                names.push(format!("{name}.{part}.weight"), weights, &shape, (Role::Linear, depth));
                let biases = modules.iter().map(|module| format!("{module}.bias"));
                names.push(format!("{name}.{part}.bias"), biases, &shape[..1], (Role::Bias, depth));
            }
            for (part, module) in [("attention.norm", "attention.output"), ("feed_forward.norm", "output")] {
                for (kind, role) in [("weight", Role::Norm), ("bias", Role::NormShift)] {
                    let hf_name = format!("{hf_name}.{module}.LayerNorm.{kind}");
                    names.push(format!("{name}.{part}.{kind}"), [hf_name], &[h], (role, depth));
                }
            }
        }
        names
    }
}

/// Keys that change the network and that are not supported.
fn refuse_unsupported(read: &ConfigReader<'_>, hidden: usize, heads: usize) -> Result<(), ModelError> {
    if !read.flag("relative_attention", false)? {
        let expected = "true: attention without distances is not supported".into();
        return Err(read.error("relative_attention", expected));
    }
    if read.number("conv_kernel_size", 0.0)? > 0.0 {
        let expected = "0: the convolution of DeBERTa-v2-xlarge is not supported".into();
        return Err(read.error("conv_kernel_size", expected));
    }
    for (key, only) in [("embedding_size", hidden), ("attention_head_size", hidden / heads)] {
        if read.size(key, Some(only), 65_536)? != only {
            return Err(read.error(key, format!("{only}, as hidden_size and num_attention_heads say")));
        }
    }
    Ok(())
}

/// `pos_att_type`: whether there is content to position, and position to content.
fn attention_types(read: &ConfigReader<'_>) -> Result<[bool; 2], ModelError> {
    let wrong = || read.error("pos_att_type", "\"c2p\", \"p2c\" or both".into());
    let found: Vec<String> = match read.json.get("pos_att_type") {
        Some(Value::String(text)) => text.split('|').map(|part| part.trim().to_lowercase()).collect(),
        Some(Value::Array(parts)) => parts
            .iter()
            .map(|part| part.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect::<Result<_, _>>()?,
        _ => Vec::new(),
    };
    if found.is_empty() || found.iter().any(|part| !["c2p", "p2c"].contains(&part.as_str())) {
        return Err(wrong());
    }
    Ok(["c2p", "p2c"].map(|part| found.iter().any(|found| found == part)))
}

/// `norm_rel_ebd`: whether the vectors of distances are normed.
fn norms_distances(read: &ConfigReader<'_>) -> Result<bool, ModelError> {
    match read.json.get("norm_rel_ebd") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::String(text)) if text.trim().eq_ignore_ascii_case("none") => Ok(false),
        Some(Value::String(text)) if text.trim().eq_ignore_ascii_case("layer_norm") => Ok(true),
        Some(_) => Err(read.error("norm_rel_ebd", "\"none\" or \"layer_norm\"".into())),
    }
}

/// `position_buckets` and `max_relative_positions`, either of which may be -1 for none.
fn distances(read: &ConfigReader<'_>, positions: usize) -> Result<DistanceBuckets, ModelError> {
    let or_none = |key: &str| match read.json.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64() {
            Some(number) if number < 1 => Ok(None),
            _ => read.size(key, None, 1_000_000).map(Some),
        },
    };
    let farthest = or_none("max_relative_positions")?.unwrap_or(positions);
    let Some(span) = or_none("position_buckets")? else {
        return Ok(DistanceBuckets { span: farthest, max_distance: None });
    };
    // Beyond half of the buckets ranges are by the logarithm, which must have somewhere to go.
    let middle = span / 2;
    if middle == 0 || positions > middle + 1 && farthest <= middle + 1 {
        let expected = format!("from 2 to less than twice max_relative_positions = {farthest}");
        return Err(read.error("position_buckets", expected));
    }
    Ok(DistanceBuckets { span, max_distance: Some(farthest) })
}
