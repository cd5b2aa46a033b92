//! GGUF: the decoder of tasks that write, as llama.cpp opens it, with the tokenizer and the chat template of the model that it was
//! trained from.

use super::chosen;
use crate::cli::{self, ExportQuantization};
use crate::failure::Failure;
use crate::job::assemble::checkpoint_dir;
use crate::terminal::{figures::bytes, output};
use ::gguf::{Gguf, Value};
use ::model::{BackboneConfig, GgufQuantization, head_prefix, save_gguf, save_gguf_adapter};
use ::train::{Model, RunDir, TaskSlot};
use data::{ChatTemplate, GgufTokenIds, GgufTokenizer, gguf_tokenizer};
use std::path::{Path, PathBuf};

/// Keys that a file begun with another one takes over.
const TOKENIZER: &str = "tokenizer.";
const TEMPLATE: &str = "tokenizer.chat_template";

/// Writes the file.
pub(super) fn export(model: &Model, args: &cli::Export) -> Result<(), Failure> {
    let tasks = chosen(model, &args.task)?;
    refuse_heads(model, &tasks)?;
    let quantization = match args.quantization.unwrap_or(ExportQuantization::F16) {
        ExportQuantization::F32 => GgufQuantization::F32,
        ExportQuantization::F16 => GgufQuantization::F16,
        ExportQuantization::Q80 => GgufQuantization::Q8_0,
        ExportQuantization::Q40 => GgufQuantization::Q4_0,
        ExportQuantization::Q4K => GgufQuantization::Q4_K,
    };
    let names: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    if args.adapter && names.len() != 1 {
        let names = names.join(", ");
        return Err(Failure::refused([format!(
            "--adapter: it is of one task, named with --task; there are {names}"
        )]));
    }
    let io = |error| Failure::io("writing", &args.out, error);
    let temporary = tempfile::NamedTempFile::new_in(files::folder(&args.out)).map_err(io)?;
    let (trunk, parameters) = (&model.trunk, &model.parameters);
    let saved = if args.adapter {
        save_gguf_adapter(temporary.path(), trunk, parameters, names[0])
    } else {
        let tokenizer = tokenizer(model, base(&args.run).as_deref())?;
        save_gguf(temporary.path(), trunk, parameters, &names, tokenizer, quantization)
    };
    saved.map_err(|error| Failure::refused([error]))?;
    let size = temporary.as_file().metadata().map_err(io)?.len();
    files::persist(temporary, &args.out).map_err(io)?;
    let size = bytes(usize::try_from(size).unwrap_or(usize::MAX));
    output::line(format_args!("  {} {size}, for {}", args.out.display(), names.join(", ")));
    Ok(())
}

/// Refuses tasks that have parameters above the trunk, for which the format has no place.
fn refuse_heads(model: &Model, tasks: &[&TaskSlot]) -> Result<(), Failure> {
    let has_head = |task: &&&TaskSlot| {
        let prefix = head_prefix(task.head_owner());
        model.parameters.iter().any(|parameter| parameter.name.starts_with(&prefix))
    };
    let (with, without): (Vec<&&TaskSlot>, Vec<&&TaskSlot>) = tasks.iter().partition(|task| has_head(task));
    if with.is_empty() {
        return Ok(());
    }
    let list = |tasks: &[&&TaskSlot], before: &str, between: &str| {
        tasks.iter().map(|task| format!("{before}{}{before}", task.name)).collect::<Vec<_>>().join(between)
    };
    let remedy = match without.is_empty() {
        true => "--format onnx".to_owned(),
        false => {
            let names: Vec<String> = without.iter().map(|task| format!("--task {}", task.name)).collect();
            format!("{}, or --format onnx", names.join(" "))
        }
    };
    Err(Failure::refused([format!(
        "GGUF: the heads of the tasks {} have no place in the file. Try: {remedy}",
        list(&with, "`", ", ")
    )]))
}

/// What the run was trained from: a folder or a GGUF file, where its config.toml still says so and it is there.
fn base(run: &Path) -> Option<PathBuf> {
    let config = super::super::config_of_run(&RunDir::new(run)).ok()?;
    match &config.model.backbone {
        BackboneConfig::Pretrained(name) => checkpoint_dir(name).ok(),
        BackboneConfig::FromScratch(_) => None,
    }
}

/// The keys of the tokenizer: those of the GGUF file that the model was trained from, if it has the same one; else made of it.
fn tokenizer(model: &Model, base: Option<&Path>) -> Result<Vec<(String, Value)>, Failure> {
    let refused = |error: &dyn std::fmt::Display| Failure::refused([error]);
    let file = base.and_then(|base| ::gguf::of_model(base).ok().flatten());
    if let Some(file) = file
        && GgufTokenizer::open(&file).is_ok_and(|found| found.json == model.tokenizer.to_json())
    {
        let file = Gguf::open(&file).map_err(|error| refused(&error))?;
        let own = file.metadata().iter().filter(|(key, _)| key.starts_with(TOKENIZER));
        return Ok(own.map(|(key, value)| (key.clone(), value.clone())).collect());
    }
    let spec = model.trunk.spec();
    let id = |key: &str| {
        let value = &spec.config_json[key];
        let first = value.as_array().and_then(|ids| ids.first()).unwrap_or(value);
        first.as_u64().and_then(|id| u32::try_from(id).ok())
    };
    let ids = GgufTokenIds { bos: id("bos_token_id"), eos: id("eos_token_id"), pad: id("pad_token_id") };
    let mut keys =
        gguf_tokenizer(model.tokenizer.to_json(), spec.vocabulary, ids).map_err(|error| refused(&error))?;
    let template = base.and_then(|base| ChatTemplate::of_model(base).ok().flatten());
    keys.extend(template.map(|template| (TEMPLATE.to_owned(), Value::String(template.source))));
    Ok(keys)
}
