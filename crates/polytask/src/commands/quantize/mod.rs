//! `polytask quantize`: a trained model whose matrices are codes of eight or four bits.

mod parts;
mod report;
mod sensitivity;

use super::prune::config_on;
use super::train::{stop_flag, write};
use super::{config_of_run, open_device, open_model, with_threads};
use crate::cli::{self, Bits, Rounding};
use crate::config::Config;
use crate::failure::{Failure, INTERRUPTED};
use crate::job::assemble::assemble_saved;
use crate::job::measured::{ModelRow, TaskChange, measure_change};
use crate::job::result_dir::ResultDir;
use crate::terminal::output;
use ::model::quantization::{Int4Rounding, WeightType};
use ::model::{DeviceName, Gram};
use ::train::{Job, RowChoice, RunDir, ScoreTable, input_statistics};
use burn::tensor::Device;
use data::Split;
use parts::{Part, Quantizer, parts, without_groups};
use sensitivity::{Sensitivity, weight_types};
use serde::Serialize;
use std::collections::BTreeMap;

/// How a model was quantized, beside it.
const RECORD: &str = "quantize.json";

/// What was done, and what came of it.
#[derive(Debug, Serialize)]
struct Quantized {
    /// Of the parts that no task needs in more bits.
    #[serde(rename = "type")]
    weight_type: WeightType,
    parts: Vec<QuantizedPart>,
    /// Matrices that cannot be int4, and are int8.
    without_groups: usize,
    /// What each part costs when it alone is quantized. Only where a limit was given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sensitivity: Vec<Sensitivity>,
    tasks: Vec<TaskChange>,
    before: ModelRow,
    after: ModelRow,
}

/// What became of a part.
#[derive(Debug, Serialize)]
struct QuantizedPart {
    name: String,
    #[serde(rename = "type")]
    weight_type: WeightType,
}

/// Quantizes, scores and writes.
pub fn quantize(args: &cli::Quantize) -> Result<u8, Failure> {
    if args.keep_score.is_some_and(|points| !points.is_finite() || points < 0.0) {
        return Err(Failure::refused(["--keep-score: expected points of a hundred, 0 or more, such as 0.5"]));
    }
    if args.rounding.is_some() && matches!(args.bits, Bits::Eight) {
        return Err(Failure::refused([
            "--rounding: expected with --bits 4; codes of eight bits are the nearest",
        ]));
    }
    let run = RunDir::new(&args.run);
    let config = config_of_run(&run)?;
    let device = open_device(DeviceName::Cpu)?;
    let out = RunDir::new(&args.out);
    let dir_of_result = ResultDir::begin(out.root(), RECORD)?;
    let threads = config.train.threads;
    let code = with_threads(threads, || run_quantize(args, &run, &out, &config, &device))?;
    dir_of_result.finish()?;
    Ok(code)
}

fn run_quantize(
    args: &cli::Quantize,
    run: &RunDir,
    out: &RunDir,
    config: &Config,
    device: &Device,
) -> Result<u8, Failure> {
    let open = |root: &RunDir, splits: &[Split]| -> Result<Job, Failure> {
        Ok(assemble_saved(config, open_model(root.root(), device)?, splits)?.job)
    };
    let reads_rows = matches!(args.rounding, Some(Rounding::Gptq));
    let splits = [Split::Validation, Split::Train];
    let mut job = open(run, if reads_rows { &splits } else { &splits[..1] })?;
    let parts = parts(&job);
    if parts.is_empty() || is_quantized(&job, &parts) {
        let reason = if parts.is_empty() { "the network has no matrices" } else { "it is quantized already" };
        return Err(Failure::refused([format!(
            "{}: {reason}; expected a run with f32 weights",
            args.run.display()
        )]));
    }
    let least = match args.bits {
        Bits::Four => WeightType::Int4,
        Bits::Eight => WeightType::Int8,
    };
    let rounding = match args.rounding.unwrap_or(Rounding::Hqq) {
        // Of matrices that read no states: the table of token vectors.
        Rounding::Hqq | Rounding::Gptq => Int4Rounding::Hqq,
        Rounding::Minmax => Int4Rounding::MinMax,
    };
    let inputs = match reads_rows {
        true => inputs(args, config, &job, &parts)?,
        false => BTreeMap::new(),
    };
    let mut quantizer = Quantizer::new(job.model.parameters.clone(), rounding, inputs);
    let (found, sensitivity) = match args.keep_score {
        None => (vec![least; parts.len()], Vec::new()),
        Some(most) => weight_types(&mut job, &mut quantizer, &parts, config, (least, most)),
    };
    quantizer.set(&mut job, parts.iter().zip(found.iter().copied()));
    job.model.save(&out.model(), 0, ScoreTable::default()).map_err(Failure::failed)?;
    write(&out.config(), config_on(config, out)?.resolved_toml().as_bytes())?;
    job.model.parameters = quantizer.into_first();
    // What is measured is what was written.
    let small = open(out, &[Split::Validation])?;
    let folders = [run.model(), out.model()];
    let tokens = config.train.evaluation_tokens();
    let (tasks, [before, after]) =
        measure_change([&job, &small], folders.each_ref().map(|dir| dir.as_path()), tokens);
    let without_groups = match least {
        WeightType::Int4 => without_groups(&parts, &job.model.parameters),
        _ => 0,
    };
    let record = Quantized {
        weight_type: least,
        without_groups,
        parts: parts
            .into_iter()
            .zip(found)
            .map(|(part, to)| QuantizedPart { name: part.name, weight_type: to })
            .collect(),
        sensitivity,
        tasks,
        before,
        after,
    };
    let json = serde_json::to_vec_pretty(&record).map_err(Failure::failed)?;
    write(&out.root().join(RECORD), &json)?;
    match args.json {
        true => output::line(serde_json::to_string(&record).map_err(Failure::failed)?),
        false => output::text(report::text(&record, out)),
    }
    Ok(0)
}

/// What the layers of the parts read on rows of the train split.
fn inputs(
    args: &cli::Quantize,
    config: &Config,
    job: &Job,
    parts: &[Part],
) -> Result<BTreeMap<usize, Gram>, Failure> {
    let choice = RowChoice { split: Split::Train, rows: args.rows, seed: args.seed };
    let matrices = parts.iter().flat_map(|part| part.matrices.iter().copied());
    let found = input_statistics(job, matrices, choice, config.train.evaluation_tokens(), stop_flag());
    let Some(found) = found else {
        let messages = vec!["interrupted; nothing was written".into()];
        return Err(Failure { messages, code: INTERRUPTED });
    };
    match found.tokens {
        0 => Err(Failure::refused([
            "--rounding gptq: the corpora of the run have no train rows; take hqq, which reads none",
        ])),
        _ => Ok(found.grams),
    }
}

/// Whether one of the matrices is codes already.
fn is_quantized(job: &Job, parts: &[Part]) -> bool {
    let is_codes = |index: &usize| {
        job.model.parameters.packed(*index).is_some_and(|packed| packed.code_bits().is_some())
    };
    parts.iter().flat_map(|part| &part.matrices).any(is_codes)
}
