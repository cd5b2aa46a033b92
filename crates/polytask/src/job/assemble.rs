//! From a config to a job: rows read, labels fitted, model built, views tokenized, targets encoded.

use super::corpora::{CorpusRows, DataReport, ViewPlan, ViewSpec, encode_targets};
use super::saved_heads::SavedHeads;
use super::token_cache::TokenCache;
use crate::config::Config;
use crate::distill::teachers::hidden_of_teacher;
use crate::failure::Failure;
use crate::terminal::{figures::counted, output};
use burn::tensor::Device;
use data::{ChatTemplate, Split, Tokenizer};
use model::{Backbone, BackboneConfig, Dtype, FromScratch, Parameters, Trunk};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tasks::{Kind, TaskConfig};
use train::{HeadlessTask, Job, Model, ModelDecoder, TaskTable};

/// A job, ready to train or to score, and what was found in its data.
pub struct Assembled {
    /// The job.
    pub job: Job,
    /// What is in its corpora.
    pub report: DataReport,
}

/// Builds everything that the config describes, from the checkpoint or from scratch, to be trained on `device`.
///
/// # Errors
/// Corpora, labels or a model that are not right.
pub fn assemble(config: &Config, device: &Device) -> Result<Assembled, Failure> {
    let tasks = configured_tasks(config, device)?;
    let specs: Vec<ViewSpec> = tasks.iter().map(|task| view_spec(&task.table.config, &*task.kind)).collect();
    let corpora = CorpusRows::read(config, &Split::ALL, &specs)?;
    let mut label_spaces = join_label_spaces(&tasks, fit_labels(&tasks, &corpora)?)?;
    let saved = SavedHeads::of(config)?;
    if let Some(saved) = &saved {
        let names: Vec<&str> = tasks.iter().map(|task| task.name).collect();
        saved.give_label_spaces(&names, config, &mut label_spaces)?;
    }
    let (plan, views) = ViewPlan::of(&specs, &corpora);

    let mut parameters = Parameters::new(&device.clone().autodiff(), config.train.seed);
    let texts = || [plan.training_texts(&corpora), target_texts(&tasks, &corpora)].concat();
    let (backbone, tokenizer) = build_backbone(config, &mut parameters, texts)?;
    let mut trunk = Trunk::new(backbone);
    let datasets = match config.model.dataset_embeddings {
        true => {
            let corpora = tasks.iter().map(|task| &task.table.config.corpus);
            Model::add_datasets(corpora, &mut trunk, &mut parameters)
        }
        false => Vec::new(),
    };
    set_up_trunk(config, &mut trunk, &mut parameters)?;
    let fresh = config.model.decoder.as_ref();
    let decoder = ModelDecoder::of(&trunk, fresh, &tokenizer, &mut parameters);
    let decoder = decoder.map_err(|e| Failure::refused([e]))?;
    let headless = |((task, label_space), view): ((ConfiguredTask<'_>, Value), usize)| HeadlessTask {
        name: task.name.to_owned(),
        table: task.table.clone(),
        kind: task.kind,
        label_space,
        view,
    };
    let tasks = tasks.into_iter().zip(label_spaces).zip(views).map(headless).collect();
    let tasks = HeadlessTask::build_all(tasks, &trunk, decoder.as_ref(), &tokenizer, &mut parameters)
        .map_err(Failure::refused)?;
    if let Some(saved) = &saved {
        saved.load(decoder.as_ref(), &mut parameters)?;
    }
    let max_length = config.data.max_length;
    let same_text = plan.same_text(&specs);
    let model = Model { parameters, trunk, decoder, tokenizer, max_length, datasets, same_text, tasks };
    with_views(config, model, &corpora, &plan)
}

/// Puts a saved model and the rows of some splits together, to score it, or to train it further.
///
/// # Errors
/// Corpora that are not right, or that do not fit the model.
pub fn assemble_saved(config: &Config, mut model: Model, splits: &[Split]) -> Result<Assembled, Failure> {
    let specs: Vec<ViewSpec> = model.tasks.iter().map(|slot| view_spec(&slot.config, &*slot.kind)).collect();
    let corpora = CorpusRows::read(config, splits, &specs)?;
    let (plan, views) = ViewPlan::of(&specs, &corpora);
    for (slot, view) in model.tasks.iter_mut().zip(views) {
        slot.view = view;
    }
    with_views(config, model, &corpora, &plan)
}

/// Puts the sharing scheme on the trunk, freezes its lower layers, and sets how it computes.
fn set_up_trunk(config: &Config, trunk: &mut Trunk, parameters: &mut Parameters) -> Result<(), Failure> {
    let names: Vec<String> = config.task.keys().cloned().collect();
    trunk.set_sharing(config.sharing.build(), &names, parameters).map_err(|e| Failure::refused([e]))?;
    model::load_adapters(trunk, parameters).map_err(|e| Failure::refused([e]))?;
    if let Some(freeze) = &config.model.freeze {
        freeze.apply(trunk, parameters).map_err(|e| Failure::refused([e]))?;
    }
    if config.model.dtype == Dtype::Bf16 && trunk.pack(parameters, false) == 0 {
        let error = "model.dtype = \"bf16\": it is for matrices that are not trained, and all are; leave it out, or freeze the network \
                     with a sharing scheme such as `[sharing.lora]` or with `model.freeze`";
        return Err(Failure::refused([error]));
    }
    if let Some(to) = config.model.quantization_aware
        && model::quantization::train_rounded(trunk, parameters, to) == 0
    {
        let error =
            "model.quantization_aware: the network has no matrices that could be codes later; leave it out";
        return Err(Failure::refused([error]));
    }
    trunk.set_precision(config.train.precision);
    trunk.set_activation_checkpointing(config.train.activation_checkpointing);
    Ok(())
}

fn with_views(
    config: &Config,
    mut model: Model,
    corpora: &CorpusRows,
    plan: &ViewPlan,
) -> Result<Assembled, Failure> {
    let cache = TokenCache::of(config.data.cache.as_deref());
    let longest = model.trunk.spec().max_length;
    if model.max_length > longest {
        return Err(Failure::refused([format!(
            "data.max_length = {}: the backbone has positions for {longest} tokens; set data.max_length to at most {longest}",
            model.max_length
        )]));
    }
    let views = plan.views(corpora, &model.tokenizer, model.max_length, &cache)?;
    let report = encode_targets(&mut model.tasks, &views, corpora)?;
    Ok(Assembled { job: Job { model, views }, report })
}

/// A task of the config whose labels are not known.
struct ConfiguredTask<'a> {
    name: &'a str,
    table: &'a TaskTable,
    kind: Box<dyn Kind>,
}

