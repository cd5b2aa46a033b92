//! What shapes a run, key by key: a checkpoint is continued only where all of it is equal.
//!
//! Left out, and so free to change between interruption and resumption: where files lie, and the keys of [`FREE`].

use crate::{config::Settings, error::TrainError, job::Job};
use data::{Split, Value as FieldValue, View};
use serde::Serialize;
use serde_json::Value;
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// Keys of `[train]` that do not change what a step does.
const FREE: [&str; 8] = [
    "train.save_total_limit",
    "train.save_steps",
    "train.max_nonfinite_steps",
    "train.export",
    "train.activation_checkpointing",
    "train.threads",
    "train.max_memory_gib",
    // A run that ends by the clock cannot be repeated to the bit in any case.
    "train.max_minutes",
];

/// Settings, model, vocabulary, tasks and data of a run as key and value.
pub(crate) fn of(job: &Job, settings: &Settings) -> BTreeMap<String, Value> {
    let mut keys = BTreeMap::new();
    flatten("", &json(settings), &mut keys);
    keys.retain(|key, _| !FREE.contains(&key.as_str()));
    let model = &job.model;
    keys.insert("model.max_length".into(), model.max_length.into());
    if !model.datasets.is_empty() {
        keys.insert("corpora with an embedding".into(), json(&model.datasets));
    }
    keys.insert("tokenizer".into(), hash(model.tokenizer.to_json().as_bytes()).into());
    flatten("model", &model.trunk.spec().config_json, &mut keys);
    flatten("sharing", &json(&model.trunk.sharing().config()), &mut keys);
    for (i, parameter) in model.parameters.iter().enumerate() {
        let shape = (model.parameters.shape(i), parameter.trainable);
        keys.insert(format!("parameter {}", parameter.name), json(&shape));
    }
    for task in &model.tasks {
        flatten(&format!("task.{}", task.name), &json(&task.config), &mut keys);
        keys.insert(
            format!("labels of task {}", task.name),
            hash(task.head.label_space().to_string().as_bytes()).into(),
        );
    }
    for split in [Split::Train, Split::Validation] {
        for view in job.views.of(split) {
            let key = format!("rows of corpus {} ({split}, {})", view.corpus, view.input);
            keys.insert(key, rows(view).into());
        }
    }
    keys
}

/// Refuses a checkpoint whose fingerprint differs, naming what does.
pub(crate) fn compare(
    path: &Path,
    saved: &BTreeMap<String, Value>,
    now: &BTreeMap<String, Value>,
) -> Result<(), TrainError> {
    let shown = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
    let keys: std::collections::BTreeSet<_> = saved.keys().chain(now.keys()).collect();
    let mut differences: Vec<String> = keys
        .into_iter()
        .filter(|key| saved.get(*key) != now.get(*key))
        .map(|key| format!("{key}: {} in the checkpoint, {} now", shown(saved.get(key)), shown(now.get(key))))
        .collect();
    if differences.is_empty() {
        return Ok(());
    }
    let more = differences.len().saturating_sub(20);
    differences.truncate(20);
    if more > 0 {
        differences.push(format!("and {more} more"));
    }
    Err(TrainError::OtherRun { path: path.into(), differences })
}

/// Every leaf of a JSON value under its dotted key. Absent and null are the same.
fn flatten(prefix: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Null => {}
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&key, value, into);
            }
        }
        leaf => {
            into.insert(prefix.into(), leaf.clone());
        }
    }
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_else(|e| Value::String(format!("unwritable: {e}")))
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// The hash of a view's fields and tokens; not of where its files lie.
fn rows(view: &View) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut bytes = Vec::new();
    for row in view.rows.iter() {
        bytes.clear();
        canonical_fields(&row.fields, &mut bytes);
        hasher.update(&bytes);
    }
    for i in 0..view.encoded.rows() {
        for (tokens, _) in view.encoded.sequences(i) {
            let ids = view.encoded.ids.get(tokens).unwrap_or_default();
            hasher.update(&(ids.len() as u64).to_le_bytes());
            ids.iter().for_each(|id| {
                hasher.update(&id.to_le_bytes());
            });
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// Appends the canonical bytes of a value: a byte for its variant, then its content, of which what has no fixed size is preceded by
/// its length. Different values have different bytes, on every machine and with every compiler.
fn canonical(value: &FieldValue, into: &mut Vec<u8>) {
    match value {
        FieldValue::Null => into.push(0),
        FieldValue::Bool(value) => into.extend([1, u8::from(*value)]),
        FieldValue::Number(value) => {
            into.push(2);
            into.extend(value.to_bits().to_le_bytes());
        }
        FieldValue::Integer(digits) => {
            into.push(6);
            canonical_text(digits, into);
        }
        FieldValue::Text(text) => {
            into.push(3);
            canonical_text(text, into);
        }
        FieldValue::List(values) => {
            into.push(4);
            into.extend((values.len() as u64).to_le_bytes());
            values.iter().for_each(|value| canonical(value, into));
        }
        FieldValue::Record(fields) => {
            into.push(5);
            canonical_fields(fields, into);
        }
    }
}

fn canonical_fields(fields: &[(Arc<str>, FieldValue)], into: &mut Vec<u8>) {
    into.extend((fields.len() as u64).to_le_bytes());
    for (name, value) in fields {
        canonical_text(name, into);
        canonical(value, into);
    }
}

fn canonical_text(text: &str, into: &mut Vec<u8>) {
    into.extend((text.len() as u64).to_le_bytes());
    into.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_bytes_are_fixed_and_tell_values_apart() {
        let bytes = |value: &FieldValue| {
            let mut bytes = Vec::new();
            canonical(value, &mut bytes);
            bytes
        };
        let text = |text: &str| FieldValue::Text(text.into());
        assert_eq!(bytes(&text("ab")), [3, 2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b']);
        assert_eq!(bytes(&FieldValue::Number(1.0)), [2, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        let values = [
            FieldValue::Null,
            FieldValue::Bool(false),
            FieldValue::Number(0.0),
            FieldValue::Number(-0.0),
            text(""),
            text("a"),
            FieldValue::List(vec![]),
            FieldValue::List(vec![text("a"), text("b")]),
            FieldValue::List(vec![text("ab")]),
            FieldValue::List(vec![FieldValue::List(vec![text("a")]), text("b")]),
            FieldValue::Record(vec![("a".into(), text("b"))]),
        ];
        let different: std::collections::BTreeSet<Vec<u8>> = values.iter().map(bytes).collect();
        assert_eq!(different.len(), values.len());
    }

    #[test]
    fn differences_are_named_with_both_values() {
        let mut saved = BTreeMap::new();
        flatten("", &serde_json::json!({"train": {"epochs": 3, "seed": 17, "max_steps": null}}), &mut saved);
        let mut now = BTreeMap::new();
        flatten(
            "",
            &serde_json::json!({"train": {"epochs": 4, "seed": 17, "gradient_accumulation_steps": 2}}),
            &mut now,
        );
        let message = compare(Path::new("c/000020"), &saved, &now).unwrap_err().to_string();
        assert!(message.contains("train.epochs: 3 in the checkpoint, 4 now"), "{message}");
        let expected = "train.gradient_accumulation_steps: nothing in the checkpoint, 2 now";
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("seed") && !message.contains("max_steps"), "{message}");
        compare(Path::new("c"), &saved, &saved.clone()).unwrap();
    }
}
