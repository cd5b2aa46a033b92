//! What shapes a run, key by key: a checkpoint is continued only where all of it is equal.
//!
//! Left out, and so free to change between interruption and resumption: where files lie, and the keys of [`FREE`].

use crate::{config::Settings, error::TrainError, job::Job, job::teacher, run::further::LENGTH_KEYS};
use data::{Split, Value as FieldValue, View};
use serde::Serialize;
use serde_json::Value;
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// Keys of `[train]` that do not change what a step does.
const FREE: [&str; 8] = [
    "train.affinity_steps",
    "train.save_total_limit",
    "train.save_steps",
    "train.max_nonfinite_steps",
    "train.export",
    "train.activation_checkpointing",
    "train.threads",
    "train.max_memory_gib",
];

/// Keys of `[train]` that say how long a run is. A run may become longer ([`crate::run::further`]).
const LENGTH: [&str; 4] = LENGTH_KEYS;

/// A run that ends by the clock cannot be repeated to the bit in any case, so that its time may also become shorter.
const TIME: &str = "train.max_minutes";

/// Whether a run is as long as that of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// It is, or has less time.
    Same,
    /// It is longer.
    Longer,
}

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
        if let Some(found) = teacher::fingerprint_of(&*task.head) {
            flatten(&format!("teacher of task {}", task.name), &found, &mut keys);
        }
    }
    for split in [Split::Train, Split::Validation] {
        for view in job.views.of(split) {
            let key = format!("rows of corpus {} ({split}, {})", view.corpus, view.input);
            keys.insert(key, rows(view).into());
        }
    }
    keys
}

/// Refuses a checkpoint whose fingerprint differs, naming what does. Only the run's length may be greater than the checkpoint's.
pub(crate) fn compare(
    path: &Path,
    saved: &BTreeMap<String, Value>,
    now: &BTreeMap<String, Value>,
) -> Result<Length, TrainError> {
    let shown = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
    let mut length = Length::Same;
    let mut differences = Vec::new();
    let keys: std::collections::BTreeSet<_> = saved.keys().chain(now.keys()).collect();
    for key in keys.into_iter().filter(|key| saved.get(*key) != now.get(*key)) {
        let (before, after) = (saved.get(key), now.get(key));
        let is_length = LENGTH.contains(&key.as_str());
        if is_length && is_longer(before, after) {
            length = Length::Longer;
        } else if key != TIME {
            let why = if is_length { ": a run can become longer, not shorter" } else { "" };
            differences.push(format!(
                "{key}: {} in the checkpoint, {} now{why}",
                shown(before),
                shown(after)
            ));
        }
    }
    if differences.is_empty() {
        return Ok(length);
    }
    let more = differences.len().saturating_sub(20);
    differences.truncate(20);
    if more > 0 {
        differences.push(format!("and {more} more"));
    }
    Err(TrainError::OtherRun { path: path.into(), differences })
}

/// Whether a limit is higher than it was, or gone.
fn is_longer(before: Option<&Value>, after: Option<&Value>) -> bool {
    match (before.and_then(Value::as_f64), after.and_then(Value::as_f64)) {
        (Some(before), Some(after)) => after > before,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// The settings of a run with the length that a fingerprint says.
pub(crate) fn with_length(settings: &Settings, saved: &BTreeMap<String, Value>) -> Settings {
    let whole = |key: &str| saved.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let [epochs, max_steps, max_tokens, max_minutes] = LENGTH;
    let mut earlier = settings.clone();
    earlier.train.epochs = whole(epochs).unwrap_or(settings.train.epochs);
    earlier.train.max_steps = whole(max_steps);
    earlier.train.max_tokens = whole(max_tokens);
    earlier.train.max_minutes = saved.get(max_minutes).and_then(Value::as_f64);
    earlier
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
pub fn rows(view: &View) -> String {
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
        assert!(!message.contains("epochs"), "a run may become longer: {message}");
        let expected = "train.gradient_accumulation_steps: nothing in the checkpoint, 2 now";
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("seed") && !message.contains("max_steps"), "{message}");
        assert_eq!(compare(Path::new("c"), &saved, &saved.clone()).unwrap(), Length::Same);
    }

    #[test]
    fn a_run_may_become_longer_and_not_shorter() {
        let of = |train: Value| {
            let mut keys = BTreeMap::new();
            flatten("", &serde_json::json!({ "train": train }), &mut keys);
            keys
        };
        let found = |saved: Value, now: Value| compare(Path::new("c"), &of(saved), &of(now));
        use serde_json::json;
        for (saved, now) in [
            (json!({"epochs": 3}), json!({"epochs": 4})),
            (json!({"epochs": 3, "max_steps": 7}), json!({"epochs": 3, "max_steps": 8})),
            (json!({"epochs": 3, "max_tokens": 7}), json!({"epochs": 3})),
            (json!({"max_minutes": 0.5}), json!({"max_minutes": 0.75})),
        ] {
            assert_eq!(found(saved.clone(), now.clone()).unwrap(), Length::Longer, "{saved} {now}");
        }
        for (saved, now) in [
            (json!({"epochs": 3}), json!({"epochs": 2})),
            (json!({"max_steps": 7}), json!({"max_steps": 6})),
            (json!({"epochs": 3}), json!({"epochs": 3, "max_steps": 6})),
        ] {
            let message = found(saved, now).unwrap_err().to_string();
            assert!(message.contains("a run can become longer, not shorter"), "{message}");
        }
        let timed = json!({"epochs": 3, "max_minutes": 1.0});
        assert_eq!(found(json!({"epochs": 3}), timed).unwrap(), Length::Same);
    }
}
