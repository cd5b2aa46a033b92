//! A decoder's settings: from `[model]`, or from a checkpoint's config.json, checked either way.

use super::family::{ACTIVATIONS, ALL, Bias, Family, NEUTRAL, READ, Windows};
use crate::backbones::rope::RotarySettings;
use crate::cast::to_f32;
use crate::checks::{rate, size};
use crate::error::ModelError;
use crate::io::config_reader::{ConfigReader, saved_json};
use crate::io::names::NameTable;
use crate::parameters::{Depth, Level, Role};
use kernels::Glu;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

/// `{ llama = { layers = 8, hidden = 512, heads = 8 } }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LlamaConfig {
    /// Layers.
    #[schemars(range(min = 1, max = 1000))]
    pub layers: usize,
    /// Width of a state; a multiple of `heads`, twice.
    #[schemars(range(min = 2, max = 65536))]
    pub hidden: usize,
    /// Attention heads a layer.
    #[schemars(range(min = 1, max = 65536))]
    pub heads: usize,
    /// Heads of keys and values, which divide `heads`. Left out: as many.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub kv_heads: Option<usize>,
    /// Width inside the feed-forward part, which has a gate. Left out: 8/3 of `hidden`, rounded up to a multiple of 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1048576))]
    pub intermediate_size: Option<usize>,
    /// The longest row, in tokens.
    #[schemars(range(min = 1, max = 1048576))]
    pub max_length: usize,
    /// Share of the attention weights set to 0 in training.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f32,
}

impl Default for LlamaConfig {
    fn default() -> Self {
        Self {
            layers: 8,
            hidden: 512,
            heads: 8,
            kv_heads: None,
            intermediate_size: None,
            max_length: 2048,
            dropout: 0.0,
        }
    }
}

impl LlamaConfig {
    pub(crate) fn max_length(&self) -> Option<usize> {
        Some(self.max_length)
    }

    pub(crate) fn has_linear_layers(&self) -> bool {
        true
    }
}

/// Everything about a decoder but its weights.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub family: Family,
    pub hidden: usize,
    pub vocabulary: usize,
    pub heads: usize,
    pub kv_heads: usize,
    /// Columns of a head.
    pub head_dim: usize,
    pub intermediate_size: usize,
    pub activation: Glu,
    pub eps: f32,
    /// Dropout of attention probabilities.
    pub dropout: f32,
    pub max_length: usize,
    /// What scores are multiplied by.
    pub scale: f32,
    pub qkv_bias: bool,
    pub output_bias: bool,
    pub mlp_bias: bool,
    /// Whether logits are made with the token table.
    pub tied: bool,
    /// For each layer the keys that a token sees, its own among them; `None`: all up to its own.
    pub windows: Vec<Option<usize>>,
    /// Rotary positions of layers without a window, and of those with one.
    pub rotary: [RotarySettings; 2],
    /// The tokens that end a text.
    pub eos_token_ids: Vec<u32>,
    /// config.json as it is saved.
    pub json: Value,
}

