//! A step that exceeds the memory limit is repeated in smaller chunks, with the same result.

use crate::job::{bag, bert, bits, deberta, job, record, record_in, settings};
use polytask_train::{Event, Job, MemoryLimit, Model, Start, TrainError};
use serde_json::{Value as Json, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Refuses the first so many attempts, at the given check of each.
struct FailingLimit {
    attempts: usize,
    at: usize,
    begun: AtomicUsize,
    checks: AtomicUsize,
}

impl MemoryLimit for FailingLimit {
    fn start_step(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.checks.store(0, Ordering::Relaxed);
    }
    fn has_headroom(&self) -> bool {
        let checks = self.checks.fetch_add(1, Ordering::Relaxed);
        self.begun.load(Ordering::Relaxed) > self.attempts || checks < self.at
    }
}

pub fn failing(attempts: usize, at: usize) -> Arc<dyn MemoryLimit> {
    Arc::new(FailingLimit { attempts, at, begun: 0.into(), checks: 0.into() })
}

fn t5() -> Json {
    json!({"t5": {"layers": 2, "hidden": 16, "heads": 2, "dropout": 0.1}})
}

/// The losses of every step, the reduced chunk sizes, and the weights at the end.
struct Ran {
    losses: Vec<f64>,
    reduced: Vec<(usize, usize)>,
    weights: Vec<f32>,
}

fn ran(mut job: Job, extra: &Json, limit: Option<Arc<dyn MemoryLimit>>) -> Ran {
    let mut all = json!({
        "train": {"max_steps": 6, "tokens_per_batch": 256, "gradient_accumulation_steps": 2, "seed": 4},
        "optimizer": {"sgd": {"learning_rate": 0.05}},
    });
    let with =
        |to: &mut Json, from: &Json| from.as_object().unwrap().iter().for_each(|(k, v)| to[k] = v.clone());
    with(&mut all["train"], &extra["train"]);
    all["balance"] = extra["balance"].clone();
    let dir = tempfile::tempdir().unwrap();
    let (outcome, events) =
        record_in(limit.as_ref(), &mut job, &settings(all), dir.path(), Start::Fresh, None);
    outcome.unwrap();
    let (mut losses, mut reduced) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Step(step) => losses.extend(step.losses.values()),
            Event::ChunkSizeReduced(event) => reduced.push((event.step, event.tokens)),
            _ => {}
        }
    }
    let weights = (0..job.model.parameters.len()).flat_map(|i| job.model.parameters.data(i)).collect();
    Ran { losses, reduced, weights }
}

/// Equal but for rounding, which differs where gradients are added up in another order.
fn assert_same(whole: &Ran, chunked: &Ran, what: &str) {
    assert!(!whole.losses.is_empty() && whole.losses.len() == chunked.losses.len());
    for (a, b) in whole.losses.iter().zip(&chunked.losses) {
        assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{what}: loss {a} and {b}");
    }
    for (a, b) in whole.weights.iter().zip(&chunked.weights) {
        assert!((a - b).abs() < 1e-4, "{what}: weight {a} and {b}");
    }
}

#[test]
fn a_step_in_chunks_learns_the_same() {
    let plain = json!({"train": {}, "balance": {"equal": {}}});
    let methods = [
        plain.clone(),
        json!({"train": {}, "balance": {"uncertainty": {}}}),
        json!({"train": {"gradient_scope": "all_shared"}, "balance": {"upgrad": {}}}),
        json!({"train": {"gradient_scope": "last_layer"}, "balance": {"upgrad": {}}}),
        json!({"train": {"gradient_scope": "representation"}, "balance": {"upgrad": {}}}),
    ];
    let cases = [bag(), bert(), deberta(), t5()].map(|backbone| (backbone, plain.clone()));
    for (backbone, extra) in cases.into_iter().chain(methods.map(|extra| (bert(), extra))) {
        let what = format!("{backbone} {extra}");
        let whole = ran(job(backbone.clone(), 3), &extra, None);
        assert_eq!(whole.reduced, []);
        // At the fifth check of the first step, and of the two attempts after that.
        let chunked = ran(job(backbone, 3), &extra, Some(failing(3, 5)));
        let sizes: Vec<usize> = chunked.reduced.iter().map(|(_, tokens)| *tokens).collect();
        assert_eq!((sizes.len(), chunked.reduced[2].0), (3, 0), "{what}");
        assert!(sizes[0] <= 128 && sizes[1] == sizes[0] / 2 && sizes[2] == sizes[1] / 2, "{sizes:?}");
        assert_same(&whole, &chunked, &what);
    }
}

#[test]
fn narrowed_rows_frozen_layers_and_dataset_embeddings_go_in_chunks_too() {
    let extra = json!({"train": {}, "balance": {"equal": {}}});
    // Without tags only the first token of each row is read.
    let make = |extra: &str| {
        let mut job = job(bert(), 3);
        job.model.tasks.retain(|task| task.name != "tags");
        let model = &mut job.model;
        match extra {
            "frozen" => model.trunk.freeze(1, &mut model.parameters),
            "datasets" => {
                let corpora = model.tasks.iter().map(|task| &task.config.corpus);
                model.datasets = Model::add_datasets(corpora, &mut model.trunk, &mut model.parameters);
            }
            _ => {}
        }
        job
    };
    for what in ["narrowed", "frozen", "datasets"] {
        let whole = ran(make(what), &extra, None);
        let chunked = ran(make(what), &extra, Some(failing(2, 3)));
        assert_eq!(chunked.reduced.len(), 2);
        assert_same(&whole, &chunked, what);
    }
}

#[test]
fn the_chunk_size_is_kept_when_a_run_is_resumed() {
    let settings = settings(json!({"train": {"max_steps": 8, "tokens_per_batch": 128, "save_steps": 4}}));
    let one = |stop_after: Option<usize>| {
        let (mut run, dir) = (job(bert(), 3), tempfile::tempdir().unwrap());
        let limit = failing(1, 5);
        let first = record_in(Some(&limit), &mut run, &settings, dir.path(), Start::Fresh, stop_after);
        first.0.unwrap();
        if stop_after.is_some() {
            run = job(bert(), 3);
            record(&mut run, &settings, dir.path(), Start::Resume, None).0.unwrap();
        }
        bits(&run.model)
    };
    assert!(one(None) == one(Some(5)));
}

#[test]
fn where_not_even_one_sequence_fits_the_run_ends() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(json!({"train": {"max_steps": 3, "tokens_per_batch": 128}}));
    let never = failing(usize::MAX, 4);
    let (outcome, _) =
        record_in(Some(&never), &mut job(bert(), 3), &settings, dir.path(), Start::Fresh, None);
    let error = outcome.unwrap_err();
    assert!(matches!(error, TrainError::OutOfMemory { step: 1, .. }), "{error}");
    assert!(error.to_string().contains("data.max_length"), "{error}");
}
