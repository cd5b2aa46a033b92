//! Frozen lower layers of the backbone, and the file that saves computing their states again.

use crate::job::{bert, bits, devices, job_on, record, settings};
use burn::tensor::Device;
use model::Freeze;
use polytask_train::{Event, Job, RunDir, Settings, Start};
use serde_json::json;
use std::fs;

fn frozen_job(device: &Device) -> Job {
    let mut job = job_on(device, bert(), 3);
    let model = &mut job.model;
    Freeze { layers: 1, cache: true }.apply(&mut model.trunk, &mut model.parameters).unwrap();
    job
}

fn with_cache(cache: bool) -> Settings {
    settings(json!({"train": {"epochs": 3, "tokens_per_batch": 64, "seed": 3}, "cache_frozen": cache}))
}

fn losses(events: &[Event]) -> Vec<f64> {
    let of = |event: &Event| match event {
        Event::Step(step) => step.losses.values().copied().collect(),
        _ => vec![],
    };
    events.iter().flat_map(of).collect()
}

#[test]
fn cached_states_train_the_same_model() {
    devices().iter().for_each(cached_states_train_the_same_model_on);
}

fn cached_states_train_the_same_model_on(device: &Device) {
    let (plain_dir, cached_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut plain, mut cached) = (frozen_job(device), frozen_job(device));
    let before = bits(&plain.model);
    let (outcome, plain_events) =
        record(&mut plain, &with_cache(false), plain_dir.path(), Start::Fresh, None);
    outcome.unwrap();
    let (outcome, cached_events) =
        record(&mut cached, &with_cache(true), cached_dir.path(), Start::Fresh, None);
    outcome.unwrap();

    let (a, b) = (losses(&plain_events), losses(&cached_events));
    assert!(a.len() > 20 && a.len() == b.len());
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?} {b:?}");
    let computed: Vec<_> =
        cached_events.iter().filter(|e| matches!(e, Event::FrozenStatesCached(_))).collect();
    let [Event::FrozenStatesCached(computed)] = computed[..] else { panic!("{computed:?}") };
    assert_eq!((computed.step, computed.layers, computed.rows), (0, 1, 90));
    assert!(!RunDir::new(cached_dir.path()).frozen_states().exists());

    for (((name, before), (_, after)), p) in
        before.iter().zip(bits(&cached.model)).zip(cached.model.parameters.iter())
    {
        assert_eq!(*before == after, !p.trainable, "{name}");
    }
}

/// What becomes of the file between interruption and resumption.
enum Spoil {
    Text(&'static [u8]),
    OneBit,
}

#[test]
fn an_interrupted_run_uses_the_file_again_unless_it_is_another() {
    let device = &Device::flex();
    let whole_dir = tempfile::tempdir().unwrap();
    let mut whole = frozen_job(device);
    record(&mut whole, &with_cache(true), whole_dir.path(), Start::Fresh, None).0.unwrap();
    let right = bits(&whole.model);

    for spoil in [None, Some(Spoil::Text(b"not it")), Some(Spoil::Text(b"")), Some(Spoil::OneBit)] {
        let dir = tempfile::tempdir().unwrap();
        let mut first = frozen_job(device);
        record(&mut first, &with_cache(true), dir.path(), Start::Fresh, Some(4)).0.unwrap();
        let file = RunDir::new(dir.path()).frozen_states();
        assert!(file.exists());
        match &spoil {
            None => {}
            Some(Spoil::Text(bytes)) => fs::write(&file, bytes).unwrap(),
            Some(Spoil::OneBit) => {
                let mut bytes = fs::read(&file).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(&file, bytes).unwrap();
            }
        }
        let mut second = frozen_job(device);
        let (outcome, events) = record(&mut second, &with_cache(true), dir.path(), Start::Resume, None);
        outcome.unwrap();
        let computed = events.iter().any(|e| matches!(e, Event::FrozenStatesCached(_)));
        assert_eq!(computed, spoil.is_some());
        assert_eq!(bits(&second.model), right);
    }
}
