//! A T5's settings: from `[model]`, or from a checkpoint's config.json, checked either way.

use crate::cast::to_f32;
use crate::checks::{rate, size};
use crate::decoder::DecoderSettings;
use crate::error::ModelError;
use crate::io::config_reader::{ConfigReader, saved_json};
use crate::io::names::NameTable;
use crate::layers::{BlockSettings, RelativePositionBuckets};
use crate::parameters::{Depth, Level, Role};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

/// What `model_type` may be.
pub(crate) const MODEL_TYPES: [&str; 2] = ["t5", "mt5"];

/// Rows may be of any length: no table has a place for each of their tokens.
pub(super) const LONGEST: usize = 1_000_000;

/// `{ t5 = { layers = 4, decoder_layers = 4, hidden = 256, heads = 4 } }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct T5Config {
    /// Layers of the encoder.
    #[schemars(range(min = 1, max = 1000))]
    pub layers: usize,
    /// Layers of the decoder. Left out: as many.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub decoder_layers: Option<usize>,
    /// Width of a state; a multiple of `heads`.
    #[schemars(range(min = 1, max = 65536))]
    pub hidden: usize,
    /// Attention heads a layer.
    #[schemars(range(min = 1, max = 65536))]
    pub heads: usize,
    /// Width inside the feed-forward part, which has a gate. Left out: four times `hidden`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1048576))]
    pub intermediate_size: Option<usize>,
    /// Share of the numbers set to 0 in training, in states and attention weights.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f32,
}

impl Default for T5Config {
    fn default() -> Self {
        Self { layers: 4, decoder_layers: None, hidden: 256, heads: 4, intermediate_size: None, dropout: 0.1 }
    }
}

/// Whether the output is the token table, and states are made smaller for it: in T5, but not in what came after it.
fn scaled(json: &Value) -> bool {
    let says = |key: &str| json.get(key).and_then(Value::as_bool);
    says("scale_decoder_outputs").or(says("tie_word_embeddings")).unwrap_or(true)
}

impl T5Config {
    pub(crate) fn max_length(&self) -> Option<usize> {
        None
    }

    pub(crate) fn has_linear_layers(&self) -> bool {
        true
    }
}

/// Everything about a T5 but its weights.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub blocks: BlockSettings,
    pub vocabulary: usize,
    pub layers: usize,
    pub buckets: RelativePositionBuckets,
    pub decoder: DecoderSettings,
    /// config.json as it is saved.
    pub json: Value,
}

impl Settings {
    pub(super) fn from_scratch(
        config: &T5Config,
        vocabulary: usize,
        [start, end]: [u32; 2],
    ) -> Result<Self, ModelError> {
        let hidden = size("t5.hidden", config.hidden, 1, 65_536)?;
        let heads = size("t5.heads", config.heads, 1, 65_536)?;
        if !hidden.is_multiple_of(heads) {
            let expected = format!("a divisor of hidden = {hidden}");
            return Err(ModelError::Size { key: "t5.heads", found: heads.to_string(), expected });
        }
        let intermediate_size = config.intermediate_size.unwrap_or(4 * hidden);
        let layers = size("t5.layers", config.layers, 1, 1000)?;
        let json = json!({
            "architectures": ["T5ForConditionalGeneration"],
            "model_type": "t5",
            "vocab_size": size("t5.vocabulary", vocabulary, 1, i32::MAX as usize)?,
            "d_model": hidden,
            "d_kv": hidden / heads,
            "d_ff": size("t5.intermediate_size", intermediate_size, 1, 1 << 20)?,
            "num_layers": layers,
            "num_decoder_layers": size("t5.decoder_layers", config.decoder_layers.unwrap_or(layers), 1, 1000)?,
            "num_heads": heads,
            "relative_attention_num_buckets": 32,
            "relative_attention_max_distance": 128,
            "dropout_rate": rate("t5.dropout", config.dropout)?,
            "layer_norm_epsilon": 1e-6,
            "feed_forward_proj": "gated-gelu",
            "tie_word_embeddings": true,
            "scale_decoder_outputs": true,
            "is_encoder_decoder": true,
            "pad_token_id": 0,
            "decoder_start_token_id": start,
            "eos_token_id": end,
            "dtype": "float32",
        });
        Self::read(&ConfigReader { path: Path::new("config.json"), json: &json }, false, None, json.clone())
    }

    /// Reads a config.json whose `model_type` is one of [`MODEL_TYPES`]; `dropout` overrides what it says. `output` tells whether
    /// the file has an output table.
    ///
    /// # Errors
    /// [`ModelError::Config`] with the key.
    pub(crate) fn from_json(
        path: &Path,
        json: Value,
        output: bool,
        dropout: Option<f32>,
    ) -> Result<Self, ModelError> {
        let class = if json["model_type"] == "mt5" { "MT5" } else { "T5" };
        let mut saved = saved_json(json.clone(), &format!("{class}ForConditionalGeneration"));
        // Transformers 5 writes the second, and takes it from the first when it reads.
        for key in ["tie_word_embeddings", "scale_decoder_outputs"] {
            saved[key] = scaled(&json).into();
        }
        Self::read(&ConfigReader { path, json: &json }, output, dropout, saved)
    }

