//! From a file's metadata to a config.json. Every key below the architecture's name is read, known to change nothing, or refused.
//!
//! The mapping is that of transformers (`GGUF_CONFIG_MAPPING` in integrations/ggml.py), with what it leaves out: scaled rotary
//! positions, biases, windows.

use super::architecture::Architecture;
use super::rope;
use crate::error::ModelError;
use gguf::{Array, Gguf, Value};
use serde_json::{Map, Value as Json, json};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Sizes that every file has, by their keys in both worlds.
const SIZES: [(&str, &str); 5] = [
    ("embedding_length", "hidden_size"),
    ("feed_forward_length", "intermediate_size"),
    ("block_count", "num_hidden_layers"),
    ("attention.head_count", "num_attention_heads"),
    ("context_length", "max_position_embeddings"),
];

/// Keys that change nothing in the network: how texts are pooled, how the file was made.
const WITHOUT_EFFECT: [&str; 3] = ["pooling_type", "tensor_data_layout", "rope.scaling.finetuned"];

/// Keys that may be there with the value that changes nothing: 0.
const ZERO: [&str; 3] = ["expert_count", "expert_used_count", "rope.scaling.yarn_log_multiplier"];

/// Special tokens, by their keys in both worlds.
const TOKENS: [(&str, &str); 3] = [
    ("tokenizer.ggml.bos_token_id", "bos_token_id"),
    ("tokenizer.ggml.eos_token_id", "eos_token_id"),
    ("tokenizer.ggml.padding_token_id", "pad_token_id"),
];

/// The number of layers from which on Gemma 3 is its 27B, whose attention is scaled by another size than its heads' (llama.cpp,
/// `LLM_ARCH_GEMMA3`).
const LAYERS_OF_GEMMA3_27B: u64 = 62;
/// Every sixth layer of Gemma 3 sees everything.
const GEMMA3_PATTERN: u64 = 6;
/// The base of the rotation in layers of Gemma 3 with a window.
const GEMMA3_LOCAL_BASE: f64 = 10_000.0;
/// The base of the rotation where a file has none (llama.cpp).
const BASE: f64 = 10_000.0;

/// What is wrong with a key.
pub(super) fn wrong(file: &Gguf, key: &str, found: String, expected: &str) -> ModelError {
    let (path, key, expected) = (file.path().to_owned(), key.to_owned(), expected.to_owned());
    ModelError::Config { path, key, found, expected }
}

/// The config.json of a file.
pub(super) fn json(file: &Gguf, architecture: &Architecture) -> Result<Json, ModelError> {
    refuse_parts(file)?;
    let keys = Keys { file, prefix: architecture.name, read: RefCell::default() };
    let mut config = Map::new();
    config.insert("architectures".into(), json!([architecture.class]));
    config.insert("model_type".into(), json!(architecture.model_type));
    for (key, name) in SIZES {
        config.insert(name.into(), json!(keys.size(key)?.ok_or_else(|| keys.missing(key))?));
    }
    let size = |name: &str| config[name].as_u64().unwrap_or_default();
    let (hidden, layers, heads) =
        (size("hidden_size"), size("num_hidden_layers"), size("num_attention_heads"));
    let kv_heads = keys.size("attention.head_count_kv")?.unwrap_or(heads);
    let head_dim = head_dim(&keys, hidden, heads)?;
    let eps = "attention.layer_norm_rms_epsilon";
    let eps = keys.number(eps)?.ok_or_else(|| keys.missing(eps))?;
    config.insert("num_key_value_heads".into(), json!(kv_heads));
    config.insert("head_dim".into(), json!(head_dim));
    config.insert("rms_norm_eps".into(), json!(eps));
    config.insert(architecture.activation.0.into(), json!(architecture.activation.1));
    config.insert("vocab_size".into(), json!(vocabulary(&keys)?));
    let base = keys.number("rope.freq_base")?.unwrap_or(BASE);
    config.insert("rope_theta".into(), json!(base));
    if let Some(scaling) = rope::scaling(&keys, base, head_dim)? {
        config.insert("rope_scaling".into(), scaling);
    }
    windows(&keys, architecture, layers, &mut config)?;
    if architecture.alternates {
        gemma3(&keys, [hidden, layers, heads, head_dim], &mut config)?;
    }
    biases(file, architecture, &mut config);
    config.insert("tie_word_embeddings".into(), json!(!file.tensors().contains_key("output.weight")));
    for (key, name) in TOKENS {
        if let Some(id) = file.get(key).and_then(Value::as_u64) {
            config.insert(name.into(), json!(id));
        }
    }
    keys.refuse_others()?;
    Ok(Json::Object(config))
}

