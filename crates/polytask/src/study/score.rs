//! Scores of a trained model on held-out rows, on those of other domains, and on bootstrap samples of both.

use super::result::{Inference, TaskScore};
use crate::config::Config;
use crate::failure::Failure;
use crate::job::assemble::assemble_saved;
use crate::job::out_of_domain::OtherDomains;
use crate::job::scoring::score_tasks;
use data::random::{stream, uniform_below};
use data::{Split, View};
use rayon::prelude::*;
use std::time::Instant;
use tasks::Prediction;
use train::{Model, TaskSlot};

/// The seed of bootstrap samples: the same in all studies, so that samples of any two trials have the same rows.
const SEED: u64 = 17;

/// The scores of every task on its own corpus, on `split` or else on the validation split, and on each of its `out_of_domain`; with
/// `resamples` bootstrap samples each.
pub fn score(
    config: &Config,
    mut model: Model,
    split: Split,
    resamples: usize,
) -> Result<(Vec<TaskScore>, Inference), Failure> {
    let mut scores = Vec::new();
    let mut spent = Spent::default();
    let mut splits = vec![split, Split::Validation];
    splits.dedup();
    for split in splits {
        let scored: Vec<String> = scores.iter().map(|score: &TaskScore| score.task.clone()).collect();
        let left = |task: &TaskSlot| !scored.contains(&task.name);
        if model.tasks.iter().any(left) {
            let round;
            (round, model) = round_of(config, model, split, left, (resamples, false), &mut spent)?;
            scores.extend(round);
        }
    }
    for other in OtherDomains::rounds(config) {
        let config = other.applied(config, &mut model);
        let round;
        (round, model) =
            round_of(&config, model, Split::Test, |task| other.has(task), (resamples, true), &mut spent)?;
        scores.extend(round);
    }
    let operations_per_token = train::forward_flops_per_token(&model);
    let seconds_per_token = spent.seconds / spent.tokens.max(1) as f64;
    Ok((scores, Inference { operations_per_token, seconds_per_token }))
}

/// What evaluations took.
#[derive(Default)]
struct Spent {
    seconds: f64,
    tokens: usize,
}

/// Scores the wanted tasks on one split of the config's corpora.
fn round_of(
    config: &Config,
    model: Model,
    split: Split,
    wanted: impl Fn(&TaskSlot) -> bool,
    (resamples, out_of_domain): (usize, bool),
    spent: &mut Spent,
) -> Result<(Vec<TaskScore>, Model), Failure> {
    let job = assemble_saved(config, model, &[split])?.job;
    let began = Instant::now();
    let (evaluation, predictions) = score_tasks(config, &job, split, &wanted)?;
    spent.seconds += began.elapsed().as_secs_f64();
    let model = job.model;
    spent.tokens += tokens_of(&model, &wanted, split, job.views.of(split));
    let scores = evaluation.tasks.iter().filter_map(|scored| {
        let index = model.tasks.iter().position(|slot| slot.name == scored.task)?;
        let slot = &model.tasks[index];
        Some(TaskScore {
            task: scored.task.clone(),
            corpus: slot.config.corpus.clone(),
            out_of_domain,
            split: split.to_string(),
            metric: scored.scores.primary.clone(),
            value: scored.primary(),
            rows: scored.rows,
            scores: scored.scores.values.iter().filter(|(_, value)| value.is_finite()).cloned().collect(),
            resampled: resampled(slot, split, &predictions[index], resamples),
        })
    });
    let scores = scores.collect();
    Ok((scores, model))
}

/// Tokens of the rows that carry a label of a wanted task; those of a row that several tasks read count once.
fn tokens_of(model: &Model, wanted: impl Fn(&TaskSlot) -> bool, split: Split, views: &[View]) -> usize {
    let of_view = |(index, view): (usize, &View)| {
        let readers: Vec<&TaskSlot> =
            model.tasks.iter().filter(|task| task.view == index && wanted(task)).collect();
        let read = |row: &usize| readers.iter().any(|task| task.head.labelled(split, *row));
        (0..view.encoded.rows()).filter(read).map(|row| view.encoded.length(row)).sum::<usize>()
    };
    views.iter().enumerate().map(of_view).sum()
}

/// The primary metric on samples of the rows, drawn with replacement, as many rows as there are (Efron, 1979).
fn resampled(slot: &TaskSlot, split: Split, predictions: &[(u32, Prediction)], samples: usize) -> Vec<f64> {
    let (name, rows) = (format!("bootstrap of {} {split}", slot.config.corpus), predictions.len() as u64);
    let sample = |index: usize| {
        let mut rng = stream(SEED, &name, index as u64);
        let draw = |_| predictions[uniform_below(&mut rng, rows) as usize].clone();
        let drawn: Vec<(u32, Prediction)> = (0..rows).map(draw).collect();
        slot.head.primary_score(split, &drawn)
    };
    (0..samples).into_par_iter().map(sample).collect()
}
