//! One file a command, and what several of them need.

pub mod check;
pub mod evaluate;
pub mod predict;
pub mod reference;
pub mod train;

use crate::config::{self, Config};
use crate::failure::Failure;
use ::train::{Model, RunDir};
use burn::tensor::Device;
use std::path::Path;

/// Sets how many threads compute; once per program.
pub fn threads(wanted: Option<usize>) -> Result<(), Failure> {
    let most = std::thread::available_parallelism().map_or(1, |n| n.get());
    // A second call, in one program, finds the pool as it is: the demo trains several models in a row.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(wanted.unwrap_or(most)).build_global();
    Ok(())
}

/// Reads a config; prints its warnings.
pub fn load(file: &Path, overrides: &crate::cli::Overrides) -> Result<Config, Failure> {
    let loaded = config::load(file, &overrides.set, &overrides.define);
    let (config, warnings) =
        loaded.map_err(|text| Failure { messages: vec![text], code: crate::failure::REFUSED })?;
    for warning in warnings {
        eprintln!("{warning}");
    }
    Ok(config)
}

/// The config that a run was made with.
pub fn config_of_run(run: &RunDir) -> Result<Config, Failure> {
    let file = run.config();
    if !file.is_file() {
        let root = run.root().display();
        return Err(Failure::refused([format!(
            "{root} is no run: it has no config.toml (a run is what `train` makes)"
        )]));
    }
    load(&file, &crate::cli::Overrides::default())
}

/// The result of a run, given the run or its `model/`.
pub fn open_model(run: &Path) -> Result<Model, Failure> {
    let inside = run.join("model");
    let dir = if inside.is_dir() { inside } else { run.to_path_buf() };
    if !dir.join("polytask.json").is_file() {
        return Err(Failure::refused([format!(
            "{} has no trained model (no model/polytask.json): has its training finished? `polytask train --resume {}` goes on with it",
            run.display(),
            run.display()
        )]));
    }
    let opened = Model::open(&dir, &Device::flex()).map_err(|e| Failure::refused([e]))?;
    Ok(opened.0)
}
