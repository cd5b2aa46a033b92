//! Sharing schemes in a run: under balancing methods, resumed, checkpointed, saved.

use crate::job::{bag, bert, bits, job, record, settings};
use burn::tensor::Device;
use model::{Owner, Parameters, Role, SharingConfig};
use polytask_train::{Event, Job, Model, Start, predict};
use serde_json::{Value as Json, json};

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

/// Whether the second factors, which begin as zeros, have moved, by owner.
fn moved(parameters: &Parameters) -> Vec<(Owner, bool)> {
    let adapters = parameters.iter().enumerate().filter(|(_, p)| p.role == Role::Adapter);
    let seconds = adapters.filter(|(_, p)| p.name.ends_with(".b"));
    seconds.map(|(i, p)| (p.owner.clone(), parameters.data(i).iter().any(|x| *x != 0.0))).collect()
}

#[test]
fn updates_are_trained_in_mixed_batches_under_losses_and_gramians() {
    for backbone in [bag(), bert(), t5()] {
        for shared in [false, true] {
            for (balance, scope) in [
                (json!({"equal": {}}), "all_shared"),
                (json!({"upgrad": {}}), "all_shared"),
                (json!({"upgrad": {}}), "last_layer"),
            ] {
                let told = format!("{backbone} {shared} {balance} {scope}");
                let mut job = with_scheme(backbone.clone(), lora(shared, false));
                let dir = tempfile::tempdir().unwrap();
                let settings = run_settings(balance, scope);
                let (outcome, events) = record(&mut job, &settings, dir.path(), Start::Fresh, None);
                outcome.unwrap_or_else(|error| panic!("{told}: {error}"));
                let mixed = |event: &Event| matches!(event, Event::Step(step) if step.losses.len() == 3);
                assert!(events.iter().any(mixed), "{told}");
                let moved = moved(&job.model.parameters);
                assert!(!moved.is_empty() && moved.iter().all(|(_, moved)| *moved), "{told}: {moved:?}");
            }
        }
    }
}

#[test]
fn a_task_that_is_not_trained_keeps_its_updates() {
    let mut job = with_scheme(bert(), lora(false, true));
    let settings = settings(json!({
        "train": {"max_steps": 3, "tokens_per_batch": 96},
        "phases": [{"tasks": ["polarity"]}],
    }));
    let dir = tempfile::tempdir().unwrap();
    record(&mut job, &settings, dir.path(), Start::Fresh, None).0.unwrap();
    for (owner, moved) in moved(&job.model.parameters) {
        assert_eq!(moved, owner.first_task() == Some("polarity"), "{owner:?}");
    }
}

#[test]
fn a_resumed_run_has_the_bits_of_an_uninterrupted_one() {
    let settings = run_settings(json!({"upgrad": {}}), "last_layer");
    let [whole, parts] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let fresh = || with_scheme(bert(), lora(false, false));
    let mut uninterrupted = fresh();
    record(&mut uninterrupted, &settings, whole.path(), Start::Fresh, None).0.unwrap();
    record(&mut fresh(), &settings, parts.path(), Start::Fresh, Some(2)).0.unwrap();
    let mut resumed = fresh();
    record(&mut resumed, &settings, parts.path(), Start::Resume, None).0.unwrap();
    assert!(bits(&uninterrupted.model) == bits(&resumed.model));
}

#[test]
fn activation_checkpointing_changes_no_bit() {
    let trained = |on: bool| {
        let mut job = with_scheme(bert(), lora(false, false));
        job.model.trunk.set_activation_checkpointing(on);
        let dir = tempfile::tempdir().unwrap();
        let settings = run_settings(json!({"equal": {}}), "all_shared");
        record(&mut job, &settings, dir.path(), Start::Fresh, None).0.unwrap();
        bits(&job.model)
    };
    assert!(trained(true) == trained(false));
}

#[test]
fn a_saved_model_answers_as_before() {
    for backbone in [bag(), bert(), t5()] {
        let mut job = with_scheme(backbone, lora(false, false));
        let dir = tempfile::tempdir().unwrap();
        let settings = run_settings(json!({"equal": {}}), "all_shared");
        record(&mut job, &settings, dir.path(), Start::Fresh, None).0.unwrap();
        let (opened, manifest, _) = Model::open(&dir.path().join("model"), &Device::flex()).unwrap();
        assert_eq!(manifest.sharing.name(), "lora");
        let view = &job.views.validation[0];
        let answers = |model: &Model| predict(model, &[0, 1], view, 64);
        assert_eq!(answers(&opened), answers(&job.model));
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
