//! ONNX: one graph with the trunk and the heads of all tasks.
//!
//! ```text
//! OUT/model.onnx       inputs input_ids, attention_mask (, token_type_ids); an output for each task, called as the task
//! OUT/tokenizer.json   the tokenizer, as the library tokenizers reads it
//! OUT/tasks.json       what each task reads, what its output is, and its labels
//! ```

use super::chosen;
use crate::cli::{self, ExportPrecision};
use crate::failure::Failure;
use crate::terminal::{figures::bytes, output, table::Table};
use ::model::onnx::{Dim, OnnxGraph, OnnxPrecision, TooLarge, Value};
use ::tasks::OnnxHead;
use ::train::{Model, TaskSlot};
use data::InputField;
use serde_json::{Map, Value as Json, json};
use std::path::Path;

/// The graph's file in the folder.
const MODEL: &str = "model.onnx";
/// What the outputs mean.
const TASKS: &str = "tasks.json";
const TOKENIZER: &str = "tokenizer.json";

/// A task and what it has added to the graph.
struct Output<'a> {
    task: &'a TaskSlot,
    kind: &'static str,
    head: OnnxHead,
}

/// Writes the folder.
pub(super) fn export(model: &Model, args: &cli::Export) -> Result<(), Failure> {
    let tasks = chosen(model, &args.task)?;
    let numbers = args.precision.unwrap_or_default();
    let precision = match numbers {
        ExportPrecision::F32 => OnnxPrecision::F32,
        ExportPrecision::Int8 => OnnxPrecision::Int8,
        ExportPrecision::Int8PerToken => OnnxPrecision::Int8PerToken,
    };
    let names: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    let dataset = dataset(model, &tasks)?;
    let made = model.trunk.onnx(&model.parameters, &names, dataset, precision);
    let (mut graph, states) = made.map_err(|error| Failure::refused([error]))?;
    let outputs = outputs(&mut graph, &states, tasks)?;
    let graph = graph.into_bytes().map_err(|TooLarge { bytes: found, most }| {
        Failure::refused([format!(
            "ONNX: the graph has {}, and one file may have {}. Try: --precision int8, or a smaller model",
            bytes(found),
            bytes(most)
        )])
    })?;
    let described = described(model, &outputs, numbers);
    let described = serde_json::to_vec_pretty(&described).map_err(Failure::failed)?;
    std::fs::create_dir_all(&args.out).map_err(|error| Failure::io("making", &args.out, error))?;
    // The graph last: where it is, the folder is whole.
    write(&args.out, TOKENIZER, model.tokenizer.to_json().as_bytes())?;
    write(&args.out, TASKS, &described)?;
    write(&args.out, MODEL, &graph)?;
    print_outputs(&args.out, &outputs, graph.len());
    Ok(())
}

fn write(folder: &Path, name: &str, content: &[u8]) -> Result<(), Failure> {
    let path = folder.join(name);
    files::write(&path, content).map_err(|error| Failure::io("writing", &path, error))
}

/// The corpus whose vector is added to all tokens, where corpora have vectors: that of all the tasks.
fn dataset(model: &Model, tasks: &[&TaskSlot]) -> Result<Option<usize>, Failure> {
    if model.datasets.is_empty() {
        return Ok(None);
    }
    let mut corpora: Vec<&str> = tasks.iter().map(|task| task.config.corpus.as_str()).collect();
    corpora.dedup();
    match corpora[..] {
        [corpus] => Ok(model.datasets.iter().position(|name| name == corpus)),
        _ => Err(Failure::refused([format!(
            "ONNX: the trunk has a vector for each corpus (dataset_embeddings), and the tasks are of the corpora {}. Try: a file for the tasks of each corpus, named with --task",
            corpora.join(", ")
        )])),
    }
}

/// Adds the heads of all tasks.
fn outputs<'a>(
    graph: &mut OnnxGraph,
    states: &Value,
    tasks: Vec<&'a TaskSlot>,
) -> Result<Vec<Output<'a>>, Failure> {
    let (mut outputs, mut without) = (Vec::new(), Vec::new());
    for task in tasks {
        let kind = task.config.kind(&task.name).map_err(|error| Failure::refused([error]))?;
        match task.head.onnx(graph, states) {
            Some(head) => outputs.push(Output { task, kind, head }),
            None => without.push(format!("`{}` ({kind})", task.name)),
        }
    }
    if !without.is_empty() {
        let others: Vec<String> =
            outputs.iter().map(|output| format!("--task {}", output.task.name)).collect();
        let remedy = match others.is_empty() {
            true => "another format".to_owned(),
            false => others.join(" "),
        };
        return Err(Failure::refused([format!(
            "ONNX: the answers of {} have no fixed shape, or need more than one pass. Try: {remedy}",
            without.join(", ")
        )]));
    }
    for Output { task, head, .. } in &outputs {
        if !graph.output(&task.name, &head.output, &head.shape) {
            let name = &task.name;
            return Err(Failure::refused([format!(
                "ONNX: a task called `{name}` would give an output the name of an input. Try: another name for the task"
            )]));
        }
    }
    Ok(outputs)
}

/// `tasks.json`
fn described(model: &Model, outputs: &[Output<'_>], precision: ExportPrecision) -> Json {
    let dim = |dim: &Dim| match dim {
        Dim::Size(size) => json!(size),
        Dim::Any(name) => json!(name),
    };
    let of = |Output { task, kind, head }: &Output<'_>| {
        let mut about = json!({
            "kind": kind,
            "input": task.kind.input(),
            "output": task.name,
            "shape": head.shape.iter().map(dim).collect::<Vec<_>>(),
        });
        if let (Json::Object(about), Json::Object(decoding)) = (&mut about, head.decoding.clone()) {
            about.extend(decoding);
        }
        about["label_space"] = task.head.label_space();
        (task.name.clone(), about)
    };
    json!({
        "precision": precision.name(),
        "max_length": model.max_length.min(model.trunk.spec().max_length),
        "tasks": outputs.iter().map(of).collect::<Map<String, Json>>(),
    })
}

/// Says what is there.
fn print_outputs(folder: &Path, outputs: &[Output<'_>], size: usize) {
    let mut table = Table::new(&["output", "kind", "shape", "activation"]);
    for Output { task, kind, head } in outputs {
        let dims = head.shape.iter().map(|dim| match dim {
            Dim::Size(size) => size.to_string(),
            Dim::Any(name) => (*name).to_owned(),
        });
        table.row([
            task.name.clone(),
            (*kind).to_owned(),
            format!("[{}]", dims.collect::<Vec<_>>().join(", ")),
            head.decoding["activation"].as_str().unwrap_or_default().to_owned(),
        ]);
    }
    output::line(format_args!("\n{}", table.render()));
    for Output { task, .. } in outputs {
        if matches!(task.kind.input(), InputField::Windowed { .. } | InputField::Windows { .. }) {
            output::line(format_args!(
                "  {}: a text of more than one window is a row of the batch for each; joining them is left to the caller",
                task.name
            ));
        }
    }
    output::line(format_args!("  {} {}, {TASKS}, {TOKENIZER}", folder.join(MODEL).display(), bytes(size)));
}
