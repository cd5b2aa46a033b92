//! A model that is pruned while it is trained: what is gone is zero and stays so, what is saved is the smaller model that is left, and no bit
//! depends on interruptions or threads.

use crate::job::{bag, bert, bits, deberta, job, record, settings};
use crate::schemes::{job_of, llama, schemes};
use burn::tensor::Device;
use data::Split;
use model::pruning::{CutWeights, gates};
use polytask_train::{Event, Job, Model, Outcome, Pruned, RunDir, Settings, Start, TrainError, evaluate};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Twenty steps, of which the eighth to the thirteenth prune.
fn pruned(pruning: Json, more: Json) -> Settings {
    let mut all = json!({
        "train": {"epochs": 10, "max_steps": 20, "tokens_per_batch": 128, "seed": 4, "eval_steps": 4, "save_steps": 6},
        "pruning": {"begin": 0.2, "end": 0.6, "every": 2},
    });
    for (key, value) in pruning.as_object().unwrap() {
        all["pruning"][key] = value.clone();
    }
    for (key, value) in more.as_object().unwrap() {
        match value.as_object().filter(|_| key == "train") {
            Some(keys) => keys.iter().for_each(|(name, value)| all["train"][name] = value.clone()),
            None => all[key] = value.clone(),
        }
    }
    settings(all)
}

fn cuts(events: &[Event]) -> Vec<Pruned> {
    let of = |event: &Event| if let Event::Pruned(e) = event { Some(e.clone()) } else { None };
    events.iter().filter_map(of).collect()
}

fn run(job: &mut Job, settings: &Settings, dir: &Path) -> Vec<Event> {
    let (outcome, events) = record(job, settings, dir, Start::Fresh, None);
    assert!(matches!(outcome.unwrap(), Outcome::Finished { .. }));
    events
}

/// How many columns of the matrix out of the feed-forward part of each layer are zero, and whether all that is zero is exactly so.
fn zero_columns(model: &Model) -> Vec<usize> {
    let of_layer = |ffn: model::pruning::ColumnGates| {
        let values = model.parameters.data(ffn.parameter);
        let is_zero =
            |column: &usize| values.iter().skip(*column).step_by(ffn.count).all(|value| *value == 0.0);
        (0..ffn.count).filter(is_zero).count()
    };
    gates(&model.trunk).into_iter().map(|layer| of_layer(layer.ffn.unwrap())).collect()
}

/// The losses of all tasks.
fn losses(model: &Model, job: &Job) -> Vec<f64> {
    let never = AtomicBool::new(false);
    let found = evaluate(model, Split::Validation, &job.views.validation, 64, &never).unwrap();
    found.tasks.iter().map(|task| task.loss.unwrap()).collect()
}

/// The saved model, with the validation split.
fn opened(dir: &Path, job: &Job) -> Model {
    let (mut model, ..) = Model::open(&RunDir::new(dir).model(), &Device::flex()).unwrap();
    for (slot, own) in model.tasks.iter_mut().zip(&job.model.tasks) {
        slot.view = own.view;
        slot.head.encode_targets(Split::Validation, &job.views.validation[own.view]).unwrap();
    }
    model
}

/// What was saved answers as the masked model; gives it.
fn same_answers(dir: &Path, job: &Job, what: &str) -> Model {
    let model = opened(dir, job);
    for (own, saved) in losses(&job.model, job).iter().zip(losses(&model, job)) {
        assert!((own - saved).abs() < 1e-5, "{what}: {own} {saved}");
    }
    model
}

#[test]
fn every_optimizer_leaves_what_is_gone_at_zero_and_the_smaller_model_is_saved() {
    let optimizers = [
        json!({"adamw": {"learning_rate": 5e-3, "weight_decay": 0.1}}),
        json!({"sgd": {"learning_rate": 0.05}}),
        json!({"lion": {"learning_rate": 1e-3}}),
        json!({"adafactor": {}}),
        json!({"muon": {}}),
        json!({"schedule_free_adamw": {"learning_rate": 5e-3}}),
    ];
    for (optimizer, score) in optimizers.into_iter().zip(["movement", "taylor"].into_iter().cycle()) {
        let what = format!("{optimizer} {score}");
        let settings = pruned(json!({"ffn": 0.5, "score": score}), json!({"optimizer": optimizer}));
        let (mut job, dir) = (job(bert(), 3), tempfile::tempdir().unwrap());
        let whole = job.model.parameters.size();
        let events = run(&mut job, &settings, dir.path());
        // Of 64 columns 32; a way of 0.2 .. 0.6 of 20 steps, by hand: 1 - 0.5 (1 - t)^3 of them rounded up.
        let found: Vec<(usize, f64, bool)> =
            cuts(&events).iter().map(|cut| (cut.step, 64.0 * cut.ffn.unwrap(), cut.complete)).collect();
        let expected = [(6, 46.0, false), (8, 36.0, false), (10, 33.0, false), (12, 32.0, true)];
        assert_eq!(found, expected, "{what}");
        assert_eq!(zero_columns(&job.model), [32, 32], "{what}");
        let small = same_answers(dir.path(), &job, &what);
        assert!(small.parameters.size() < whole && zero_columns(&small) == [0, 0], "{what}");
        assert_eq!(small.trunk.spec().config_json["intermediate_size"], 32, "{what}");
        // The best evaluation is one of the network that is saved.
        let best: Vec<usize> = events
            .iter()
            .filter_map(|event| if let Event::Evaluated(e) = event { e.best.then_some(e.step) } else { None })
            .collect();
        assert!(!best.is_empty() && best.iter().all(|step| *step >= 12), "{what}: {best:?}");
    }
}

