//! Sharing schemes in a run: under balancing methods, resumed, checkpointed, saved.

use crate::job::{bag, bert, bits, job, record, record_in, settings};
use crate::memory_limit::failing;
use burn::tensor::Device;
use model::{Owner, Parameters, Role, SharingConfig};
use polytask_train::{Checked, Event, Job, MemoryLimit, Model, Start, predict};
use serde_json::{Value as Json, json};
use std::sync::Arc;

fn t5() -> Json {
    json!({"t5": {"layers": 2, "decoder_layers": 1, "hidden": 16, "heads": 2, "dropout": 0.1}})
}

fn with_scheme(backbone: Json, scheme: Json) -> Job {
    let mut job = job(backbone, 3);
    let scheme: SharingConfig = serde_json::from_value(scheme).unwrap();
    let names: Vec<String> = job.model.tasks.iter().map(|task| task.name.clone()).collect();
    let Model { trunk, parameters, .. } = &mut job.model;
    trunk.set_sharing(scheme.build(), &names, parameters).unwrap();
    job
}

fn lora(shared: bool, freeze_base: bool) -> Json {
    json!({"lora": {"rank": 2, "shared": shared, "freeze_base": freeze_base}})
}

fn run_settings(balance: Json, scope: &str) -> polytask_train::Settings {
    settings(json!({
        "train": {"max_steps": 4, "tokens_per_batch": 96, "gradient_scope": scope},
        "balance": balance,
    }))
}

/// Every scheme with private or shared parameters, and the settings that change what is computed; the base is trained too.
fn schemes() -> Vec<Json> {
    vec![
        lora(false, false),
        lora(true, false),
        json!({"lora": {"rank": 2, "use_rslora": true, "use_dora": true, "dropout": 0.1, "freeze_base": false}}),
        json!({"mtl_lora": {"rank": 2, "dropout": 0.1, "freeze_base": false}}),
        json!({"mtl_lora": {"rank": 2, "transform": "full", "freeze_base": false}}),
        json!({"vera": {"rank": 5, "freeze_base": false}}),
        json!({"ia3": {"freeze_base": false}}),
        json!({"ia3": {"shared": true, "freeze_base": false}}),
        json!({"poly": {"rank": 2, "skills": 3, "splits": 2, "freeze_base": false}}),
        json!({"hydra_lora": {"rank": 2, "freeze_base": false}}),
    ]
}

/// The values of what a scheme adds and trains, and whose it is.
fn added(parameters: &Parameters) -> Vec<(String, Owner, Vec<f32>)> {
    let is_added = |p: &model::Parameter| matches!(p.role, Role::Adapter | Role::Gate) && p.trainable;
    let added = parameters.iter().enumerate().filter(|(_, p)| is_added(p));
    added.map(|(i, p)| (p.name.clone(), p.owner.clone(), parameters.data(i))).collect()
}

#[test]
fn updates_are_trained_in_mixed_batches_under_losses_and_gramians() {
    for backbone in [bag(), bert(), t5()] {
        for scheme in schemes() {
            let cases = [
                (json!({"upgrad": {}}), "last_layer"),
                (json!({"upgrad": {}}), "all_shared"),
                (json!({"equal": {}}), "all_shared"),
            ];
            // What differs between schemes is seen on one backbone; of the others one run each has all hooks.
            let few = if backbone == bert() { 3 } else { 1 };
            for (balance, scope) in cases.into_iter().take(few) {
                let told = format!("{backbone} {scheme} {balance} {scope}");
                let mut job = with_scheme(backbone.clone(), scheme.clone());
                let before = added(&job.model.parameters);
                let dir = tempfile::tempdir().unwrap();
                let settings = run_settings(balance, scope);
                let (outcome, events) = record(&mut job, &settings, dir.path(), Start::Fresh, None);
                outcome.unwrap_or_else(|error| panic!("{told}: {error}"));
                let mixed = |event: &Event| matches!(event, Event::Step(step) if step.losses.len() == 3);
                assert!(events.iter().any(mixed), "{told}");
                let after = added(&job.model.parameters);
                assert!(!after.is_empty(), "{told}");
                for ((name, _, before), (_, _, after)) in before.iter().zip(&after) {
                    assert!(before != after && after.iter().all(|x| x.is_finite()), "{told} {name}");
                }
            }
        }
    }
}

/// Neither decay nor momentum moves what is a task's own in steps without the task.
#[test]
fn a_task_that_is_not_trained_keeps_its_updates() {
    for scheme in schemes() {
        let mut job = with_scheme(bert(), scheme.clone());
        let settings = settings(json!({
            "train": {"max_steps": 3, "tokens_per_batch": 96},
            "phases": [{"tasks": ["polarity"]}],
        }));
        let before = added(&job.model.parameters);
        let dir = tempfile::tempdir().unwrap();
        record(&mut job, &settings, dir.path(), Start::Fresh, None).0.unwrap();
        for ((name, owner, before), (_, _, after)) in before.iter().zip(added(&job.model.parameters)) {
            let trains = owner.first_task().is_none_or(|task| task == "polarity");
            assert_eq!(*before != after, trains, "{scheme} {name}");
        }
    }
}

