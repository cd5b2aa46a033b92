//! How far a training is, and what came of it, from its `metrics.jsonl`.

use crate::failure::Failure;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;
use train::{Event, RunDir};

/// What a finished run says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunSummary {
    /// Steps of the optimizer.
    pub steps: usize,
    /// Tokens trained on.
    pub tokens: u64,
    /// Floating-point operations; 0 where none are counted.
    pub operations: f64,
    /// Seconds of all steps.
    pub seconds: f64,
    /// Seconds of the whole training.
    pub elapsed: f64,
    /// The primary metrics of the result on the validation split.
    pub validation: BTreeMap<String, f64>,
    /// The value that chose the result.
    pub validation_value: Option<f64>,
}

impl RunSummary {
    /// Reads the events of a run; of one that is not finished, the best evaluation so far is the result.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(run: &RunDir) -> Result<RunSummary, Failure> {
        let path = run.metrics();
        let file = File::open(&path).map_err(|e| Failure::io("reading", &path, e))?;
        let (mut summary, mut evaluations) = (RunSummary::default(), BTreeMap::new());
        let (mut result, mut best) = (None, None);
        // Damaged lines were told when the run went on.
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        for event in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
            match event {
                Event::Step(step) => {
                    (summary.steps, summary.elapsed) = (step.step, step.elapsed);
                    summary.seconds += step.seconds;
                    summary.tokens += step.tokens as u64;
                }
                Event::Evaluated(found) => {
                    if found.best {
                        best = Some(found.step);
                    }
                    evaluations.insert(found.step, found);
                }
                Event::UsageReport(usage) => {
                    summary.operations = usage.tasks.values().map(|used| used.operations).sum();
                }
                Event::Finished(end) => {
                    (summary.steps, summary.elapsed, result) = (end.step, end.elapsed, Some(end.result));
                }
                _ => {}
            }
        }
        if let Some(found) = result.or(best).and_then(|step| evaluations.remove(&step)) {
            let primary = |(task, metric): (&String, &String)| {
                Some((task.clone(), *found.scores.get(task)?.get(metric)?))
            };
            summary.validation = found.primary.iter().filter_map(primary).collect();
            summary.validation_value = Some(found.value);
        }
        Ok(summary)
    }
}

/// The primary metric of each task at every evaluation, by step; empty where the file cannot be read.
pub fn validation_curves(run: &RunDir) -> BTreeMap<String, Vec<(usize, f64)>> {
    let mut curves: BTreeMap<String, Vec<(usize, f64)>> = BTreeMap::new();
    let Ok(file) = File::open(run.metrics()) else { return curves };
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    for event in lines
        .filter(|line| line.contains("\"evaluated\""))
        .filter_map(|line| serde_json::from_str(&line).ok())
    {
        let Event::Evaluated(found) = event else { continue };
        for (task, metric) in &found.primary {
            if let Some(score) = found.scores.get(task).and_then(|scores| scores.get(metric)) {
                curves.entry(task.clone()).or_default().push((found.step, *score));
            }
        }
    }
    curves
}

/// Reads how far a run is, from where the file was read last.
#[derive(Debug, Default)]
pub struct StepCounter {
    read: u64,
    /// Steps done.
    pub step: usize,
    /// Steps of the whole run; 0 before it has begun.
    pub steps: usize,
}

/// The part of an event that is needed.
#[derive(Deserialize)]
struct Position {
    event: String,
    #[serde(default)]
    step: usize,
    #[serde(default)]
    steps: usize,
}

impl StepCounter {
    /// Reads what was appended.
    pub fn update(&mut self, metrics: &Path) {
        let Ok(file) = File::open(metrics) else { return };
        let mut file = BufReader::new(file);
        if file.seek(SeekFrom::Start(self.read)).is_err() {
            return;
        }
        let mut line = Vec::new();
        while file.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            // The last line may be half written: it is read again.
            if line.last() != Some(&b'\n') {
                return;
            }
            self.read += line.len() as u64;
            if let Ok(found) = serde_json::from_slice::<Position>(&line) {
                self.step = found.step;
                if found.event == "started" {
                    self.steps = found.steps;
                }
            }
            line.clear();
        }
    }
}
