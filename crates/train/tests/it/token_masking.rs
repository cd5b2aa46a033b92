//! A task that masks tokens, beside others on the same text.

use crate::job::{bag, bert, bits, job_with, record, settings};
use burn::tensor::Device;
use data::{Split, TokenMasking, View};
use polytask_train::{Event, HeadlessTask, Job, Start, StepEvent, TaskTable, TrainError};
use serde_json::{Value, json};

/// The small job, and masked tokens of the reviews, to be predicted.
fn masking_job(backbone: Value, dropout: f64) -> Job {
    let mut job = job_with(&Device::flex(), backbone, 5, dropout);
    let model = &mut job.model;
    let config = json!({"corpus": "reviews", "masked_language_model": {"text": "text", "percent": 30}});
    let table: TaskTable = serde_json::from_value(config).unwrap();
    let kind = table.build("found").unwrap();
    let masking = kind.mask_percent().map(|percent| TokenMasking::new(percent, &model.tokenizer).unwrap());
    let task = HeadlessTask { name: "found".into(), table, kind, label_space: json!({}), view: 2 };
    let mut slot = task.build(&model.trunk, None, &model.tokenizer, &mut model.parameters).unwrap();
    for (split, views) in
        [(Split::Train, &mut job.views.train), (Split::Validation, &mut job.views.validation)]
    {
        views.push(View { masking, ..views[1].clone() });
        slot.head.encode_targets(split, &views[2]).unwrap();
    }
    model.tasks.push(slot);
    job
}

fn ran(mut job: Job, json: Value) -> (Job, Vec<Event>) {
    let dir = tempfile::tempdir().unwrap();
    let (outcome, events) = record(&mut job, &settings(json), dir.path(), Start::Fresh, None);
    outcome.unwrap();
    (job, events)
}

fn steps(events: &[Event]) -> Vec<&StepEvent> {
    events.iter().filter_map(|event| if let Event::Step(step) = event { Some(step) } else { None }).collect()
}

#[test]
fn other_tasks_do_not_see_what_is_masked() {
    let plain = json!({"bert": {"layers": 2, "hidden": 16, "heads": 2, "dropout": 0.0}});
    let all_rows = json!({"train": {"epochs": 1, "tokens_per_batch": 10_000, "seed": 3}});
    let (_, with) = ran(masking_job(plain.clone(), 0.0), all_rows.clone());
    let (_, without) = ran(job_with(&Device::flex(), plain, 5, 0.0), all_rows);
    let (with, without) = (steps(&with)[0], steps(&without)[0]);
    assert_eq!((with.losses.len(), without.losses.len()), (4, 3));
    for (task, loss) in &without.losses {
        assert!((with.losses[task] - loss).abs() < 1e-5, "{task}: {} against {loss}", with.losses[task]);
    }
    // The reviews run twice: once as they are, once with masked tokens.
    assert_eq!(with.rows, without.rows + 30);
}

#[test]
fn other_tokens_are_masked_in_every_step_and_the_same_in_every_evaluation() {
    let still = json!({
        "train": {"epochs": 3, "tokens_per_batch": 10_000, "seed": 3},
        "optimizer": {"adamw": {"learning_rate": 1e-12, "head_learning_rate": 1e-12}},
    });
    let plain = json!({"bert": {"layers": 1, "hidden": 16, "heads": 2, "dropout": 0.0}});
    let mut job = masking_job(plain, 0.0);
    for task in &mut job.model.tasks {
        task.training.head_learning_rate = Some(1e-12);
    }
    let (_, events) = ran(job, still);
    let losses: Vec<f64> = steps(&events).iter().map(|step| step.losses["found"]).collect();
    let differ = |a: f64, b: f64| (a - b).abs() > 1e-4;
    assert!(losses.len() == 3 && differ(losses[0], losses[1]) && differ(losses[1], losses[2]), "{losses:?}");
    let evaluated = |event: &Event| match event {
        Event::Evaluated(evaluated) => Some(evaluated.losses["found"]),
        _ => None,
    };
    let evaluated: Vec<f64> = events.iter().filter_map(evaluated).collect();
    assert!(
        evaluated.len() == 3 && evaluated.iter().all(|loss| (loss - evaluated[0]).abs() < 1e-6),
        "{evaluated:?}"
    );
}

#[test]
fn runs_go_on_bit_for_bit_also_task_by_task_and_in_halves() {
    for balance in [json!({"equal": {}}), json!({"upgrad": {}}), json!({"modo": {}})] {
        let settings = settings(json!({
            "train": {"epochs": 9, "max_steps": 12, "tokens_per_batch": 120,
                      "gradient_accumulation_steps": 2, "seed": 11},
            "balance": balance,
        }));
        let run = |stops: &[Option<usize>]| {
            let dir = tempfile::tempdir().unwrap();
            let mut start = Start::Fresh;
            let mut last = None;
            for stop in stops {
                let mut job = masking_job(bag(), 0.1);
                record(&mut job, &settings, dir.path(), start, *stop).0.unwrap();
                (start, last) = (Start::Resume, Some(job));
            }
            bits(&last.unwrap().model)
        };
        assert!(run(&[None]) == run(&[Some(5), None]), "{balance}: the result's weights differ");
    }
}

#[test]
fn masked_tokens_are_learned_and_move_the_token_vectors() {
    let before = masking_job(bag(), 0.1);
    let table = before.model.trunk.spec().token_embedding.index();
    let was = before.model.parameters.data(table);
    let (after, events) = ran(before, json!({"train": {"epochs": 40, "tokens_per_batch": 200, "seed": 3}}));
    let steps = steps(&events);
    let mean = |steps: &[&StepEvent]| {
        steps.iter().filter_map(|s| s.losses.get("found")).sum::<f64>() / steps.len() as f64
    };
    let (first, last) = (mean(&steps[..8]), mean(&steps[steps.len() - 8..]));
    assert!(last < 0.7 * first, "{first} {last}");
    // Scores are made with every token's vector: also those move that occur nowhere.
    let now = after.model.parameters.data(table);
    let width = now.len() / after.model.tokenizer.vocabulary();
    let moved = was.chunks(width).zip(now.chunks(width)).filter(|(a, b)| a != b).count();
    assert_eq!(moved, after.model.tokenizer.vocabulary());
}

#[test]
fn states_of_frozen_layers_are_not_cached() {
    let dir = tempfile::tempdir().unwrap();
    let cached = settings(json!({"cache_frozen": true}));
    let (outcome, _) = record(&mut masking_job(bert(), 0.1), &cached, dir.path(), Start::Fresh, None);
    assert!(matches!(outcome, Err(TrainError::CachedMasking { task }) if task == "found"));
}
