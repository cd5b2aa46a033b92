//! `[task.NAME]`: one table of what the task is and how it is trained.
//!
//! Serde's `flatten` does not go together with `deny_unknown_fields`, and keeps no place of an error. So the table is read as a
//! map that hands its training keys to [`TaskTraining`] and all others to [`TaskConfig`], each value where it stands.

use crate::config::SettingError;
use crate::config::task_training::TaskTraining;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, Visitor,
};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;
use tasks::{CATALOGUE, Kind, TaskConfig, TaskError};

/// The keys of a table before its kind, in the order in which they are written.
const KEYS: [&str; 10] = [
    "corpus",
    "importance",
    "metric",
    "head_learning_rate",
    "reduce_lr_on_plateau",
    "head",
    "target",
    "budget",
    "early_stopping",
    "out_of_domain",
];

/// Those of them that are of the training.
const TRAINING_KEYS: [&str; 7] = [
    "importance",
    "head_learning_rate",
    "reduce_lr_on_plateau",
    "target",
    "budget",
    "early_stopping",
    "out_of_domain",
];

/// All keys that a table may have.
static ALL_KEYS: LazyLock<Vec<&str>> =
    LazyLock::new(|| KEYS.into_iter().chain(CATALOGUE.iter().map(|(kind, _)| *kind)).collect());

/// A task and how it is trained.
#[derive(Debug, Clone)]
pub struct TaskTable {
    /// What the task is.
    pub config: TaskConfig,
    /// How it is trained.
    pub training: TaskTraining,
}

impl TaskTable {
    /// Checks the settings and makes the task.
    ///
    /// # Errors
    /// Not exactly one kind; a setting out of its range; a primary metric that the kind does not have.
    pub fn build(&self, task: &str) -> Result<Box<dyn Kind>, TaskError> {
        self.config.kind(task)?;
        self.training.check(task).map_err(|SettingError { key, found, expected }| TaskError::Setting {
            key,
            found,
            expected,
        })?;
        self.config.build(task)
    }
}

impl Serialize for TaskTable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("corpus", &self.config.corpus)?;
        map.serialize_entry("importance", &self.training.importance)?;
        entry(&mut map, "metric", self.config.metric.as_ref())?;
        entry(&mut map, "head_learning_rate", self.training.head_learning_rate.as_ref())?;
        entry(&mut map, "reduce_lr_on_plateau", self.training.reduce_lr_on_plateau.as_ref())?;
        entry(&mut map, "head", self.config.head.as_ref())?;
        entry(&mut map, "target", self.training.target.as_ref())?;
        entry(&mut map, "budget", self.training.budget.as_ref())?;
        entry(&mut map, "early_stopping", self.training.early_stopping.as_ref())?;
        let elsewhere = Some(&self.training.out_of_domain).filter(|corpora| !corpora.is_empty());
        entry(&mut map, "out_of_domain", elsewhere)?;
        self.config.serialize_kind(&mut map)?;
        map.end()
    }
}

/// Writes an entry that is given.
fn entry<M: SerializeMap>(map: &mut M, key: &str, value: Option<&impl Serialize>) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, value))
}

impl<'de> Deserialize<'de> for TaskTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TableVisitor)
    }
}

struct TableVisitor;

impl<'de> Visitor<'de> for TableVisitor {
    type Value = TaskTable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the table of a task")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TaskTable, A::Error> {
        let (mut training, read) = (TaskTraining::default(), Vec::new());
        let rest = ConfigEntries { map, training: &mut training, read };
        let config = TaskConfig::deserialize(MapAccessDeserializer::new(rest))?;
        Ok(TaskTable { config, training })
    }
}

/// The entries of a [`TaskConfig`] in a table. On the way to the next one, training keys are read.
struct ConfigEntries<'a, A> {
    map: A,
    training: &'a mut TaskTraining,
    /// The training keys that have been read.
    read: Vec<&'static str>,
}

