//! What a model's folder says of its tokenizer beside the vocabulary: tokenizer_config.json, special_tokens_map.json, and the
//! `model_type` of config.json.

use super::document::Added;
use super::read;
use serde_json::Value as Json;
use std::path::Path;

/// The files, as they are; `null` where there is none.
pub(super) struct Settings {
    config: Json,
    special_tokens_map: Json,
    model_type: Option<String>,
}

impl Settings {
    /// Those of a folder.
    pub fn of(dir: &Path) -> Result<Self, String> {
        let json = |name: &str| -> Result<Json, String> {
            let path = dir.join(name);
            if !path.is_file() {
                return Ok(Json::Null);
            }
            serde_json::from_slice(&read(&path)?).map_err(|error| format!("{name} is not JSON: {error}"))
        };
        let model_type = json("config.json")?["model_type"].as_str().map(str::to_owned);
        Ok(Settings {
            config: json("tokenizer_config.json")?,
            special_tokens_map: json("special_tokens_map.json")?,
            model_type,
        })
    }

    /// Of families of tokenizers, each known by the names of its classes and by types of models, that of the folder.
    pub fn family<T: Copy>(
        &self,
        families: &[(&[&str], &[&str], T)],
        otherwise: Option<T>,
    ) -> Result<T, String> {
        let class =
            self.config["tokenizer_class"].as_str().map(|class| class.strip_suffix("Fast").unwrap_or(class));
        if let Some(class) = class.filter(|class| !GENERIC.contains(class)) {
            let found = families.iter().find(|(classes, ..)| classes.contains(&class));
            let known =
                || families.iter().flat_map(|(classes, ..)| *classes).copied().collect::<Vec<_>>().join(", ");
            return found.map(|found| found.2).ok_or_else(|| {
                format!(
                    "found the tokenizer_class {class} in tokenizer_config.json, expected one of {}",
                    known()
                )
            });
        }
        let of_type = |model_type: &str| families.iter().find(|(_, types, _)| types.contains(&model_type));
        match (self.model_type.as_deref(), otherwise) {
            (Some(model_type), otherwise) => of_type(model_type).map(|found| found.2).or(otherwise).ok_or_else(|| {
                format!("nothing says how a tokenizer of a model of the type {model_type} is read: tokenizer_config.json has no tokenizer_class")
            }),
            (None, Some(otherwise)) => Ok(otherwise),
            (None, None) => Err("nothing says how it is read: there is neither a tokenizer_class in tokenizer_config.json nor a model_type in config.json".into()),
        }
    }

    /// A truth value of tokenizer_config.json.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        match &self.config[key] {
            Json::Null => Ok(None),
            Json::Bool(value) => Ok(Some(*value)),
            other => Err(format!("tokenizer_config.json: {key}: found {other}, expected true or false")),
        }
    }

    /// A whole number of tokenizer_config.json.
    pub fn number(&self, key: &str, default: u64) -> Result<u64, String> {
        match &self.config[key] {
            Json::Null => Ok(default),
            value => value.as_u64().filter(|n| *n <= 10_000).ok_or_else(|| {
                format!("tokenizer_config.json: {key}: found {value}, expected a whole number up to 10000")
            }),
        }
    }

    /// A special token by its key, such as `cls_token`; `None` where nobody says anything, or it is said that there is none.
    pub fn token(&self, key: &str, default: Option<&str>) -> Result<Option<Added>, String> {
        for (file, json) in
            [("tokenizer_config.json", &self.config), ("special_tokens_map.json", &self.special_tokens_map)]
        {
            match json.get(key) {
                None => {}
                // In tokenizer_config.json null leaves it to the class.
                Some(Json::Null) if default.is_some() => {}
                Some(Json::Null) => return Ok(None),
                Some(value) => {
                    return added(value)
                        .map(Some)
                        .ok_or_else(|| format!("{file}: {key}: found {value}, expected a token"));
                }
            }
        }
        Ok(default.map(Added::special))
    }

    /// The tokens that were added beside those: `added_tokens_decoder` by id, and `additional_special_tokens`.
    pub fn more_tokens(&self) -> Vec<Added> {
        let by_id = self.config["added_tokens_decoder"].as_object();
        let mut by_id: Vec<(u64, Added)> = by_id
            .into_iter()
            .flatten()
            .filter_map(|(id, value)| Some((id.parse().ok()?, as_written(value)?)))
            .collect();
        by_id.sort_by_key(|(id, _)| *id);
        let named = [&self.config, &self.special_tokens_map].into_iter().filter_map(|json| {
            let more = json.get("additional_special_tokens").or(json.get("extra_special_tokens"))?;
            more.as_array()
        });
        let named: Vec<Added> = named.flatten().filter_map(added).collect();
        by_id.into_iter().map(|(_, token)| token).chain(named).collect()
    }
}

/// Classes that say nothing of the files.
const GENERIC: [&str; 2] = ["PreTrainedTokenizer", "TokenizersBackend"];

/// A special token: a text, or an object with its settings.
fn added(value: &Json) -> Option<Added> {
    match value.as_str() {
        Some(content) => Some(Added::special(content)),
        None => as_written(value).map(|token| Added { special: true, ..token }),
    }
}

fn as_written(value: &Json) -> Option<Added> {
    let flag = |key: &str| value[key].as_bool().unwrap_or(false);
    Some(Added {
        content: value["content"].as_str()?.to_owned(),
        lstrip: flag("lstrip"),
        rstrip: flag("rstrip"),
        single_word: flag("single_word"),
        normalized: flag("normalized"),
        special: flag("special"),
    })
}