#[test]
fn columns_and_heads_of_every_backbone_are_pruned() {
    let modern = json!({"modernbert": {"layers": 2, "hidden": 16, "heads": 2, "dropout": 0.1}});
    for (backbone, pruning) in [
        (deberta(), json!({"ffn": 0.25})),
        (modern, json!({"ffn": 0.25})),
        (llama(), json!({"ffn": 0.5, "heads": 0.5})),
        (llama(), json!({"heads": 0.5, "score": "taylor"})),
    ] {
        let what = format!("{backbone} {pruning}");
        let settings = pruned(pruning.clone(), json!({}));
        let (mut job, dir) = (job(backbone, 3), tempfile::tempdir().unwrap());
        run(&mut job, &settings, dir.path());
        let small = same_answers(dir.path(), &job, &what);
        let [whole, left] = [&job.model, &small].map(|model| gates(&model.trunk));
        for (whole, left) in whole.iter().zip(&left) {
            let ffn = pruning["ffn"].as_f64().unwrap_or(1.0);
            assert_eq!(left.ffn.unwrap().count as f64, whole.ffn.unwrap().count as f64 * ffn, "{what}");
            if pruning["heads"].is_number() {
                assert_eq!((whole.heads.unwrap().count, left.heads.unwrap().count), (2, 1), "{what}");
            }
        }
    }
}

#[test]
fn an_interrupted_run_and_any_number_of_threads_give_the_same_bits() {
    let settings = pruned(json!({"ffn": 0.5}), json!({"train": {"gradient_accumulation_steps": 2}}));
    let go = |stops: &[usize], threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (dir, mut events, mut start) = (tempfile::tempdir().unwrap(), Vec::new(), Start::Fresh);
            for stop in stops.iter().map(|stop| Some(*stop)).chain([None]) {
                let mut job = job(bert(), 3);
                let (outcome, found) = record(&mut job, &settings, dir.path(), start, stop);
                outcome.unwrap();
                events.extend(found);
                start = Start::Resume;
                if stop.is_none() {
                    let saved =
                        std::fs::read(RunDir::new(dir.path()).model().join("model.safetensors")).unwrap();
                    let text = std::fs::read_to_string(RunDir::new(dir.path()).metrics()).unwrap();
                    let written: Vec<Event> =
                        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                    assert_eq!(cuts(&written), cuts(&events), "{stops:?}: each once in metrics.jsonl");
                    return (bits(&job.model), saved, cuts(&events));
                }
            }
            unreachable!("the last has no stop")
        })
    };
    let whole = go(&[], 1);
    assert_eq!(whole.2.len(), 4);
    // Before, at, between and after cuts.
    for (stops, threads) in [(&[2, 6, 7, 12, 15][..], 1), (&[8, 11], 3), (&[], 2)] {
        assert!(go(stops, threads) == whole, "{stops:?} {threads}");
    }
}

#[test]
fn a_run_that_ends_early_is_cut_to_its_end() {
    // The clock of the tests goes on by a millisecond whenever it is read.
    let settings = pruned(json!({"ffn": 0.5}), json!({"train": {"max_minutes": 0.0004}}));
    let (mut job, dir) = (job(bert(), 3), tempfile::tempdir().unwrap());
    let events = run(&mut job, &settings, dir.path());
    let last = cuts(&events).pop().unwrap();
    let steps = events.iter().filter(|event| matches!(event, Event::Step(_))).count();
    assert!(last.complete && last.step == steps && steps < 12, "{steps} {last:?}");
    same_answers(dir.path(), &job, "early");
    let evaluated =
        events.iter().rev().find_map(|e| if let Event::Evaluated(e) = e { Some(e.clone()) } else { None });
    assert!(evaluated.is_some_and(|e| e.best && e.step == steps));
}

#[test]
fn what_methods_that_look_at_gradients_combine_is_what_scores_are_made_of() {
    for (balance, scope) in
        [("upgrad", "all_shared"), ("pcgrad", "last_layer"), ("uncertainty", "all_shared")]
    {
        let more = json!({"balance": {balance: {}}, "train": {"gradient_scope": scope}});
        let (mut job, dir) = (job(bert(), 3), tempfile::tempdir().unwrap());
        run(&mut job, &pruned(json!({"ffn": 0.5}), more), dir.path());
        same_answers(dir.path(), &job, balance);
    }
}

