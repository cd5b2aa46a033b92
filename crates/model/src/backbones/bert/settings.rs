//! A BERT's settings: from `[model]`, or from a checkpoint's config.json, checked either way.

use super::architecture::{ALL, Architecture, BERT, DISTANCES, LayerNames, Projection, Sizes};
use crate::cast::{to_f32, to_u32};
use crate::checks::{rate, size};
use crate::error::ModelError;
use crate::io::config_reader::{ConfigReader, saved_json};
use crate::io::names::NameTable;
use crate::trunk::Activation;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

/// `{ bert = { layers = 4, hidden = 256, heads = 4 } }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BertConfig {
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
    #[schemars(range(min = 1, max = 1048576))]
    pub intermediate_size: Option<usize>,
    /// The longest row in tokens.
    #[schemars(range(min = 1, max = 1000000))]
    pub max_length: usize,
    /// Share of the numbers set to 0 in training, in states and attention weights.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f32,
}

impl Default for BertConfig {
    fn default() -> Self {
        Self { layers: 4, hidden: 256, heads: 4, intermediate_size: None, max_length: 512, dropout: 0.1 }
    }
}

impl BertConfig {
    pub(crate) fn max_length(&self) -> Option<usize> {
        Some(self.max_length)
    }

    pub(crate) fn has_linear_layers(&self) -> bool {
        true
    }
}

/// Everything about a BERT but its weights.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which of the family.
    pub architecture: &'static Architecture,
    /// Its sizes.
    pub sizes: Sizes,
    /// Inside the feed-forward part.
    pub activation: Activation,
    /// Added to a norm's variance.
    pub eps: f32,
    /// Dropout of states.
    pub dropout: f32,
    /// Dropout of attention weights.
    pub attention_dropout: f32,
    /// The padding id.
    pub padding: u32,
    /// config.json as it is saved.
    pub json: Value,
}

impl Settings {
    pub(super) fn from_scratch(config: &BertConfig, vocabulary: usize) -> Result<Self, ModelError> {
        let sizes = Sizes {
            vocabulary: size("bert.vocabulary", vocabulary, 1, i32::MAX as usize)?,
            positions: size("bert.max_length", config.max_length, 1, 1_000_000)?,
            types: 2,
            hidden: size("bert.hidden", config.hidden, 1, 65_536)?,
            embedding: config.hidden,
            layers: size("bert.layers", config.layers, 1, 1000)?,
            groups: config.layers,
            inner: 1,
            heads: size("bert.heads", config.heads, 1, 65_536)?,
            intermediate_size: size(
                "bert.intermediate_size",
                config.intermediate_size.unwrap_or(4 * config.hidden),
                1,
                1 << 20,
            )?,
        };
        if !sizes.hidden.is_multiple_of(sizes.heads) {
            let expected = format!("a divisor of hidden = {}", sizes.hidden);
            return Err(ModelError::Size { key: "bert.heads", found: sizes.heads.to_string(), expected });
        }
        let dropout = rate("bert.dropout", config.dropout)?;
        let json = json!({
            "architectures": [BERT.class],
            "model_type": BERT.model_type,
            "vocab_size": sizes.vocabulary,
            "hidden_size": sizes.hidden,
            "num_hidden_layers": sizes.layers,
            "num_attention_heads": sizes.heads,
            "intermediate_size": sizes.intermediate_size,
            "hidden_act": "gelu",
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": dropout,
            "max_position_embeddings": sizes.positions,
            "type_vocab_size": sizes.types,
            "layer_norm_eps": 1e-12,
            "initializer_range": 0.02,
            "pad_token_id": 0,
            "dtype": "float32",
        });
        let (attention_dropout, architecture) = (dropout, &BERT);
        let activation = Activation::Gelu;
        Ok(Self { architecture, sizes, activation, eps: 1e-12, dropout, attention_dropout, padding: 0, json })
    }

