//! Memory that has no room for a step: it is repeated in halves, with the same result.

mod job;

use job::{bag, bert, bits, job, record, record_in, settings};
use polytask_train::{Event, Job, Model, Room, Start, TrainError};
use serde_json::{Value as Json, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Has no room for the first so many attempts, where it says so at the given question of each.
struct Narrow {
    attempts: usize,
    at: usize,
    begun: AtomicUsize,
    asked: AtomicUsize,
}

impl Room for Narrow {
    fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.asked.store(0, Ordering::Relaxed);
    }
    fn left(&self) -> bool {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        self.begun.load(Ordering::Relaxed) > self.attempts || asked < self.at
    }
}

fn narrow(attempts: usize, at: usize) -> Arc<dyn Room> {
    Arc::new(Narrow { attempts, at, begun: 0.into(), asked: 0.into() })
}

fn t5() -> Json {
    json!({"t5": {"layers": 2, "hidden": 16, "heads": 2, "dropout": 0.1}})
}

/// The losses of every step, the sizes that the trunk was halved to, and the weights at the end.
struct Ran {
    losses: Vec<f64>,
    halved: Vec<(usize, usize)>,
    weights: Vec<f32>,
}

fn ran(mut job: Job, extra: &Json, room: Option<Arc<dyn Room>>) -> Ran {
    let mut all = json!({
        "train": {"max_steps": 6, "tokens_per_step": 256, "accumulate": 2, "seed": 4},
        "optimizer": {"sgd": {"learning_rate": 0.05}},
    });
    let with =
        |to: &mut Json, from: &Json| from.as_object().unwrap().iter().for_each(|(k, v)| to[k] = v.clone());
    with(&mut all["train"], &extra["train"]);
    all["balance"] = extra["balance"].clone();
    let dir = tempfile::tempdir().unwrap();
    let (outcome, events) =
        record_in(room.as_ref(), &mut job, &settings(all), dir.path(), Start::Fresh, None);
    outcome.unwrap();
    let (mut losses, mut halved) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Step(step) => losses.extend(step.losses.values()),
            Event::Halved(event) => halved.push((event.step, event.tokens)),
            _ => {}
        }
    }
    let weights = (0..job.model.parameters.len()).flat_map(|i| job.model.parameters.data(i)).collect();
    Ran { losses, halved, weights }
}

/// Equal but for rounding, which differs where gradients are added up in another order.
fn assert_same(whole: &Ran, parts: &Ran, what: &str) {
    assert!(!whole.losses.is_empty() && whole.losses.len() == parts.losses.len());
    for (a, b) in whole.losses.iter().zip(&parts.losses) {
        assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{what}: loss {a} and {b}");
    }
    for (a, b) in whole.weights.iter().zip(&parts.weights) {
        assert!((a - b).abs() < 1e-4, "{what}: weight {a} and {b}");
    }
}

#[test]
fn a_step_in_halves_learns_the_same() {
    let plain = json!({"train": {}, "balance": {"equal": {}}});
    let methods = [
        plain.clone(),
        json!({"train": {}, "balance": {"uncertainty": {}}}),
        json!({"train": {"gradient_scope": "all_shared"}, "balance": {"upgrad": {}}}),
        json!({"train": {"gradient_scope": "last_layer"}, "balance": {"upgrad": {}}}),
        json!({"train": {"gradient_scope": "representation"}, "balance": {"upgrad": {}}}),
    ];
    let cases = [bag(), bert(), t5()].map(|backbone| (backbone, plain.clone()));
    for (backbone, extra) in cases.into_iter().chain(methods.map(|extra| (bert(), extra))) {
        let what = format!("{backbone} {extra}");
        let whole = ran(job(backbone.clone(), 3), &extra, None);
        assert_eq!(whole.halved, []);
        // At the fifth question of the first step, and of the two attempts after that.
        let parts = ran(job(backbone, 3), &extra, Some(narrow(3, 5)));
        let sizes: Vec<usize> = parts.halved.iter().map(|(_, tokens)| *tokens).collect();
        assert_eq!((sizes.len(), parts.halved[2].0), (3, 0), "{what}");
        assert!(sizes[0] <= 128 && sizes[1] == sizes[0] / 2 && sizes[2] == sizes[1] / 2, "{sizes:?}");
        assert_same(&whole, &parts, &what);
    }
}

#[test]
fn narrow_rows_frozen_layers_and_vectors_of_corpora_go_in_halves_too() {
    let extra = json!({"train": {}, "balance": {"equal": {}}});
    // Without tags only the first token of each row is read.
    let make = |extra: &str| {
        let mut job = job(bert(), 3);
        job.model.tasks.retain(|task| task.name != "tags");
        let model = &mut job.model;
        match extra {
            "frozen" => model.backbone.freeze(1, &mut model.parameters),
            "corpora" => {
                model.corpora = Model::add_corpora(&model.tasks, &mut *model.backbone, &mut model.parameters);
            }
            _ => {}
        }
        job
    };
    for what in ["narrow", "frozen", "corpora"] {
        let whole = ran(make(what), &extra, None);
        let parts = ran(make(what), &extra, Some(narrow(2, 3)));
        assert_eq!(parts.halved.len(), 2);
        assert_same(&whole, &parts, what);
    }
}

#[test]
fn what_was_halved_stays_so_when_a_run_is_resumed() {
    let settings =
        settings(json!({"train": {"max_steps": 8, "tokens_per_step": 128, "checkpoint_every": 4}}));
    let one = |stop_after: Option<usize>| {
        let (mut run, dir) = (job(bert(), 3), tempfile::tempdir().unwrap());
        let room = narrow(1, 5);
        let first = record_in(Some(&room), &mut run, &settings, dir.path(), Start::Fresh, stop_after);
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
    let settings = settings(json!({"train": {"max_steps": 3, "tokens_per_step": 128}}));
    let never = narrow(usize::MAX, 4);
    let (outcome, _) =
        record_in(Some(&never), &mut job(bert(), 3), &settings, dir.path(), Start::Fresh, None);
    let error = outcome.unwrap_err();
    assert!(matches!(error, TrainError::NoRoom { step: 1, .. }), "{error}");
    assert!(error.to_string().contains("data.max_length"), "{error}");
}
