//! Best checkpoint, early stopping, which checkpoints are kept, and the exported model.

use crate::job::{bag, bert, bits, job, record, settings};
use burn::tensor::Device;
use data::Split;
use polytask_train::{
    Checked, Evaluated, Event, Model, Outcome, RunDir, Start, checkpoints, evaluate, predict,
};
use serde_json::{Value, json};
use std::sync::atomic::AtomicBool;

fn evaluations(events: &[Event]) -> Vec<&Evaluated> {
    events.iter().filter_map(|e| if let Event::Evaluated(v) = e { Some(v) } else { None }).collect()
}

#[test]
fn it_learns_and_the_best_is_exported() {
    let settings = settings(json!({
        "train": {"epochs": 30, "tokens_per_batch": 128, "save_total_limit": 1,
                  "metric_for_best_model": "topic.accuracy"},
        "optimizer": {"adamw": {"learning_rate": 1e-2}},
    }));
    let dir = tempfile::tempdir().unwrap();
    let run_dir = RunDir::new(dir.path());
    let mut trained = job(bag(), 17);
    let (outcome, events) = record(&mut trained, &settings, dir.path(), Start::Fresh, None);
    let evaluations = evaluations(&events);
    let best = evaluations.iter().rfind(|e| e.best).unwrap();
    assert!(best.value > 0.8 && best.value == best.scores["topic"]["accuracy"], "{best:?}");
    assert!(evaluations.iter().all(|e| e.value <= best.value));
    let last = evaluations.last().unwrap().step;
    assert_eq!(outcome.unwrap(), Outcome::Finished { step: best.step, model: run_dir.model() });
    let mut kept = vec![best.step, last];
    kept.dedup();
    assert_eq!(checkpoints(&run_dir).unwrap(), kept);

    // The model on the disk is the job's, and scores what the evaluation of that step scored.
    let (mut opened, manifest, _) = Model::open(&run_dir.model(), &Device::flex()).unwrap();
    assert!(bits(&opened) == bits(&trained.model));
    assert_eq!((manifest.step, &manifest.validation), (best.step, &best.scores));
    let views = &trained.views.validation;
    for (slot, trained) in opened.tasks.iter_mut().zip(&trained.model.tasks) {
        slot.view = trained.view;
        slot.head.encode_targets(Split::Validation, &views[slot.view]).unwrap();
    }
    // Packs of another size change sums by no more than their rounding.
    let never = AtomicBool::new(false);
    let again = evaluate(&opened, Split::Validation, views, 64, &never).unwrap();
    for scored in &again.tasks {
        for (metric, value) in &scored.scores.values {
            assert!((value - best.scores[&scored.task][metric]).abs() < 1e-9, "{} {metric}", scored.task);
        }
    }
    // All tasks of a view from one pass, in the order of its rows.
    let predictions = predict(&opened, &[1, 0], &views[0], 50);
    assert_eq!(predictions.iter().map(Vec::len).collect::<Vec<_>>(), [20, 20]);
    let all_at_once = predict(&opened, &[1, 0], &views[0], 100_000);
    for (a, b) in predictions.iter().flatten().zip(all_at_once.iter().flatten()) {
        assert_eq!(std::mem::discriminant(a), std::mem::discriminant(b));
    }
}

#[test]
fn a_transformer_opens_again_as_it_was() {
    let settings = settings(json!({"train": {"max_steps": 3, "tokens_per_batch": 128, "export": "last"}}));
    let dir = tempfile::tempdir().unwrap();
    let mut trained = job(bert(), 17);
    record(&mut trained, &settings, dir.path(), Start::Fresh, None).0.unwrap();
    let (opened, manifest, _) = Model::open(&RunDir::new(dir.path()).model(), &Device::flex()).unwrap();
    assert!(bits(&opened) == bits(&trained.model));
    assert_eq!((manifest.step, opened.max_length), (3, 32));
    assert_eq!(opened.tasks[0].head.label_space()["labels"], json!(["other", "sport"]));
}

#[test]
fn it_stops_when_nothing_improves() {
    // A learning rate of next to nothing: the first evaluation stays the best.
    let settings = settings(json!({
        "train": {"epochs": 50, "tokens_per_batch": 128, "eval_steps": 2, "early_stopping": {"patience": 3}},
        "optimizer": {"adamw": {"learning_rate": 1e-12}},
    }));
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(bag(), 17);
    for task in &mut job.model.tasks {
        task.training.head_learning_rate = None;
    }
    let (outcome, events) = record(&mut job, &settings, dir.path(), Start::Fresh, None);
    assert!(matches!(outcome.unwrap(), Outcome::Finished { step: 2, .. }));
    assert_eq!(evaluations(&events).len(), 4);
    let stopped =
        events.iter().find_map(|e| if let Event::StoppedEarly(s) = e { Some(s) } else { None }).unwrap();
    assert_eq!((stopped.step, stopped.best, stopped.evaluations), (8, 2, 3));
}

#[test]
fn a_saved_model_that_is_broken_says_where() {
    let settings = settings(json!({"train": {"max_steps": 1, "tokens_per_batch": 128}}));
    let dir = tempfile::tempdir().unwrap();
    record(&mut job(bag(), 17), &settings, dir.path(), Start::Fresh, None).0.unwrap();
    let model = RunDir::new(dir.path()).model();
    let complaint = || Model::open(&model, &Device::flex()).err().unwrap().to_string();
    let manifest = std::fs::read_to_string(model.join("polytask.json")).unwrap();
    std::fs::write(model.join("polytask.json"), manifest.replace("\"format\": 2", "\"format\": 7")).unwrap();
    assert!(complaint().contains("found format 7, this version reads format 2"), "{}", complaint());
    let mut twice: Value = serde_json::from_str(&manifest.replace("\"polarity\"", "\"topic\"")).unwrap();
    for name in ["files", "blake3"] {
        twice.as_object_mut().unwrap().remove(name).unwrap();
    }
    std::fs::write(model.join("polytask.json"), twice.to_string()).unwrap();
    assert!(complaint().contains("polytask.json: task `topic` is there twice"), "{}", complaint());
    std::fs::write(model.join("polytask.json"), "[]").unwrap();
    assert!(complaint().contains("polytask.json"), "{}", complaint());
    std::fs::remove_file(model.join("heads.safetensors")).unwrap();
    std::fs::write(model.join("polytask.json"), &manifest).unwrap();
    assert!(complaint().contains("heads.safetensors"), "{}", complaint());
}