    /// Reads a config.json whose `model_type` is one of the family's; `dropout` overrides what it says.
    ///
    /// # Errors
    /// [`ModelError::Config`] with the key.
    pub(crate) fn from_json(path: &Path, json: Value, dropout: Option<f32>) -> Result<Self, ModelError> {
        let read = ConfigReader { path, json: &json };
        let model_type = json.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let architecture = ALL.into_iter().find(|a| a.model_type == model_type);
        let Some(architecture) = architecture else {
            return Err(read.error("model_type", format!("one of {}", crate::backbones::supported())));
        };
        let keys = &architecture.keys;
        let sizes = Self::read_sizes(&read, architecture)?;
        let activation = read.activation(keys.activation, architecture.usual_activation)?;
        read.one_of("position_embedding_type", &["absolute"], "relative positions are not supported")?;
        for key in ["is_decoder", "add_cross_attention"] {
            if json.get(key).and_then(Value::as_bool) == Some(true) {
                return Err(read.error(key, "false: only encoders are supported".into()));
            }
        }
        let eps = read.number("layer_norm_eps", 1e-12)?;
        if !(0.0..0.1).contains(&eps) {
            return Err(read.error("layer_norm_eps", "a small positive number such as 1e-12".into()));
        }
        let padding = match json.get("pad_token_id").filter(|_| architecture.padding_is_told) {
            None | Some(Value::Null) => architecture.padding,
            Some(found) => found
                .as_u64()
                .and_then(|id| usize::try_from(id).ok())
                .filter(|id| *id < sizes.vocabulary)
                .ok_or_else(|| {
                    read.error("pad_token_id", format!("an id below vocab_size = {}", sizes.vocabulary))
                })?,
        };
        if architecture.positions_after_padding && padding + 1 >= sizes.positions {
            let expected = format!("more than pad_token_id + 1 = {}", padding + 1);
            return Err(read.error("max_position_embeddings", expected));
        }
        let [own_dropout, own_attention_dropout] = [
            read.rate_or(keys.dropout, architecture.usual_dropout)?,
            read.rate_or(keys.attention_dropout, architecture.usual_dropout)?,
        ];
        if let Some(dropout) = dropout {
            rate("dropout", dropout)?;
        }
        Ok(Self {
            architecture,
            sizes,
            activation,
            eps: to_f32(eps),
            dropout: dropout.unwrap_or(own_dropout),
            attention_dropout: dropout.unwrap_or(own_attention_dropout),
            padding: to_u32(padding),
            json: saved_json(json, architecture.class),
        })
    }

    fn read_sizes(read: &ConfigReader<'_>, architecture: &Architecture) -> Result<Sizes, ModelError> {
        let keys = &architecture.keys;
        let hidden = read.size(keys.hidden, None, 65_536)?;
        let embedding = match architecture.projection {
            Projection::Absent => hidden,
            Projection::WhereNarrower(_) | Projection::Always(_) => {
                read.size("embedding_size", Some(128), 65_536)?
            }
        };
        let steps = read.size(keys.layers, None, 1000)?;
        let (groups, inner) = match architecture.layer_names {
            LayerNames::Numbered(_) => (steps, 1),
            LayerNames::Groups(..) => (
                read.size("num_hidden_groups", Some(1), steps)?,
                read.size("inner_group_num", Some(1), 1000 / steps)?,
            ),
        };
        let sizes = Sizes {
            vocabulary: read.size("vocab_size", None, i32::MAX as usize)?,
            positions: read.size("max_position_embeddings", Some(512), 1_000_000)?,
            types: if architecture.token_types { read.size("type_vocab_size", Some(2), 65_536)? } else { 0 },
            hidden,
            embedding,
            layers: steps * inner,
            groups,
            inner,
            heads: read.size(keys.heads, None, 65_536)?,
            intermediate_size: read.size(keys.intermediate_size, None, 1 << 20)?,
        };
        if !sizes.hidden.is_multiple_of(sizes.heads) {
            return Err(read.error(keys.heads, format!("a divisor of {} = {}", keys.hidden, sizes.hidden)));
        }
        if architecture.relative_bias.is_some() {
            let key = "relative_attention_num_buckets";
            let found = read.size(key, Some(DISTANCES.count), 65_536)?;
            if found != DISTANCES.count {
                let expected = format!("{}: transformers' code uses no others", DISTANCES.count);
                return Err(read.error(key, expected));
            }
        }
        Ok(sizes)
    }

    /// Names and shapes of the network's parameters.
    pub(crate) fn names(&self) -> NameTable {
        self.architecture.names(&self.sizes)
    }

    /// The padding id, where positions are counted from the one after it.
    pub(super) fn padding_before_positions(&self) -> Option<u32> {
        self.architecture.positions_after_padding.then_some(self.padding)
    }

    /// The longest row that the position table has room for.
    pub(super) fn max_length(&self) -> usize {
        self.sizes.positions - self.padding_before_positions().map_or(0, |padding| padding as usize + 1)
    }
}