impl Settings {
    pub(super) fn from_scratch(
        config: &LlamaConfig,
        vocabulary: usize,
        [start, end]: [u32; 2],
    ) -> Result<Self, ModelError> {
        let hidden = size("llama.hidden", config.hidden, 2, 65_536)?;
        let heads = size("llama.heads", config.heads, 1, 65_536)?;
        if !hidden.is_multiple_of(2 * heads) {
            let expected = format!("a divisor of half of hidden = {hidden}");
            return Err(ModelError::Size { key: "llama.heads", found: heads.to_string(), expected });
        }
        let kv_heads = size("llama.kv_heads", config.kv_heads.unwrap_or(heads), 1, 65_536)?;
        if !heads.is_multiple_of(kv_heads) {
            let expected = format!("a divisor of heads = {heads}");
            return Err(ModelError::Size { key: "llama.kv_heads", found: kv_heads.to_string(), expected });
        }
        let intermediate_size =
            config.intermediate_size.unwrap_or((8 * hidden).div_ceil(3).next_multiple_of(64));
        let json = json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": size("llama.vocabulary", vocabulary, 1, i32::MAX as usize)?,
            "hidden_size": hidden,
            "intermediate_size": size("llama.intermediate_size", intermediate_size, 1, 1 << 20)?,
            "num_hidden_layers": size("llama.layers", config.layers, 1, 1000)?,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "head_dim": hidden / heads,
            "hidden_act": "silu",
            "max_position_embeddings": size("llama.max_length", config.max_length, 1, 1 << 20)?,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10_000.0,
            "attention_dropout": rate("llama.dropout", config.dropout)?,
            "tie_word_embeddings": true,
            "bos_token_id": start,
            "eos_token_id": end,
            "dtype": "float32",
        });
        Self::read(&ConfigReader { path: Path::new("config.json"), json: &json }, None, json.clone())
    }

    /// Reads a config.json whose `model_type` is that of a family; `dropout` overrides what it says.
    ///
    /// # Errors
    /// [`ModelError::Config`] with the key: a value out of range, and every key that is not known to change nothing.
    pub(crate) fn from_json(path: &Path, json: Value, dropout: Option<f32>) -> Result<Self, ModelError> {
        let class =
            ALL.iter().find(|family| json["model_type"] == family.model_type).map_or("Llama", |f| f.class);
        let saved = saved_json(json.clone(), &format!("{class}ForCausalLM"));
        Self::read(&ConfigReader { path, json: &json }, dropout, saved)
    }

    fn read(read: &ConfigReader<'_>, dropout: Option<f32>, json: Value) -> Result<Self, ModelError> {
        let found = read.json.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let Some(family) = ALL.into_iter().find(|family| family.model_type == found) else {
            let all: Vec<&str> = ALL.iter().map(|family| family.model_type).collect();
            return Err(read.error("model_type", format!("one of {}", all.join(", "))));
        };
        refuse_unknown(read, &family)?;
        let hidden = read.size("hidden_size", None, 65_536)?;
        let heads = read.size("num_attention_heads", None, 65_536)?;
        let kv_heads =
            read.size_or_null("num_key_value_heads", family.defaults.kv_heads.unwrap_or(heads), 65_536)?;
        if !heads.is_multiple_of(kv_heads) {
            let expected = format!("a divisor of num_attention_heads = {heads}");
            return Err(read.error("num_key_value_heads", expected));
        }
        let usual = family.defaults.head_dim.unwrap_or(hidden / heads);
        let head_dim = read.size_or_null("head_dim", usual, 65_536)?;
        if !head_dim.is_multiple_of(2) {
            return Err(read.error("head_dim", "an even number: positions rotate pairs of columns".into()));
        }
        let layers = read.size("num_hidden_layers", None, 1000)?;
        let max_length =
            read.size("max_position_embeddings", Some(family.defaults.max_positions), 1 << 30)?;
        let eps = read.number("rms_norm_eps", 1e-6)?;
        if !(0.0..0.1).contains(&eps) {
            return Err(read.error("rms_norm_eps", "a small positive number such as 1e-6".into()));
        }
        let own_rate = match read.json.get("attention_dropout") {
            None | Some(Value::Null) => 0.0,
            Some(_) => read.rate("attention_dropout")?,
        };
        if let Some(dropout) = dropout {
            rate("dropout", dropout)?;
        }
        let vocabulary = read.size("vocab_size", None, i32::MAX as usize)?;
        let bias = |bias: Bias| match bias {
            Bias::Never => Ok(false),
            Bias::Always => Ok(true),
            Bias::Key(key) => read.flag(key, false),
        };
        let scalar = match read.json.get("query_pre_attn_scalar") {
            Some(_) => read.number("query_pre_attn_scalar", 0.0)?,
            None if family.keys.contains(&"query_pre_attn_scalar") => 256.0,
            None => head_dim as f64,
        };
        if !(scalar > 0.0 && scalar.is_finite()) {
            return Err(read.error("query_pre_attn_scalar", "a number above 0".into()));
        }
        Ok(Self {
            hidden,
            vocabulary,
            heads,
            kv_heads,
            head_dim,
            intermediate_size: read.size("intermediate_size", None, 1 << 20)?,
            activation: activation(read, &family)?,
            eps: to_f32(eps),
            dropout: dropout.unwrap_or(own_rate),
            max_length,
            scale: to_f32(scalar.powf(-0.5)),
            qkv_bias: bias(family.qkv_bias)?,
            output_bias: bias(family.output_bias)?,
            mlp_bias: bias(family.mlp_bias)?,
            tied: read.flag("tie_word_embeddings", family.defaults.tied)?,
            windows: windows(read, &family, layers)?,
            rotary: rotary(read, &family, max_length)?,
            eos_token_ids: eos_token_ids(read, vocabulary)?,
            family,
            json,
        })
    }

    /// Columns of the queries of all heads.
    pub(crate) fn q_dim(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Columns of the keys of all heads.
    pub(crate) fn kv_dim(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Names and shapes of the network's parameters; in files with `prefix` before those of the network below the logits. `output`
    /// tells whether the logits have a table of their own.
    pub(crate) fn names(&self, prefix: &str, output: bool) -> NameTable {
        let mut names = NameTable::default();
        let (h, f, d) = (self.hidden, self.intermediate_size, self.head_dim);
        let table = [self.vocabulary, h];
        let embeddings = (Role::Embedding, Depth::encoder(Level::Embeddings));
        names.push("backbone.embeddings.word", [format!("{prefix}embed_tokens.weight")], &table, embeddings);
        for i in 0..self.windows.len() {
            // There are at most 1,000 layers.
            let depth = Depth::encoder(Level::layer(i));
            let (name, file) = (format!("backbone.layer.{i}"), format!("{prefix}layers.{i}"));
            let mut push = |part: &str, files: &[&str], end: &str, shape: &[usize], role: Role| {
                let files = files.iter().map(|part| format!("{file}.{part}.{end}"));
                names.push(format!("{name}.{part}"), files, shape, (role, depth));
            };
            let mut linear = |part: &str, files: &[&str], outputs: usize, inputs: usize, bias: bool| {
                push(&format!("{part}.weight"), files, "weight", &[outputs, inputs], Role::Linear);
                if bias {
                    push(&format!("{part}.bias"), files, "bias", &[outputs], Role::Bias);
                }
            };
            linear("attention.q", &["self_attn.q_proj"], self.q_dim(), h, self.qkv_bias);
            let kv = ["self_attn.k_proj", "self_attn.v_proj"];
            linear("attention.kv", &kv, 2 * self.kv_dim(), h, self.qkv_bias);
            linear("attention.output", &["self_attn.o_proj"], h, self.q_dim(), self.output_bias);
            linear("feed_forward.gate", &["mlp.gate_proj"], f, h, self.mlp_bias);
            linear("feed_forward.in", &["mlp.up_proj"], f, h, self.mlp_bias);
            linear("feed_forward.out", &["mlp.down_proj"], h, f, self.mlp_bias);
            for (part, file, width) in self.norms() {
                push(part, &[file], "weight", &[if width { d } else { h }], Role::Norm);
            }
        }
        let output_depth = Depth::encoder(Level::Output);
        names.push("backbone.norm", [format!("{prefix}norm.weight")], &[h], (Role::Norm, output_depth));
        if output {
            names.push("backbone.lm_head", ["lm_head.weight"], &table, (Role::Embedding, output_depth));
        }
        names
    }

    /// The norms of a layer: names here and in files, and whether they are those of heads.
    fn norms(&self) -> Vec<(&'static str, &'static str, bool)> {
        let mut norms = vec![("attention.norm", "input_layernorm", false)];
        if self.family.qk_norm {
            norms.push(("attention.q_norm", "self_attn.q_norm", true));
            norms.push(("attention.k_norm", "self_attn.k_norm", true));
        }
        if self.family.post_norms {
            norms.push(("attention.post_norm", "post_attention_layernorm", false));
            norms.push(("feed_forward.norm", "pre_feedforward_layernorm", false));
            norms.push(("feed_forward.post_norm", "post_feedforward_layernorm", false));
        } else {
            norms.push(("feed_forward.norm", "post_attention_layernorm", false));
        }
        norms
    }
}

/// Refuses every key that is neither read nor known to change nothing, unless it says that something is not there.
fn refuse_unknown(read: &ConfigReader<'_>, family: &Family) -> Result<(), ModelError> {
    let known = |key: &str| {
        READ.contains(&key)
            || NEUTRAL.contains(&key)
            || family.keys.contains(&key)
            || key == family.activation_key
    };
    let map = read.json.as_object();
    let off = |value: &Value| value.is_null() || *value == json!(false);
    match map.into_iter().flatten().find(|(key, value)| !known(key) && !off(value)) {
        Some((key, _)) => {
            let expected = format!(
                "no such key in a model of type {}: what it changes is not supported; leave it out if it changes nothing",
                family.model_type
            );
            Err(read.error(key, expected))
        }
        None => Ok(()),
    }
}

fn activation(read: &ConfigReader<'_>, family: &Family) -> Result<Glu, ModelError> {
    let usual = if family.activation_key == "hidden_act" { "silu" } else { "gelu_pytorch_tanh" };
    let name = match read.json.get(family.activation_key) {
        None | Some(Value::Null) => Some(usual),
        Some(value) => value.as_str(),
    };
    let found = ACTIVATIONS.iter().find(|(known, _)| Some(*known) == name);
    found.map(|(_, activation)| *activation).ok_or_else(|| {
        let names: Vec<&str> = ACTIVATIONS.iter().map(|(name, _)| *name).collect();
        read.error(family.activation_key, format!("one of {}", names.join(", ")))
    })
}

/// For each layer the keys that a token sees.
fn windows(
    read: &ConfigReader<'_>,
    family: &Family,
    layers: usize,
) -> Result<Vec<Option<usize>>, ModelError> {
    let width = match read.json.get("sliding_window") {
        Some(Value::Null) => None,
        None => family.defaults.sliding_window,
        Some(_) => Some(read.size("sliding_window", None, 1 << 30)?),
    };
    let slides: Vec<bool> = match (read.json.get("layer_types"), family.windows) {
        (Some(Value::Array(types)), Windows::Upper | Windows::AllButEvery(_)) => {
            let slides = |kind: &Value| match kind.as_str() {
                Some("sliding_attention") => Some(true),
                Some("full_attention") => Some(false),
                _ => None,
            };
            let slides: Option<Vec<bool>> = types.iter().map(slides).collect();
            slides.filter(|slides| slides.len() == layers).ok_or_else(|| {
                let expected = "\"full_attention\" or \"sliding_attention\" for each of the layers";
                read.error("layer_types", format!("{expected}, {layers}"))
            })?
        }
        (_, Windows::Never) => vec![false; layers],
        (_, Windows::All) => vec![true; layers],
        (_, Windows::Upper) => {
            let first = match read.flag("use_sliding_window", false)? {
                true => read.json.get("max_window_layers").map_or(Some(28), Value::as_u64),
                false => Some(u64::MAX),
            };
            let first = first.ok_or_else(|| read.error("max_window_layers", "a whole number".into()))?;
            (0..layers).map(|layer| layer as u64 >= first).collect()
        }
        (_, Windows::AllButEvery(usual)) => {
            let every = match read.json.get("sliding_window_pattern") {
                Some(_) => read.size("sliding_window_pattern", None, 1000)?,
                None => read.size("_sliding_window_pattern", Some(usual), 1000)?,
            };
            (1..=layers).map(|layer| !layer.is_multiple_of(every)).collect()
        }
    };
    // Qwen's window is one only where it is switched on.
    let off = family.windows == Windows::Upper && !read.flag("use_sliding_window", false)?;
    let width = width.filter(|_| !off);
    if width.is_none() && family.windows == Windows::Upper && slides.contains(&true) {
        return Err(
            read.error("sliding_window", "a number, with `use_sliding_window`, for layers that slide".into())
        );
    }
    Ok(slides.into_iter().map(|slides| width.filter(|_| slides)).collect())
}

/// Rotary positions of layers without a window, and of those with one.
fn rotary(
    read: &ConfigReader<'_>,
    family: &Family,
    longest: usize,
) -> Result<[RotarySettings; 2], ModelError> {
    let theta = read.number("rope_theta", family.defaults.rope_theta)?;
    if !(theta > 1.0 && theta.is_finite()) {
        return Err(read.error("rope_theta", "a number above 1".into()));
    }
    let by_layer = matches!(family.windows, Windows::AllButEvery(_));
    let local = match by_layer {
        true => read.number("rope_local_base_freq", 10_000.0)?,
        false => theta,
    };
    let given = |key: &str| read.json.get(key).filter(|table| !table.is_null());
    if let Some(tables) = given("rope_parameters") {
        if given("rope_scaling").is_some() {
            return Err(
                read.error("rope_scaling", "nothing beside `rope_parameters`, which says the same".into())
            );
        }
        if !by_layer {
            let all = RotarySettings::read(read, "rope_parameters", tables, theta, longest)?;
            return Ok([all.clone(), all]);
        }
        let of = |kind: &str, theta: f64| match tables.get(kind) {
            None | Some(Value::Null) => Ok(RotarySettings::plain(theta)),
            Some(table) => {
                RotarySettings::read(read, &format!("rope_parameters.{kind}"), table, theta, longest)
            }
        };
        return Ok([of("full_attention", theta)?, of("sliding_attention", local)?]);
    }
    let all = match given("rope_scaling") {
        Some(table) => RotarySettings::read(read, "rope_scaling", table, theta, longest)?,
        None => RotarySettings::plain(theta),
    };
    let sliding = if by_layer { RotarySettings::plain(local) } else { all.clone() };
    Ok([all, sliding])
}

/// The tokens that end a text by generation_config.json beside a config.json: what transformers' `generate` goes by, where chat models
/// have more of them than config.json says.
pub(super) fn ends_of_generation(config: &Path) -> Option<Value> {
    let bytes = files::read(&config.with_file_name("generation_config.json")).ok()?;
    let json: Value = serde_json::from_slice(&bytes).ok()?;
    json.get("eos_token_id").filter(|ends| !ends.is_null()).cloned()
}

fn eos_token_ids(read: &ConfigReader<'_>, vocabulary: usize) -> Result<Vec<u32>, ModelError> {
    let id = |value: &Value| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.filter(|id| (*id as usize) < vocabulary)
    };
    let ids: Option<Vec<u32>> = match read.json.get("eos_token_id") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(all)) => all.iter().map(id).collect(),
        Some(one) => id(one).map(|id| vec![id]),
    };
    ids.ok_or_else(|| read.error("eos_token_id", format!("ids below vocab_size = {vocabulary}")))
}