/// One bit of any file of a model is noticed, unless it changes nothing that is read: a space of polytask.json.
#[test]
fn every_damage_of_a_saved_model_is_noticed() {
    let settings = settings(json!({"train": {"max_steps": 1, "tokens_per_batch": 128}}));
    let dir = tempfile::tempdir().unwrap();
    record(&mut job(bag(), 17), &settings, dir.path(), Start::Fresh, None).0.unwrap();
    let model = RunDir::new(dir.path()).model();
    let open = || Model::open(&model, &Device::flex());
    let (whole, _, checked) = open().unwrap();
    assert_eq!(checked, Checked::Yes);
    for entry in std::fs::read_dir(&model).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for place in (0..bytes.len()).step_by(bytes.len() / 40 + 1) {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            if let Ok((opened, ..)) = open() {
                assert!(
                    path.ends_with("polytask.json") && bits(&opened) == bits(&whole),
                    "{}: byte {place}",
                    path.display()
                );
                let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
                assert_eq!(json(&damaged), json(&bytes), "byte {place}");
            }
        }
        std::fs::write(&path, &bytes).unwrap();
    }
    // The message says how to use what was changed on purpose.
    std::fs::write(
        model.join("config.json"),
        std::fs::read_to_string(model.join("config.json")).unwrap() + "\n",
    )
    .unwrap();
    let message = open().err().unwrap().to_string();
    assert!(message.contains("remove \"files\" and \"blake3\" from"), "{message}");
    let manifest = std::fs::read_to_string(model.join("polytask.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&manifest).unwrap();
    for name in ["files", "blake3"] {
        manifest.as_object_mut().unwrap().remove(name).unwrap();
    }
    std::fs::write(model.join("polytask.json"), manifest.to_string()).unwrap();
    assert_eq!(open().unwrap().2, Checked::NoHashes);
}

/// Weights whose products overflow give no scores, and no answers.
#[test]
fn weights_that_overflow_are_told() {
    let settings = settings(json!({"train": {"max_steps": 1, "tokens_per_batch": 128}}));
    let dir = tempfile::tempdir().unwrap();
    let mut trained = job(bag(), 17);
    record(&mut trained, &settings, dir.path(), Start::Fresh, None).0.unwrap();
    let heads: Vec<usize> = (0..trained.model.parameters.len())
        .filter(|index| trained.model.parameters.parameter(*index).name.starts_with("head.topic."))
        .collect();
    assert!(!heads.is_empty());
    for index in heads {
        let length = trained.model.parameters.data(index).len();
        let signs = (0..length).map(|i| if i % 2 == 0 { 3e38 } else { -3e38 });
        trained.model.parameters.set_data(index, signs.collect()).unwrap();
    }
    let never = AtomicBool::new(false);
    let views = &trained.views.validation;
    let scored = evaluate(&trained.model, Split::Validation, views, 100, &never).unwrap();
    let found = scored.nonfinite();
    assert!(matches!(&found[..], [one] if one.starts_with("task `topic`: the scores of ")), "{found:?}");
    let topic = trained.model.tasks.iter().position(|task| task.name == "topic").unwrap();
    let view = &views[trained.model.tasks[topic].view];
    let predictions = predict(&trained.model, &[topic], view, 100).remove(0);
    // States that are small enough have products that are numbers.
    let overflowed: Vec<_> = predictions.iter().filter(|prediction| !prediction.is_finite()).collect();
    assert!(!overflowed.is_empty());
    for prediction in overflowed {
        let input = tasks::ModelInput::Text { text: "", words: &[] };
        assert!(trained.model.tasks[topic].head.to_json(prediction, input)["error"].is_string());
    }
}

#[test]
fn tasks_without_labels_and_settings_out_of_range_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = settings(json!({"train": {"epochs": 0, "save_total_limit": 0},
                              "optimizer": {"adamw": {"beta1": 1.5}}}));
    let message =
        record(&mut job(bag(), 17), &out, dir.path(), Start::Fresh, None).0.unwrap_err().to_string();
    for part in
        ["train.epochs: found 0", "train.save_total_limit: found 0", "optimizer.adamw.beta1: found 1.5"]
    {
        assert!(message.contains(part), "{message}");
    }
    let mut unlabelled = job(bag(), 17);
    unlabelled.views.train[1].rows = std::sync::Arc::from(Vec::new());
    unlabelled.views.train[1].encoded = data::Encoded { offsets: vec![0], ..Default::default() };
    let fine = settings(json!({"train": {"max_steps": 1}}));
    let message = record(&mut unlabelled, &fine, dir.path(), Start::Fresh, None).0.unwrap_err().to_string();
    assert!(message.contains("task `polarity`"), "{message}");
    let unknown = settings(json!({"train": {"metric_for_best_model": "topic.f2"}}));
    let message =
        record(&mut job(bag(), 17), &unknown, dir.path(), Start::Fresh, None).0.unwrap_err().to_string();
    assert!(message.contains("topic.f2") && message.contains("polarity.accuracy"), "{message}");
}
