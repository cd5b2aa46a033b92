//! Gradients task by task: what the balancer sees of them, what becomes of them, and every method at work on them.

use crate::job::{bag, bert, bits, job_with, record, settings};
use balance::{BalancerConfig, CATALOGUE, CrossGramian, Gramian, StepStatistics};
use burn::tensor::{Device, Tensor};
use data::{Pack, Row, RowRef, Split, View};
use model::{EncoderInput, Lanes, PackOffset, TrunkPass};
use polytask_train::{Event, Gradient, Gradients, Job, Start, StepEvent};
use serde_json::{Value, json};
use std::sync::Arc;
use tasks::{Batch, BatchRow, Loss};

fn steps(events: &[Event]) -> Vec<StepEvent> {
    let of = |event: &Event| if let Event::Step(step) = event { Some(step.clone()) } else { None };
    events.iter().filter_map(of).collect()
}

fn train(job: &mut Job, settings: Value) -> Vec<StepEvent> {
    let dir = tempfile::tempdir().unwrap();
    let (outcome, events) = record(job, &self::settings(settings), dir.path(), Start::Fresh, None);
    outcome.unwrap();
    steps(&events)
}

/// A small BERT without dropout anywhere.
fn plain_job() -> Job {
    let backbone = json!({"bert": {"layers": 2, "hidden": 16, "heads": 2, "dropout": 0.0}});
    job_with(&Device::flex(), backbone, 3, 0.0)
}

/// The labelled rows of a task, without the trainer: their pack, and what says which row is which.
fn labelled_rows(job: &Job, task: usize, split: Split) -> (Pack, Vec<BatchRow>) {
    let slot = &job.model.tasks[task];
    let views = job.views.of(split);
    let refs: Vec<RowRef> = (0..views[slot.view].rows.len())
        .filter(|row| slot.head.labelled(split, *row))
        .map(|row| RowRef { view: slot.view as u32, row: row as u32 })
        .collect();
    let rows = refs.iter().zip(0..).map(|(r, pack_row)| BatchRow { pack_row, row: r.row }).collect();
    (Pack::of(views, &refs), rows)
}

fn states_of(job: &Job, pack: &Pack) -> Tensor<2> {
    let input = EncoderInput {
        ids: &pack.ids,
        positions: &pack.positions,
        segments: &pack.segments,
        offsets: &pack.sequences,
        datasets: &[],
        offset: PackOffset::default(),
    };
    let lanes = Lanes::default();
    let (parameters, lanes) = (&job.model.parameters, &lanes);
    job.model.trunk.states(&TrunkPass { lanes, ..TrunkPass::evaluation(parameters, input) })
}

fn loss_of(
    job: &Job,
    task: usize,
    states: &Tensor<2>,
    (pack, rows): &(Pack, Vec<BatchRow>),
    split: Split,
) -> Loss {
    let batch = Batch::evaluated(states, pack, split, rows);
    job.model.tasks[task].head.loss(&job.model.parameters, &batch).unwrap()
}

/// The gradient of a task over the trunk and over its head.
fn gradient_of(job: &Job, task: usize, split: Split) -> (Vec<f32>, Vec<f32>) {
    let rows = labelled_rows(job, task, split);
    let loss = loss_of(job, task, &states_of(job, &rows.0), &rows, split);
    let parameters = &job.model.parameters;
    let (mut trunk, mut head) = (Vec::new(), Vec::new());
    for (gradient, parameter) in Gradients::backward(loss.mean, parameters).into_iter().zip(parameters.iter())
    {
        let Some(values) = gradient.map(values) else { continue };
        if parameter.is_trunk() { trunk.extend(values) } else { head.extend(values) }
    }
    (trunk, head)
}

fn gradient(job: &Job, task: usize) -> (Vec<f32>, Vec<f32>) {
    gradient_of(job, task, Split::Train)
}

fn values(gradient: Gradient) -> Vec<f32> {
    match gradient {
        Gradient::Vector(g) => g.into_data().try_into_vec().unwrap(),
        Gradient::Matrix(g) => g.into_data().try_into_vec().unwrap(),
        Gradient::Rows { .. } => panic!("the whole table was looked up"),
    }
}

