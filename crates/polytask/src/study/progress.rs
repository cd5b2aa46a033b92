//! What came of a training, from its history.

use crate::history::{History, RunState};
use std::collections::BTreeMap;
use train::RunDir;

/// What a run says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunSummary {
    /// Epochs that were begun.
    pub epochs: usize,
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
    /// Of the history of a run; of one that is not finished, the best evaluation so far is the result.
    pub fn of(history: &History) -> RunSummary {
        let mut summary = RunSummary {
            epochs: history.last.epoch,
            steps: history.last.step,
            tokens: history.last.tokens,
            operations: history
                .usage
                .iter()
                .flat_map(|usage| usage.tasks.values())
                .map(|used| used.operations)
                .sum(),
            seconds: history.last.step_seconds,
            elapsed: history.last.elapsed,
            ..RunSummary::default()
        };
        let result = match &history.state {
            RunState::Finished(end) => {
                summary.elapsed = end.elapsed;
                history.evaluations_of("validation").filter(|found| found.step == end.result).last()
            }
            _ => history.best(),
        };
        if let Some(found) = result {
            let primary = |(task, metric): (&String, &String)| {
                Some((task.clone(), *found.scores.get(task)?.get(metric)?))
            };
            summary.validation = found.primary.iter().filter_map(primary).collect();
            summary.validation_value = Some(found.value);
        }
        summary
    }
}

/// The primary metric of each task at every evaluation, by step; empty where the history cannot be read.
pub fn validation_curves(run: &RunDir) -> BTreeMap<String, Vec<(usize, f64)>> {
    let mut curves: BTreeMap<String, Vec<(usize, f64)>> = BTreeMap::new();
    let Ok(history) = History::of(run) else { return curves };
    for found in history.evaluations_of("validation") {
        for (task, metric) in &found.primary {
            if let Some(score) = found.scores.get(task).and_then(|scores| scores.get(metric)) {
                curves.entry(task.clone()).or_default().push((found.step, *score));
            }
        }
    }
    curves
}
