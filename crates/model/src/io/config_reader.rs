//! Checked reading of config.json's keys.

use crate::cast::to_f32;
use crate::error::ModelError;
use crate::trunk::Activation;
use serde_json::{Value, json};
use std::path::Path;

/// Activations by the names of transformers. Some are the same function, written in other ways.
const ACTIVATIONS: [(&str, Activation); 6] = [
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("relu", Activation::Relu),
];

/// A config.json, and where it is.
pub(crate) struct ConfigReader<'a> {
    pub path: &'a Path,
    pub json: &'a Value,
}

impl ConfigReader<'_> {
    /// What is wrong with a key.
    pub fn error(&self, key: &str, expected: String) -> ModelError {
        let found = self.json.get(key).map_or_else(|| "nothing".to_owned(), shortened);
        ModelError::Config { path: self.path.to_owned(), key: key.to_owned(), found, expected }
    }

    /// A whole number from 1 on.
    pub fn size(&self, key: &str, default: Option<usize>, most: usize) -> Result<usize, ModelError> {
        let found = match self.json.get(key) {
            None => default,
            Some(value) => value.as_u64().and_then(|n| usize::try_from(n).ok()),
        };
        found
            .filter(|n| (1..=most).contains(n))
            .ok_or_else(|| self.error(key, format!("a whole number from 1 to {most}")))
    }

    /// A whole number from 1 on, or nothing, or null.
    pub fn size_or_null(&self, key: &str, default: usize, most: usize) -> Result<usize, ModelError> {
        match self.json.get(key) {
            Some(Value::Null) => Ok(default),
            _ => self.size(key, Some(default), most),
        }
    }

    /// True or false.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, ModelError> {
        match self.json.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.error(key, "true or false".into())),
        }
    }

    /// A number.
    pub fn number(&self, key: &str, default: f64) -> Result<f64, ModelError> {
        match self.json.get(key) {
            None => Ok(default),
            Some(value) => value.as_f64().ok_or_else(|| self.error(key, "a number".into())),
        }
    }

    /// A rate from 0 to below 1; 0.1 where none is given.
    pub fn rate(&self, key: &str) -> Result<f32, ModelError> {
        self.rate_or(key, 0.1)
    }

    /// A rate from 0 to below 1.
    pub fn rate_or(&self, key: &str, default: f64) -> Result<f32, ModelError> {
        let found = self.number(key, default)?;
        if (0.0..1.0).contains(&found) {
            return Ok(to_f32(found));
        }
        Err(self.error(key, "a rate from 0 to below 1".into()))
    }

    /// The activation of a feed-forward block without a gate, by the names that transformers has for it.
    pub fn activation(&self, key: &str, default: &str) -> Result<Activation, ModelError> {
        let found = match self.json.get(key) {
            None | Some(Value::Null) => Some(default),
            Some(found) => found.as_str(),
        };
        let known = |name| ACTIVATIONS.iter().find(|(known, _)| *known == name);
        found.and_then(known).map(|(_, activation)| *activation).ok_or_else(|| {
            let names: Vec<String> = ACTIVATIONS.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            self.error(key, format!("one of {}", names.join(", ")))
        })
    }

    /// A small number that a norm adds to a variance.
    pub fn eps(&self, key: &str, default: f64) -> Result<f32, ModelError> {
        let eps = self.number(key, default)?;
        match (0.0..0.1).contains(&eps) {
            true => Ok(to_f32(eps)),
            false => Err(self.error(key, format!("a small positive number such as {default:e}"))),
        }
    }

    /// Nothing, or one of the allowed words.
    pub fn one_of(&self, key: &str, allowed: &[&str], why: &str) -> Result<(), ModelError> {
        match self.json.get(key) {
            None | Some(Value::Null) => Ok(()),
            Some(Value::String(found)) if allowed.contains(&found.as_str()) => Ok(()),
            Some(_) => Err(self.error(key, format!("\"{}\" ({why})", allowed.first().unwrap_or(&"")))),
        }
    }
}

/// config.json as it will be saved: everything that was there, but of this class and in f32.
pub(crate) fn saved_json(mut json: Value, class: &str) -> Value {
    if let Some(map) = json.as_object_mut() {
        map.insert("architectures".into(), json!([class]));
        let key = if map.contains_key("torch_dtype") { "torch_dtype" } else { "dtype" };
        map.insert(key.into(), json!("float32"));
    }
    json
}

/// A value for a message, cut where it is long.
pub(crate) fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