/// The gradient of a task at the states of all rows of its view, with zeros for the other views.
fn at_states(job: &Job, task: usize) -> Vec<f32> {
    let of_view = |view: usize| {
        let refs: Vec<RowRef> = (0..job.views.train[view].rows.len())
            .map(|row| RowRef { view: view as u32, row: row as u32 })
            .collect();
        Pack::of(&job.views.train, &refs)
    };
    let mut all = Vec::new();
    for view in 0..job.views.train.len() {
        let pack = of_view(view);
        let states = states_of(job, &pack).inner().autodiff().require_grad();
        if view != job.model.tasks[task].view {
            all.extend(vec![0.0; pack.tokens() * states.dims()[1]]);
            continue;
        }
        let labelled = |row: &RowRef| job.model.tasks[task].head.labelled(Split::Train, row.row as usize);
        let rows: Vec<BatchRow> = (0..)
            .zip(&pack.rows)
            .filter(|(_, row)| labelled(row))
            .map(|(pack_row, row)| BatchRow { pack_row, row: row.row })
            .collect();
        let mut found = loss_of(job, task, &states, &(pack, rows), Split::Train).mean.backward();
        all.extend(states.grad_remove(&mut found).unwrap().into_data().iter::<f32>());
    }
    all
}

fn near(found: f64, right: f64, what: &str) {
    assert!((found - right).abs() <= 2e-5 * right.abs().max(0.1), "{what}: {found} against {right}");
}

