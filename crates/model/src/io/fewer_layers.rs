//! A checkpoint of which only some layers are opened, as the beginning of a smaller student.
//!
//! Of `L` layers `N` are kept: layer `i` of the student is layer `floor(i L / N)`, so that half of them are every other one, beginning
//! with the first, as in DistilBERT (Sanh et al. 2019) and in LayerDrop (Fan et al. 2020). Embeddings and all else stay.

use super::config_reader::ConfigReader;
use super::tensor_reader::TensorReader;
use crate::error::{ModelError, TensorProblem};
use safetensors::Dtype;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The keys of a config.json that say how many layers there are.
const COUNTS: &[&str] = &["num_hidden_layers", "n_layers"];
/// The key that says of each layer what it is.
const TYPES: &str = "layer_types";
/// Architectures in which the place of a layer says what it is, unless [`TYPES`] does.
const BY_PLACE: &[&str] = &["modernbert", "gemma3_text"];
/// The most layers that are looked for.
const MOST: usize = 1000;
/// What stands before the number of a layer in the name of a tensor.
const BEFORE_NUMBER: &[&str] = &["layer", "layers"];

/// The layers that a network with `kept` of `layers` layers has, in order.
pub(crate) fn kept_layers(layers: usize, kept: usize) -> Vec<usize> {
    (0..kept).map(|layer| layer * layers / kept).collect()
}

/// Lets a config.json say that only `kept` of its layers are there, evenly spread; gives these.
///
/// # Errors
/// More layers than there are, none, or a network whose layers cannot be left out.
pub(crate) fn reduce_config(path: &Path, json: &mut Value, kept: usize) -> Result<Vec<usize>, ModelError> {
    let (_, layers) = counted(path, json)?;
    if !(1..=layers).contains(&kept) {
        let expected = format!("1 to {layers}, the layers of {}", path.display());
        return Err(ModelError::KeptLayers { found: kept, expected });
    }
    let of = kept_layers(layers, kept);
    keep_layers(path, json, &of)?;
    Ok(of)
}

/// The key that says how many layers there are, and how many.
fn counted(path: &Path, json: &Value) -> Result<(&'static str, usize), ModelError> {
    let read = ConfigReader { path, json };
    match COUNTS.iter().find(|key| json.get(**key).is_some()) {
        Some(key) => Ok((key, read.size(key, None, MOST)?)),
        None => {
            Err(read.error(COUNTS[0], "a network with one stack of layers, of which some can be kept".into()))
        }
    }
}

/// Lets a config.json say that only these of its layers are there.
///
/// # Errors
/// A network whose layers cannot be left out.
pub(crate) fn keep_layers(path: &Path, json: &mut Value, of: &[usize]) -> Result<(), ModelError> {
    let (key, layers) = counted(path, json)?;
    if of.len() == layers {
        return Ok(());
    }
    let read = ConfigReader { path, json };
    let is_set = |key: &str| json.get(key).is_some_and(|value| !value.is_null());
    let named =
        |key: &str, of: &[&str]| json.get(key).and_then(Value::as_str).is_some_and(|v| of.contains(&v));
    let slides = json.get("use_sliding_window") == Some(&Value::Bool(true));
    if !is_set(TYPES) && (slides || named("model_type", BY_PLACE)) {
        let expected = "the type of every layer, since layers differ by their place; transformers 5 writes it: save the model with it";
        return Err(read.error(TYPES, expected.into()));
    }
    if read.json.get("num_hidden_groups").is_some_and(|groups| groups.as_u64() != Some(1)) {
        return Err(read.error("num_hidden_groups", "1, so that all layers have the same weights".into()));
    }
    if let Some(Value::Array(types)) = json.get_mut(TYPES) {
        let kept_types = of.iter().filter_map(|layer| types.get(*layer).cloned()).collect();
        *types = kept_types;
    }
    json[key] = of.len().into();
    Ok(())
}

/// The tensors of a checkpoint without those of the layers that are left out.
#[derive(Debug)]
pub(crate) struct FewerLayers {
    of: Box<dyn TensorReader>,
    /// For each name the name in the checkpoint.
    names: BTreeMap<String, String>,
}