    fn read(
        read: &ConfigReader<'_>,
        output: bool,
        dropout: Option<f32>,
        json: Value,
    ) -> Result<Self, ModelError> {
        let vocabulary = read.size("vocab_size", None, i32::MAX as usize)?;
        let (hidden, heads) =
            (read.size("d_model", Some(512), 65_536)?, read.size("num_heads", Some(8), 65_536)?);
        let projection = read.json.get("feed_forward_proj").and_then(Value::as_str).unwrap_or("relu");
        let gated = match projection {
            "relu" => false,
            "gated-gelu" => true,
            _ => return Err(read.error("feed_forward_proj", "\"relu\" or \"gated-gelu\"".into())),
        };
        let eps = read.number("layer_norm_epsilon", 1e-6)?;
        if !(0.0..0.1).contains(&eps) {
            return Err(read.error("layer_norm_epsilon", "a small positive number such as 1e-6".into()));
        }
        let own_rate = read.rate("dropout_rate")?;
        if let Some(dropout) = dropout {
            rate("dropout", dropout)?;
        }
        let blocks = BlockSettings {
            hidden,
            heads,
            attention_dim: heads * read.size("d_kv", Some(64), 65_536)?,
            intermediate_size: read.size("d_ff", Some(2048), 1 << 20)?,
            gated,
            eps: to_f32(eps),
            dropout: dropout.unwrap_or(own_rate),
        };
        let layers = read.size("num_layers", Some(6), 1000)?;
        let count = read.size("relative_attention_num_buckets", Some(32), 65_536)?;
        let max_distance = read.size("relative_attention_max_distance", Some(128), 1 << 20)?;
        if count % 4 != 0 || max_distance <= count / 2 {
            let expected =
                format!("a multiple of 4 below twice relative_attention_max_distance = {max_distance}");
            return Err(read.error("relative_attention_num_buckets", expected));
        }
        let id = |key: &str, default: u32| match read.json.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(found) => match found
                .as_u64()
                .and_then(|id| u32::try_from(id).ok())
                .filter(|id| (*id as usize) < vocabulary)
            {
                Some(id) => Ok(id),
                None => Err(read.error(key, format!("an id below vocab_size = {vocabulary}"))),
            },
        };
        let scaled = scaled(read.json);
        let buckets = RelativePositionBuckets { count, max_distance, bidirectional: true };
        let decoder = DecoderSettings {
            blocks,
            layers: read.size("num_decoder_layers", Some(layers), 1000)?,
            buckets: RelativePositionBuckets { bidirectional: false, ..buckets },
            untied_lm_head: (output && !scaled).then_some(vocabulary),
            scale_logits: scaled,
            decoder_start_token_id: id("decoder_start_token_id", id("pad_token_id", 0)?)?,
            eos_token_id: id("eos_token_id", 1)?,
        };
        Ok(Self { blocks, vocabulary, layers, buckets, decoder, json })
    }

    /// Names and shapes of the network's parameters.
    pub(crate) fn names(&self) -> NameTable {
        let (mut names, blocks) = (NameTable::default(), &self.blocks);
        let embeddings = Depth::encoder(Level::Embeddings);
        let shape = [self.vocabulary, blocks.hidden];
        names.push("backbone.embeddings.word", ["shared.weight"], &shape, (Role::Embedding, embeddings));
        let hf_name = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
        let shape = [self.buckets.count, blocks.heads];
        names.push("backbone.embeddings.distances", [hf_name], &shape, (Role::PositionBias, embeddings));
        for i in 0..self.layers {
            let (name, hf_name) = (format!("backbone.layer.{i}"), format!("encoder.block.{i}.layer"));
            // There are at most 1,000 layers.
            let depth = Depth::encoder(Level::layer(i));
            let norm = |part: usize| format!("{hf_name}.{part}.layer_norm");
            let attention = format!("{hf_name}.0.SelfAttention");
            blocks.name_attention(&mut names, &format!("{name}.attention"), [&attention, &norm(0)], depth);
            let feed_forward = format!("{hf_name}.1.DenseReluDense");
            blocks.name_feed_forward(
                &mut names,
                &format!("{name}.feed_forward"),
                [&feed_forward, &norm(1)],
                depth,
            );
        }
        let output = (Role::Norm, Depth::encoder(Level::Output));
        names.push("backbone.norm", ["encoder.final_layer_norm.weight"], &[blocks.hidden], output);
        self.decoder.name(&mut names);
        names
    }

    /// Tensors of files that say nothing new: copies of tied ones, and a table that no version of T5 uses.
    pub(crate) fn copies(&self) -> &'static [&'static str] {
        const COPIES: &[&str] = &[
            "lm_head.weight",
            "encoder.embed_tokens.weight",
            "decoder.embed_tokens.weight",
            "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
        ];
        if self.decoder.untied_lm_head.is_some() { &COPIES[1..] } else { COPIES }
    }
}
