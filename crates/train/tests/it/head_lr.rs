//! Rates of heads that are balanced by the progress of their tasks: every step's factors against those made of the events before it.

use crate::job::{bag, bits, job, record, settings};
use polytask_train::{Event, Start, StepEvent};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn run(balancing: Option<Value>, balance: &str) -> (Vec<(String, Vec<u32>)>, Vec<StepEvent>) {
    let mut train = json!({"epochs": 50, "max_steps": 30, "tokens_per_batch": 100, "export": "last"});
    train["head_lr_balancing"] = balancing.unwrap_or(Value::Null);
    let settings = settings(json!({"train": train, "balance": {balance: {}}}));
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(bag(), 17);
    let (outcome, events) = record(&mut job, &settings, dir.path(), Start::Fresh, None);
    outcome.unwrap();
    let step = |event| if let Event::Step(step) = event { Some(step) } else { None };
    (bits(&job.model), events.into_iter().filter_map(step).collect())
}

/// The formula of the documentation, over again from the first event.
fn expected(before: &[StepEvent], alpha: f64, memory: f64) -> BTreeMap<String, f64> {
    let running = |values: Vec<f64>| {
        let first = values[0];
        (first, values[1..].iter().fold(first, |mean, value| memory * mean + (1.0 - memory) * value))
    };
    let mut left = BTreeMap::new();
    let mut norms = BTreeMap::new();
    for task in ["topic", "tags", "polarity"] {
        let losses: Vec<f64> = before.iter().filter_map(|step| step.losses.get(task).copied()).collect();
        let of_step = |step: &StepEvent| step.task_gradients.as_ref()?.norms.get(task).copied();
        let found: Vec<f64> = before.iter().filter_map(of_step).collect();
        if losses.is_empty() {
            continue;
        }
        let (first, mean) = running(losses);
        left.insert(task, mean / first);
        if !found.is_empty() {
            norms.insert(task, running(found).1);
        }
    }
    let mean = |values: &BTreeMap<&str, f64>| values.values().sum::<f64>() / values.len() as f64;
    let factor = |task: &str| {
        let Some(rate) = left.get(task).map(|left_of| left_of / mean(&left)) else { return 1.0 };
        let by_norm = norms.get(task).map_or(1.0, |norm| mean(&norms) / norm);
        (rate.powf(alpha) * by_norm).clamp(0.2, 5.0)
    };
    ["topic", "tags", "polarity"].iter().map(|task| (task.to_string(), factor(task))).collect()
}

#[test]
fn factors_follow_losses_and_the_norms_that_are_measured() {
    for balance in ["equal", "upgrad"] {
        let config = json!({"alpha": 1.2, "memory": 0.8, "least": 0.2, "most": 5.0});
        let (weights, steps) = run(Some(config), balance);
        let measured = steps.iter().any(|step| step.task_gradients.is_some());
        assert_eq!(measured, balance == "upgrad");
        let mut furthest = 0.0f64;
        for (i, step) in steps.iter().enumerate() {
            let expected = expected(&steps[..i], 1.2, 0.8);
            assert_eq!(step.head_factors.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
            for (task, expected) in expected {
                let found = step.head_factors[&task];
                assert!(
                    (found - expected).abs() < 1e-12,
                    "{balance}, step {i}, {task}: {found}, expected {expected}"
                );
                furthest = furthest.max((found - 1.0).abs());
            }
        }
        assert!(furthest > 0.1, "{balance}: no rate has moved: {furthest}");
        let (plain, steps) = run(None, balance);
        assert!(steps.iter().all(|step| step.head_factors.is_empty()));
        assert!(plain != weights, "{balance}: the factors move nothing");
    }
}