/// A model in several files has the metadata in the first alone.
fn refuse_parts(file: &Gguf) -> Result<(), ModelError> {
    let parts = file.get("split.count").and_then(Value::as_u64).unwrap_or(1);
    if parts <= 1 {
        return Ok(());
    }
    Err(ModelError::Broken {
        path: file.path().to_owned(),
        reason: format!("it is one of {parts} parts of a model"),
        remedy: "joining them with llama.cpp: llama-gguf-split --merge FIRST.gguf WHOLE.gguf".into(),
    })
}

/// The size of a head: `key_length`, which also values have, and all of which is rotated.
fn head_dim(keys: &Keys<'_>, hidden: u64, heads: u64) -> Result<u64, ModelError> {
    let rotated = keys.size("rope.dimension_count")?;
    let head_dim = keys.size("attention.key_length")?.or(rotated).unwrap_or(hidden / heads.max(1));
    let why = "the size of a head's keys";
    for (key, found) in
        [("attention.value_length", keys.size("attention.value_length")?), ("rope.dimension_count", rotated)]
    {
        if let Some(found) = found.filter(|found| *found != head_dim) {
            return Err(wrong(keys.file, &keys.full(key), found.to_string(), &format!("{head_dim}, {why}")));
        }
    }
    Ok(head_dim)
}

/// The rows of the token embedding.
fn vocabulary(keys: &Keys<'_>) -> Result<usize, ModelError> {
    let table = keys.file.tensors().get("token_embd.weight");
    let rows = table.map_or(0, |info| info.shape[0]);
    match keys.size("vocab_size")? {
        Some(said) if rows > 0 && said != rows as u64 => {
            let expected = format!("{rows}, the rows of token_embd.weight");
            Err(wrong(keys.file, &keys.full("vocab_size"), said.to_string(), &expected))
        }
        _ => Ok(rows.max(1)),
    }
}

/// The window of attention, and which layers have it.
fn windows(
    keys: &Keys<'_>,
    architecture: &Architecture,
    layers: u64,
    config: &mut Map<String, Json>,
) -> Result<(), ModelError> {
    let key = "attention.sliding_window";
    let window = keys.whole(key)?.filter(|window| *window > 0);
    if !architecture.alternates {
        return match window {
            None => Ok(()),
            Some(window) => Err(wrong(
                keys.file,
                &keys.full(key),
                window.to_string(),
                "nothing: no window for this architecture",
            )),
        };
    }
    let key = "attention.sliding_window_pattern";
    // A truth value for each layer, or the distance between full ones.
    let has_window: Box<dyn Fn(u64) -> bool> = match keys.get(key) {
        Some(Value::Array(Array::Bool(layers))) => {
            Box::new(|layer| usize::try_from(layer).ok().and_then(|layer| layers.get(layer)) == Some(&true))
        }
        _ => {
            let pattern = keys.whole(key)?.unwrap_or(GEMMA3_PATTERN);
            Box::new(move |layer| pattern > 0 && !(layer + 1).is_multiple_of(pattern))
        }
    };
    let kind = |layer| match window.is_some() && has_window(layer) {
        true => "sliding_attention",
        false => "full_attention",
    };
    if let Some(window) = window {
        config.insert("sliding_window".into(), json!(window));
    }
    // A hostile number of layers is refused where the network is made.
    config.insert("layer_types".into(), json!((0..layers.min(10_000)).map(kind).collect::<Vec<_>>()));
    Ok(())
}