fn gramian_of(rows: &[Vec<f32>]) -> Gramian {
    Gramian::of_rows(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// The first of a run's steps, which takes all rows at once.
fn first_step(job: &mut Job, method: &str, options: Value, scope: &str) -> StepEvent {
    let train_config = json!({"epochs": 1, "max_steps": 1, "tokens_per_batch": 100_000, "max_grad_norm": 0.0,
                              "gradient_scope": scope});
    train(job, json!({"train": train_config, "balance": {method: options}})).remove(0)
}

/// Norms, cosines, weights and the length of the direction of a first step, by every scope.
#[test]
fn a_step_is_what_its_tasks_gradients_say() {
    let none = || json!({});
    let cases = [
        ("upgrad", none(), "all_shared"),
        ("cagrad", none(), "all_shared"),
        ("nash_mtl", none(), "all_shared"),
        ("mgda", none(), "all_shared"),
        ("imtl_g", none(), "all_shared"),
        ("graddrop", none(), "all_shared"),
        ("moco", none(), "all_shared"),
        ("excess_mtl", json!({"eta": 0.5}), "all_shared"),
        ("db_mtl", json!({"beta": 0.9}), "all_shared"),
        ("upgrad", none(), "last_layer"),
        ("graddrop", json!({"leak": 0.5}), "last_layer"),
        ("moco", none(), "last_layer"),
        ("upgrad", none(), "representation"),
        ("imtl", none(), "representation"),
    ];
    for (method, options, scope) in cases {
        let what = format!("{method}, {scope}");
        let mut job = plain_job();
        let names: Vec<String> = job.model.tasks.iter().map(|t| t.name.clone()).collect();
        let (mut trunk, heads): (Vec<_>, Vec<_>) = (0..3).map(|task| gradient(&job, task)).unzip();
        let first = if scope == "last_layer" { first_of_last_layer(&job) } else { 0 };
        let mut j: Vec<Vec<f32>> = match scope {
            "representation" => (0..3).map(|task| at_states(&job, task)).collect(),
            _ => trunk.iter().map(|row| row[first..].to_vec()).collect(),
        };
        let step = first_step(&mut job, method, options.clone(), scope);

        let (gramian, seen) = (gramian_of(&j), step.task_gradients.as_ref().unwrap());
        for (i, name) in names.iter().enumerate() {
            near(seen.norms[name], gramian.norms()[i], &format!("{what}: norm of {name}"));
        }
        let at = |name: &str| names.iter().position(|n| n == name).unwrap();
        assert_eq!(seen.cosines.len(), 3);
        for pair in &seen.cosines {
            let right = gramian.cosine(at(&pair.tasks.0), at(&pair.tasks.1)).unwrap();
            near(pair.cosine, right, &format!("{what}: {:?}", pair.tasks));
        }

        let balancing: BalancerConfig = serde_json::from_value(json!({method: options})).unwrap();
        let order: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut balancer = balancing.build(&order, &[1.0, 1.0, 2.0]).unwrap();
        let losses: Vec<Option<f64>> = names.iter().map(|name| Some(step.losses[name])).collect();
        if let Some(transform) = balancer.gradient_transform() {
            let mut buffers = vec![vec![0.0; j[0].len()]; 3];
            let mut buffers: Vec<&mut [f32]> = buffers.iter_mut().map(Vec::as_mut_slice).collect();
            let mut j: Vec<&mut [f32]> = j.iter_mut().map(Vec::as_mut_slice).collect();
            transform.transform_chunk(first as u64, &losses, &mut j, &mut buffers);
        }
        if scope != "representation" {
            trunk.iter_mut().zip(&j).for_each(|(row, j)| row[first..].copy_from_slice(j));
        }
        let gramian = gramian_of(&j);
        let statistics = StepStatistics { losses: &losses, gramian: Some(&gramian), ..Default::default() };
        let weights = balancer.weights(&statistics);
        let mut square = 0.0;
        for (i, name) in names.iter().enumerate() {
            let (found, right) = (step.weights[name], weights[i]);
            assert!((found - right).abs() <= 1e-3 * right.abs().max(0.1), "{what}: {found} against {right}");
            square += heads[i].iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        }
        let weights: Vec<f64> = names.iter().map(|name| step.weights[name]).collect();
        for at in 0..trunk[0].len() {
            let along: f64 = trunk.iter().zip(&weights).map(|(row, w)| w * f64::from(row[at])).sum();
            square += along * along;
        }
        near(step.gradient_norm, square.sqrt(), &format!("{what}: length of the step"));
    }
}

/// A job whose corpora say the same in every row, so that any half of them has the gradient of all.
fn monotonous_job() -> Job {
    let mut job = plain_job();
    for (at, view) in job.views.train.iter_mut().enumerate() {
        let rows: Arc<[Row]> = std::iter::repeat_n(view.rows[0].clone(), 8).collect();
        *view =
            View::new(view.corpus.clone(), view.input.clone(), rows, &job.model.tokenizer, 32, None).unwrap();
        for task in job.model.tasks.iter_mut().filter(|task| task.view == at) {
            task.head.encode_targets(Split::Train, view).unwrap();
        }
    }
    job
}

/// The balancer gets the products between the gradients of two halves of the rows, each as long as that of all rows, and the
/// direction is made of all rows.
#[test]
fn two_halves_make_a_whole() {
    for (method, options, scope) in [
        ("modo", json!({"gamma": 0.01}), "all_shared"),
        ("sdmgrad", json!({"iterations": 1, "learning_rate": 0.1}), "all_shared"),
        ("modo", json!({"gamma": 0.01}), "last_layer"),
    ] {
        let mut job = monotonous_job();
        let names: Vec<String> = job.model.tasks.iter().map(|t| t.name.clone()).collect();
        let all: Vec<_> = (0..3).map(|task| gradient(&job, task)).collect();
        let first = if scope == "last_layer" { first_of_last_layer(&job) } else { 0 };
        let j: Vec<&[f32]> = all.iter().map(|(trunk, _)| &trunk[first..]).collect();
        let halves = CrossGramian::of_rows(&j, &j);
        let step = first_step(&mut job, method, options.clone(), scope);
        let balancing: BalancerConfig = serde_json::from_value(json!({method: options})).unwrap();
        let order: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut balancer = balancing.build(&order, &[1.0, 1.0, 2.0]).unwrap();
        let losses: Vec<Option<f64>> = names.iter().map(|name| Some(step.losses[name])).collect();
        let statistics =
            StepStatistics { losses: &losses, cross_gramian: Some(&halves), ..Default::default() };
        let right = balancer.weights(&statistics);
        for (i, name) in names.iter().enumerate() {
            near(step.weights[name], right[i], &format!("{method}, {scope}: {name}"));
        }
        let weights: Vec<f64> = names.iter().map(|name| step.weights[name]).collect();
        let along = |at: usize| all.iter().zip(&weights).map(|(g, w)| w * f64::from(g.0[at])).sum::<f64>();
        let heads: f64 = all.iter().flat_map(|(_, head)| head).map(|x| f64::from(*x).powi(2)).sum();
        let square = heads + (0..all[0].0.len()).map(|at| along(at).powi(2)).sum::<f64>();
        near(step.gradient_norm, square.sqrt(), &format!("{method}, {scope}: length of the step"));
    }
}

/// The number of shared parameters below the last layer.
fn first_of_last_layer(job: &Job) -> usize {
    let below = |name: &str| !name.starts_with("backbone.layer.1.");
    job.model.parameters.iter().filter(|p| p.is_trunk() && below(&p.name)).map(|p| p.size()).sum()
}

/// The weights move towards the tasks whose gradients point along that of the validation losses after a trial step.
#[test]
fn a_lookahead_is_the_product_with_the_validation_gradient() {
    let rate = 0.05;
    let mut job = plain_job();
    let names: Vec<String> = job.model.tasks.iter().map(|t| t.name.clone()).collect();
    let rows: Vec<Vec<f32>> = (0..3).map(|task| gradient(&job, task).0).collect();
    let probe_step: Job = {
        let mut job = plain_job();
        let importance = [1.0, 1.0, 2.0];
        let mut at = 0;
        for index in 0..job.model.parameters.len() {
            if !job.model.parameters.parameter(index).is_trunk() {
                continue;
            }
            let mut values = job.model.parameters.data(index);
            for value in &mut values {
                *value -= rate * rows.iter().zip(importance).map(|(row, w)| w * row[at]).sum::<f32>();
                at += 1;
            }
            job.model.parameters.set_data(index, values).unwrap();
        }
        job
    };
    let mut validation = vec![0.0; rows[0].len()];
    for task in 0..3 {
        let of = gradient_of(&probe_step, task, Split::Validation).0;
        validation.iter_mut().zip(of).for_each(|(sum, g)| *sum += f64::from(g));
    }
    let products: Vec<f64> = rows
        .iter()
        .map(|row| row.iter().zip(&validation).map(|(g, v)| f64::from(*g) * v).sum::<f64>())
        .collect();

    let options = json!({"learning_rate": 0.1});
    let balancing: BalancerConfig = serde_json::from_value(json!({"auto_lambda": options})).unwrap();
    let order: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut balancer = balancing.build(&order, &[1.0, 1.0, 2.0]).unwrap();
    let train_config = json!({"epochs": 1, "max_steps": 2, "tokens_per_batch": 100_000,
                              "max_grad_norm": 0.0});
    let settings = json!({"train": train_config, "balance": {"auto_lambda": options},
                          "optimizer": {"adamw": {"learning_rate": rate}}, "schedule": {"constant": {}}});
    let step = train(&mut job, settings).remove(0);
    let losses: Vec<Option<f64>> = names.iter().map(|name| Some(step.losses[name])).collect();
    let statistics = StepStatistics { losses: &losses, lookahead: Some(&products), ..Default::default() };
    let right = balancer.weights(&statistics);
    for (i, name) in names.iter().enumerate() {
        near(step.weights[name], right[i], &format!("weight of {name}, products {products:?}"));
    }
}

/// Methods and what they do not go with, each with the beginning of the reason.
#[test]
fn what_cannot_be_is_refused_before_the_first_step() {
    let window_0 = || json!({"bag": {"width": 16, "window": 0}});
    for (backbone, scope, table, reason) in [
        (bag(), "last_layer", json!({"equal": {}}), "looks at losses only"),
        (bag(), "representation", json!({"famo": {}}), "looks at losses only"),
        (bag(), "representation", json!({"moco": {}}), "keeps numbers of every parameter"),
        (bag(), "representation", json!({"db_mtl": {"beta": 0.9}}), "keeps numbers of every parameter"),
        (bag(), "representation", json!({"auto_lambda": {}}), "compares gradients of different rows"),
        (bag(), "representation", json!({"modo": {}}), "compares gradients of different rows"),
        (window_0(), "last_layer", json!({"upgrad": {}}), "has no last layer to look at"),
    ] {
        let job = job_with(&Device::flex(), backbone, 5, 0.1);
        let settings = settings(json!({"train": {"gradient_scope": scope}, "balance": table}));
        let refused = polytask_train::step_plan(&job, &settings).unwrap_err().to_string();
        assert!(refused.starts_with("[balance.") && refused.contains(&format!("] {reason}")), "{refused}");
    }
    let mut job = job_with(&Device::flex(), bert(), 5, 0.1);
    job.model.trunk.freeze(2, &mut job.model.parameters);
    let refused = polytask_train::step_plan(&job, &settings(json!({"balance": {"upgrad": {}}}))).unwrap_err();
    assert!(refused.to_string().contains("and none is trained; freeze fewer layers"), "{refused}");
    let mut job = job_with(&Device::flex(), bert(), 5, 0.1);
    job.views.validation.clear();
    let refused = polytask_train::step_plan(&job, &settings(json!({"balance": {"auto_lambda": {}}})));
    assert!(refused.unwrap_err().to_string().contains("looks ahead at validation rows"));
}

/// The table of a method with settings where it needs some.
fn table_of(name: &str) -> Value {
    match name {
        "static" => json!({"weights": {"tags": 2.0}}),
        "cr_mogm" => json!({"method": {"cagrad": {}}}),
        _ => json!({}),
    }
}

/// Every method trains on both backbones, with accumulated packs; what it says of the step is finite.
#[test]
fn every_method_trains() {
    for (name, _) in CATALOGUE {
        for (backbone, accumulate) in [(bag(), 1), (bert(), 2)] {
            let train = json!({"epochs": 3, "tokens_per_batch": 200,
                               "gradient_accumulation_steps": accumulate});
            trains(name, backbone, json!({"train": train, "balance": {*name: table_of(name)}}));
        }
    }
}

/// By the narrower scopes too, where they go together, with accumulated packs.
#[test]
fn every_scope_trains() {
    let mut ran = 0;
    for name in ["upgrad", "nash_mtl", "gradnorm", "graddrop", "moco", "modo", "auto_lambda"] {
        for scope in ["last_layer", "representation"] {
            let train = json!({"epochs": 3, "tokens_per_batch": 200, "gradient_accumulation_steps": 2,
                       "gradient_scope": scope});
            let settings = json!({"train": train, "balance": {name: {}}});
            let job = job_with(&Device::flex(), bert(), 5, 0.1);
            if polytask_train::step_plan(&job, &self::settings(settings.clone())).is_ok() {
                trains(name, bert(), settings);
                ran += 1;
            }
        }
    }
    // All of them by the last layer; by the representation those that neither keep values of parameters nor compare other rows.
    assert_eq!(ran, 7 + 4);
}

fn trains(name: &str, backbone: Value, settings: Value) {
    let mut job = job_with(&Device::flex(), backbone, 5, 0.1);
    let before = bits(&job.model);
    let done = train(&mut job, settings);
    let (first, last) = (&done[0], &done[done.len() - 1]);
    let mean = |step: &StepEvent| step.losses.values().sum::<f64>() / step.losses.len() as f64;
    assert!(mean(last) < mean(first), "{name}: {} to {}", mean(first), mean(last));
    for step in &done {
        assert!(step.weights.values().all(|w| w.is_finite()), "{name}: {:?}", step.weights);
        assert!(step.gradient_norm.is_finite(), "{name}");
    }
    let after = bits(&job.model);
    let same = before.iter().zip(&after).filter(|(a, b)| a == b).count();
    assert_eq!(same, 0, "{name}: every parameter moves");
}