fn configured_tasks<'a>(config: &'a Config, device: &Device) -> Result<Vec<ConfiguredTask<'a>>, Failure> {
    let (mut tasks, mut errors) = (Vec::new(), Vec::new());
    let causal = is_causal(&config.model.backbone)?;
    // Whoever does not chat needs no template, nor the file that has it.
    let chats = causal && config.task.values().any(|task| task.config.chat.is_some());
    let template = if chats { chat_template(&config.model.backbone)? } else { None };
    for (name, table) in &config.task {
        match table.build(name) {
            Ok(mut kind) => {
                if !causal && kind.needs_causal() {
                    errors.push(format!(
                        "task.{name}: there is such a task only on a decoder; `[model] backbone` is none: a Llama, a Qwen, .."
                    ));
                    continue;
                }
                if causal && let Err(error) = kind.set_causal(template.as_ref()) {
                    errors.push(error.to_string());
                    continue;
                }
                if table.config.needs_teacher() {
                    match hidden_of_teacher(config.distill.as_ref(), name, device) {
                        Ok(hidden) => kind.set_teacher(hidden),
                        Err(failure) => {
                            errors.extend(failure.messages);
                            continue;
                        }
                    }
                }
                tasks.push(ConfiguredTask { name, table, kind });
            }
            Err(error) => errors.push(error.to_string()),
        }
    }
    if errors.is_empty() { Ok(tasks) } else { Err(Failure::refused(errors)) }
}

