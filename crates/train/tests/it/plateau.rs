//! Rates that are reduced when evaluations stop improving: the events, the rates of the steps, the weights.

use crate::job::{bag, bits, job, record, settings};
use polytask_train::{Event, Job, LearningRateReduced, ReduceLrOnPlateau, Start, StepEvent};
use serde_json::{Value, json};

/// Evaluations hardly move, and every other one lets rates fall.
fn run(plateau: Value, of_topic: Option<Value>) -> (Job, Vec<StepEvent>, Vec<LearningRateReduced>) {
    let settings = settings(json!({
        "train": {"epochs": 50, "max_steps": 12, "tokens_per_batch": 128, "eval_steps": 2,
                  "reduce_lr_on_plateau": plateau,
                  "export": "last"},
        "optimizer": {"sgd": {"learning_rate": 1e-3, "momentum": 0.0}},
        "schedule": {"constant": {"warmup_ratio": 0.0}},
    }));
    let mut job = job(bag(), 17);
    job.model.tasks[0].training.reduce_lr_on_plateau =
        of_topic.map(|table| serde_json::from_value(table).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let (outcome, events) = record(&mut job, &settings, dir.path(), Start::Fresh, None);
    outcome.unwrap();
    let (mut steps, mut falls) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Step(step) => steps.push(step),
            Event::LearningRateReduced(fall) => falls.push(fall),
            _ => {}
        }
    }
    (job, steps, falls)
}

#[test]
fn all_rates_fall_with_the_run() {
    // Nothing counts as better but the first.
    let (_, steps, falls) =
        run(json!({"factor": 0.1, "patience": 1, "threshold": 2.0, "min_factor": 0.05}), None);
    let found: Vec<_> = falls.iter().map(|fall| (fall.step, fall.task.clone(), fall.factor)).collect();
    assert_eq!(found, [(6, None, 0.1), (10, None, 0.05)]);
    let rates: Vec<f64> = steps.iter().map(|step| step.learning_rate).collect();
    let expected: Vec<f64> = (0..12)
        .map(|step| {
            if step < 6 {
                1e-3
            } else if step < 10 {
                1e-4
            } else {
                5e-5
            }
        })
        .collect();
    assert!(rates.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-18), "{rates:?}");
    assert!(steps.iter().all(|step| step.head_factors.is_empty()));
}

#[test]
fn a_task_lets_its_own_head_alone_fall() {
    let plateau = json!({"factor": 0.1, "patience": 0, "threshold": 2.0});
    let never: ReduceLrOnPlateau = serde_json::from_value(json!({"patience": 100})).unwrap();
    let never = serde_json::to_value(never).unwrap();
    let (with, steps, falls) = run(never.clone(), Some(plateau));
    assert!(falls.iter().all(|fall| fall.task.as_deref() == Some("topic")));
    assert_eq!(falls.iter().map(|fall| fall.step).collect::<Vec<_>>(), [4, 6]);
    assert_eq!((steps[3].head_factors["topic"], steps[4].head_factors["topic"]), (1.0, 0.1));
    assert!(steps.iter().all(|step| step.learning_rate == 1e-3 && step.head_factors.len() == 1));
    let (without, ..) = run(never, None);
    // A head that learns more slowly ends elsewhere; the head of `polarity`, which reads other rows, sees it by the trunk alone.
    let weights =
        |job: &Job| bits(&job.model).into_iter().find(|(name, _)| name == "head.topic.weight").unwrap();
    assert_ne!(weights(&with), weights(&without));
}
