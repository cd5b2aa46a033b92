//! Predictions of all heads, from one pass.

use crate::{median, peak_mib};
use burn::tensor::Device;
use data::Split;
use polytask::commands::{config_of_run, open_model};
use polytask::failure::Failure;
use polytask::job::assemble::assemble_saved;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;
use train::RunDir;

/// Tokens that go through the trunk at once, as in `polytask predict`.
const TOKENS: usize = 4096;

/// Times passes over the test rows of every corpus of the run; every head answers every row.
pub fn measure(run: &Path, repeats: usize) -> Result<Value, Failure> {
    let config = config_of_run(&RunDir::new(run))?;
    let job = assemble_saved(&config, open_model(run, &Device::flex())?, &[Split::Test])?.job;
    let tasks: Vec<usize> = (0..job.model.tasks.len()).collect();
    let rows: usize = job.views.test.iter().map(|view| view.encoded.rows()).sum();
    let pass = || {
        let began = Instant::now();
        for view in &job.views.test {
            std::hint::black_box(train::predict(&job.model, &tasks, view, TOKENS));
        }
        began.elapsed().as_secs_f64()
    };
    let median = median((0..repeats).map(|_| pass()).collect());
    Ok(json!({ "rows": rows, "rows_per_second": rows as f64 / median, "peak_mib": peak_mib() }))
}
