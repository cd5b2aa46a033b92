//! How tasks agree (`[train] affinity_steps`): against NumPy, against gradients that the test computes itself, and without a trace in the
//! training.

use crate::golden::{Fixture, fixture, fixture_job};
use crate::job::{bag, bert, bits, devices, job, record, record_in, settings};
use burn::tensor::Device;
use model::{Freeze, SharingConfig};
use polytask_train::{
    AFFINITY_ROWS_PER_TASK, Affinity, Event, Job, MemoryLimit, Model, Outcome, RunDir, Settings, Start,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
};

fn measured(events: &[Event]) -> Vec<Affinity> {
    let of = |event: &Event| match event {
        Event::Affinity(e) => Some(Affinity { seconds: 0.0, ..e.clone() }),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

fn train(job: &mut Job, settings: &Settings) -> Vec<Event> {
    let dir = tempfile::tempdir().unwrap();
    let (outcome, events) = record(job, settings, dir.path(), Start::Fresh, None);
    outcome.unwrap();
    events
}

fn affinity(of: &Affinity, from: &str, to: &str) -> f64 {
    of.transfers.iter().find(|t| t.from == from && t.to == to).unwrap().affinity
}

#[derive(Deserialize)]
struct Reference {
    after: usize,
    sgd_rate: f64,
    losses: BTreeMap<String, f64>,
    norms: BTreeMap<String, f64>,
    cosine: f64,
    reliability: BTreeMap<String, Vec<f64>>,
    adamw: Vec<(String, String, f64)>,
    without_gradient: BTreeMap<String, f64>,
    sgd: Vec<(String, String, f64)>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../fixtures/affinity.json")).unwrap()
}

fn near(found: f64, right: f64, tolerance: f64, what: &str) {
    assert!((found - right).abs() <= tolerance, "{what}: {found}, NumPy has {right}");
}

/// Every number of a measurement under AdamW with its moments, clipped and in the middle of its schedule
/// (`scripts/make_affinity_fixture.py`).
#[test]
fn a_measurement_equals_numpy() {
    let (fixture, right): (Fixture, Reference) = (fixture(), reference());
    for device in devices() {
        let settings = settings(json!({
            "train": {"epochs": fixture.steps, "max_grad_norm": fixture.clip_norm, "tokens_per_batch": 1000,
                      "affinity_steps": right.after},
            "optimizer": {"adamw": {"learning_rate": fixture.learning_rate,
                                    "weight_decay": fixture.weight_decay,
                                    "head_learning_rate": fixture.head_learning_rate}},
            "schedule": {"linear": {"warmup_ratio": fixture.warmup}},
        }));
        let found = measured(&train(&mut fixture_job(&device, &fixture), &settings)).remove(0);
        assert_eq!((found.step, &found.unmeasured, found.nonfinite.len()), (right.after, &None, 0));
        for (task, of) in &found.tasks {
            near(of.loss, right.losses[task], 1e-5, "loss");
            near(of.gradient_norm, right.norms[task], 1e-5, "norm");
            near(of.without_gradient.unwrap(), right.without_gradient[task], 3e-6, "without a gradient");
            let reliability = of.reliability.unwrap();
            let is_one = right.reliability[task].iter().any(|one| (one - reliability).abs() < 1e-5);
            assert!(is_one, "{task}: {reliability} is of no two halves of the rows");
        }
        assert_eq!((found.tasks["topic"].rows, found.tasks["tags"].rows), (5, 6));
        let [pair] = &found.pairs[..] else { panic!("{:?}", found.pairs) };
        near(pair.cosine.unwrap(), right.cosine, 1e-5, "cosine");
        assert_eq!((pair.layers.len(), &*pair.layers[0].layer), (1, "embeddings"));
        near(pair.layers[0].cosine, right.cosine, 1e-5, "cosine of the embeddings");
        assert_eq!(pair.shared_rows, 5);
        assert_eq!(found.transfers.len(), 4);
        for (from, to, right) in &right.adamw {
            near(affinity(&found, from, to), *right, 3e-6, &format!("{from} -> {to}"));
        }
    }
}

/// The paper's own case: gradient descent, where nothing moves without a gradient.
#[test]
fn gradient_descent_gives_the_papers_affinity() {
    let (fixture, right): (Fixture, Reference) = (fixture(), reference());
    let settings = settings(json!({
        "train": {"epochs": 2, "max_grad_norm": 0.0, "tokens_per_batch": 1000, "affinity_steps": 1},
        "optimizer": {"sgd": {"learning_rate": right.sgd_rate, "momentum": 0.0, "weight_decay": 0.0}},
        "schedule": {"constant": {"warmup_ratio": 0.0}},
    }));
    let found = measured(&train(&mut fixture_job(&Device::flex(), &fixture), &settings)).remove(0);
    for (from, to, right) in &right.sgd {
        near(affinity(&found, from, to), *right, 3e-6, &format!("{from} -> {to}"));
    }
    assert!(found.tasks.values().all(|of| of.without_gradient == Some(0.0)));
}

fn with_affinity(mut of: Value, every: usize) -> (Settings, Settings) {
    let without = settings(of.clone());
    of["train"]["affinity_steps"] = every.into();
    (without, settings(of))
}

/// Nothing of the training changes: weights, losses, scores. With dropout, accumulation, a lookahead, an adaptive sampler, state of every sort.
#[test]
fn a_run_with_measurements_has_the_bits_of_one_without() {
    let train_config = json!({"max_steps": 12, "tokens_per_batch": 90, "eval_steps": 5});
    let cases = [
        json!({"train": train_config}),
        json!({"train": train_config, "balance": {"auto_lambda": {}}, "sampling": {"loss_ratio": {}}}),
        json!({"train": train_config, "balance": {"moco": {}}, "optimizer": {"muon": {}}}),
        json!({"train": train_config, "balance": {"uncertainty": {}}, "optimizer": {"sgd": {"learning_rate": 0.05}}}),
        json!({"train": train_config, "optimizer": {"schedule_free_adamw": {"learning_rate": 1e-3}}}),
        json!({"train": train_config, "optimizer": {"lion": {"learning_rate": 1e-4}}}),
        json!({"train": train_config, "optimizer": {"adafactor": {}}}),
    ];
    for case in cases {
        let (without, with) = with_affinity(case.clone(), 3);
        let (mut plain, mut probed) = (job(bert(), 5), job(bert(), 5));
        let (plain_events, events) = (train(&mut plain, &without), train(&mut probed, &with));
        assert!(bits(&plain.model) == bits(&probed.model), "{case}: the weights differ");
        let losses = |events: &[Event]| -> Vec<Value> {
            let of = |event: &Event| match event {
                Event::Step(e) => Some(json!([e.losses, e.weights, e.gradient_norm])),
                Event::Evaluated(e) => Some(json!(e.scores)),
                _ => None,
            };
            events.iter().filter_map(of).collect()
        };
        assert_eq!(losses(&plain_events), losses(&events), "{case}");
        let found = measured(&events);
        assert_eq!(found.iter().map(|e| e.step).collect::<Vec<_>>(), [3, 6, 9]);
        for e in &found {
            assert_eq!((e.tasks.len(), e.pairs.len(), e.transfers.len()), (3, 3, 9), "{case}: {e:?}");
            assert!(e.tasks.values().all(|of| of.rows <= AFFINITY_ROWS_PER_TASK && of.reliability.is_some()));
            let layers: Vec<&str> = e.pairs[0].layers.iter().map(|l| &*l.layer).collect();
            assert_eq!(layers, ["embeddings", "layer 0", "layer 1"]);
        }
    }
}

/// Rows: as many for each task, those of one corpus in common, other ones every time.
#[test]
fn tasks_of_one_corpus_have_their_rows_in_common() {
    let (_, with) = with_affinity(json!({"train": {"max_steps": 4, "tokens_per_batch": 90}}), 1);
    let found = measured(&train(&mut job(bag(), 5), &with));
    let first = &found[0];
    let rows: Vec<usize> = ["topic", "tags", "polarity"].map(|task| first.tasks[task].rows).into();
    assert_eq!(rows, [32, 32, 30]);
    let shared = |a: &str, b: &str| {
        let is = |pair: &&polytask_train::PairAffinity| {
            [(a, b), (b, a)].iter().any(|(a, b)| pair.tasks.0 == *a && pair.tasks.1 == *b)
        };
        first.pairs.iter().find(is).unwrap().shared_rows
    };
    // A fifth of the rows has no topic.
    assert!((20..32).contains(&shared("topic", "tags")), "{first:?}");
    assert_eq!((shared("topic", "polarity"), shared("tags", "polarity")), (0, 0));
    assert_ne!(found[0].tasks["tags"].loss, found[1].tasks["tags"].loss);
}

/// Wherever a run is interrupted, it has every measurement once, with the same numbers.
#[test]
fn a_resumed_run_measures_the_same() {
    let of =
        json!({"train": {"epochs": 10, "max_steps": 12, "tokens_per_batch": 90}, "optimizer": {"adamw": {}}});
    let (_, settings) = with_affinity(of, 2);
    let whole = measured(&train(&mut job(bert(), 5), &settings));
    let dir = tempfile::tempdir().unwrap();
    let mut start = Start::Fresh;
    for stop in [Some(2), Some(4), Some(7), None] {
        let (outcome, _) = record(&mut job(bert(), 5), &settings, dir.path(), start, stop);
        assert_eq!(matches!(outcome.unwrap(), Outcome::Finished { .. }), stop.is_none());
        start = Start::Resume;
    }
    let text = std::fs::read_to_string(RunDir::new(dir.path()).metrics()).unwrap();
    let events: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(measured(&events), whole);
    assert_eq!(whole.len(), 5);
}

/// Of phases only the tasks that are trained are measured; of one task it is said that there is nothing to measure.
#[test]
fn phases_are_measured_with_their_tasks() {
    let (_, settings) = with_affinity(
        json!({"train": {"tokens_per_batch": 90},
               "phases": [{"tasks": ["polarity", "tags"], "steps": 3, "freeze": 1}, {"tasks": ["topic"], "steps": 2}]}),
        1,
    );
    let found = measured(&train(&mut job(bert(), 5), &settings));
    let tasks: Vec<Vec<&str>> = found.iter().map(|e| e.tasks.keys().map(String::as_str).collect()).collect();
    assert_eq!(tasks, [vec!["polarity", "tags"], vec!["polarity", "tags"], vec![], vec![]]);
    let layers: Vec<&str> = found[0].pairs[0].layers.iter().map(|l| &*l.layer).collect();
    assert_eq!(layers, ["layer 1"], "frozen layers have no gradient");
    for e in &found[2..] {
        assert!(e.unmeasured.as_ref().unwrap().contains("single task") && e.transfers.is_empty());
    }
}

/// Private parameters of a sharing scheme are no part of a comparison; where nothing else is trained, that is said.
#[test]
fn only_shared_parameters_are_compared() {
    let found = |scheme: Value| {
        let mut job = job(bert(), 3);
        let scheme: SharingConfig = serde_json::from_value(scheme).unwrap();
        let names: Vec<String> = job.model.tasks.iter().map(|task| task.name.clone()).collect();
        let Model { trunk, parameters, .. } = &mut job.model;
        trunk.set_sharing(scheme.build(), &names, parameters).unwrap();
        let (_, settings) = with_affinity(json!({"train": {"max_steps": 3, "tokens_per_batch": 90}}), 2);
        measured(&train(&mut job, &settings)).remove(0)
    };
    let private = found(json!({"lora": {"rank": 2, "shared": false, "freeze_base": false}}));
    assert_eq!((private.pairs.len(), private.transfers.len()), (3, 9));
    let shared = found(json!({"lora": {"rank": 2, "shared": true, "freeze_base": true}}));
    assert_eq!(shared.transfers.len(), 9);
    let nothing = found(json!({"lora": {"rank": 2, "shared": false, "freeze_base": true}}));
    assert!(nothing.unmeasured.unwrap().contains("share no parameter"));
}

/// Frozen lower layers with a cache, and activation checkpointing, which has no part in the result.
#[test]
fn frozen_layers_and_checkpointing_go_with_it() {
    let frozen = || {
        let mut job = job(bert(), 3);
        let model = &mut job.model;
        Freeze { layers: 1, cache: true }.apply(&mut model.trunk, &mut model.parameters).unwrap();
        job
    };
    let of = json!({"train": {"max_steps": 3, "tokens_per_batch": 90}, "cache_frozen": true});
    let (_, settings) = with_affinity(of, 2);
    let found = measured(&train(&mut frozen(), &settings)).remove(0);
    assert_eq!(found.pairs[0].layers.len(), 1);
    let mut checkpointed = frozen();
    checkpointed.model.trunk.set_activation_checkpointing(true);
    assert_eq!(measured(&train(&mut checkpointed, &settings)).remove(0), found);
}

/// Refuses the attempts with these numbers, from 1 on, after a few of their operations.
struct Refusing {
    attempts: std::ops::RangeInclusive<usize>,
    begun: AtomicUsize,
    checks: AtomicUsize,
}

impl MemoryLimit for Refusing {
    fn start_step(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.checks.store(0, Ordering::Relaxed);
    }
    fn has_headroom(&self) -> bool {
        let checks = self.checks.fetch_add(1, Ordering::Relaxed);
        !self.attempts.contains(&self.begun.load(Ordering::Relaxed)) || checks < 5
    }
}

/// A measurement that memory has no space for is made in smaller chunks, and the run's steps keep theirs.
#[test]
fn memory_that_ends_in_a_measurement_changes_no_step() {
    let (without, with) = with_affinity(json!({"train": {"max_steps": 3, "tokens_per_batch": 256}}), 1);
    let mut plain = job(bert(), 5);
    train(&mut plain, &without);
    let expected = measured(&train(&mut job(bert(), 5), &with));
    let found = |attempts| {
        let limit: Arc<dyn MemoryLimit> = Arc::new(Refusing { attempts, begun: 0.into(), checks: 0.into() });
        let (mut probed, dir) = (job(bert(), 5), tempfile::tempdir().unwrap());
        let (outcome, events) = record_in(Some(&limit), &mut probed, &with, dir.path(), Start::Fresh, None);
        outcome.unwrap();
        assert!(!events.iter().any(|e| matches!(e, Event::ChunkSizeReduced(_))));
        assert!(bits(&plain.model) == bits(&probed.model));
        measured(&events)
    };
    // The first attempt is the first step, the next two are the first measurement.
    let halved = found(2..=3);
    assert_eq!((halved.len(), &halved[1]), (2, &expected[1]));
    for (found, right) in halved[0].transfers.iter().zip(&expected[0].transfers) {
        assert!((found.affinity - right.affinity).abs() < 1e-5, "{found:?} {right:?}");
    }
    // 256 tokens can be halved eight times.
    let never = found(2..=10);
    assert!(never[0].unmeasured.as_ref().unwrap().contains("memory"), "{never:?}");
    assert_eq!(never[1], expected[1]);
}

/// What is not finite is named, and nothing of it is in a number.
#[test]
fn a_task_that_is_not_finite_is_left_out() {
    let mut job = job(bag(), 5);
    let tags = job.model.parameters.find("head.tags.weight").unwrap();
    let values = vec![f32::NAN; job.model.parameters.parameter(tags).size()];
    job.model.parameters.set_data(tags, values).unwrap();
    let of = json!({"train": {"max_steps": 2, "tokens_per_batch": 90, "max_nonfinite_steps": 9}});
    let (_, settings) = with_affinity(of, 1);
    let dir = tempfile::tempdir().unwrap();
    let (_, events) = record(&mut job, &settings, dir.path(), Start::Fresh, None);
    let found = measured(&events).remove(0);
    assert_eq!(found.nonfinite, ["tags"]);
    assert_eq!((found.tasks.len(), found.pairs.len(), found.transfers.len()), (2, 1, 4));
    let text = serde_json::to_string(&Event::Affinity(found.clone())).unwrap();
    let Event::Affinity(again) = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
    assert_eq!(again, found);
}
