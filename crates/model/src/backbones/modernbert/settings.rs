//! A ModernBERT's settings: from `[model]`, or from a checkpoint's config.json, checked either way.

use crate::backbones::rope::RotarySettings;
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

/// `{ modernbert = { layers = 6, hidden = 256, heads = 4 } }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModernBertConfig {
    /// Number of layers; every third one, from the first on, sees the whole row.
    #[schemars(range(min = 1, max = 1000))]
    pub layers: usize,
    /// Width of a state; a multiple of twice `heads`.
    #[schemars(range(min = 2, max = 65536))]
    pub hidden: usize,
    /// Attention heads a layer.
    #[schemars(range(min = 1, max = 65536))]
    pub heads: usize,
    /// Width inside the feed-forward part, which has a gate. Left out: three halves of `hidden`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1048576))]
    pub intermediate_size: Option<usize>,
    /// Tokens that the other layers see, half of them on each side.
    #[schemars(range(min = 1, max = 1000000))]
    pub local_attention: usize,
    /// The longest row in tokens.
    #[schemars(range(min = 1, max = 1000000))]
    pub max_length: usize,
    /// Share of the numbers set to 0 in training, in embeddings, attention weights and the feed-forward part.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f32,
}

impl Default for ModernBertConfig {
    fn default() -> Self {
        Self {
            layers: 6,
            hidden: 256,
            heads: 4,
            intermediate_size: None,
            local_attention: 128,
            max_length: 8192,
            dropout: 0.1,
        }
    }
}

impl ModernBertConfig {
    pub(crate) fn max_length(&self) -> Option<usize> {
        Some(self.max_length)
    }

    pub(crate) fn has_linear_layers(&self) -> bool {
        true
    }
}

/// Everything about a ModernBERT but its weights.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub vocabulary: usize,
    pub hidden: usize,
    pub heads: usize,
    pub intermediate_size: usize,
    pub activation: Glu,
    pub max_length: usize,
    /// For each layer how far from a token it sees; `None`: the whole row.
    pub windows: Vec<Option<usize>>,
    /// Rotary positions of layers that see the whole row, and of those with a window.
    pub rotary: [RotarySettings; 2],
    pub eps: f32,
    /// Whether norms have a shift.
    pub norm_bias: bool,
    pub attention_bias: bool,
    pub mlp_bias: bool,
    pub embedding_dropout: f32,
    /// Of attention weights, and of what the attention gives.
    pub attention_dropout: f32,
    /// Inside the feed-forward part.
    pub mlp_dropout: f32,
    /// config.json as it is saved.
    pub json: Value,
}

const CLASS: &str = "ModernBertModel";

/// Activations by the names of transformers.
const ACTIVATIONS: [(&str, Glu); 5] = [
    ("gelu", Glu::Gelu),
    ("gelu_python", Glu::Gelu),
    ("gelu_new", Glu::GeluTanh),
    ("gelu_pytorch_tanh", Glu::GeluTanh),
    ("silu", Glu::Silu),
];

