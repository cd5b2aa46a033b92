//! `polytask merge`: models that were trained from one checkpoint become one for all their tasks, without training.
//!
//! ```text
//! DIR/config.toml   the corpora and tasks of all runs, for `evaluate`; where all runs are there
//! DIR/model/        the merged model, as a training writes one
//! DIR/merge.json    how it was merged
//! DIR/refit/        a run that has fitted the heads again on the merged trunk, where that was asked for
//! ```

mod common_checkpoint;
mod inputs;
mod joint;
mod refit;
mod scores;
mod settings;
mod text;

use super::train::{stop_flag, write};
use super::{evaluate, open_device, open_model, open_model_multiplied_out, with_threads};
use crate::cli;
use crate::config::Config;
use crate::failure::{Failure, INTERRUPTED};
use crate::job::assemble::assemble_saved;
use crate::job::run_lock::RunLock;
use crate::terminal::output;
use crate::terminal::progress::Detail;
use ::model::merging::Merging;
use ::train::{
    Model, ModelManifest, NamedValues, Outcome, RunDir, ScoreTable, joint_manifest, merge_trunks,
    squared_gradients,
};
use burn::tensor::Device;
use common_checkpoint::Base;
use data::Split;
use inputs::Input;
use joint::JointConfigs;
pub(super) use joint::on_model;
use scores::{Scored, TaskRow};
use serde_json::{Value, json};
use std::path::Path;
use text::{MergeRecord, MergedModel};

/// How a model was merged, beside it.
const RECORD: &str = "merge.json";

/// Whether a directory is that of a merged model.
pub fn is_merged(root: &Path) -> bool {
    root.join(RECORD).is_file()
}

/// Merges, scores and refits.
pub fn merge(args: &cli::Merge) -> Result<u8, Failure> {
    let method = settings::method(args)?;
    if args.weights.is_some() && !method.takes_weights() {
        let name = method.name();
        return Err(Failure::refused([format!("--weights: the method `{name}` makes its own, or has none")]));
    }
    let split = evaluate::split(&args.split)?;
    let device = open_device(args.device)?;
    let mut inputs = Input::open_all(&args.runs, &device)?;
    set_weights(&mut inputs, args.weights.as_deref())?;
    let base = common_checkpoint::find(args.base.as_deref(), &inputs, method.needs_base(), &device)?;
    let configs = joint::join(&mut inputs);
    if let (true, Err(reason)) = (args.refit, &configs.all) {
        return Err(Failure::refused([format!("--refit needs the training rows of all runs: {reason}")]));
    }
    if args.refit && inputs.iter().all(|input| input.heads.is_empty()) {
        return Err(Failure::refused([
            "--refit: no task has parameters above the trunk and its decoder, so that there is nothing to fit again",
        ]));
    }
    if let (Some(_), Some(at)) = (method.gradient_rows(), configs.own.iter().position(Option::is_none)) {
        let folder = inputs[at].folder.display();
        return Err(Failure::refused([format!(
            "--method {}: {folder} is a model without its run's config.toml, which names the training rows",
            method.name()
        )]));
    }
    let (out, lock) = match &args.out {
        Some(out) => {
            let out = RunDir::new(out);
            let lock = RunLock::create_for(&out, "--out")?;
            (out, lock)
        }
        None => RunLock::numbered(Path::new("runs"), "merged")?,
    };
    let threads = inputs.iter().find_map(|input| input.config.as_ref()?.train.threads);
    let work = Merge { args, method, split, device, base, configs, inputs, out };
    let code = with_threads(threads, move || work.run())?;
    drop(lock);
    Ok(code)
}

