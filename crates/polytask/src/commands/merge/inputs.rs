//! The models that are merged: opened one after the other, of which heads and what the trunks are made of stay in memory.

use crate::commands::{config_of_run, open_model_changed};
use crate::config::Config;
use crate::failure::{Failure, REFUSED};
use burn::tensor::Device;
use serde_json::Value;
use std::path::{Path, PathBuf};
use train::{MergeSource, Model, ModelManifest, NamedValues, RunDir};

/// A run, or a model without its run.
pub struct Input {
    /// As it was given.
    pub folder: PathBuf,
    /// Where its model lies.
    pub model_dir: PathBuf,
    /// The run's config, where the run is there.
    pub config: Option<Config>,
    /// What the model says about itself.
    pub manifest: ModelManifest,
    /// The numbers of its heads.
    pub heads: NamedValues,
    /// What all that are merged must have alike.
    pub network: Network,
    /// Its trunk; with private parameters in it, that of each task.
    pub sources: Vec<Source>,
}

/// A trunk as some tasks see it.
pub struct Source {
    /// The weights.
    pub trunk: MergeSource,
    /// The tasks.
    pub tasks: Vec<String>,
}

/// What a network is, apart from its weights.
#[derive(Clone)]
pub struct Network {
    /// The backbone's name.
    pub backbone: &'static str,
    /// Its config.json.
    pub json: Value,
    /// The vocabulary, as its file; `None` for a checkpoint without one.
    pub tokenizer: Option<String>,
    /// The table of a decoder on the backbone.
    pub decoder: Option<Value>,
}

/// Keys of a config.json that say nothing of what the weights mean.
const SAY_NOTHING: &[&str] = &[
    "_name_or_path",
    "architectures",
    "dtype",
    "gradient_checkpointing",
    "id2label",
    "label2id",
    "torch_dtype",
    "transformers_version",
    "use_cache",
];

impl Network {
    /// Of an opened model.
    pub fn of(model: &Model) -> Network {
        let spec = model.trunk.spec();
        Network {
            backbone: spec.name,
            json: spec.config_json.clone(),
            tokenizer: Some(model.tokenizer.to_json().to_owned()),
            decoder: model
                .decoder
                .as_ref()
                .and_then(|decoder| serde_json::to_value(decoder.fresh.as_ref()?).ok()),
        }
    }

    /// What differs from another, in words; a vocabulary or a decoder that only one has is no difference.
    pub fn difference(&self, other: &Network) -> Option<String> {
        if self.backbone != other.backbone {
            return Some(format!("the backbone is {} and {}", self.backbone, other.backbone));
        }
        if let (Some(a), Some(b)) = (&self.tokenizer, &other.tokenizer)
            && !is_same_json(a, b)
        {
            return Some(
                "their vocabularies (tokenizer.json) are not the same, so that the rows of the token embedding mean other tokens; backbones from scratch have one vocabulary where `tokenizer.file` names it".into(),
            );
        }
        let empty = serde_json::Map::new();
        let [a, b] = [&self.json, &other.json].map(|json| json.as_object().unwrap_or(&empty));
        let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let says_something =
            |key: &&&String| !SAY_NOTHING.contains(&key.as_str()) && !key.contains("dropout");
        let differing: Vec<String> = keys
            .iter()
            .filter(says_something)
            .filter(|key| a.get(**key) != b.get(**key))
            .map(|key| {
                let shown =
                    |value: Option<&Value>| value.map_or_else(|| "not there".into(), Value::to_string);
                format!("{key} is {} and {}", shown(a.get(*key)), shown(b.get(*key)))
            })
            .collect();
        if !differing.is_empty() {
            return Some(format!("in config.json {}", differing.join(", ")));
        }
        match (&self.decoder, &other.decoder) {
            (Some(a), Some(b)) if a != b => Some(format!("the decoder is {a} and {b}")),
            _ => None,
        }
    }
}

/// Whether two texts are one JSON document, however it is laid out.
fn is_same_json(a: &str, b: &str) -> bool {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    a == b || parsed(a).is_some_and(|a| parsed(b).is_some_and(|b| a == b))
}