#[test]
fn a_resumed_run_has_the_bits_of_an_uninterrupted_one() {
    let settings = run_settings(json!({"upgrad": {}}), "last_layer");
    for scheme in schemes() {
        let [whole, parts] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let fresh = || with_scheme(bert(), scheme.clone());
        let mut uninterrupted = fresh();
        record(&mut uninterrupted, &settings, whole.path(), Start::Fresh, None).0.unwrap();
        record(&mut fresh(), &settings, parts.path(), Start::Fresh, Some(2)).0.unwrap();
        let mut resumed = fresh();
        record(&mut resumed, &settings, parts.path(), Start::Resume, None).0.unwrap();
        assert!(bits(&uninterrupted.model) == bits(&resumed.model), "{scheme}");
    }
}

#[test]
fn activation_checkpointing_changes_no_bit() {
    for scheme in schemes() {
        let trained = |on: bool| {
            let mut job = with_scheme(bert(), scheme.clone());
            job.model.trunk.set_activation_checkpointing(on);
            let dir = tempfile::tempdir().unwrap();
            let settings = run_settings(json!({"equal": {}}), "all_shared");
            record(&mut job, &settings, dir.path(), Start::Fresh, None).0.unwrap();
            bits(&job.model)
        };
        assert!(trained(true) == trained(false), "{scheme}");
    }
}

#[test]
fn a_saved_model_answers_as_before() {
    for backbone in [bag(), bert(), t5()] {
        for scheme in schemes() {
            let mut job = with_scheme(backbone.clone(), scheme.clone());
            let dir = tempfile::tempdir().unwrap();
            let settings = run_settings(json!({"equal": {}}), "all_shared");
            record(&mut job, &settings, dir.path(), Start::Fresh, None).0.unwrap();
            let (opened, manifest, checked) =
                Model::open(&dir.path().join("model"), &Device::flex()).unwrap();
            assert_eq!(
                Some(manifest.sharing.name()),
                scheme.as_object().unwrap().keys().next().map(String::as_str)
            );
            assert_eq!(checked, Checked::Yes);
            let view = &job.views.validation[0];
            let answers = |model: &Model| predict(model, &[0, 1], view, 64);
            assert_eq!(answers(&opened), answers(&job.model), "{scheme}");
            // What PEFT reads is there, and its files are among those that are checked.
            let adapters = dir.path().join("model/adapters");
            let peft = ["lora", "vera", "ia3", "poly"].contains(&manifest.sharing.name());
            let expected = peft && backbone != bag();
            assert_eq!(adapters.is_dir(), expected, "{scheme}");
            assert_eq!(manifest.files.keys().any(|name| name.starts_with("adapters/")), expected);
        }
    }
}

/// Chunks, too, have the noise of the whole pack.
#[test]
fn a_step_in_chunks_has_the_result_of_a_whole_step() {
    for scheme in schemes() {
        let trained = |limit: Option<Arc<dyn MemoryLimit>>| {
            let mut job = with_scheme(bert(), scheme.clone());
            let dir = tempfile::tempdir().unwrap();
            let settings = settings(json!({
                "train": {"max_steps": 3, "tokens_per_batch": 96},
                "optimizer": {"sgd": {"learning_rate": 0.05}},
            }));
            let (outcome, events) =
                record_in(limit.as_ref(), &mut job, &settings, dir.path(), Start::Fresh, None);
            outcome.unwrap();
            let chunked = events.iter().any(|event| matches!(event, Event::ChunkSizeReduced(_)));
            assert_eq!(chunked, limit.is_some());
            added(&job.model.parameters)
        };
        for ((name, _, whole), (_, _, parts)) in trained(None).iter().zip(trained(Some(failing(2, 3)))) {
            let far = whole.iter().zip(&parts).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(far < 1e-4, "{scheme} {name}: {far}");
        }
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    for (freeze_base, scope, says) in
        [(true, "all_shared", "none is trained"), (false, "representation", "they share none")]
    {
        let mut job = with_scheme(bert(), lora(false, freeze_base));
        let dir = tempfile::tempdir().unwrap();
        let settings = run_settings(json!({"upgrad": {}}), scope);
        let error = record(&mut job, &settings, dir.path(), Start::Fresh, None).0.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    // A shared update is trained by all tasks, so that there is something to compare.
    let mut job = with_scheme(bert(), lora(true, true));
    let dir = tempfile::tempdir().unwrap();
    let settings = run_settings(json!({"upgrad": {}}), "all_shared");
    record(&mut job, &settings, dir.path(), Start::Fresh, None).0.unwrap();
}
