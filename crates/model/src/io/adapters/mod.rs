//! Adapters in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors` in a folder, with the modules' names of
//! transformers.

mod read;
mod settings;

use super::{CONFIG, write};
use crate::backbones::BackboneSpec;
use crate::error::ModelError;
use crate::parameters::Parameters;
use crate::sharing::{InitFrom, PeftAdapter, Site};
use crate::trunk::Trunk;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const ADAPTERS: &str = "adapters";
const ADAPTER_CONFIG: &str = "adapter_config.json";
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
/// What PEFT puts before the names of the model's own modules, and before what belongs to the whole model.
const OF_MODULES: &str = "base_model.model.";
const OF_MODEL: &str = "base_model.";

/// The modules of transformers that the maps of a backbone are; `None` where transformers has no such model, or one module is several
/// maps, of which PEFT would update all as one: layers that have the same weights, queries, keys and values in one tensor.
pub(in crate::io) fn modules(spec: &BackboneSpec, parameters: &Parameters) -> Option<BTreeMap<Site, String>> {
    spec.config_json.get("architectures")?;
    let (mut modules, mut seen) = (BTreeMap::new(), BTreeSet::new());
    for (site, weight) in spec.shape().sites() {
        let name = &parameters.parameter(weight.weight.index()).name;
        let entry = spec.names.entries().iter().find(|entry| entry.name == *name)?;
        let part = weight.rows.start / entry.part_shape().first()?.max(&1);
        let module = entry.hf_names.get(part)?.strip_suffix(".weight")?;
        if !seen.insert(module) {
            return None;
        }
        modules.insert(site, module.to_owned());
    }
    Some(modules)
}

/// Writes what PEFT reads of a trunk's sharing scheme: `adapters/TASK/`, or `adapters/shared/` where all tasks have the same, each
/// with `adapter_config.json` and `adapter_model.safetensors`. Nothing where PEFT has no such method, or transformers no such model.
/// `peft.PeftModel.from_pretrained(AutoModel.from_pretrained(dir), FOLDER)` has the states of the task.
///
/// # Errors
/// As [`crate::save`].
pub fn save_adapters(dir: &Path, trunk: &Trunk, parameters: &Parameters) -> Result<(), ModelError> {
    let Some(modules) = modules(trunk.spec(), parameters) else { return Ok(()) };
    for adapter in trunk.sharing().adapters() {
        let folder = dir.join(ADAPTERS).join(adapter_folder(adapter.task.as_deref().unwrap_or("shared")));
        std::fs::create_dir_all(&folder).map_err(ModelError::io(&folder, "create"))?;
        let tensors = adapter.tensors.iter().map(|tensor| {
            let name = match tensor.site {
                Some(site) => format!("{OF_MODULES}{}.{}", modules[&site], tensor.name),
                None => format!("{OF_MODEL}{}", tensor.name),
            };
            write::joined(name, &tensor.shape, parameters, &tensor.parameters)
        });
        write::safetensors(&folder.join(ADAPTER_WEIGHTS), parameters, tensors.collect())?;
        let path = folder.join(ADAPTER_CONFIG);
        let json = adapter_config(&adapter, &modules);
        let mut text = serde_json::to_string_pretty(&json).expect("a JSON value is always writable");
        text.push('\n');
        files::write(&path, text.as_bytes()).map_err(ModelError::io(&path, "write"))?;
    }
    Ok(())
}

fn adapter_config(adapter: &PeftAdapter, modules: &BTreeMap<Site, String>) -> Value {
    let named = |sites: &mut dyn Iterator<Item = Site>| -> Vec<&str> {
        let sites: BTreeSet<Site> = sites.collect();
        sites.iter().filter_map(|site| modules.get(site)).map(String::as_str).collect()
    };
    let mut json = json!({
        "auto_mapping": null,
        "base_model_name_or_path": null,
        "inference_mode": true,
        "modules_to_save": null,
        "revision": null,
        "target_modules": named(&mut adapter.tensors.iter().filter_map(|tensor| tensor.site)),
        "task_type": null,
    });
    if adapter.config["peft_type"] == "IA3" {
        json["feedforward_modules"] = json!(named(&mut adapter.at_input.iter().copied()));
    }
    if let (Some(json), Some(own)) = (json.as_object_mut(), adapter.config.as_object()) {
        json.extend(own.clone());
    }
    json
}