impl Settings {
    pub(super) fn from_scratch(config: &ModernBertConfig, vocabulary: usize) -> Result<Self, ModelError> {
        let hidden = size("modernbert.hidden", config.hidden, 2, 65_536)?;
        let heads = size("modernbert.heads", config.heads, 1, 65_536)?;
        if !hidden.is_multiple_of(2 * heads) {
            let expected = format!("a divisor of half of hidden = {hidden}");
            return Err(ModelError::Size { key: "modernbert.heads", found: heads.to_string(), expected });
        }
        let intermediate_size = config.intermediate_size.unwrap_or(3 * hidden / 2);
        let dropout = rate("modernbert.dropout", config.dropout)?;
        let json = json!({
            "architectures": [CLASS],
            "model_type": "modernbert",
            "vocab_size": size("modernbert.vocabulary", vocabulary, 1, i32::MAX as usize)?,
            "hidden_size": hidden,
            "num_hidden_layers": size("modernbert.layers", config.layers, 1, 1000)?,
            "num_attention_heads": heads,
            "intermediate_size": size("modernbert.intermediate_size", intermediate_size, 1, 1 << 20)?,
            "hidden_activation": "gelu",
            "max_position_embeddings": size("modernbert.max_length", config.max_length, 1, 1_000_000)?,
            "local_attention": size("modernbert.local_attention", config.local_attention, 1, 1_000_000)?,
            "global_attn_every_n_layers": 3,
            "global_rope_theta": 160_000.0,
            "local_rope_theta": 10_000.0,
            "norm_eps": 1e-5,
            "norm_bias": false,
            "attention_bias": false,
            "mlp_bias": false,
            "embedding_dropout": dropout,
            "attention_dropout": dropout,
            "mlp_dropout": dropout,
            "initializer_range": 0.02,
            "pad_token_id": 0,
            "bos_token_id": null,
            "eos_token_id": null,
            "cls_token_id": null,
            "sep_token_id": null,
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
        if !hidden.is_multiple_of(2 * heads) {
            let expected = format!("a divisor of half of hidden_size = {hidden}");
            return Err(read.error("num_attention_heads", expected));
        }
        let max_length = read.size("max_position_embeddings", Some(8192), 1_000_000)?;
        let of_rate = |key: &str| read.rate_or(key, 0.0).map(|own| dropout.unwrap_or(own));
        if let Some(dropout) = dropout {
            rate("dropout", dropout)?;
        }
        Ok(Self {
            vocabulary: read.size("vocab_size", None, i32::MAX as usize)?,
            hidden,
            heads,
            intermediate_size: read.size("intermediate_size", None, 1 << 20)?,
            activation: activation(read)?,
            max_length,
            windows: windows(read)?,
            rotary: rotary(read, max_length)?,
            eps: read.eps("norm_eps", 1e-5)?,
            norm_bias: read.flag("norm_bias", false)?,
            attention_bias: read.flag("attention_bias", false)?,
            mlp_bias: read.flag("mlp_bias", false)?,
            embedding_dropout: of_rate("embedding_dropout")?,
            attention_dropout: of_rate("attention_dropout")?,
            mlp_dropout: of_rate("mlp_dropout")?,
            json,
        })
    }

    /// Names and shapes of the network's parameters.
    pub(super) fn names(&self) -> NameTable {
        let mut names = NameTable::default();
        let (h, f) = (self.hidden, self.intermediate_size);
        let embeddings = Depth::encoder(Level::Embeddings);
        let shape = [self.vocabulary, h];
        let word = "embeddings.tok_embeddings.weight";
        names.push("backbone.embeddings.word", [word], &shape, (Role::Embedding, embeddings));
        self.name_norm(&mut names, "backbone.embeddings.norm", "embeddings.norm", embeddings);
        for i in 0..self.windows.len() {
            // There are at most 1,000 layers.
            let depth = Depth::encoder(Level::layer(i));
            let (name, hf_name) = (format!("backbone.layer.{i}"), format!("layers.{i}"));
            if i > 0 {
                let hf_name = format!("{hf_name}.attn_norm");
                self.name_norm(&mut names, &format!("{name}.attention.norm"), &hf_name, depth);
            }
            let linears = [
                ("attention.qkv", "attn.Wqkv", [3 * h, h], self.attention_bias),
                ("attention.output", "attn.Wo", [h, h], self.attention_bias),
                ("feed_forward.in", "mlp.Wi", [2 * f, h], self.mlp_bias),
                ("feed_forward.out", "mlp.Wo", [h, f], self.mlp_bias),
            ];
            for (part, module, shape, bias) in linears {
                let (name, hf_name) = (format!("{name}.{part}"), format!("{hf_name}.{module}"));
                let weight = [format!("{hf_name}.weight")];
                names.push(format!("{name}.weight"), weight, &shape, (Role::Linear, depth));
                if bias {
                    let hf_name = [format!("{hf_name}.bias")];
                    names.push(format!("{name}.bias"), hf_name, &shape[..1], (Role::Bias, depth));
                }
            }
            let hf_name = format!("{hf_name}.mlp_norm");
            self.name_norm(&mut names, &format!("{name}.feed_forward.norm"), &hf_name, depth);
        }
        self.name_norm(&mut names, "backbone.norm", "final_norm", Depth::encoder(Level::Output));
        names
    }

    fn name_norm(&self, names: &mut NameTable, name: &str, hf_name: &str, depth: Depth) {
        let parts = [("weight", Role::Norm, true), ("bias", Role::NormShift, self.norm_bias)];
        for (part, role, _) in parts.into_iter().filter(|(.., wanted)| *wanted) {
            names.push(
                format!("{name}.{part}"),
                [format!("{hf_name}.{part}")],
                &[self.hidden],
                (role, depth),
            );
        }
    }
}

fn activation(read: &ConfigReader<'_>) -> Result<Glu, ModelError> {
    let key = "hidden_activation";
    let found = match read.json.get(key) {
        None | Some(Value::Null) => Some("gelu"),
        Some(found) => found.as_str(),
    };
    let known = |name| ACTIVATIONS.iter().find(|(known, _)| *known == name);
    found.and_then(known).map(|(_, activation)| *activation).ok_or_else(|| {
        let names: Vec<String> = ACTIVATIONS.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        read.error(key, format!("one of {}", names.join(", ")))
    })
}

/// For each layer how far it sees: by `layer_types`, or by `global_attn_every_n_layers`, as before transformers 5.
fn windows(read: &ConfigReader<'_>) -> Result<Vec<Option<usize>>, ModelError> {
    let layers = read.size("num_hidden_layers", None, 1000)?;
    let window = read.size("local_attention", Some(128), 1_000_000)? / 2;
    let every = read.size("global_attn_every_n_layers", Some(3), 1000)?;
    let types = match read.json.get("layer_types") {
        None | Some(Value::Null) => {
            let by_number = |i: usize| if i.is_multiple_of(every) { None } else { Some(window) };
            return Ok((0..layers).map(by_number).collect());
        }
        Some(types) => types.as_array().filter(|types| types.len() == layers),
    };
    let of = |of_type: &Value| match of_type.as_str() {
        Some("full_attention") => Some(None),
        Some("sliding_attention") => Some(Some(window)),
        _ => None,
    };
    types.and_then(|types| types.iter().map(of).collect()).ok_or_else(|| {
        let expected = "\"full_attention\" or \"sliding_attention\"";
        read.error("layer_types", format!("{expected} for each of the {layers} layers"))
    })
}

/// Rotary positions of layers that see the whole row, and of those with a window: by `rope_parameters`, or by
/// `global_rope_theta` and `local_rope_theta`, as before transformers 5.
fn rotary(read: &ConfigReader<'_>, longest: usize) -> Result<[RotarySettings; 2], ModelError> {
    if read.json.get("rope_scaling").is_some_and(|scaling| !scaling.is_null()) {
        let expected = "null: scaling stands in rope_parameters, by the type of layers".into();
        return Err(read.error("rope_scaling", expected));
    }
    let base = |key: &str, default: f64| match read.json.get(key) {
        Some(Value::Null) => Ok(default),
        _ => match read.number(key, default)? {
            theta if theta.is_finite() && theta > 0.0 => Ok(theta),
            _ => Err(read.error(key, "a number above 0".into())),
        },
    };
    let global = base("global_rope_theta", 160_000.0)?;
    // Written as null it is the same base.
    let is_null = read.json.get("local_rope_theta").is_some_and(Value::is_null);
    let local = base("local_rope_theta", if is_null { global } else { 10_000.0 })?;
    let key = "rope_parameters";
    let tables = match read.json.get(key) {
        None | Some(Value::Null) => return Ok([global, local].map(RotarySettings::plain)),
        Some(tables) => tables.as_object(),
    };
    let known = ["full_attention", "sliding_attention"];
    let Some(tables) = tables.filter(|tables| tables.keys().all(|name| known.contains(&name.as_str())))
    else {
        let expected = "a table with full_attention and sliding_attention";
        return Err(read.error(key, expected.into()));
    };
    let of = |name: &str, theta: f64| match tables.get(name) {
        None | Some(Value::Null) => Ok(RotarySettings::plain(theta)),
        Some(table) => RotarySettings::read(read, &format!("{key}.{name}"), table, theta, longest),
    };
    Ok([of(known[0], global)?, of(known[1], local)?])
}
