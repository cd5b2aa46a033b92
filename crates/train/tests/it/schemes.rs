//! What every sharing scheme keeps in a run: each is in the catalogue, and so in these tests.

use crate::job::{bag, bert, bits, deberta, job_with, record, record_in, settings};
use burn::tensor::Device;
use model::{Freeze, SharingConfig};
use polytask_train::{Event, Job, MemoryLimit, Model, Settings, Start, predict};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

fn t5() -> Json {
    json!({"t5": {"layers": 2, "decoder_layers": 1, "hidden": 16, "heads": 2, "dropout": 0.1}})
}

pub fn llama() -> Json {
    json!({"llama": {"layers": 2, "hidden": 16, "heads": 4, "kv_heads": 2, "dropout": 0.1}})
}

/// Every scheme, with settings for small networks where the defaults are for large ones, and variants that take other ways.
pub fn schemes() -> Vec<SharingConfig> {
    let small = |scheme: SharingConfig| -> SharingConfig {
        let settings = match scheme.name() {
            "lora" | "mtl_lora" | "vera" | "poly" | "hydra_lora" => json!({"rank": 2, "freeze_base": false}),
            "mix_lora" => json!({"rank": 2, "experts": 3, "balance": 0.0, "freeze_base": false}),
            "moe" => json!({"balance": 0.0}),
            "prefix" | "prompt" => json!({"length": 3, "freeze_base": false}),
            "bitfit" | "hyper_adapters" => json!({"freeze_base": false}),
            "ia3" => json!({"freeze_base": false}),
            "adapters" => json!({"bottleneck": 3, "freeze_base": false}),
            _ => return scheme,
        };
        serde_json::from_value(json!({ scheme.name(): settings })).unwrap()
    };
    let variants = [
        json!({"adapters": {"parallel": true, "shared": true, "freeze_base": false}}),
        json!({"branch": {"first_layer": 0, "groups": [["polarity"], ["topic", "tags"]]}}),
        json!({"soft": {"penalty": "trace_norm"}}),
        json!({"sluice": {"first_layer": 0, "orthogonality": 0.01}}),
        json!({"mmoe": {"gate": "row", "experts": 3}}),
        json!({"mmoe": {"gate": "task"}}),
        json!({"ple": {"levels": 3, "gate": "row"}}),
    ];
    let variants = variants.map(|config| serde_json::from_value(config).unwrap());
    // Adapters that are fused come from folders: `polytask/tests/it/sharing.rs` has them.
    let all = SharingConfig::all().into_iter().filter(|scheme| scheme.name() != "adapter_fusion");
    all.map(small).chain(variants).collect()
}

/// Whether a scheme goes with a backbone.
fn fits(scheme: &SharingConfig, backbone: &Json) -> bool {
    match scheme.name() {
        // T5 and Llama have no biases.
        "bitfit" => backbone.get("t5").or(backbone.get("llama")).is_none(),
        "prefix" => backbone.get("bert").is_some(),
        // The mean of a row tells a token what comes after it.
        _ => backbone.get("llama").is_none() || !scheme.build().reads_all_tokens(),
    }
}

pub fn job_of(backbone: Json, scheme: &SharingConfig, dropout: f64) -> Job {
    let mut job = job_with(&Device::flex(), backbone, 3, dropout);
    let names: Vec<String> = job.model.tasks.iter().map(|task| task.name.clone()).collect();
    let Model { trunk, parameters, .. } = &mut job.model;
    trunk.set_sharing(scheme.build(), &names, parameters).unwrap();
    job
}

fn steps(steps: usize) -> Settings {
    settings(json!({"train": {"max_steps": steps, "tokens_per_batch": 128, "seed": 4}}))
}

fn trained(mut job: Job, settings: &Settings) -> Job {
    let dir = tempfile::tempdir().unwrap();
    record(&mut job, settings, dir.path(), Start::Fresh, None).0.unwrap();
    job
}

fn weights(job: &Job) -> Vec<(String, Vec<f32>)> {
    let parameters = &job.model.parameters;
    (0..parameters.len()).map(|i| (parameters.parameter(i).name.clone(), parameters.data(i))).collect()
}

/// Equal but for rounding, which differs where gradients are added up in another order.
fn assert_near(a: &Job, b: &Job, what: &str) {
    for ((name, a), (_, b)) in weights(a).iter().zip(weights(b)) {
        let far = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 1e-4, "{what}: {name} {far}");
    }
}