/// Gives each trunk its weight. It goes by its tasks, and by the name of its run's folder.
fn set_weights(inputs: &mut [Input], given: Option<&str>) -> Result<(), Failure> {
    let names = |input: &Input| -> Vec<Vec<String>> {
        let of = |tasks: &Vec<String>| tasks.iter().cloned().chain(input.run_name()).collect();
        input.sources.iter().map(|source| of(&source.tasks)).collect()
    };
    let models: Vec<Vec<String>> = inputs.iter().flat_map(names).collect();
    let weights = settings::weights(given, &models)?;
    let sources = inputs.iter_mut().flat_map(|input| &mut input.sources);
    sources.zip(weights).for_each(|(source, weight)| source.trunk.weight = weight);
    Ok(())
}

/// Everything that was checked before anything is written.
struct Merge<'a> {
    args: &'a cli::Merge,
    method: Merging,
    split: Split,
    device: Device,
    base: Option<Base>,
    configs: JointConfigs,
    inputs: Vec<Input>,
    out: RunDir,
}

impl Merge<'_> {
    fn run(mut self) -> Result<u8, Failure> {
        for note in &self.configs.notes {
            output::error(format_args!("note: {note}"));
        }
        if let Some(rows) = self.method.gradient_rows() {
            self.measure_importance(rows)?;
        }
        let manifests: Vec<&ModelManifest> = self.inputs.iter().map(|input| &input.manifest).collect();
        let manifest = joint_manifest(&manifests);
        let record = self.write(&manifest)?;
        if !self.args.json {
            output::text(text::models_table(&record, &self.method));
            output::line(format_args!("\n  written: {}", self.out.root().display()));
        }
        let mut rows = Vec::new();
        if !self.args.no_evaluate {
            rows = scores::own(&self.inputs, self.split, &|input: &Input| {
                open_model(&input.folder, &self.device)
            })?;
            self.score(&mut rows, Scored::Merged, self.out.root())?;
        }
        let refitted = if self.args.refit { self.refit(&manifest, &mut rows)? } else { None };
        self.report(&record, &rows, refitted.as_ref());
        Ok(if self.args.refit && refitted.is_none() { INTERRUPTED } else { 0 })
    }

    /// How much the losses of each model depend on its weights.
    fn measure_importance(&mut self, rows: usize) -> Result<(), Failure> {
        let seed = settings::settings(&self.method)["seed"].as_u64().unwrap_or_default();
        let device = self.device.clone().autodiff();
        for input in &mut self.inputs {
            let Some(config) = &input.config else { continue };
            for source in &mut input.sources {
                let model = open_model_multiplied_out(&input.folder, &device)?;
                let mut model = model.into_folded(&source.tasks[0]).map_err(|e| Failure::refused([e]))?;
                model.tasks.retain(|task| source.tasks.contains(&task.name));
                let job = assemble_saved(config, model, &[Split::Train])?.job;
                let found =
                    squared_gradients(&job, rows, seed, stop_flag()).map_err(|e| Failure::refused([e]))?;
                let stopped = || Failure {
                    messages: vec!["interrupted; nothing was written".into()],
                    code: INTERRUPTED,
                };
                source.trunk.importance = Some(found.ok_or_else(stopped)?);
            }
        }
        Ok(())
    }

    /// Writes the merged model, and what says how it was made.
    fn write(&mut self, manifest: &ModelManifest) -> Result<MergeRecord, Failure> {
        let heads: NamedValues =
            self.inputs.iter_mut().flat_map(|input| std::mem::take(&mut input.heads)).collect();
        let dir = &self.inputs[0].model_dir;
        let mut model =
            Model::of_parts(dir, &self.device, manifest, heads).map_err(|e| Failure::refused([e]))?;
        let (mut sources, mut models) = (Vec::new(), Vec::new());
        for input in &mut self.inputs {
            for source in std::mem::take(&mut input.sources) {
                models.push(MergedModel {
                    folder: std::path::absolute(&input.folder).unwrap_or_else(|_| input.folder.clone()),
                    tasks: source.tasks,
                    weight: source.trunk.weight,
                    distance: 0.0,
                    blake3: input.manifest.blake3.clone(),
                });
                sources.push(source.trunk);
            }
        }
        let base = self.base.take();
        let weights = base.as_ref().map(|base| &base.parameters);
        let report =
            merge_trunks(&mut model, weights, &self.method, &sources).map_err(|e| Failure::refused([e]))?;
        for (model, distance) in models.iter_mut().zip(&report.distances) {
            model.distance = *distance;
        }
        let record = MergeRecord {
            polytask: env!("CARGO_PKG_VERSION"),
            method: self.method.name(),
            settings: Value::Object(settings::settings(&self.method)),
            base: base.map(|base| base.name),
            models,
            tensors: report.tensors,
            numbers: report.numbers,
            left_out: report.left_out.clone(),
        };
        for warning in text::warnings(&record, &report) {
            output::error(format_args!("warning: {warning}"));
        }
        model.save(&self.out.model(), 0, ScoreTable::default()).map_err(Failure::failed)?;
        let json = serde_json::to_vec_pretty(&record).map_err(Failure::failed)?;
        write(&self.out.root().join(RECORD), &json)?;
        match &self.configs.all {
            Ok(config) => {
                let config = self.on_model(config, manifest)?;
                write(&self.out.config(), config.resolved_toml().as_bytes())?;
            }
            Err(reason) => output::error(format_args!(
                "note: the result has no config.toml, so that `evaluate` cannot score it: {reason}"
            )),
        }
        Ok(record)
    }

    /// The config for all tasks on the merged model.
    fn on_model(&self, config: &Config, manifest: &ModelManifest) -> Result<Config, Failure> {
        let dir = self.out.model();
        let dir = std::path::absolute(&dir).map_err(|e| Failure::io("finding", &dir, e))?;
        let mut config = joint::on_model(config, &dir, manifest);
        config.train.device = self.args.device;
        Ok(config)
    }

    fn score(&self, rows: &mut [TaskRow], by: Scored, folder: &Path) -> Result<(), Failure> {
        let of = (&self.inputs[..], &self.configs.own[..]);
        scores::add(rows, by, of, self.split, &|| open_model(folder, &self.device))
    }

    /// Fits the heads again and scores them; gives the directory of that run, `None` if it was interrupted.
    fn refit(&self, manifest: &ModelManifest, rows: &mut [TaskRow]) -> Result<Option<RunDir>, Failure> {
        let config = self.configs.all.as_ref().map_err(Failure::failed)?;
        let config = self.on_model(config, manifest)?;
        let run = RunDir::new(self.out.root().join("refit"));
        let model = open_model(self.out.root(), &self.device.clone().autodiff())?;
        let detail = if self.args.json { Detail::Warnings } else { Detail::Lines };
        let steps = usize::try_from(self.args.refit_steps).unwrap_or(usize::MAX);
        let outcome = refit::refit(&config, model, &run, &self.device, steps, detail)?;
        if let Outcome::Interrupted { .. } = outcome {
            // It is not a run that `train` could go on with: the config alone does not freeze all of what it froze.
            let _ = std::fs::remove_dir_all(run.root());
            output::error(format_args!(
                "interrupted: the heads were not fitted again; the merged model is in {}",
                self.out.root().display()
            ));
            return Ok(None);
        }
        self.score(rows, Scored::Refitted, run.root())?;
        Ok(Some(run))
    }

    fn report(&self, record: &MergeRecord, rows: &[TaskRow], refitted: Option<&RunDir>) {
        let out = self.out.root();
        if self.args.json {
            let refit = refitted.map(|run| run.root());
            output::line(
                json!({ "out": out, "refit": refit, "split": self.split, "merge": record, "tasks": rows }),
            );
            return;
        }
        if !rows.is_empty() {
            output::line(format_args!("\n{}", text::scores_table(rows, self.split)));
        }
        let shown = refitted.map_or(out, RunDir::root).display();
        match &self.configs.all {
            Ok(_) => {
                output::line(format_args!("  next: polytask evaluate {shown}, or polytask predict {shown}"))
            }
            Err(_) => output::line(format_args!("  next: polytask predict {shown}")),
        }
    }
}
