//! From a config to a job: rows read, labels learnt, model built, views tokenized, targets attached.

use crate::config::Config;
use crate::corpora::{DataReport, Inputs, Sources, Wanted, attach};
use crate::failure::Failure;
use burn::tensor::Device;
use data::{Split, Tokenizer};
use model::{Backbone, BackboneConfig, Parameters, Scratch};
use std::path::{Path, PathBuf};
use train::{Job, Model, ModelDecoder, Recompute, TaskSlot};

/// A job, ready to train or to score, and what was found in its data.
pub struct Assembled {
    /// The job.
    pub job: Job,
    /// What is in its corpora.
    pub report: DataReport,
}

/// Builds everything that the config describes, from the checkpoint or from scratch, to be trained on `device`.
pub fn assemble(config: &Config, device: &Device) -> Result<Assembled, Failure> {
    let sources = Sources::read(config, &Split::ALL)?;
    let mut tasks = kinds(config)?;
    learn(&mut tasks, &sources)?;
    let inputs = place(&mut tasks, &sources);

    let mut parameters = Parameters::new(&device.clone().autodiff(), config.train.seed);
    let texts = || [inputs.training_texts(&sources), texts_written(&tasks, &sources)].concat();
    let (mut backbone, tokenizer) = backbone(config, &mut parameters, texts)?;
    let corpora = match config.model.corpus_embeddings {
        true => Model::add_corpora(&tasks, &mut *backbone, &mut parameters),
        false => Vec::new(),
    };
    if let Some(freeze) = &config.model.freeze {
        freeze.apply(&mut *backbone, &mut parameters).map_err(|e| Failure::refused([e]))?;
    }
    backbone.set_precision(config.train.precision);
    if config.train.recompute == Recompute::Layers {
        backbone.recompute_layers().map_err(|e| Failure::refused([e]))?;
    }
    let fresh = config.model.decoder.as_ref();
    let decoder = ModelDecoder::of(&*backbone, fresh, &tokenizer, &mut parameters);
    let decoder = decoder.map_err(|e| Failure::refused([e]))?;
    TaskSlot::build_all(&mut tasks, &*backbone, decoder.as_ref(), &tokenizer, &mut parameters)
        .map_err(Failure::refused)?;
    let max_length = config.data.max_length;
    let model = Model { parameters, backbone, decoder, tokenizer, max_length, corpora, tasks };
    with_views(config, model, &sources, &inputs)
}

/// Puts a saved model and the rows of one split together, to score it.
pub fn assemble_saved(config: &Config, mut model: Model, split: Split) -> Result<Assembled, Failure> {
    let sources = Sources::read(config, &[split])?;
    let inputs = place(&mut model.tasks, &sources);
    with_views(config, model, &sources, &inputs)
}

fn with_views(
    config: &Config,
    mut model: Model,
    sources: &Sources,
    inputs: &Inputs,
) -> Result<Assembled, Failure> {
    let cache = config.data.cache.as_ref().map(PathBuf::from).or_else(user_cache);
    let longest = model.backbone.max_length();
    if model.max_length > longest {
        return Err(Failure::refused([format!(
            "data.max_length = {}: the backbone has positions for {longest} tokens; set data.max_length to at most {longest}",
            model.max_length
        )]));
    }
    let views = inputs.views(sources, &model.tokenizer, model.max_length, cache.as_deref())?;
    let report = attach(&mut model.tasks, &views, sources)?;
    Ok(Assembled { job: Job { model, views }, report })
}

/// `polytask/` in the user's folder for caches, if there is one that can be written to: this cache is nobody's wish,
/// so that it must not stop a run.
fn user_cache() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))?;
    let dir = caches.join("polytask");
    let writable = std::fs::create_dir_all(&dir).and_then(|()| tempfile::tempfile_in(&dir));
    writable.is_ok().then_some(dir)
}

fn kinds(config: &Config) -> Result<Vec<TaskSlot>, Failure> {
    let (mut slots, mut faults) = (Vec::new(), Vec::new());
    for (name, task) in &config.task {
        match task.build(name) {
            Ok(kind) => {
                slots.push(TaskSlot { name: name.clone(), config: task.clone(), kind, view: 0, learns: true })
            }
            Err(error) => faults.push(error.to_string()),
        }
    }
    if faults.is_empty() { Ok(slots) } else { Err(Failure::refused(faults)) }
}

fn learn(tasks: &mut [TaskSlot], sources: &Sources) -> Result<(), Failure> {
    let mut faults = Vec::new();
    for slot in tasks.iter_mut() {
        let rows = sources.rows(&slot.config.corpus, Split::Train).cloned().unwrap_or_default();
        if let Err(errors) = slot.kind.learn(&rows) {
            faults.extend(errors.iter().map(|e| format!("task `{}`: {e}", slot.name)));
        }
    }
    if !faults.is_empty() {
        return Err(Failure::refused(faults));
    }
    share_spaces(tasks)
}

