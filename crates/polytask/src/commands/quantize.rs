//! `polytask quantize`: a trained model whose matrices are int8, with a scale for each row; inputs are quantized row by row when they come.

use super::prune::config_on;
use super::train::write;
use super::{config_of_run, open_device, open_model, with_threads};
use crate::cli;
use crate::config::Config;
use crate::distill::teachers::shown;
use crate::failure::Failure;
use crate::job::assemble::assemble_saved;
use crate::job::measured::{
    ModelRow, TaskChange, TaskScore, changes_table, measure, measure_change, models_table,
};
use crate::job::run_lock::RunLock;
use crate::terminal::figures::change;
use crate::terminal::{output, table::Table};
use ::model::{DeviceName, Level, Parameters};
use ::train::{Job, RunDir, ScoreTable};
use burn::tensor::Device;
use data::Split;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// How a model was quantized, beside it.
const RECORD: &str = "quantize.json";

/// What was done, and what came of it.
#[derive(Debug, Serialize)]
struct Quantized {
    /// What each part costs when it alone is int8: the points of a hundred that each task loses. Only where a limit was given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sensitivity: Vec<Sensitivity>,
    /// Parts that stayed f32.
    kept: Vec<String>,
    tasks: Vec<TaskChange>,
    before: ModelRow,
    after: ModelRow,
}

#[derive(Debug, Clone, Serialize)]
struct Sensitivity {
    part: String,
    /// By task.
    lost: BTreeMap<String, f64>,
}

/// Matrices that become int8, or stay, together: those of a layer, or the embeddings.
struct Part {
    name: String,
    matrices: Vec<usize>,
}

/// Scores by task.
type Scores = BTreeMap<String, TaskScore>;

/// Quantizes, scores and writes.
pub fn quantize(args: &cli::Quantize) -> Result<u8, Failure> {
    if args.keep_score.is_some_and(|points| !points.is_finite() || points < 0.0) {
        return Err(Failure::refused(["--keep-score: expected points of a hundred, 0 or more, such as 0.5"]));
    }
    let run = RunDir::new(&args.run);
    let config = config_of_run(&run)?;
    let device = open_device(DeviceName::Cpu)?;
    let out = RunDir::new(&args.out);
    let lock = RunLock::create_for(&out, "--out")?;
    let threads = config.train.threads;
    let code = with_threads(threads, || run_quantize(args, &run, &out, &config, &device))?;
    drop(lock);
    Ok(code)
}

fn run_quantize(
    args: &cli::Quantize,
    run: &RunDir,
    out: &RunDir,
    config: &Config,
    device: &Device,
) -> Result<u8, Failure> {
    let open = |root: &RunDir| -> Result<Job, Failure> {
        Ok(assemble_saved(config, open_model(root.root(), device)?, &[Split::Validation])?.job)
    };
    let (whole, mut job) = (open(run)?, open(run)?);
    let parts = parts(&job);
    if parts.is_empty()
        || parts.iter().flat_map(|part| &part.matrices).any(|i| job.model.parameters.int8(*i).is_some())
    {
        let reason = if parts.is_empty() { "the network has no matrices" } else { "it is quantized already" };
        return Err(Failure::refused([format!(
            "{}: {reason}; expected a run with f32 weights",
            args.run.display()
        )]));
    }
    let (kept, sensitivity) = match args.keep_score {
        None => (Vec::new(), Vec::new()),
        Some(most) => kept_parts(&mut job, &parts, &scores_of(&whole, config), config, most),
    };
    set_int8(&mut job, &whole.model.parameters, parts.iter().filter(|part| !kept.contains(&part.name)));
    job.model.save(&out.model(), 0, ScoreTable::default()).map_err(Failure::failed)?;
    write(&out.config(), config_on(config, out)?.resolved_toml().as_bytes())?;
    drop(job);
    // What is measured is what was written.
    let small = open(out)?;
    let folders = [run.model(), out.model()];
    let tokens = tokens_at_once(config);
    let (tasks, [before, after]) =
        measure_change([&whole, &small], folders.each_ref().map(|dir| dir.as_path()), tokens);
    let record = Quantized { sensitivity, kept, tasks, before, after };
    let json = serde_json::to_vec_pretty(&record).map_err(Failure::failed)?;
    write(&out.root().join(RECORD), &json)?;
    match args.json {
        true => output::line(serde_json::to_string(&record).map_err(Failure::failed)?),
        false => output::text(text(&record, out)),
    }
    Ok(0)
}

