//! Gradients task by task: what the balancer sees of them, what becomes of them, and every method at work on them.

mod job;

use balance::{Balancing, CATALOGUE, Gramian};
use burn::tensor::Device;
use data::{Pack, RowRef, Split};
use job::{bag, bert, bits, job_with, record, settings};
use model::{Group, Tokens, Weight};
use polytask_train::{Event, Gradients, Job, Start, Step};
use serde_json::{Value, json};
use tasks::{Batch, BatchRow};

fn steps(events: &[Event]) -> Vec<Step> {
    let of = |event: &Event| if let Event::Step(step) = event { Some(step.clone()) } else { None };
    events.iter().filter_map(of).collect()
}

fn train(job: &mut Job, settings: Value) -> Vec<Step> {
    let dir = tempfile::tempdir().unwrap();
    let (outcome, events) = record(job, &self::settings(settings), dir.path(), Start::Fresh, None);
    outcome.unwrap();
    steps(&events)
}

/// The gradient of a task over the trunk and over its head, from all its rows at once and without the trainer.
fn gradient(job: &Job, task: usize) -> (Vec<f32>, Vec<f32>) {
    let (model, slot) = (&job.model, &job.model.tasks[task]);
    let view = &job.views.train[slot.view];
    let labelled = (0..view.rows.len()).filter(|row| slot.kind.labelled(Split::Train, *row));
    let refs: Vec<RowRef> = labelled.map(|row| RowRef { view: slot.view as u32, row: row as u32 }).collect();
    let pack = Pack::of(&job.views.train, &refs);
    let tokens =
        Tokens { ids: &pack.ids, positions: &pack.positions, segments: &pack.segments, rows: &pack.offsets };
    let states = model.backbone.states(&model.parameters, tokens, None);
    let rows: Vec<BatchRow> =
        refs.iter().zip(0..).map(|(r, pack_row)| BatchRow { pack_row, row: r.row }).collect();
    let batch = Batch { states: &states, pack: &pack, split: Split::Train, rows: &rows, noise_seed: None };
    let loss = slot.kind.loss(&model.parameters, &batch).unwrap();
    let (mut trunk, mut head) = (Vec::new(), Vec::new());
    for (gradient, parameter) in
        Gradients::backward(loss.mean, &model.parameters).into_iter().zip(model.parameters.iter())
    {
        let numbers: Vec<f32> = match gradient {
            Some(Weight::Vector(g)) => g.into_data().try_into_vec().unwrap(),
            Some(Weight::Matrix(g)) => g.into_data().try_into_vec().unwrap(),
            None => continue,
        };
        if parameter.group == Group::Trunk { trunk.extend(numbers) } else { head.extend(numbers) }
    }
    (trunk, head)
}

fn near(found: f64, right: f64, what: &str) {
    assert!((found - right).abs() <= 2e-5 * right.abs().max(0.1), "{what}: {found} against {right}");
}