/// Refuses the first so many attempts.
struct FailingLimit {
    attempts: usize,
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
        self.begun.load(Ordering::Relaxed) > self.attempts || checks < 5
    }
}

#[test]
fn what_a_scheme_trains_is_moved_and_answers_from_a_folder_as_before() {
    for backbone in [bag(), bert(), deberta(), llama(), t5()] {
        for scheme in schemes().iter().filter(|scheme| fits(scheme, &backbone)) {
            let mut job = job_of(backbone.clone(), scheme, 0.1);
            let before = weights(&job);
            let dir = tempfile::tempdir().unwrap();
            record(&mut job, &steps(6), dir.path(), Start::Fresh, None).0.unwrap();
            for ((name, before), (_, after)) in before.iter().zip(weights(&job)) {
                let parameter = job.model.parameters.parameter(job.model.parameters.find(name).unwrap());
                // The decoder: no task writes.
                let unused = parameter.depth.is_some_and(|depth| depth.stack == model::Stack::Decoder);
                if !unused && parameter.trainable && !parameter.is_base() {
                    assert!(*before != after, "{backbone} {scheme:?}: {name} is not trained");
                }
            }
            let (opened, manifest, _) = Model::open(&dir.path().join("model"), &Device::flex()).unwrap();
            assert_eq!(manifest.sharing.name(), scheme.name());
            for (tasks, view) in [(vec![0, 1], 0), (vec![2], 1)] {
                let view = &job.views.validation[view];
                let answers = |model: &Model| predict(model, &tasks, view, 64);
                assert_eq!(answers(&opened), answers(&job.model), "{backbone} {scheme:?}");
            }
        }
    }
}

#[test]
fn chunks_train_what_whole_packs_train() {
    let settings = settings(json!({
        "train": {"max_steps": 2, "tokens_per_batch": 256, "seed": 4},
        "optimizer": {"sgd": {"learning_rate": 0.05}},
    }));
    // Under the second one an update of queries or keys is also one of the vectors of distances.
    let cases = [bert(), deberta()].into_iter().flat_map(|backbone| {
        let own = schemes().into_iter().filter(|scheme| fits(scheme, &backbone)).collect::<Vec<_>>();
        own.into_iter().map(move |scheme| (backbone.clone(), scheme))
    });
    for (backbone, scheme) in cases {
        let whole = trained(job_of(backbone.clone(), &scheme, 0.1), &settings);
        let mut chunked = job_of(backbone.clone(), &scheme, 0.1);
        let limit: Arc<dyn MemoryLimit> =
            Arc::new(FailingLimit { attempts: 3, begun: 0.into(), checks: 0.into() });
        let dir = tempfile::tempdir().unwrap();
        let (outcome, events) =
            record_in(Some(&limit), &mut chunked, &settings, dir.path(), Start::Fresh, None);
        outcome.unwrap();
        let reduced = events.iter().filter(|event| matches!(event, Event::ChunkSizeReduced(_))).count();
        assert_eq!(reduced, 3, "{scheme:?}");
        assert_near(&whole, &chunked, &format!("{backbone} {scheme:?}"));
    }
}

/// Activation checkpointing, an interruption, and another number of threads: none changes a bit.
#[test]
fn a_run_has_its_bits_whatever_happens_to_it() {
    for scheme in schemes() {
        let plain = || job_of(bert(), &scheme, 0.1);
        let right = bits(&trained(plain(), &steps(3)).model);
        let mut checkpointed = plain();
        checkpointed.model.trunk.set_activation_checkpointing(true);
        let checkpointed = trained(checkpointed, &steps(3));
        match scheme.name() {
            // Weights that several lanes or layers use: their gradients are added up in another order.
            "mtl_lora" | "poly" | "hyper_adapters" => {
                assert_near(&checkpointed, &trained(plain(), &steps(3)), scheme.name())
            }
            name => assert!(bits(&checkpointed.model) == right, "{name} {scheme:?}"),
        }
        let dir = tempfile::tempdir().unwrap();
        record(&mut plain(), &steps(3), dir.path(), Start::Fresh, Some(2)).0.unwrap();
        let mut resumed = plain();
        record(&mut resumed, &steps(3), dir.path(), Start::Resume, None).0.unwrap();
        assert!(bits(&resumed.model) == right, "{scheme:?}");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert!(pool.install(|| bits(&trained(plain(), &steps(3)).model)) == right, "{scheme:?}");
    }
}