/// Gives tasks that share a head the labels of all of them.
fn share_spaces(tasks: &mut [TaskSlot]) -> Result<(), Failure> {
    let owners: Vec<String> = tasks.iter().filter_map(|slot| slot.config.head.clone()).collect();
    for owner in owners {
        let mut members: Vec<&mut TaskSlot> = tasks.iter_mut().filter(|slot| slot.head() == owner).collect();
        let spaces: Vec<serde_json::Value> = members.iter().map(|slot| slot.kind.space()).collect();
        let Some(shared) = tasks::shared_spaces(&spaces) else {
            let names: Vec<&str> = members.iter().map(|slot| slot.name.as_str()).collect();
            let names = names.join("`, `");
            return Err(Failure::refused([format!(
                "the tasks `{names}` share a head, but their labels cannot be put together; give each its own"
            )]));
        };
        for (slot, space) in members.iter_mut().zip(shared) {
            slot.kind.restore_space(&space).map_err(|e| Failure::refused([e]))?;
        }
    }
    Ok(())
}

/// The training texts that tasks write.
fn texts_written(tasks: &[TaskSlot], sources: &Sources) -> Vec<String> {
    let of = |slot: &TaskSlot| {
        let rows = sources.rows(&slot.config.corpus, Split::Train).cloned().unwrap_or_default();
        rows.iter().flat_map(|row| slot.kind.writes(row)).collect::<Vec<String>>()
    };
    tasks.iter().flat_map(of).collect()
}

fn place(tasks: &mut [TaskSlot], sources: &Sources) -> Inputs {
    let wanted = |t: &TaskSlot| Wanted {
        corpus: t.config.corpus.clone(),
        input: t.kind.input(),
        hides: t.kind.hides(),
    };
    let wanted: Vec<Wanted> = tasks.iter().map(wanted).collect();
    let (inputs, places) = Inputs::of(&wanted, sources);
    for (slot, place) in tasks.iter_mut().zip(places) {
        slot.view = place;
    }
    inputs
}

fn backbone(
    config: &Config,
    parameters: &mut Parameters,
    texts: impl FnOnce() -> Vec<String>,
) -> Result<(Box<dyn Backbone>, Tokenizer), Failure> {
    match &config.model.backbone {
        BackboneConfig::Pretrained(name) => {
            let dir = pretrained(name)?;
            if !dir.is_dir() {
                return Err(Failure::refused([format!(
                    "model.backbone: {} is not a folder; it must hold config.json, model.safetensors and tokenizer.json",
                    dir.display()
                )]));
            }
            if model::has_corpora(&dir) {
                let dir = dir.display();
                eprintln!(
                    "warning: {dir}: the vectors of its corpora are left out; what it learned by them alone is lost"
                );
            }
            let tokenizer =
                Tokenizer::from_file(&dir.join("tokenizer.json")).map_err(|e| Failure::refused([e]))?;
            let backbone =
                model::open(&dir, parameters, config.model.dropout).map_err(|e| Failure::refused([e]))?;
            if tokenizer.vocabulary() > backbone.vocabulary() {
                return Err(Failure::refused([format!(
                    "{}: tokenizer.json has {} tokens, the model's embeddings {}: they do not belong together",
                    dir.display(),
                    tokenizer.vocabulary(),
                    backbone.vocabulary()
                )]));
            }
            Ok((backbone, tokenizer))
        }
        BackboneConfig::Scratch(scratch) => {
            let settings = config.tokenizer.clone().unwrap_or_default();
            let tokenizer = Tokenizer::train(&texts(), &settings).map_err(|e| Failure::refused([e]))?;
            let backbone = from_scratch(scratch, &tokenizer, parameters)?;
            Ok((backbone, tokenizer))
        }
    }
}

fn from_scratch(
    scratch: &Scratch,
    tokenizer: &Tokenizer,
    parameters: &mut Parameters,
) -> Result<Box<dyn Backbone>, Failure> {
    let specials = tokenizer.specials();
    let ends = [specials.begin, specials.end].map(Option::unwrap_or_default);
    model::build(scratch, tokenizer.vocabulary(), ends, parameters).map_err(|e| Failure::refused([e]))
}

/// The directory of a pretrained checkpoint: the path itself, or the place in the cache of `hf:owner/name@revision`.
fn pretrained(name: &str) -> Result<PathBuf, Failure> {
    match name.strip_prefix("hf:") {
        None => Ok(Path::new(name).to_path_buf()),
        Some(spec) => crate::hub::fetch(spec),
    }
}