/// Norms, cosines, weights and the length of the direction of a first step, in one pack and in several.
#[test]
fn a_step_is_what_its_tasks_gradients_say() {
    for method in ["upgrad", "cagrad", "nash_mtl", "mgda", "imtl_g"] {
        let backbone = json!({"bert": {"layers": 2, "hidden": 16, "heads": 2, "dropout": 0.0}});
        let mut job = job_with(&Device::flex(), backbone, 3, 0.0);
        let names: Vec<String> = job.model.tasks.iter().map(|t| t.name.clone()).collect();
        let gradients: Vec<_> = (0..names.len()).map(|task| gradient(&job, task)).collect();
        let rows: Vec<&[f32]> = gradients.iter().map(|(trunk, _)| &trunk[..]).collect();
        let gramian = Gramian::of_rows(&rows);

        let done = train(
            &mut job,
            json!({"train": {"epochs": 1, "max_steps": 1, "tokens_per_step": 100_000, "clip_norm": 0.0},
                   "balance": {method: {}}}),
        );
        let step = &done[0];
        let seen = step.task_gradients.as_ref().unwrap();
        for (i, name) in names.iter().enumerate() {
            near(seen.norms[name], gramian.norms()[i], &format!("{method}: norm of {name}"));
        }
        assert_eq!(seen.cosines.len(), 3);
        for pair in &seen.cosines {
            let at = |name: &str| names.iter().position(|n| n == name).unwrap();
            let right = gramian.cosine(at(&pair.tasks.0), at(&pair.tasks.1)).unwrap();
            near(pair.cosine, right, &format!("{method}: {:?}", pair.tasks));
        }

        let balancing: Balancing = serde_json::from_value(json!({method: {}})).unwrap();
        let order: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut balancer = balancing.build(&order, &[1.0, 1.0, 2.0]).unwrap();
        let losses: Vec<Option<f64>> = names.iter().map(|name| Some(step.losses[name])).collect();
        let weights =
            balancer.weigh(&balance::Step { losses: &losses, gramian: Some(&gramian), ..Default::default() });
        let mut square = 0.0;
        for (i, name) in names.iter().enumerate() {
            let (found, right) = (step.weights[name], weights[i]);
            assert!(
                (found - right).abs() <= 1e-3 * right.abs().max(0.1),
                "{method}: {found} against {right}"
            );
            square += gradients[i].1.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        }
        let weights: Vec<f64> = names.iter().map(|name| step.weights[name]).collect();
        for at in 0..rows[0].len() {
            let along: f64 = rows.iter().zip(&weights).map(|(row, w)| w * f64::from(row[at])).sum();
            square += along * along;
        }
        near(step.gradient_norm, square.sqrt(), &format!("{method}: length of the step"));
    }
}

/// Methods that need what training does not give.
const REFUSED: [&str; 6] = ["graddrop", "moco", "excess_mtl", "modo", "sdmgrad", "auto_lambda"];

#[test]
fn what_a_step_cannot_give_is_refused_before_the_first() {
    let tables = REFUSED.map(|name| (name, json!({name: {}})));
    for (name, table) in tables.into_iter().chain([("db_mtl", json!({"db_mtl": {"beta": 0.9}}))]) {
        let job = job_with(&Device::flex(), bag(), 5, 0.1);
        let refused = polytask_train::timetable(&job, &settings(json!({"balance": table}))).unwrap_err();
        let begin = format!("[balance.{name}] needs ");
        assert!(refused.to_string().starts_with(&begin), "{refused}");
    }
}

/// Every method trains on both backbones, with accumulated packs; what it says of the step is finite.
#[test]
fn every_method_trains() {
    for (name, _) in CATALOGUE.iter().filter(|(name, _)| !REFUSED.contains(name)) {
        let table = match *name {
            "static" => json!({"weights": {"tags": 2.0}}),
            "cr_mogm" => json!({"method": {"cagrad": {}}}),
            _ => json!({}),
        };
        for (backbone, accumulate) in [(bag(), 1), (bert(), 2)] {
            let mut job = job_with(&Device::flex(), backbone, 5, 0.1);
            let before = bits(&job.model);
            let done = train(
                &mut job,
                json!({"train": {"epochs": 3, "tokens_per_step": 200, "accumulate": accumulate},
                       "balance": {*name: table}}),
            );
            let (first, last) = (&done[0], &done[done.len() - 1]);
            let mean = |step: &Step| step.losses.values().sum::<f64>() / step.losses.len() as f64;
            assert!(mean(last) < mean(first), "{name}: {} to {}", mean(first), mean(last));
            for step in &done {
                assert!(step.weights.values().all(|w| w.is_finite()), "{name}: {:?}", step.weights);
                assert!(step.gradient_norm.is_finite(), "{name}");
            }
            let after = bits(&job.model);
            let same = before.iter().zip(&after).filter(|(a, b)| a == b).count();
            assert_eq!(same, 0, "{name}: every parameter moves");
        }
    }
}