#[test]
fn a_cache_of_frozen_states_trains_the_same_model() {
    let mut refused = BTreeSet::new();
    for scheme in schemes() {
        let of = |cache: bool| {
            let mut job = job_of(bert(), &scheme, 0.1);
            let model = &mut job.model;
            let frozen = Freeze { layers: 1, cache }.apply(&mut model.trunk, &mut model.parameters);
            let settings = settings(json!({
                "train": {"epochs": 1, "tokens_per_batch": 256, "seed": 4}, "cache_frozen": cache,
            }));
            frozen.map(|()| trained(job, &settings))
        };
        match (of(true), of(false)) {
            (Ok(cached), Ok(plain)) => assert_near(&cached, &plain, &format!("{scheme:?}")),
            (Err(error), Err(_)) => {
                assert!(error.to_string().contains("freeze at most 0 layers"), "{error}");
                refused.insert(scheme.name());
            }
            _ => panic!("{scheme:?}"),
        }
    }
    assert_eq!(
        refused.into_iter().collect::<Vec<_>>(),
        ["bitfit", "branch", "conditional_norm", "sluice", "soft"]
    );
}

/// A balancer that compares gradients of the last layer, or of states, works under a scheme or is refused with the reason.
#[test]
fn narrower_scopes_train_or_are_refused() {
    let mut refused = BTreeSet::new();
    for scheme in schemes() {
        for scope in ["last_layer", "representation"] {
            let settings = settings(json!({
                "train": {"max_steps": 2, "tokens_per_batch": 128, "seed": 4, "gradient_scope": scope},
                "balance": {"upgrad": {}},
            }));
            let dir = tempfile::tempdir().unwrap();
            let mut job = job_of(bert(), &scheme, 0.1);
            match record(&mut job, &settings, dir.path(), Start::Fresh, None).0 {
                Ok(_) => {}
                Err(error) => {
                    let error = error.to_string();
                    let told =
                        ["they share none", "among which this sharing scheme has prompts", "none is trained"];
                    assert!(told.iter().any(|told| error.contains(told)), "{scheme:?} {scope}: {error}");
                    refused.insert((scope, scheme.name()));
                }
            }
        }
    }
    let of_last_layer: Vec<&str> =
        refused.iter().filter(|(scope, _)| *scope == "last_layer").map(|(_, name)| *name).collect();
    // Their last layers are each task's own.
    assert_eq!(of_last_layer, ["branch", "prompt", "soft"]);
    for name in ["mmoe", "ple", "cross_stitch", "scalar_mix"] {
        assert!(!refused.contains(&("representation", name)), "{name}");
    }
}

/// The rows of the Jacobian add up to the gradient of the sum of the losses: CAGrad with c = 0 is their mean. What a task has for
/// itself takes its own gradient.
#[test]
fn gradients_of_the_tasks_add_up_to_the_joint_one() {
    let plain = |balance: Json| {
        settings(json!({
            "train": {"max_steps": 1, "tokens_per_batch": 4096, "seed": 4, "max_grad_norm": 1e9},
            "optimizer": {"sgd": {"learning_rate": 0.05, "momentum": 0.0, "weight_decay": 0.0}},
            "balance": balance,
        }))
    };
    let backbone = json!({"bert": {"layers": 2, "hidden": 16, "heads": 2, "dropout": 0.0}});
    for scheme in schemes() {
        let job = || job_of(backbone.clone(), &scheme, 0.0);
        if job().model.trunk.sharing().penalty(&job().model.parameters).is_some() {
            continue; // The penalty is added to what has a gradient, once, whatever the tasks' weights are.
        }
        let before = weights(&job());
        let joint = trained(job(), &plain(json!({"equal": {}})));
        let apart = trained(job(), &plain(json!({"cagrad": {"c": 0.0}})));
        let tasks = joint.model.tasks.len() as f32;
        for ((name, before), ((_, joint_after), (_, apart_after))) in
            before.iter().zip(weights(&joint).into_iter().zip(weights(&apart)))
        {
            let index = joint.model.parameters.find(name).unwrap();
            let factor = if joint.model.parameters.parameter(index).is_shared() { tasks } else { 1.0 };
            for ((before, joint), apart) in before.iter().zip(joint_after).zip(apart_after) {
                let (one, other) = (joint - before, factor * (apart - before));
                assert!((one - other).abs() < 2e-5, "{scheme:?} {name}: {one} and {other}");
            }
        }
    }
}
