//! What may stand in an adapter_config.json: the settings of the scheme, what says nothing about the states, and nothing else that
//! is switched on.

use crate::error::ModelError;
use crate::io::config_reader::{ConfigReader, shortened};
use crate::sharing::PeftAdapter;
use serde_json::{Value, json};

/// How a key is read.
enum Rule {
    /// Equal to the scheme's own; this where the file does not say.
    Same(Value),
    /// It says nothing about the states.
    Ignored,
    /// One of these, or left out.
    OneOf(&'static [Value], &'static str),
}

/// The key of the scheme's config for a key of PEFT's.
const OWN_KEYS: &[(&str, &str)] = &[
    ("r", "rank"),
    ("lora_alpha", "alpha"),
    ("use_rslora", "use_rslora"),
    ("use_dora", "use_dora"),
    ("n_skills", "skills"),
    ("n_splits", "splits"),
];

/// What is to be done about a setting that is not supported.
const REMEDIES: &[(&str, &str)] = &[
    (
        "modules_to_save",
        "an adapter without: layers that were trained as a whole cannot be read; train the task's head anew",
    ),
    ("rank_pattern", "one rank for all modules"),
    ("alpha_pattern", "one alpha for all modules"),
    (
        "bias",
        "\"none\": biases belong to the backbone here; merge the adapter in Python, and begin with the merged model",
    ),
    ("lora_bias", "false: merge the adapter in Python, and begin with the merged model"),
    ("layer_replication", "an adapter of the model as it is"),
    ("trainable_token_indices", "an adapter without trained tokens"),
    ("fan_in_fan_out", "false: the backbone's weights are [out, in]"),
];

const SWITCHES: &[Value] = &[Value::Null, Value::Bool(true), Value::Bool(false)];

/// The rule of a key; `None` for one that PEFT may have added since.
fn rule(peft_type: &str, key: &str) -> Option<Rule> {
    use Rule::{Ignored, OneOf, Same};
    let rule = match (peft_type, key) {
        (
            _,
            "peft_type"
            | "target_modules"
            | "feedforward_modules"
            | "exclude_modules"
            | "layers_to_transform",
        ) => Ignored,
        (_, "layers_pattern" | "auto_mapping" | "base_model_name_or_path" | "revision" | "task_type") => {
            Ignored
        }
        (_, "inference_mode" | "peft_version" | "lora_dropout" | "vera_dropout" | "d_initial") => Ignored,
        (
            _,
            "projection_prng_key"
            | "init_weights"
            | "init_ia3_weights"
            | "qalora_group_size"
            | "megatron_core",
        ) => Ignored,
        // Unless it says how the file was made, the first values are those before training.
        ("LORA", "init_lora_weights") => OneOf(
            SWITCHES,
            "true, false, \"gaussian\", \"orthogonal\" or \"eva\": others change the backbone's weights; save the adapter in Python with path_initial_model_for_weight_conversion",
        ),
        (_, "bias") => Same(json!("none")),
        (_, "fan_in_fan_out") => Same(json!(false)),
        ("LORA", "r") | ("POLY", "r") => Same(json!(8)),
        ("VERA", "r") => Same(json!(256)),
        ("VERA", "save_projection") => Same(json!(true)),
        ("LORA", "lora_alpha") => Same(json!(8)),
        ("LORA", "use_rslora" | "use_dora") => Same(json!(false)),
        ("POLY", "poly_type") => Same(json!("poly")),
        ("POLY", "n_tasks" | "n_splits") => Same(json!(1)),
        ("POLY", "n_skills") => Same(json!(4)),
        _ => return None,
    };
    Some(rule)
}

/// Refuses an adapter whose settings are not those of the scheme, or that has settings that cannot be honoured.
pub(super) fn check(read: &ConfigReader<'_>, scheme: &str, adapter: &PeftAdapter) -> Result<(), ModelError> {
    let peft_type = adapter.config["peft_type"].as_str().unwrap_or_default();
    if read.json.get("peft_type").and_then(Value::as_str) != Some(peft_type) {
        return Err(
            read.error("peft_type", format!("\"{peft_type}\", because the scheme is [sharing.{scheme}]"))
        );
    }
    let empty = serde_json::Map::new();
    let [found, own] = [read.json, &adapter.config].map(|json| json.as_object().unwrap_or(&empty));
    for key in found.keys().chain(own.keys().filter(|key| !found.contains_key(*key))) {
        let value = found.get(key).unwrap_or(&Value::Null);
        match rule(peft_type, key) {
            Some(Rule::Ignored) => {}
            Some(Rule::OneOf(values, expected)) => {
                let named = matches!(value.as_str(), Some("gaussian" | "orthogonal" | "eva"));
                if !values.contains(value) && !named {
                    return Err(read.error(key, expected.into()));
                }
            }
            Some(Rule::Same(default)) => {
                let value = if found.contains_key(key) { value } else { &default };
                let wanted = own.get(key).unwrap_or(&default);
                if !equal(value, wanted) {
                    return Err(other(read, key, value, wanted, scheme));
                }
            }
            None if is_off(value) => {}
            None => {
                let expected = if remedy(key).is_empty() { off(value) } else { remedy(key) };
                return Err(read.error(key, expected.into()));
            }
        }
    }
    Ok(())
}

/// A setting that the scheme has otherwise.
fn other(read: &ConfigReader<'_>, key: &str, value: &Value, wanted: &Value, scheme: &str) -> ModelError {
    let expected = match OWN_KEYS.iter().find(|(theirs, _)| *theirs == key) {
        Some((_, own)) => {
            format!("{wanted}, as [sharing.{scheme}] has it; set sharing.{scheme}.{own} to {value}")
        }
        None if key == "n_tasks" => format!("{wanted}, the tasks of the config"),
        None if key == "save_projection" => {
            "true: the random factors cannot be drawn again; save the adapter with save_projection=True"
                .into()
        }
        None if remedy(key).is_empty() => wanted.to_string(),
        None => remedy(key).to_owned(),
    };
    let (path, key, found) = (read.path.to_owned(), key.to_owned(), shortened(value));
    ModelError::Config { path, key, found, expected }
}

fn remedy(key: &str) -> &'static str {
    REMEDIES.iter().find(|(of, _)| *of == key).map_or("", |(_, remedy)| remedy)
}

/// What the value of an unsupported setting would be, where there is no better remedy.
fn off(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "false: this setting is not supported",
        Value::Array(_) | Value::Object(_) => "nothing in it: this setting is not supported",
        _ => "null: this setting is not supported",
    }
}

/// Numbers are equal however they are written.
fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}