impl<'de, A: MapAccess<'de>> ConfigEntries<'_, A> {
    fn read_training(&mut self, key: &'static str) -> Result<(), A::Error> {
        if self.read.contains(&key) {
            return Err(A::Error::duplicate_field(key));
        }
        self.read.push(key);
        let (map, training) = (&mut self.map, &mut *self.training);
        match key {
            "importance" => training.importance = map.next_value()?,
            "head_learning_rate" => training.head_learning_rate = map.next_value()?,
            "reduce_lr_on_plateau" => training.reduce_lr_on_plateau = map.next_value()?,
            "target" => training.target = map.next_value()?,
            "budget" => training.budget = map.next_value()?,
            "early_stopping" => training.early_stopping = map.next_value()?,
            "out_of_domain" => training.out_of_domain = map.next_value()?,
            other => return Err(A::Error::unknown_field(other, &TRAINING_KEYS)),
        }
        Ok(())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for ConfigEntries<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let mut seed = seed;
        loop {
            match self.map.next_key_seed(KeySeed(seed))? {
                None => return Ok(None),
                Some(Key::Config(key)) => return Ok(Some(key)),
                Some(Key::Training(key, unused)) => {
                    self.read_training(key)?;
                    seed = unused;
                }
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// Reads a key by the seed of a [`TaskConfig`]'s key, unless it is one of the training.
struct KeySeed<K>(K);

enum Key<'de, K: DeserializeSeed<'de>> {
    Config(K::Value),
    /// A training key, and the seed, which is not used.
    Training(&'static str, K),
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for KeySeed<K> {
    type Value = Key<'de, K>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key<'de, K>, D::Error> {
        let name = String::deserialize(deserializer)?;
        if let Some(key) = TRAINING_KEYS.into_iter().find(|key| *key == name) {
            return Ok(Key::Training(key, self.0));
        }
        if !ALL_KEYS.contains(&name.as_str()) {
            return Err(D::Error::unknown_field(&name, &ALL_KEYS));
        }
        self.0.deserialize(IntoDeserializer::<D::Error>::into_deserializer(name)).map(Key::Config)
    }
}

impl JsonSchema for TaskTable {
    fn schema_name() -> Cow<'static, str> {
        "TaskConfig".into()
    }

    fn schema_id() -> Cow<'static, str> {
        concat!(module_path!(), "::TaskTable").into()
    }

    /// The schema of [`TaskConfig`] with the properties of both.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let properties = |schema: &Schema| -> Map<String, Value> {
            schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
        };
        let training = properties(&TaskTraining::json_schema(generator));
        let mut table = TaskConfig::json_schema(generator);
        let config = properties(&table);
        let schema_of = |key: &&str| {
            let schema = config.get(*key).or_else(|| training.get(*key))?;
            Some(((*key).to_owned(), schema.clone()))
        };
        let mut all: Map<String, Value> = KEYS.iter().filter_map(schema_of).collect();
        all.extend(
            config
                .iter()
                .filter(|(key, _)| !KEYS.contains(&key.as_str()))
                .map(|(k, s)| (k.clone(), s.clone())),
        );
        table.insert("properties".into(), Value::Object(all));
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(json: Value) -> Result<TaskTable, String> {
        serde_json::from_value(json).map_err(|e| e.to_string())
    }

    /// A table with every key of the task and of its training, in their order.
    fn whole() -> Value {
        json!({
            "corpus": "c", "importance": 2.0, "metric": "accuracy", "head_learning_rate": 1e-3,
            "reduce_lr_on_plateau": { "factor": 0.5, "patience": 2, "threshold": 1e-4, "min_factor": 0.01 },
            "head": "other", "target": 0.9, "budget": { "share": 0.25 }, "early_stopping": { "patience": 3 },
            "classification": {
                "text": "text", "label": "y", "pooling": "mean", "class_weights": "none", "label_smoothing": 0.0,
                "dropout": 0.1f32, "max_labels": 1000,
            },
        })
    }

    #[test]
    fn a_table_is_written_as_it_is_read_and_in_one_order() {
        let table = parse(whole()).unwrap();
        assert_eq!((table.config.corpus.as_str(), table.training.importance), ("c", 2.0));
        assert_eq!(
            serde_json::to_string(&table).unwrap(),
            whole().to_string().replace("0.10000000149011612", "0.1")
        );
        let written = serde_json::to_value(&table).unwrap();
        assert_eq!(written, whole());
        let keys: Vec<&String> = written.as_object().unwrap().keys().collect();
        assert_eq!(keys[..9], KEYS);
        let few = json!({ "corpus": "c", "classification": whole()["classification"] });
        let written = serde_json::to_value(parse(few).unwrap()).unwrap();
        assert_eq!((written["importance"].as_f64(), written.as_object().unwrap().len()), (Some(1.0), 3));
    }

    #[test]
    fn the_schema_has_the_keys_of_both() {
        let schema = serde_json::to_value(schemars::schema_for!(TaskTable)).unwrap();
        let keys: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(keys[..9], KEYS);
        assert!(keys.into_iter().eq(&*ALL_KEYS));
        assert_eq!(
            (&schema["additionalProperties"], &schema["required"]),
            (&json!(false), &json!(["corpus"]))
        );
        let training = serde_json::to_value(schemars::schema_for!(TaskTraining)).unwrap();
        assert!(training["properties"].as_object().unwrap().keys().eq(&TRAINING_KEYS));
    }

    #[test]
    fn what_no_table_has_is_refused() {
        let error = |key: &str, value: Value| {
            let mut table = whole();
            table[key] = value;
            parse(table).unwrap_err()
        };
        let unknown = "unknown field `importence`, expected one of `corpus`, `importance`, `metric`";
        assert!(error("importence", json!(1)).contains(unknown));
        assert!(error("importance", json!("much")).contains("invalid type: string \"much\", expected f64"));
        assert!(error("budget", json!({ "shares": 1 })).contains("unknown field `shares`"));
        let twice = r#"{"corpus": "c", "target": 0.5, "target": 0.5, "tagging": {}}"#;
        let error = serde_json::from_str::<TaskTable>(twice).unwrap_err().to_string();
        assert!(error.contains("duplicate field `target`"), "{error}");
        assert!(parse(json!({ "tagging": {} })).unwrap_err().contains("missing field `corpus`"));
    }

    #[test]
    fn the_kind_is_checked_first_and_its_settings_last() {
        let error = |json: Value| parse(json).unwrap().build("intent").err().expect("an error").to_string();
        assert!(error(json!({ "corpus": "c", "importance": -1 })).contains("found no kind"));
        let mut table = json!({ "corpus": "c", "importance": -1, "metric": "none", "tagging": {} });
        assert_eq!(error(table.clone()), "task.intent.importance: found -1, expected a number, 0 or more");
        table["importance"] = json!(1);
        assert!(error(table).starts_with("task.intent.metric: found \"none\""));
    }
}
