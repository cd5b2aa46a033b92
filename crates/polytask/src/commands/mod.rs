//! One file a command, and what several of them need.

pub mod affinity;
pub mod check;
pub mod compare;
pub mod distill;
pub mod evaluate;
pub mod export;
pub mod factorize;
mod further;
pub mod inspect;
pub mod lr_find;
pub mod merge;
pub mod plan;
pub mod predict;
pub mod prune;
pub mod quantize;
pub mod reference;
pub mod report;
pub mod sweep;
pub mod train;
mod train_groups;
pub mod watch;

use crate::config::{self, Config};
use crate::failure::Failure;
use crate::terminal::{escape::one_line, output, wrap::wrapped};
use ::model::{DeviceName, Precision};
use ::train::{Checked, Model, ModelManifest, RunDir, TrainConfig, TrainError};
use burn::tensor::Device;
use std::path::Path;

/// Runs `work` on `wanted` threads, all processors' by default. The thread that runs it is one of them, so that it
/// computes along instead of sleeping until the others are done.
///
/// # Errors
/// The system has no more threads to give.
pub fn with_threads<T: Send>(
    wanted: Option<usize>,
    work: impl FnOnce() -> Result<T, Failure> + Send,
) -> Result<T, Failure> {
    let most = std::thread::available_parallelism().map_or(1, |n| n.get());
    if let Some(found) = wanted.filter(|found| !(1..=MOST_THREADS).contains(found)) {
        return Err(Failure::refused([format!("threads: found {found}, expected 1 to {MOST_THREADS}")]));
    }
    let threads = wanted.unwrap_or(most.min(MOST_THREADS));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK).build();
    pool.map_err(|e| Failure::failed(format!("starting {threads} threads: {e}")))?.install(work)
}

/// Opens a device; exit code 2 where that cannot be. To be done before anything is read.
pub fn open_device(name: DeviceName) -> Result<Device, Failure> {
    name.open().map_err(|e| Failure::refused([format!("device = \"{name}\": {e}")]))
}

/// A device in words: its name, and its model where that is known.
pub fn describe_device(name: DeviceName, device: &Device) -> String {
    ::model::device_model_name(device).map_or_else(|| name.to_string(), |model| format!("{name} ({model})"))
}

/// The precision of matrix products in words, where the config does not leave it at f32.
pub fn describe_precision(train: &TrainConfig) -> String {
    match (train.precision, train.device) {
        (Precision::F32, _) => String::new(),
        (precision, DeviceName::Cpu) => format!(", products in {}", precision.describe_on_host()),
        _ => ", products in bf16".to_owned(),
    }
}

/// Findings of a survey as a numbered list, at most `most` of them; nothing where there are none. `others` are findings that the list
/// lacks already.
pub fn deserve_a_look(findings: &[String], others: usize, most: usize) -> String {
    if findings.is_empty() {
        return String::new();
    }
    let mut out = String::from("  deserves a look\n\n");
    for (i, finding) in findings.iter().take(most).enumerate() {
        out += &wrapped(&format!("{:>4}. ", i + 1), &one_line(finding), WIDTH);
    }
    let more = others + findings.len().saturating_sub(most);
    if more > 0 {
        out += &format!("        and {more} more: polytask inspect says all\n");
    }
    out + "\n"
}

/// How wide lines of words are, in columns.
const WIDTH: usize = 112;

/// More than any one machine has processors for; each costs a stack and time to start.
const MOST_THREADS: usize = 1024;

/// Of each thread, in bytes: what a main thread has.
const STACK: usize = 8 << 20;

/// Reads a config; prints its warnings.
pub fn load(file: &Path, overrides: &crate::cli::Overrides) -> Result<Config, Failure> {
    let loaded = config::load(file, &overrides.set, &overrides.define);
    let (config, warnings) =
        loaded.map_err(|text| Failure { messages: vec![text], code: crate::failure::REFUSED })?;
    for warning in warnings {
        output::error(warning);
    }
    Ok(config)
}

/// Refuses a file to be written that cannot be, before anything is computed for it.
pub fn check_writable(file: Option<&Path>) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    let refused =
        |reason: String| Err(Failure::refused([format!("cannot write {}: {reason}", file.display())]));
    if file.is_dir() {
        return refused("it is a folder".into());
    }
    match files::check_folder(file) {
        Err(error) => refused(error.to_string()),
        Ok(()) => Ok(()),
    }
}

/// The config that a run was made with.
pub fn config_of_run(run: &RunDir) -> Result<Config, Failure> {
    config_of_run_with(run, &crate::cli::Overrides::default())
}

/// The config that a run was made with, and what the command line says over it.
fn config_of_run_with(run: &RunDir, overrides: &crate::cli::Overrides) -> Result<Config, Failure> {
    let file = run.config();
    if !file.is_file() {
        let root = run.root().display();
        return Err(Failure::refused([format!(
            "{root} is no run: it has no config.toml (a run is what `train` makes)"
        )]));
    }
    load(&file, overrides)
}

/// The result of a run, given the run or its `model/`, on `device`.
pub fn open_model(run: &Path, device: &Device) -> Result<Model, Failure> {
    open_model_changed(run, device, |_| ())
}

/// As [`open_model`], with whole matrices where the model has two factors.
pub fn open_model_multiplied_out(run: &Path, device: &Device) -> Result<Model, Failure> {
    open_with(run, |dir| Model::open_multiplied_out(dir, device))
}

/// As [`open_model`], with a change of what the model says about itself.
pub fn open_model_changed(
    run: &Path,
    device: &Device,
    change: impl FnOnce(&mut ModelManifest),
) -> Result<Model, Failure> {
    open_with(run, |dir| Model::open_changed(dir, device, change))
}

fn open_with(
    run: &Path,
    open: impl FnOnce(&Path) -> Result<(Model, ModelManifest, Checked), TrainError>,
) -> Result<Model, Failure> {
    let inside = run.join("model");
    let dir = if inside.is_dir() { inside } else { run.to_path_buf() };
    if !dir.join("polytask.json").is_file() {
        return Err(Failure::refused([format!(
            "{} has no trained model (no model/polytask.json): has its training finished? `polytask train --resume {}` goes on with it",
            run.display(),
            run.display()
        )]));
    }
    let (model, _, checked) = open(&dir).map_err(|e| Failure::refused([e]))?;
    if checked == Checked::NoHashes {
        output::error(format_args!(
            "warning: {}: polytask.json has no hashes of the files (those of older versions have none): damage goes unnoticed",
            dir.display()
        ));
    }
    Ok(model)
}
