//! What of a scheme PEFT reads: adapters as tables of tensors. The files are [`crate::save_adapters`]'s and [`crate::load_adapters`]'s.

use super::targets::refused;
use super::{SharingConfig, Site};
use crate::error::ModelError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// An adapter as PEFT has it.
#[derive(Debug, Clone, PartialEq)]
pub struct PeftAdapter {
    /// The task that it is of; `None`: all tasks.
    pub task: Option<String>,
    /// What adapter_config.json says of it, beside the modules that it changes.
    pub config: serde_json::Value,
    /// Its tensors.
    pub tensors: Vec<PeftTensor>,
    /// The maps that are changed at their input (`feedforward_modules` of IA3).
    pub at_input: Vec<Site>,
}

/// A tensor of an adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct PeftTensor {
    /// The map whose module has it; `None`: the whole model.
    pub site: Option<Site>,
    /// What follows the name of the module.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The parameters that it is, by their index in the table: their numbers one after the other.
    pub parameters: Vec<usize>,
}

impl PeftAdapter {
    pub(super) fn new(task: Option<String>, config: serde_json::Value, tensors: Vec<PeftTensor>) -> Self {
        PeftAdapter { task, config, tensors, at_input: Vec::new() }
    }
}

impl PeftTensor {
    pub(super) fn of_map(site: Site, name: &str, shape: &[usize], parameters: Vec<usize>) -> Self {
        PeftTensor { site: Some(site), name: name.to_owned(), shape: shape.to_vec(), parameters }
    }

    pub(super) fn of_model(name: &str, shape: &[usize], parameter: usize) -> Self {
        PeftTensor { site: None, name: name.to_owned(), shape: shape.to_vec(), parameters: vec![parameter] }
    }
}

/// Adapters in PEFT's layout that a scheme begins with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum InitFrom {
    /// A folder with adapter_config.json and adapter_model.safetensors, for all tasks.
    All(PathBuf),
    /// Such a folder for each of some tasks; the others begin anew.
    Tasks(BTreeMap<String, PathBuf>),
}

impl InitFrom {
    /// The folder of a task's adapter; of that of all tasks for `None`.
    pub fn folder(&self, task: Option<&str>) -> Option<&PathBuf> {
        match (self, task) {
            (InitFrom::All(folder), _) => Some(folder),
            (InitFrom::Tasks(folders), Some(task)) => folders.get(task),
            (InitFrom::Tasks(_), None) => None,
        }
    }

    /// Refuses folders that would not be read.
    pub(super) fn check(&self, scheme: &str, shared: bool, tasks: &[String]) -> Result<(), ModelError> {
        let InitFrom::Tasks(folders) = self else { return Ok(()) };
        if shared {
            let expected = "one folder, because all tasks have the same adapter";
            return Err(refused(scheme, "init_from", "a table of tasks", expected));
        }
        match folders.keys().find(|name| !tasks.contains(name)) {
            Some(name) => Err(refused(scheme, "init_from", name, format!("a task: {}", tasks.join(", ")))),
            None => Ok(()),
        }
    }
}

impl SharingConfig {
    /// Leaves out what the table says of other tasks than these: the adapters that they would begin with, their place in groups.
    pub fn retain_tasks(&mut self, keep: impl Fn(&str) -> bool) {
        let from = match self {
            SharingConfig::Lora(config) => &mut config.init_from,
            SharingConfig::Vera(config) => &mut config.init_from,
            SharingConfig::Ia3(config) => &mut config.init_from,
            SharingConfig::Branch(config) => return config.retain_tasks(keep),
            // One adapter has all tasks of Poly; the others have none.
            _ => return,
        };
        if let Some(InitFrom::Tasks(folders)) = from {
            folders.retain(|task, _| keep(task));
            if folders.is_empty() {
                *from = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn folders_of_other_tasks_are_left_out() {
        let of = |from: serde_json::Value| -> SharingConfig {
            serde_json::from_value(json!({"lora": {"init_from": from}})).unwrap()
        };
        let mut both = of(json!({"a": "x", "b": "y"}));
        both.retain_tasks(|task| task == "b");
        assert_eq!(both, of(json!({"b": "y"})));
        both.retain_tasks(|task| task == "a");
        assert_eq!(both, of(json!(null)));
        let mut all = of(json!("z"));
        all.retain_tasks(|_| false);
        assert_eq!(all, of(json!("z")));
    }
}