/// What Gemma 3 has beyond the others.
fn gemma3(
    keys: &Keys<'_>,
    [hidden, layers, heads, head_dim]: [u64; 4],
    config: &mut Map<String, Json>,
) -> Result<(), ModelError> {
    let local = keys.number("rope.freq_base_swa")?.unwrap_or(GEMMA3_LOCAL_BASE);
    config.insert("rope_local_base_freq".into(), json!(local));
    let scale = if layers == LAYERS_OF_GEMMA3_27B { hidden / heads.max(1) } else { head_dim };
    config.insert("query_pre_attn_scalar".into(), json!(scale));
    for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
        if let Some(cap) = keys.number(key)?.filter(|cap| *cap != 0.0) {
            config.insert(key.into(), json!(cap));
        }
    }
    Ok(())
}

/// Biases are there if the first layer has them; [`crate::io::read`] finds where others have none.
fn biases(file: &Gguf, architecture: &Architecture, config: &mut Map<String, Json>) {
    let has = |name: &str| file.tensors().contains_key(&format!("blk.0.{name}.bias"));
    if let Some(key) = architecture.attention_bias {
        config.insert(key.into(), json!(has("attn_q") || has("attn_output")));
    }
    if architecture.model_type == "llama" {
        config.insert("mlp_bias".into(), json!(has("ffn_gate") || has("ffn_down")));
    }
}

/// The keys below an architecture's name, and which of them have been read.
pub(super) struct Keys<'a> {
    pub file: &'a Gguf,
    prefix: &'static str,
    read: RefCell<BTreeSet<String>>,
}

impl Keys<'_> {
    pub fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.read.borrow_mut().insert(key.to_owned());
        self.file.get(&self.full(key))
    }

    fn missing(&self, key: &str) -> ModelError {
        wrong(self.file, &self.full(key), "nothing".into(), "a number")
    }

    fn wrong_value(&self, key: &str, value: &Value, expected: &str) -> ModelError {
        let mut found = format!("{value:?}");
        if let Some((end, _)) = found.char_indices().nth(60) {
            found.truncate(end);
            found += "...";
        }
        wrong(self.file, &self.full(key), found, expected)
    }

    /// A whole number; of an array that has one for each layer, that of all.
    pub fn whole(&self, key: &str) -> Result<Option<u64>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = match value {
            Value::Array(array) => same_for_all(array),
            value => value.as_u64(),
        };
        let expected = "one whole number for all layers";
        number.map(Some).ok_or_else(|| self.wrong_value(key, value, expected))
    }

    /// A whole number from 1 on.
    pub fn size(&self, key: &str) -> Result<Option<u64>, ModelError> {
        match self.whole(key)? {
            Some(0) => Err(wrong(self.file, &self.full(key), "0".into(), "a whole number from 1 on")),
            size => Ok(size),
        }
    }

    /// A finite number.
    pub fn number(&self, key: &str) -> Result<Option<f64>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_f64().filter(|number| number.is_finite());
        number.map(Some).ok_or_else(|| self.wrong_value(key, value, "a finite number"))
    }

    /// Refuses what nobody has read.
    fn refuse_others(&self) -> Result<(), ModelError> {
        let prefix = format!("{}.", self.prefix);
        let read = self.read.borrow();
        for (full, value) in self.file.metadata() {
            let Some(key) = full.strip_prefix(&prefix) else { continue };
            let changes_nothing = read.contains(key)
                || WITHOUT_EFFECT.contains(&key)
                || key.starts_with("classifier.")
                || ZERO.contains(&key) && value.as_f64() == Some(0.0)
                || key == "attention.causal" && value.as_bool() == Some(true);
            if !changes_nothing {
                return Err(self.wrong_value(key, value, "nothing: the key is not supported"));
            }
        }
        Ok(())
    }
}

fn same_for_all(array: &Array) -> Option<u64> {
    let numbers = array.to_i64()?;
    let first = *numbers.first()?;
    numbers.iter().all(|number| *number == first).then(|| u64::try_from(first).ok())?
}
