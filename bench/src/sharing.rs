//! What a sharing scheme costs: a step on chosen rows of real corpora, and the answers of many tasks.

use crate::{median, peak_mib};
use burn::tensor::Device;
use data::{RowRef, Split, View};
use polytask::commands::open_device;
use polytask::config::{self, Config};
use polytask::failure::Failure;
use polytask::job::assemble::assemble;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;
use train::{ChosenSteps, Job, Model};

/// Steps before those that count.
const WARM: usize = 3;
/// Tokens that go through the trunk at once, as in `polytask predict`.
const PREDICTED_TOKENS: usize = 4096;

/// What a config says over its file.
pub struct Source {
    /// The config.
    pub file: PathBuf,
    /// `KEY=VALUE`
    pub set: Vec<String>,
}

impl Source {
    fn config(&self) -> Result<Config, Failure> {
        config::load(&self.file, &self.set, &[]).map(|(config, _)| config).map_err(Failure::failed)
    }
}

/// How the rows of a step lie in packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Packs {
    /// All in one.
    Mixed,
    /// One for each task.
    PerTask,
}

/// Times steps of the trainer on the same rows: of each task as many as have its part of `train.tokens_per_batch`. The rows are
/// written to `rows_file`, by their index in the corpus and as token ids, for other programs.
pub fn step(
    source: &Source,
    packs: Packs,
    rows_file: Option<&Path>,
    repeats: usize,
) -> Result<Value, Failure> {
    let config = source.config()?;
    let mut job = assemble(&config, &open_device(config.train.device)?)?.job;
    let settings = config.settings();
    let tokens = settings.train.tokens_per_batch / job.model.tasks.len().max(1);
    let chosen: Vec<Vec<RowRef>> =
        (0..job.model.tasks.len()).map(|task| rows_of(&job, task, tokens)).collect();
    if let Some(file) = rows_file {
        let listed = serde_json::to_vec(&listed(&job, &chosen)).map_err(Failure::failed)?;
        std::fs::write(file, listed).map_err(|error| Failure::io("writing", file, error))?;
    }
    let length = |row: &RowRef| job.views.train[row.view as usize].encoded.length(row.row as usize);
    let all: usize = chosen.iter().flatten().map(length).sum();
    let packs = match packs {
        Packs::Mixed => vec![chosen.concat()],
        Packs::PerTask => chosen,
    };
    let mut steps = ChosenSteps::new(&mut job, &settings).map_err(Failure::failed)?;
    let (mut seconds, mut losses) = (Vec::new(), Vec::new());
    for _ in 0..WARM + repeats {
        let began = Instant::now();
        let found = steps.step(&packs).ok_or_else(|| Failure::failed("a loss or gradient is not finite"))?;
        seconds.push(began.elapsed().as_secs_f64());
        losses.push(found.values().sum::<f64>() / found.len().max(1) as f64);
    }
    Ok(json!({
        "milliseconds": 1e3 * median(seconds.split_off(WARM)),
        "tokens": all,
        "first_loss": losses.first(),
        "last_loss": losses.last(),
        "peak_mib": peak_mib(),
    }))
}

/// The rows of a task: every 7919th that carries its label, around its training rows, as many as have so many tokens at most.
fn rows_of(job: &Job, task: usize, most: usize) -> Vec<RowRef> {
    let slot = &job.model.tasks[task];
    let view = &job.views.train[slot.view];
    let (count, mut tokens) = (view.encoded.rows(), 0);
    let every = (0..count).map(|i| i * 7919 % count).filter(|row| slot.head.labelled(Split::Train, *row));
    let fitting = every.take_while(|row| {
        let first = tokens == 0;
        tokens += view.encoded.length(*row);
        first || tokens <= most
    });
    fitting.map(|row| RowRef { view: slot.view as u32, row: row as u32 }).collect()
}

fn listed(job: &Job, chosen: &[Vec<RowRef>]) -> Value {
    let ids = |row: &RowRef| {
        let encoded = &job.views.train[row.view as usize].encoded;
        encoded.ids[encoded.offsets[row.row as usize]..encoded.offsets[row.row as usize + 1]].to_vec()
    };
    let of_task = |(task, rows): (&train::TaskSlot, &Vec<RowRef>)| {
        let indices: Vec<u32> = rows.iter().map(|row| row.row).collect();
        json!({ "task": task.name, "rows": indices, "ids": rows.iter().map(ids).collect::<Vec<_>>() })
    };
    job.model.tasks.iter().zip(chosen).map(of_task).collect()
}

/// Times answers of all tasks to the test rows of the first task: of one model that has them all, and of a model for each that are
/// asked one after the other.
pub fn predict(source: &Source, separate: bool, repeats: usize) -> Result<Value, Failure> {
    let config = source.config()?;
    let first = config.task.keys().next().cloned();
    let (model, view) = answering(&config, |_| true, first.as_deref())?;
    let models = match separate {
        false => vec![model],
        true => {
            let names: Vec<String> = config.task.keys().cloned().collect();
            let alone = |name: &String| Ok(answering(&config, |task| task == name, None)?.0);
            names.iter().map(alone).collect::<Result<Vec<Model>, Failure>>()?
        }
    };
    let view = view.ok_or_else(|| Failure::failed("the first task has no test rows"))?;
    let pass = |_| {
        let began = Instant::now();
        for model in &models {
            let tasks: Vec<usize> = (0..model.tasks.len()).collect();
            std::hint::black_box(train::predict(model, &tasks, &view, PREDICTED_TOKENS));
        }
        began.elapsed().as_secs_f64()
    };
    let median = median((0..repeats).map(pass).collect());
    Ok(json!({ "milliseconds": 1e3 * median, "rows": view.encoded.rows(), "peak_mib": peak_mib() }))
}

/// A model for some tasks, with heads as they begin, and the test rows of a task.
fn answering(
    config: &Config,
    wanted: impl Fn(&str) -> bool,
    rows_of: Option<&str>,
) -> Result<(Model, Option<View>), Failure> {
    let mut config = config.clone();
    config.task.retain(|name, _| wanted(name));
    let mut job = assemble(&config, &Device::flex())?.job;
    let slot = job.model.tasks.iter().find(|task| Some(task.name.as_str()) == rows_of);
    let view = slot.map(|slot| slot.view).filter(|view| *view < job.views.test.len());
    Ok((job.model, view.map(|view| job.views.test.swap_remove(view))))
}