impl FewerLayers {
    /// The layers `kept` of a checkpoint, numbered anew.
    pub fn new(of: Box<dyn TensorReader>, kept: &[usize]) -> FewerLayers {
        let names =
            of.names().into_iter().filter_map(|name| Some((renumbered(name, kept)?, name.to_owned())));
        let names = names.collect();
        FewerLayers { of, names }
    }
}

/// The name of a tensor among the kept layers; `None` where its layer is left out.
fn renumbered(name: &str, kept: &[usize]) -> Option<String> {
    let mut parts: Vec<&str> = name.split('.').collect();
    let is_number =
        |at: &usize| BEFORE_NUMBER.contains(&parts[at - 1]) && parts[*at].parse::<usize>().is_ok();
    let Some(at) = (1..parts.len()).find(is_number) else { return Some(name.to_owned()) };
    let layer: usize = parts[at].parse().ok()?;
    let place = kept.iter().position(|kept| *kept == layer)?.to_string();
    parts[at] = &place;
    Some(parts.join("."))
}

impl TensorReader for FewerLayers {
    fn path(&self) -> &Path {
        self.of.path()
    }

    fn names(&self) -> Vec<&str> {
        self.names.keys().map(String::as_str).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.of.shape(self.names.get(name)?)
    }

    fn check(&self, name: &str, expected: &[usize]) -> Option<TensorProblem> {
        self.of.check(self.names.get(name)?, expected)
    }

    fn raw(&self, name: &str) -> Result<(Dtype, Vec<usize>, Vec<u8>), ModelError> {
        self.of.raw(&self.names[name])
    }

    fn append(&self, name: &str, values: &mut Vec<f32>) -> Result<Option<TensorProblem>, ModelError> {
        self.of.append(&self.names[name], values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn half_of_the_layers_are_every_other_one() {
        assert_eq!(kept_layers(6, 3), [0, 2, 4]);
        assert_eq!(kept_layers(12, 4), [0, 3, 6, 9]);
        assert_eq!(kept_layers(5, 3), [0, 1, 3]);
        assert_eq!(kept_layers(4, 4), [0, 1, 2, 3]);
    }

    #[test]
    fn tensors_are_numbered_anew() {
        let found = |name| renumbered(name, &[0, 2, 4]);
        assert_eq!(
            found("bert.encoder.layer.4.output.dense.bias").unwrap(),
            "bert.encoder.layer.2.output.dense.bias"
        );
        assert_eq!(found("model.layers.3.mlp.up_proj.weight"), None);
        let other = "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.bias";
        assert_eq!(found(other).unwrap(), other);
    }

    #[test]
    fn a_config_is_reduced_or_refused() {
        let reduce = |mut json: Value, kept| {
            reduce_config(Path::new("config.json"), &mut json, kept)
                .map(|of| (of, json))
                .map_err(|e| e.to_string())
        };
        let (of, json) =
            reduce(json!({"num_hidden_layers": 4, "layer_types": ["a", "b", "c", "d"]}), 2).unwrap();
        assert_eq!((of, json), (vec![0, 2], json!({"num_hidden_layers": 2, "layer_types": ["a", "c"]})));
        for (json, kept, told) in [
            (json!({"num_hidden_layers": 4}), 5, "found 5, expected 1 to 4"),
            (json!({"num_hidden_layers": 4}), 0, "found 0, expected 1 to 4"),
            (json!({"num_layers": 4, "model_type": "t5"}), 2, "one stack of layers"),
            (json!({"num_hidden_layers": 4, "model_type": "modernbert"}), 2, "layer_types"),
            (json!({"num_hidden_layers": 4, "use_sliding_window": true}), 2, "layer_types"),
            (json!({"num_hidden_layers": 4, "num_hidden_groups": 2}), 2, "num_hidden_groups"),
        ] {
            let found = reduce(json, kept).unwrap_err();
            assert!(found.contains(told), "{found}");
        }
    }
}