/// The name of a task's folder below `adapters/`: what some file system might not take as `%` and two digits for each byte.
pub fn adapter_folder(task: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let named = |(i, byte): (usize, u8)| match byte {
        b'.' if i > 0 => ".".to_owned(),
        byte if plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    task.bytes().enumerate().map(named).collect()
}

/// Reads the adapters that the sharing scheme of a trunk begins with (`init_from`) into its parameters, before the first step.
///
/// # Errors
/// [`ModelError`]: a folder without an adapter, settings that the scheme does not have or that are not supported, with the key, and
/// every tensor that is missing, misshapen or not finite. After an error the table may not be used.
pub fn load_adapters(trunk: &Trunk, parameters: &mut Parameters) -> Result<(), ModelError> {
    let sharing = trunk.sharing();
    let Some(from) = sharing.init_from() else { return Ok(()) };
    let scheme = sharing.config().name();
    let Some(modules) = modules(trunk.spec(), parameters) else {
        let found = trunk.spec().name.to_owned();
        let expected =
            "a backbone that transformers has, with a module for each map: an adapter names modules"
                .to_owned();
        return Err(ModelError::Sharing { key: format!("{scheme}.init_from"), found, expected });
    };
    let mut read_before: BTreeMap<usize, (PathBuf, Vec<f32>)> = BTreeMap::new();
    for adapter in sharing.adapters() {
        let Some(folder) = InitFrom::folder(from, adapter.task.as_deref()) else { continue };
        for (index, values) in read::adapter(folder, scheme, &adapter, &modules, parameters)? {
            if let Some((other, before)) = read_before.get(&index)
                && *before != values
            {
                // Only VeRA's random factors are in the adapters of several tasks.
                return Err(ModelError::Config {
                    path: folder.join(ADAPTER_CONFIG),
                    key: "projection_prng_key".into(),
                    found: format!("random factors that are not those of {}", other.display()),
                    expected: "adapters with the same vera_A and vera_B, because all tasks share them".into(),
                });
            }
            parameters.set_data(index, values.clone())?;
            read_before.insert(index, (folder.clone(), values));
        }
    }
    Ok(())
}

/// A folder that holds no adapter.
fn no_adapter(folder: &Path) -> ModelError {
    let binary = folder.join("adapter_model.bin").is_file();
    let reason = if !folder.is_dir() {
        "there is no such folder".to_owned()
    } else if folder.join(CONFIG).is_file() {
        format!("the folder holds a whole model and no {ADAPTER_CONFIG}")
    } else if binary {
        format!("the folder has adapter_model.bin and no {ADAPTER_WEIGHTS}")
    } else {
        format!("the folder has no {ADAPTER_CONFIG} with {ADAPTER_WEIGHTS}")
    };
    let remedy = match binary {
        true => "saving it again, in Python: peft_model.save_pretrained(DIR), which writes safetensors",
        false => {
            "the folder that peft_model.save_pretrained(DIR) wrote, or one below adapters/ of a saved model"
        }
    };
    ModelError::NotAModel { path: folder.to_owned(), reason, remedy: remedy.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_has_a_folder_of_its_own() {
        assert_eq!(adapter_folder("intent"), "intent");
        assert_eq!(adapter_folder("a.b-c_1"), "a.b-c_1");
        assert_eq!(adapter_folder("../a b/ü"), "%2E.%2Fa%20b%2F%C3%BC");
        assert_ne!(adapter_folder("a b"), adapter_folder("a%20b"));
    }
}