impl Input {
    /// Opens the models that are to be merged, and checks that they go together.
    ///
    /// # Errors
    /// Fewer than two, one that is broken, networks or task names that do not go together.
    pub fn open_all(folders: &[PathBuf], device: &Device) -> Result<Vec<Input>, Failure> {
        if folders.len() < 2 {
            return Err(Failure::refused([
                "one model alone is not merged: give two or more runs that were trained from one checkpoint",
            ]));
        }
        let (mut inputs, mut errors) = (Vec::new(), Vec::new());
        for folder in folders {
            match Input::open(folder, device) {
                Ok(input) => inputs.push(input),
                Err(Failure { messages, code: REFUSED }) => {
                    errors.extend(messages.iter().map(|said| said.trim_start_matches("error: ").to_owned()));
                }
                Err(other) => return Err(other),
            }
        }
        for (at, input) in inputs.iter().enumerate().skip(1) {
            let shown = input.folder.display();
            let earlier = inputs[..at]
                .iter()
                .find_map(|other| Some((other, other.network.difference(&input.network)?)));
            if let Some((other, difference)) = earlier {
                errors.push(format!("{} and {shown} cannot be merged: {difference}", other.folder.display()));
            }
            for task in &input.manifest.tasks {
                let twice = inputs[..at]
                    .iter()
                    .find(|other| other.manifest.tasks.iter().any(|t| t.name == task.name));
                if let Some(other) = twice {
                    errors.push(format!(
                        "task `{}` is in {} and in {shown}: names of tasks must differ; train one of the two with another name of its table [task.NAME]",
                        task.name,
                        other.folder.display()
                    ));
                }
            }
        }
        if errors.is_empty() { Ok(inputs) } else { Err(Failure::refused(errors)) }
    }

    fn open(folder: &Path, device: &Device) -> Result<Input, Failure> {
        let inside = folder.join("model");
        let (run, model_dir) = match inside.is_dir() {
            true => (Some(folder.to_path_buf()), inside),
            // A folder `model` of a run that was given by itself.
            false => (
                folder.parent().filter(|_| folder.ends_with("model")).map(Path::to_path_buf),
                folder.to_path_buf(),
            ),
        };
        let mut manifest = None;
        let model = open_model_changed(folder, device, |found| manifest = Some(found.clone()))?;
        let manifest = manifest.ok_or_else(|| Failure::failed("the model has no manifest"))?;
        let run = run.map(RunDir::new).filter(|run| run.config().is_file());
        let config = run.map(|run| config_of_run(&run)).transpose()?;
        if model.tasks.is_empty() {
            return Err(Failure::refused([format!("{}: the model has no task", folder.display())]));
        }
        let all: Vec<String> = model.tasks.iter().map(|task| task.name.clone()).collect();
        let groups: Vec<Vec<String>> = match model.trunk.has_lanes() {
            true => all.into_iter().map(|task| vec![task]).collect(),
            false => vec![all],
        };
        let source = |tasks: Vec<String>| -> Result<Source, Failure> {
            let name = tasks.join("+");
            let trunk =
                MergeSource::of(&model, &model_dir, &tasks[0], name).map_err(|e| Failure::refused([e]))?;
            Ok(Source { trunk, tasks })
        };
        let sources = groups.into_iter().map(source).collect::<Result<_, _>>()?;
        let (heads, network) = (model.heads(), Network::of(&model));
        Ok(Input { folder: folder.to_path_buf(), model_dir, config, manifest, heads, network, sources })
    }

    /// The name of its run's folder.
    pub fn run_name(&self) -> Option<String> {
        let run = if self.folder.ends_with("model") { self.folder.parent()? } else { &self.folder };
        Some(run.file_name()?.to_string_lossy().into_owned())
    }

    /// Whether one of these is a task of it.
    pub fn has_task(&self, name: &str) -> bool {
        self.manifest.tasks.iter().any(|task| task.name == name)
    }
}
