//! `polytask trial`, which studies start: one training in a process of its own, and its scores.

use super::dir::result_file;
use super::progress::RunSummary;
use super::result::TrialResult;
use super::score::score;
use crate::cli;
use crate::commands::{self, train::run_config, train::stop_flag, train::write};
use crate::config::Config;
use crate::failure::{Failure, INTERRUPTED};
use crate::job::run_lock::RunLock;
use crate::memory;
use crate::terminal::progress::Detail;
use burn::tensor::Device;
use data::Split;
use std::fs;
use std::io::Read;
use std::sync::atomic::Ordering;
use train::{Outcome, RunDir, Start};

/// Trains what a config describes, or goes on with it, and writes its result; nothing where the result is there.
pub fn trial(args: &cli::Trial) -> Result<u8, Failure> {
    if result_file(&args.run).exists() {
        return Ok(0);
    }
    stop_with_parent();
    let config = commands::load(&args.config, &cli::Overrides::default())?;
    let device = commands::open_device(config.train.device)?;
    commands::with_threads(config.train.threads.or(args.threads), || execute(args, &config, &device))
}

/// Whoever started this process holds its standard input open. When that ends, by a signal or otherwise, the training is saved.
fn stop_with_parent() {
    let stop = stop_flag();
    std::thread::spawn(move || {
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        stop.store(true, Ordering::Relaxed);
    });
}

fn execute(args: &cli::Trial, config: &Config, device: &Device) -> Result<u8, Failure> {
    let run = RunDir::new(&args.run);
    let (lock, start) = if run.config().exists() {
        (RunLock::existing(&run)?, Start::Resume)
    } else {
        // What a process left that was killed before it wrote its config.
        if run.root().exists() {
            fs::remove_dir_all(run.root()).map_err(|e| Failure::io("removing", run.root(), e))?;
        }
        (RunLock::create(&run)?, Start::Fresh)
    };
    if let Outcome::Interrupted { .. } = run_config(config, device, &run, start, Detail::Lines)? {
        return Ok(INTERRUPTED);
    }
    let peak_bytes = memory::peak();
    let summary = RunSummary::read(&run)?;
    let model = commands::open_model(run.root(), device)?;
    let (trunk_parameters, head_parameters) = model.sizes();
    let split = Split::ALL.into_iter().find(|split| split.name() == args.split).unwrap_or(Split::Test);
    let (scores, inference) = score(config, model, split, args.resamples)?;
    let result = TrialResult {
        name: run.root().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        tasks: config.task.keys().cloned().collect(),
        seed: config.train.seed,
        steps: summary.steps,
        tokens: summary.tokens,
        operations: summary.operations,
        seconds: summary.seconds,
        elapsed: summary.elapsed,
        threads: rayon::current_num_threads(),
        peak_bytes,
        trunk_parameters,
        head_parameters,
        validation: summary.validation,
        validation_value: summary.validation_value,
        scores,
        inference,
    };
    let text = serde_json::to_vec_pretty(&result).map_err(Failure::failed)?;
    write(&result_file(run.root()), &text)?;
    drop(lock);
    // Only an interrupted training needs them.
    let _ = fs::remove_dir_all(run.checkpoints());
    Ok(0)
}
