//! Scores of a model on one split of its job, for `evaluate` and for studies.

use crate::config::Config;
use crate::failure::Failure;
use data::Split;
use std::sync::atomic::AtomicBool;
use train::{Evaluation, Job, TaskPredictions, TaskSlot, evaluate_tasks};

/// Scores the wanted tasks, with the predictions behind the scores.
///
/// # Errors
/// Scores that are not finite.
pub fn score_tasks(
    config: &Config,
    job: &Job,
    split: Split,
    wanted: impl Fn(&TaskSlot) -> bool,
) -> Result<(Evaluation, TaskPredictions), Failure> {
    let (never, tokens) = (AtomicBool::new(false), config.train.evaluation_tokens());
    let found = evaluate_tasks(&job.model, wanted, split, job.views.of(split), tokens, &never);
    let (evaluation, predictions) = found.ok_or_else(|| Failure::failed("the evaluation was stopped"))?;
    let nonfinite = evaluation.nonfinite();
    if !nonfinite.is_empty() {
        let found = nonfinite.join("\n  ");
        return Err(Failure::failed(format!("{found}\n  the weights of the model have overflowed")));
    }
    Ok((evaluation, predictions))
}
