//! `polytask export`: a trained model in a file format of other programs.

mod gguf;
mod onnx;

use crate::cli::{self, ExportFormat};
use crate::failure::Failure;
use ::model::DeviceName;
use ::train::{Model, TaskSlot};
use std::path::Path;

/// Writes the model.
pub fn export(args: &cli::Export) -> Result<u8, Failure> {
    let device = super::open_device(DeviceName::default())?;
    let other = |option: &str, format: &str| {
        Err(Failure::refused([format!("{option}: it belongs to --format {format}; leave it out")]))
    };
    match args.format {
        ExportFormat::Onnx if args.quantization.is_some() => return other("--quantization", "gguf"),
        ExportFormat::Onnx if args.adapter => return other("--adapter", "gguf"),
        ExportFormat::Gguf if args.precision.is_some() => return other("--precision", "onnx"),
        ExportFormat::Onnx => {
            check_empty(&args.out)?;
            onnx::export(&super::open_model_multiplied_out(&args.run, &device)?, args)?;
        }
        ExportFormat::Gguf => {
            check_absent(&args.out)?;
            gguf::export(&super::open_model_multiplied_out(&args.run, &device)?, args)?;
        }
    }
    Ok(0)
}

/// Refuses a folder that has something in it already, before anything is computed.
fn check_empty(out: &Path) -> Result<(), Failure> {
    let refused = |found: &str| {
        Err(Failure::refused([format!(
            "--out {}: found {found}, expected a folder that is empty or not there",
            out.display()
        )]))
    };
    let has_files = |mut entries: std::fs::ReadDir| entries.next().is_some();
    match std::fs::read_dir(out).map(has_files) {
        Ok(true) => refused("a folder with files in it"),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => refused("a file"),
        _ => Ok(()),
    }
}

/// Refuses a file that is there, and one that cannot be written.
fn check_absent(out: &Path) -> Result<(), Failure> {
    if out.exists() {
        let out = out.display();
        return Err(Failure::refused([format!("--out {out}: it is there already, expected a new file")]));
    }
    super::check_writable(Some(out))
}

/// All tasks of a model, or those that are named, in the order of the model.
fn chosen<'a>(model: &'a Model, names: &[String]) -> Result<Vec<&'a TaskSlot>, Failure> {
    let all = || model.tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>().join(", ");
    let unknown = |name: &&String| !model.tasks.iter().any(|task| task.name == **name);
    if let Some(name) = names.iter().find(unknown) {
        return Err(Failure::refused([format!("--task {name}: the model has the tasks {}", all())]));
    }
    let wanted = |task: &&TaskSlot| match names.is_empty() {
        // A task that has no answer has nothing to export.
        true => !task.config.needs_teacher(),
        false => names.contains(&task.name),
    };
    Ok(model.tasks.iter().filter(wanted).collect())
}