/// How the model wants conversations to be written, where its folder says so.
fn chat_template(backbone: &BackboneConfig) -> Result<Option<ChatTemplate>, Failure> {
    match backbone {
        BackboneConfig::Pretrained(name) => {
            ChatTemplate::of_model(&checkpoint_dir(name)?).map_err(|e| Failure::refused([e]))
        }
        BackboneConfig::FromScratch(_) => Ok(None),
    }
}

/// Whether a token sees none after it in the network.
fn is_causal(backbone: &BackboneConfig) -> Result<bool, Failure> {
    Ok(match backbone {
        BackboneConfig::Pretrained(name) => model::is_causal(&checkpoint_dir(name)?),
        BackboneConfig::FromScratch(scratch) => scratch.is_causal(),
    })
}

/// The label space of each task's training rows.
fn fit_labels(tasks: &[ConfiguredTask<'_>], corpora: &CorpusRows) -> Result<Vec<Value>, Failure> {
    let (mut spaces, mut errors) = (Vec::new(), Vec::new());
    for task in tasks {
        let rows = corpora.rows(&task.table.config.corpus, Split::Train).cloned().unwrap_or_default();
        match task.kind.input().keep_readable(&rows).and_then(|rows| task.kind.fit_labels(&rows)) {
            Ok(space) => spaces.push(space),
            Err(found) => errors.extend(found.iter().map(|e| format!("task `{}`: {e}", task.name))),
        }
    }
    if errors.is_empty() { Ok(spaces) } else { Err(Failure::refused(errors)) }
}

/// The label spaces with those of tasks that share a head joined.
fn join_label_spaces(tasks: &[ConfiguredTask<'_>], mut spaces: Vec<Value>) -> Result<Vec<Value>, Failure> {
    let owners: BTreeSet<&str> = tasks.iter().filter_map(|task| task.table.config.head.as_deref()).collect();
    for owner in owners {
        let is_member = |task: &ConfiguredTask<'_>| task.table.config.head_owner(task.name) == owner;
        let members: Vec<usize> = (0..tasks.len()).filter(|index| is_member(&tasks[*index])).collect();
        let own: Vec<Value> = members.iter().map(|index| spaces[*index].clone()).collect();
        let Some(joint) = tasks::joint_label_spaces(&own) else {
            let names: Vec<&str> = members.iter().map(|index| tasks[*index].name).collect();
            let names = names.join("`, `");
            return Err(Failure::refused([format!(
                "the tasks `{names}` share a head, but their labels cannot be put together; give each its own"
            )]));
        };
        for (index, space) in members.into_iter().zip(joint) {
            spaces[index] = space;
        }
    }
    Ok(spaces)
}

/// The training texts that tasks generate.
fn target_texts(tasks: &[ConfiguredTask<'_>], corpora: &CorpusRows) -> Vec<String> {
    let of = |task: &ConfiguredTask<'_>| {
        let rows = corpora.rows(&task.table.config.corpus, Split::Train).cloned().unwrap_or_default();
        rows.iter().flat_map(|row| task.kind.target_texts(row)).collect::<Vec<String>>()
    };
    tasks.iter().flat_map(of).collect()
}

/// What a task reads.
fn view_spec(config: &TaskConfig, kind: &dyn Kind) -> ViewSpec {
    ViewSpec { corpus: config.corpus.clone(), input: kind.input(), mask_percent: kind.mask_percent() }
}

fn build_backbone(
    config: &Config,
    parameters: &mut Parameters,
    texts: impl FnOnce() -> Vec<String>,
) -> Result<(Box<dyn Backbone>, Tokenizer), Failure> {
    match &config.model.backbone {
        BackboneConfig::Pretrained(name) => open_pretrained(config, name, parameters),
        BackboneConfig::FromScratch(scratch) => {
            let settings = config.tokenizer.clone().unwrap_or_default();
            let tokenizer = match &settings.file {
                Some(file) => Tokenizer::from_file(Path::new(file)),
                None => Tokenizer::train(&texts(), &settings),
            };
            let tokenizer = tokenizer.map_err(|e| Failure::refused([e]))?;
            let backbone = build_from_scratch(scratch, &tokenizer, parameters)?;
            Ok((backbone, tokenizer))
        }
    }
}

fn open_pretrained(
    config: &Config,
    name: &str,
    parameters: &mut Parameters,
) -> Result<(Box<dyn Backbone>, Tokenizer), Failure> {
    let dir = checkpoint_dir(name)?;
    if !dir.exists() {
        return Err(Failure::refused([format!(
            "model.backbone: {} is not there; expected a folder that holds config.json, model.safetensors and a tokenizer, or a GGUF file",
            dir.display()
        )]));
    }
    if dir.is_dir() {
        train::check_model_files(&dir).map_err(|e| Failure::refused([e]))?;
    }
    if model::has_sharing(&dir) {
        let dir = dir.display();
        output::error(format_args!(
            "warning: {dir}: its dataset embeddings and sharing scheme are left out; what it learned by them alone is lost"
        ));
    }
    let (tokenizer, note) = Tokenizer::of_model(&dir).map_err(|e| Failure::refused([e]))?;
    if let Some(note) = note {
        output::error(format_args!("{note}"));
    }
    let backbone = open_backbone(config, &dir, parameters)?;
    let known = backbone.spec().vocabulary;
    if tokenizer.vocabulary() > known {
        let without = tokenizer.tokens_beyond(known);
        let named: Vec<String> = without.iter().take(5).map(|token| format!("{token:?}")).collect();
        let more = if without.len() > named.len() { ", ..." } else { "" };
        return Err(Failure::refused([format!(
            "{}: the tokenizer has {} tokens, the model's embeddings {known} rows: {} tokens have none ({}{more}). If they were added, \
             grow the table once, in Python: model.resize_token_embeddings(len(tokenizer)); model.save_pretrained(DIR). Else the two do \
             not belong together",
            dir.display(),
            tokenizer.vocabulary(),
            without.len(),
            named.join(", ")
        )]));
    }
    Ok((backbone, tokenizer))
}

/// The network of a checkpoint; of a student only so many layers of it, which are said.
fn open_backbone(
    config: &Config,
    dir: &Path,
    parameters: &mut Parameters,
) -> Result<Box<dyn Backbone>, Failure> {
    let dropout = config.model.dropout;
    let Some(layers) = config.distill.as_ref().and_then(|distill| distill.layers) else {
        let refused = |e| Failure::refused([e]);
        let backbone = model::open(dir, parameters, dropout).map_err(refused)?;
        model::load_factors(dir, &backbone.spec().names, parameters).map_err(refused)?;
        return Ok(backbone);
    };
    let (backbone, kept) = model::open_layers(dir, parameters, dropout, layers)
        .map_err(|e| Failure::refused([format!("distill.layers: {e}")]))?;
    let named: Vec<String> = kept.iter().map(usize::to_string).collect();
    output::error(format_args!(
        "  the student begins with the embeddings and {} of {}: {}",
        counted(kept.len(), "layer"),
        crate::distill::teachers::shown(dir),
        named.join(", ")
    ));
    Ok(backbone)
}

/// Builds a backbone from scratch for a vocabulary, with first values by the seed of the table.
///
/// # Errors
/// Sizes out of their ranges.
pub(crate) fn build_from_scratch(
    scratch: &FromScratch,
    tokenizer: &Tokenizer,
    parameters: &mut Parameters,
) -> Result<Box<dyn Backbone>, Failure> {
    let special = tokenizer.specials();
    let ends = [special.bos, special.eos].map(Option::unwrap_or_default);
    model::build(scratch, tokenizer.vocabulary(), ends, parameters).map_err(|e| Failure::refused([e]))
}

/// The directory of a pretrained checkpoint: the path itself, or the folder of `hf:owner/name@revision` in the cache.
///
/// # Errors
/// A model of the Hub that cannot be had.
pub(crate) fn checkpoint_dir(name: &str) -> Result<PathBuf, Failure> {
    match name.strip_prefix("hf:") {
        None => Ok(Path::new(name).to_path_buf()),
        Some(spec) => crate::hub::fetch(spec),
    }
}
