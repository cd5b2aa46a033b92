//! A model whose matrices are two factors, found on its own rows: nothing is lost at the whole rank, both factors are trained, with every
//! optimizer and scope, and a run goes on where it was.

use crate::job::{bert, bits, job, record, settings};
use data::Split;
use model::factorization::{Factorizable, factorizable};
use polytask_train::{FactorizedMatrix, Job, Model, Outcome, RowChoice, Start, evaluate, input_statistics};
use serde_json::{Value, json};
use std::sync::atomic::AtomicBool;

static NEVER: AtomicBool = AtomicBool::new(false);

/// Factorizes all matrices of a job's model.
fn factorize(job: &mut Job, rank: impl Fn(&Factorizable) -> usize) -> Vec<FactorizedMatrix> {
    let found = factorizable(&job.model.trunk, &job.model.parameters);
    let choice = RowChoice { split: Split::Train, rows: 40, seed: 3 };
    let inputs = input_statistics(job, found.iter().map(|matrix| matrix.index), choice, 64, &NEVER).unwrap();
    assert!(inputs.rows > 0 && inputs.tokens > inputs.rows && inputs.grams.len() + 1 == found.len());
    let chosen: Vec<(Factorizable, usize)> =
        found.into_iter().map(|matrix| (matrix, rank(&matrix))).collect();
    job.model.factorize(&chosen, &inputs).unwrap()
}

fn half(matrix: &Factorizable) -> usize {
    matrix.shape[0].min(matrix.shape[1]) / 2
}

fn low_rank_job() -> Job {
    let mut job = job(bert(), 17);
    factorize(&mut job, half);
    job
}

fn losses(job: &Job) -> Vec<f64> {
    let found = evaluate(&job.model, Split::Validation, job.views.of(Split::Validation), 64, &NEVER).unwrap();
    found.tasks.iter().map(|task| task.loss.unwrap()).collect()
}

#[test]
fn nothing_is_lost_at_the_whole_rank_and_less_at_a_higher_one() {
    let mut whole = job(bert(), 17);
    let before = losses(&whole);
    for matrix in factorize(&mut whole, |matrix| matrix.shape[0].min(matrix.shape[1])) {
        assert!(matrix.energy > 0.0 && matrix.lost <= 1e-9 * matrix.energy, "{matrix:?}");
    }
    for (after, before) in losses(&whole).iter().zip(before) {
        assert!((after - before).abs() < 1e-4, "{after} {before}");
    }
    let lost = |rank: usize| factorize(&mut job(bert(), 17), |_| rank);
    for (few, many) in lost(2).iter().zip(lost(6)) {
        assert!(few.lost > many.lost && few.energy == many.energy, "{few:?} {many:?}");
    }
    // Rows and order of work are a function of the seed.
    assert_eq!(lost(3), lost(3));
}

#[test]
fn a_saved_model_opens_as_two_factors_or_multiplied_out() {
    let job = low_rank_job();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("model");
    job.model.save(&dir, 0, Default::default()).unwrap();
    let device = burn::tensor::Device::flex();
    let (model, ..) = Model::open(&dir, &device).unwrap();
    let sorted = |model: &Model| {
        let mut all = bits(model);
        all.sort();
        all
    };
    assert_eq!(sorted(&model), sorted(&job.model));
    let (dense, ..) = Model::open_multiplied_out(&dir, &device).unwrap();
    assert!(model.parameters.has_factors() && !dense.parameters.has_factors());
    assert_eq!(dense.parameters.len(), crate::job::job(bert(), 17).model.parameters.len());
}

fn trained(more: &Value, stops: &[usize]) -> Vec<(String, Vec<u32>)> {
    let mut table = json!({"train": {"epochs": 10, "max_steps": 20, "tokens_per_batch": 100, "seed": 11}});
    for (key, value) in more.as_object().unwrap() {
        table[key] = value.clone();
    }
    let settings = settings(table);
    let dir = tempfile::tempdir().unwrap();
    let mut start = Start::Fresh;
    for stop in stops {
        let (outcome, _) = record(&mut low_rank_job(), &settings, dir.path(), start, Some(*stop));
        assert!(matches!(outcome.unwrap(), Outcome::Interrupted { .. }));
        start = Start::Resume;
    }
    let mut job = low_rank_job();
    let (outcome, _) = record(&mut job, &settings, dir.path(), start, None);
    assert!(matches!(outcome.unwrap(), Outcome::Finished { .. }));
    bits(&job.model)
}

#[test]
fn both_factors_are_trained_and_a_run_goes_on_where_it_was() {
    let before = bits(&low_rank_job().model);
    for more in [
        json!({}),
        json!({"optimizer": {"muon": {}}}),
        json!({"balance": {"pcgrad": {}}}),
        json!({"optimizer": {"adafactor": {"layerwise_lr_decay": 0.8}}}),
    ] {
        let after = trained(&more, &[]);
        assert_eq!(trained(&more, &[3, 11]), after, "{more}");
        let downs = after.iter().filter(|(name, _)| name.ends_with(".down"));
        assert_eq!(downs.count(), 9, "of the token table, and four of each layer");
        for ((name, was), (_, is)) in before.iter().zip(&after) {
            assert!(was != is || name.contains("type"), "{more}: {name} has not moved");
        }
    }
}