/// Under every scheme a model is pruned to one that answers alike, or is refused before its first step.
#[test]
fn every_sharing_scheme_is_pruned_or_refused() {
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for scheme in schemes() {
        let mut job = job_of(bert(), &scheme, 0.1);
        let dir = tempfile::tempdir().unwrap();
        let settings = pruned(json!({"ffn": 0.5}), json!({}));
        let (outcome, events) = record(&mut job, &settings, dir.path(), Start::Fresh, None);
        match outcome {
            Ok(_) => {
                let model = opened(dir.path(), &job);
                for (own, saved) in losses(&job.model, &job).iter().zip(losses(&model, &job)) {
                    assert!((own - saved).abs() < 1e-5, "{scheme:?}: {own} {saved}");
                }
                done.push(scheme.name());
            }
            Err(TrainError::Settings(errors)) => {
                assert!(events.is_empty(), "{scheme:?}");
                let text = errors[0].to_string();
                assert!(text.contains("pruning") && text.contains(scheme.name()), "{text}");
                refused.push(scheme.name());
            }
            Err(other) => panic!("{scheme:?}: {other}"),
        }
    }
    // Of those that are pruned nothing has the size that is cut: `lora` updates queries and values.
    for name in ["hard", "adapters", "task_embedding", "mmoe", "pals", "scalar_mix", "prefix", "lora"] {
        assert!(done.contains(&name), "{name}: {done:?}");
    }
    for name in ["ia3", "soft", "cross_stitch", "branch", "moe", "bitfit"] {
        assert!(refused.contains(&name), "{name}: {refused:?}");
    }
}

#[test]
fn what_cannot_be_pruned_is_refused() {
    let refused = |mut job: Job, pruning: Json, more: Json| {
        let dir = tempfile::tempdir().unwrap();
        let found = record(&mut job, &pruned(pruning, more), dir.path(), Start::Fresh, None).0;
        found.unwrap_err().to_string()
    };
    let frozen = || {
        let mut job = job(bert(), 3);
        let Model { trunk, parameters, .. } = &mut job.model;
        trunk.freeze(1, parameters);
        job
    };
    let stopping = || {
        let mut job = job(bert(), 3);
        job.model.tasks[0].training.early_stopping = serde_json::from_value(json!({"patience": 2})).unwrap();
        job
    };
    for (job, pruning, more, told) in [
        (job(bag(), 3), json!({"ffn": 0.5}), json!({}), "pruning.ffn"),
        (job(bert(), 3), json!({"heads": 0.5}), json!({}), "hidden_size / num_attention_heads"),
        (frozen(), json!({"ffn": 0.5}), json!({}), "which is not trained"),
        (stopping(), json!({"ffn": 0.5}), json!({}), "task.topic.early_stopping"),
        (
            job(bert(), 3),
            json!({"ffn": 0.5}),
            json!({"phases": [{"epochs": 1, "freeze": 1}, {"epochs": 1}]}),
            "phase 1 with `freeze`",
        ),
        (job(bert(), 3), json!({}), json!({}), "nothing to prune"),
        (job(bert(), 3), json!({"ffn": 0.0}), json!({}), "above 0"),
        (job(bert(), 3), json!({"ffn": 0.5, "begin": 0.7}), json!({}), "pruning.end"),
        (job(bert(), 3), json!({"ffn": 0.5, "every": 0}), json!({}), "pruning.every"),
    ] {
        let found = refused(job, pruning.clone(), more);
        assert!(found.contains(told), "{pruning}: {found}");
    }
    // A checkpoint of a run that is pruned otherwise.
    let dir = tempfile::tempdir().unwrap();
    let half = pruned(json!({"ffn": 0.5}), json!({}));
    record(&mut job(bert(), 3), &half, dir.path(), Start::Fresh, Some(7)).0.unwrap();
    let other = pruned(json!({"ffn": 0.25}), json!({}));
    let found =
        record(&mut job(bert(), 3), &other, dir.path(), Start::Resume, None).0.unwrap_err().to_string();
    assert!(found.contains("pruning.ffn"), "{found}");
}

#[test]
fn what_is_cut_is_named_by_rows_and_columns() {
    let job = job(llama(), 3);
    let keep = model::pruning::Cut { head_groups: Some(vec![vec![1], vec![0]]), ..Default::default() };
    let found: Vec<CutWeights> = model::pruning::cut_weights(&job.model.trunk, &keep).unwrap();
    // Queries, keys with values, and the output of each of two layers.
    assert_eq!(found.len(), 6);
    let layers = model::pruning::Cut { layers: Some(vec![0]), ..Default::default() };
    assert!(model::pruning::cut_weights(&job.model.trunk, &layers).is_err());
}