/// The embeddings, and each layer.
fn parts(job: &Job) -> Vec<Part> {
    let (trunk, parameters) = (&job.model.trunk, &job.model.parameters);
    let mut parts: Vec<Part> = Vec::new();
    for index in trunk.int8_candidates(parameters) {
        let name = match parameters.parameter(index).depth.map(|depth| depth.level) {
            Some(Level::Layer(layer)) => format!("layer {layer}"),
            Some(Level::Embeddings) => "embeddings".to_owned(),
            Some(Level::Output) | None => "output".to_owned(),
        };
        match parts.iter_mut().find(|part| part.name == name) {
            Some(part) => part.matrices.push(index),
            None => parts.push(Part { name, matrices: vec![index] }),
        }
    }
    parts
}

/// Gives the model its first weights, of which the matrices of some parts are int8.
fn set_int8<'a>(job: &mut Job, first: &Parameters, parts: impl Iterator<Item = &'a Part>) {
    job.model.parameters = first.clone();
    for index in parts.flat_map(|part| &part.matrices) {
        job.model.parameters.set_trainable(*index, false);
        job.model.parameters.pack_int8(*index);
    }
}

fn tokens_at_once(config: &Config) -> usize {
    config.train.tokens_per_batch.max(2048)
}

fn scores_of(job: &Job, config: &Config) -> Scores {
    let views = job.views.of(Split::Validation);
    measure(&job.model, |_| true, views, tokens_at_once(config), Path::new("")).0
}

/// The points of a hundred that each task loses.
fn lost(before: &Scores, after: &Scores) -> BTreeMap<String, f64> {
    let of = |(task, was): (&String, &TaskScore)| {
        let (was, is) = (was.values.get(&was.metric)?, after.get(task)?.values.get(&was.metric)?);
        Some((task.clone(), 100.0 * (was - is)))
    };
    before.iter().filter_map(of).collect()
}

fn worst(lost: &BTreeMap<String, f64>) -> f64 {
    lost.values().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// The parts that stay f32 so that no task loses more than `most` points, and what each part costs alone. The most costly one stays first.
fn kept_parts(
    job: &mut Job,
    parts: &[Part],
    before: &Scores,
    config: &Config,
    most: f64,
) -> (Vec<String>, Vec<Sensitivity>) {
    let first = job.model.parameters.clone();
    let mut sensitivity = Vec::new();
    for part in parts {
        set_int8(job, &first, std::iter::once(part));
        sensitivity
            .push(Sensitivity { part: part.name.clone(), lost: lost(before, &scores_of(job, config)) });
    }
    let mut order: Vec<&Sensitivity> = sensitivity.iter().collect();
    order.sort_by(|a, b| worst(&b.lost).total_cmp(&worst(&a.lost)));
    let mut kept: Vec<String> = Vec::new();
    for next in order {
        set_int8(job, &first, parts.iter().filter(|part| !kept.contains(&part.name)));
        if worst(&lost(before, &scores_of(job, config))) <= most {
            break;
        }
        kept.push(next.part.clone());
    }
    (kept, sensitivity)
}

fn text(record: &Quantized, out: &RunDir) -> String {
    let mut text = String::new();
    if let Some(first) = record.sensitivity.first() {
        let mut header = vec!["int8 alone"];
        header.extend(first.lost.keys().map(String::as_str));
        let mut table = Table::new(&header);
        for part in &record.sensitivity {
            let mut cells = vec![part.part.clone()];
            cells.extend(part.lost.values().map(|lost| change((0.0 - lost) / 100.0)));
            table.row(cells);
        }
        text += &format!("  change of each task's score when a part alone is int8\n\n{}\n", table.render());
    }
    if !record.kept.is_empty() {
        text += &format!("  stays f32: {}\n\n", record.kept.join(", "));
    }
    text += &match record.tasks.is_empty() {
        true => "  no task has labelled validation rows: nothing was scored\n".to_owned(),
        false => {
            format!("  validation split, scores in points of a hundred\n\n{}", changes_table(&record.tasks))
        }
    };
    let Quantized { before, after, .. } = record;
    let name = |row: &ModelRow| shown(row.folder.parent().unwrap_or(&row.folder));
    let speed = match (before.rows_per_second(), after.rows_per_second()) {
        (Some(before), Some(after)) => format!(", {:.2} of its rows per second", after / before),
        _ => String::new(),
    };
    text += &format!(
        "\n{}  int8 takes {:.2} of the size on disk, {:.2} of the memory{speed}\n  next: polytask evaluate {}\n",
        models_table([(name(before), before), (name(after), after)]),
        after.bytes as f64 / before.bytes.max(1) as f64,
        after.memory as f64 / before.memory.max(1) as f64,
        out.root().display()
    );
    text
}
