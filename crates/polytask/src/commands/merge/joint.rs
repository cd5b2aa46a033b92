//! The config for the tasks of all models: their corpora and tasks side by side, on the merged model.

use super::inputs::Input;
use crate::config::Config;
use data::SamplerConfig;
use model::{BackboneConfig, Dtype, ModelConfig, SharingConfig};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use train::{ModelManifest, TaskTable};

/// Configs, after corpora that are not the same have got names that are not the same.
pub struct JointConfigs {
    /// Of each model its own, where its run is there.
    pub own: Vec<Option<Config>>,
    /// The one for all tasks, or why there is none.
    pub all: Result<Config, String>,
    /// What was renamed, a sentence each.
    pub notes: Vec<String>,
}

/// Joins the configs of the models, and calls corpora in configs, manifests and trunks by names that say one thing each.
pub fn join(inputs: &mut [Input]) -> JointConfigs {
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    let (mut own, mut notes) = (Vec::new(), Vec::new());
    for input in inputs.iter_mut() {
        let Some(config) = input.config.clone() else {
            own.push(None);
            continue;
        };
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for name in config.corpus.keys() {
            let identity = identity(&config, name, &input.manifest);
            let renamed = free_name(name, &identity, &known);
            if renamed != *name {
                notes.push(format!(
                    "corpus `{name}` of {} is not that of an earlier run: it is called `{renamed}` in the result",
                    input.folder.display()
                ));
            }
            known.insert(renamed.clone(), identity);
            names.insert(name.clone(), renamed);
        }
        own.push(Some(renamed(config, &names)));
        rename_in_manifest(&mut input.manifest, &names);
        input.sources.iter_mut().for_each(|source| source.trunk.rename_corpora(&names));
    }
    let all = whole(inputs, &own);
    JointConfigs { own, all, notes }
}

/// What decides which rows of a corpus are in its splits.
fn identity(config: &Config, corpus: &str, manifest: &ModelManifest) -> Value {
    let table = &config.corpus[corpus];
    if !cuts_validation(config, corpus) {
        return json!(table);
    }
    // Which rows are cut off depends on the seed, and on the texts that tasks read.
    let readers = manifest.tasks.iter().filter(|task| task.table.config.corpus == corpus);
    let mut inputs: Vec<String> = readers.map(|task| format!("{:?}", task.input)).collect();
    inputs.sort_unstable();
    inputs.dedup();
    json!([table, config.train.seed, inputs])
}

/// Whether validation rows are cut off the training rows of a corpus.
fn cuts_validation(config: &Config, corpus: &str) -> bool {
    let table = &config.corpus[corpus];
    table.validation.is_none() && table.validation_split.is_some()
}

/// The name, or one with a number, that stands for nothing else.
fn free_name(name: &str, identity: &Value, known: &BTreeMap<String, Value>) -> String {
    let numbered = (1..).map(|number| if number == 1 { name.to_owned() } else { format!("{name}-{number}") });
    let is_free = |name: &String| known.get(name).is_none_or(|other| other == identity);
    numbered.into_iter().find(is_free).unwrap_or_else(|| name.to_owned())
}

fn rename(name: &mut String, names: &BTreeMap<String, String>) {
    if let Some(new) = names.get(name) {
        name.clone_from(new);
    }
}

fn rename_in_table(table: &mut TaskTable, names: &BTreeMap<String, String>) {
    rename(&mut table.config.corpus, names);
    table.training.out_of_domain.iter_mut().for_each(|corpus| rename(corpus, names));
}

fn rename_in_manifest(manifest: &mut ModelManifest, names: &BTreeMap<String, String>) {
    manifest.tasks.iter_mut().for_each(|task| rename_in_table(&mut task.table, names));
    manifest.datasets.iter_mut().for_each(|corpus| rename(corpus, names));
}

/// A run's config with other names of corpora.
fn renamed(mut config: Config, names: &BTreeMap<String, String>) -> Config {
    let corpora = std::mem::take(&mut config.corpus);
    config.corpus = corpora
        .into_iter()
        .map(|(mut name, table)| {
            rename(&mut name, names);
            (name, table)
        })
        .collect();
    let tasks: Vec<String> = config.task.keys().cloned().collect();
    for task in tasks {
        if let Some(table) = config.task.get_mut(&task) {
            rename_in_table(table, names);
        }
    }
    config
}

/// The config for all tasks: what chooses between tasks, or begins with another network, is left at its default.
fn whole(inputs: &[Input], own: &[Option<Config>]) -> Result<Config, String> {
    let mut configs = Vec::new();
    for (input, config) in inputs.iter().zip(own) {
        let without = || format!("{} is a model without its run's config.toml", input.folder.display());
        configs.push(config.as_ref().ok_or_else(without)?);
    }
    let first = *configs.first().ok_or("there are no runs")?;
    let seed = first.train.seed;
    let cut = |config: &&&Config| {
        config.train.seed != seed && config.corpus.keys().any(|name| cuts_validation(config, name))
    };
    let first_cuts = first.corpus.keys().any(|name| cuts_validation(first, name));
    let other = configs.iter().find(|config| config.train.seed != seed);
    if let Some(other) = configs.iter().find(cut).or(other.filter(|_| first_cuts)) {
        return Err(format!(
            "validation rows are cut off by `validation_split`, which depends on train.seed, and the runs have {seed} and {}: no single \
             config has the training rows of both",
            other.train.seed
        ));
    }
    let mut all = first.clone();
    (all.paths, all.sweep, all.distill, all.tokenizer) = (BTreeMap::new(), None, None, None);
    all.sharing = SharingConfig::default();
    (all.sampling, all.balance, all.phase) = (SamplerConfig::default(), Default::default(), Vec::new());
    all.data.max_length =
        configs.iter().map(|config| config.data.max_length).max().unwrap_or(all.data.max_length);
    let train = &mut all.train;
    (train.metric_for_best_model, train.head_lr_balancing, train.affinity_steps) = (None, None, None);
    train.gradient_scope = Default::default();
    for config in &configs {
        all.corpus.extend(config.corpus.clone());
        for (name, table) in &config.task {
            let mut table = table.clone();
            table.training.budget = None;
            all.task.insert(name.clone(), table);
        }
    }
    Ok(all)
}

/// The config on a model in some folder.
pub fn on_model(config: &Config, model: &Path, manifest: &ModelManifest) -> Config {
    let mut config = config.clone();
    config.model = ModelConfig {
        backbone: BackboneConfig::Pretrained(model.to_string_lossy().into_owned()),
        dropout: None,
        decoder: manifest.decoder.clone(),
        dataset_embeddings: !manifest.datasets.is_empty(),
        freeze: None,
        dtype: Dtype::default(),
        quantization_aware: None,
        heads: None,
    };
    // What was pruned is.
    config.pruning = None;
    config
}
