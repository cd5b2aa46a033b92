//! `polytask trial`, which studies start: one training in a process of its own, and its scores.

use super::dir::{fingerprint, read_result, result_file};
use super::progress::RunSummary;
use super::result::{Inference, TrialResult};
use super::score::score;
use crate::cli;
use crate::commands::{self, train::run_observed, train::stop_flag, train::write};
use crate::config::Config;
use crate::failure::{Failure, INTERRUPTED, REFUSED};
use crate::history::{History, RunState};
use crate::job::measured::folder_bytes;
use crate::job::run_lock::RunLock;
use crate::memory;
use crate::terminal::progress::Detail;
use burn::tensor::Device;
use data::Split;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use train::{Event, Outcome, RunDir, Start};

/// How long a process that is to save and end may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Trains what a config describes, or goes on with it, and writes its result; nothing where the result is there.
pub fn trial(args: &cli::Trial) -> Result<u8, Failure> {
    if read_result(&args.run, args.until_epoch).is_some() {
        return Ok(0);
    }
    if let Some(trained) = &args.trained {
        return score_trained(args, trained);
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

/// Scores a model that was trained before, on the rows of the study, and writes its result.
fn score_trained(args: &cli::Trial, trained: &Path) -> Result<u8, Failure> {
    let config = commands::load(&args.config, &cli::Overrides::default())?;
    let device = commands::open_device(config.train.device)?;
    commands::with_threads(config.train.threads.or(args.threads), || {
        let fingerprint = fingerprint(trained);
        let run = RunDir::new(trained);
        // What was made of a trained model has no history: what its training took is not known.
        let summary =
            History::of(&run).map_or_else(|_| RunSummary::default(), |found| RunSummary::of(&found));
        let mut result = finished(args, &config, &run, summary, &device)?;
        result.name = name_of(&RunDir::new(&args.run));
        result.fingerprint = fingerprint;
        result.peak_bytes = None;
        fs::create_dir_all(&args.run).map_err(|e| Failure::io("making", &args.run, e))?;
        let text = serde_json::to_vec_pretty(&result).map_err(Failure::failed)?;
        write(&result_file(&args.run, None), &text)?;
        Ok(0)
    })
}

fn execute(args: &cli::Trial, config: &Config, device: &Device) -> Result<u8, Failure> {
    let run = RunDir::new(&args.run);
    let (lock, start) = if run.config().exists() {
        (wait_for_lock(&run)?, Start::Resume)
    } else {
        // What a process left that was killed before it wrote its config.
        if run.root().exists() {
            fs::remove_dir_all(run.root()).map_err(|e| Failure::io("removing", run.root(), e))?;
        }
        (RunLock::create(&run)?, Start::Fresh)
    };
    let epoch = if start == Start::Resume && is_finished(&run) {
        // Its result was lost, not its model.
        None
    } else {
        let mut pause = Pause { after: args.until_epoch, step: None, reached: false };
        let observe = &mut |event: &Event| pause.observe(event);
        match run_observed(config, device, &run, start, Detail::Lines, observe)? {
            Outcome::Interrupted { .. } if pause.reached => args.until_epoch,
            Outcome::Interrupted { .. } => return Ok(INTERRUPTED),
            _ => None,
        }
    };
    let result = match epoch {
        Some(_) => paused(config, &run)?,
        None => finished(args, config, &run, RunSummary::of(&History::of(&run)?), device)?,
    };
    let text = serde_json::to_vec_pretty(&result).map_err(Failure::failed)?;
    write(&result_file(run.root(), epoch), &text)?;
    drop(lock);
    if epoch.is_none() {
        // Only an interrupted training needs them.
        let _ = fs::remove_dir_all(run.checkpoints());
    }
    Ok(0)
}

/// Whether a run has come to its end, so that nothing of it can or need be resumed.
fn is_finished(run: &RunDir) -> bool {
    History::of(run).is_ok_and(|history| matches!(history.state, RunState::Finished(_)))
}

/// The lock of a run whose process may be about to end, because whoever started it has ended.
fn wait_for_lock(run: &RunDir) -> Result<RunLock, Failure> {
    let began = Instant::now();
    loop {
        match RunLock::existing(run) {
            Err(failure) if failure.code == REFUSED && began.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(100));
            }
            done => return done,
        }
    }
}

/// A training that is to stop at the first evaluation after some epochs, to be resumed or not.
struct Pause {
    after: Option<usize>,
    /// The step with which these epochs end, once the run has begun.
    step: Option<usize>,
    reached: bool,
}

impl Pause {
    fn observe(&mut self, event: &Event) {
        match event {
            Event::Started(run) => {
                self.step = self.after.map(|epochs| run.epochs.iter().take(epochs).sum());
            }
            Event::Evaluated(found) if self.step.is_some_and(|step| found.step >= step) => {
                self.reached = true;
                stop_flag().store(true, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

/// What a training gave until it paused: no scores, for there is no model yet.
fn paused(config: &Config, run: &RunDir) -> Result<TrialResult, Failure> {
    let summary = RunSummary::of(&History::of(run)?);
    Ok(TrialResult { peak_bytes: memory::peak(), ..result(config, run, summary)? })
}

/// What a training gave, with the scores of its model.
fn finished(
    args: &cli::Trial,
    config: &Config,
    run: &RunDir,
    summary: RunSummary,
    device: &Device,
) -> Result<TrialResult, Failure> {
    let peak_bytes = memory::peak();
    let model = commands::open_model(run.root(), device)?;
    let (trunk_parameters, head_parameters) = model.sizes();
    let split = Split::ALL.into_iter().find(|split| split.name() == args.split).unwrap_or(Split::Test);
    let (scores, inference) = score(config, model, split, args.resamples)?;
    let known = result(config, run, summary)?;
    let bytes = folder_bytes(run.root());
    Ok(TrialResult { bytes, peak_bytes, trunk_parameters, head_parameters, scores, inference, ..known })
}

fn name_of(run: &RunDir) -> String {
    run.root().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What the events of a run say.
fn result(config: &Config, run: &RunDir, summary: RunSummary) -> Result<TrialResult, Failure> {
    Ok(TrialResult {
        name: name_of(run),
        tasks: config.task.keys().cloned().collect(),
        seed: config.train.seed,
        train_rows: train_rows(run)?,
        epochs: summary.epochs,
        steps: summary.steps,
        tokens: summary.tokens,
        operations: summary.operations,
        seconds: summary.seconds,
        elapsed: summary.elapsed,
        threads: rayon::current_num_threads(),
        peak_bytes: None,
        trunk_parameters: 0,
        head_parameters: BTreeMap::new(),
        validation: summary.validation,
        validation_value: summary.validation_value,
        scores: Vec::new(),
        inference: Inference::default(),
        bytes: 0,
        fingerprint: String::new(),
    })
}

/// The training rows with a label of each task, as `data.json` counts them.
fn train_rows(run: &RunDir) -> Result<BTreeMap<String, usize>, Failure> {
    #[derive(Deserialize)]
    struct Report {
        labels: Vec<Labels>,
    }
    #[derive(Deserialize)]
    struct Labels {
        task: String,
        split: String,
        labelled: usize,
    }
    let path = run.data();
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let bytes = fs::read(&path).map_err(|e| Failure::io("reading", &path, e))?;
    let report: Report = serde_json::from_slice(&bytes).map_err(Failure::failed)?;
    let of_training = report.labels.into_iter().filter(|labels| labels.split == Split::Train.name());
    Ok(of_training.map(|labels| (labels.task, labels.labelled)).collect())
}
