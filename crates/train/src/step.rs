//! One step: packs in, moved weights out, or the reason why nothing moved.

use crate::{
    clip,
    config::Settings,
    evaluate::batch_rows,
    events::BadTask,
    gradients::{Gradients, read},
    job::{Model, TaskSlot, Views},
    optimizer::{Moments, Rates},
    trunk::{self, Pass},
};
use balance::Balancer;
use burn::tensor::Tensor;
use data::{Pack, Split, random};
use model::Group;
use std::collections::BTreeMap;
use tasks::{Batch, BatchRow, Loss};

/// How many rows a bad step names per task.
const ROWS_NAMED: usize = 5;

/// What moves with the weights.
pub(crate) struct Movers<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) balancer: &'a mut dyn Balancer,
    pub(crate) moments: &'a mut Moments,
    pub(crate) rates: &'a Rates,
    /// The factor of the schedule.
    pub(crate) factor: f64,
}

/// What a step measured. The maps hold only tasks with labels in it.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) losses: BTreeMap<String, f64>,
    pub(crate) weights: BTreeMap<String, f64>,
    pub(crate) items: BTreeMap<String, usize>,
    pub(crate) gradient_norm: f64,
}

/// The losses of one pack, per task of the model; `None` for tasks without labels in it.
struct Losses {
    of: Vec<Option<Loss>>,
    values: Vec<Option<f64>>,
}

/// Does step number `index` (from 0) on its packs. `below` holds for each the states of the backbone's frozen part, where
/// they are known. `Err` says which tasks had a loss or gradient that is no finite
/// number; then neither weights nor moments nor the balancer have moved.
pub(crate) fn step(
    model: &mut Model,
    views: &Views,
    packs: &[Pack],
    below: Vec<Option<Tensor<2>>>,
    index: usize,
    movers: Movers<'_>,
) -> Result<Measured, Vec<BadTask>> {
    let balancer_before = movers.balancer.state();
    let undo = |balancer: &mut dyn Balancer, faults| {
        // A balancer takes its own state back; it has no reason to refuse.
        let _ = balancer.restore(&balancer_before);
        Err(faults)
    };
    let mut gradients = Gradients::none(model.parameters.len());
    let mut measures = Measures::default();
    for (micro, (pack, below)) in packs.iter().zip(below).enumerate() {
        let noise = |name: &str| noise(movers.settings.train.seed, name, index, micro);
        let losses = forward(model, pack, below, &noise);
        let faults = bad_losses(model, views, pack, &losses.values);
        if !faults.is_empty() {
            return undo(movers.balancer, faults);
        }
        let weights = movers.balancer.weights(&losses.values);
        measures.take_in(model, &losses, &weights);
        if let Some(sum) = weighted_sum(losses, &weights, 1.0 / packs.len() as f64) {
            gradients.add(Gradients::backward(sum, &model.parameters));
        }
    }
    let squares = gradients.squared_norms();
    let norm = squares.iter().sum::<f64>().sqrt();
    if !norm.is_finite() {
        return undo(movers.balancer, bad_gradients(model, views, packs, &squares));
    }
    let shrink = clip::factor(norm, movers.settings.train.clip_norm);
    let optimizer = &movers.settings.optimizer;
    optimizer.step(&mut model.parameters, gradients, movers.moments, movers.rates, shrink, movers.factor);
    Ok(measures.finish(norm))
}

/// The seed of a step's dropout: trunk and heads, steps and packs all draw apart.
fn noise(seed: u64, name: &str, step: usize, micro: usize) -> u64 {
    random::seed_of(seed, &format!("dropout of {name} in pack {micro}"), step as u64)
}

/// The trunk once, from the states `below` its trained part if they are known, then every task's head on the rows that
/// carry its labels.
fn forward(model: &Model, pack: &Pack, below: Option<Tensor<2>>, noise: &dyn Fn(&str) -> u64) -> Losses {
    let labelled = |task: &TaskSlot| batch_rows(pack, task.view, |row| task.kind.labelled(Split::Train, row));
    let rows: Vec<Vec<BatchRow>> = model.tasks.iter().map(labelled).collect();
    let Pass { states, pack } =
        trunk::pass(model, &model.parameters, pack, &rows, below, Some(noise("the trunk")));
    let loss = |(task, rows): (&TaskSlot, &Vec<BatchRow>)| {
        if rows.is_empty() {
            return None;
        }
        let noise_seed = Some(noise(&format!("task {}", task.name)));
        let batch = Batch { states: &states, pack: &pack, split: Split::Train, rows, noise_seed };
        task.kind.loss(&model.parameters, &batch)
    };
    let of: Vec<Option<Loss>> = model.tasks.iter().zip(&rows).map(loss).collect();
    let mut means = read(of.iter().flatten().map(|loss| loss.mean.clone().inner()).collect()).into_iter();
    let values = of.iter().map(|loss| loss.as_ref().and_then(|_| means.next())).collect();
    Losses { of, values }
}

/// `share * sum_i weight_i loss_i` over the tasks with labels and a weight; `None` where there is none.
fn weighted_sum(losses: Losses, weights: &[f64], share: f64) -> Option<Tensor<1>> {
    let weighted = losses.of.into_iter().zip(weights).filter_map(|(loss, weight)| {
        let mean = loss.filter(|_| *weight != 0.0)?.mean;
        Some(mean.mul_scalar(weight * share))
    });
    weighted.reduce(|a, b| a + b)
}

/// The tasks whose loss is no finite number, and the rows it was made of.
fn bad_losses(model: &Model, views: &Views, pack: &Pack, values: &[Option<f64>]) -> Vec<BadTask> {
    let bad = values.iter().enumerate().filter_map(|(i, value)| Some((i, value.filter(|v| !v.is_finite())?)));
    let packs = std::slice::from_ref(pack);
    bad.map(|(i, value)| bad_task(model, views, packs, i, format!("loss {value}"))).collect()
}

/// The tasks whose own parameters have a gradient that is no finite number; where it is only the trunk's, every
/// task of the step.
fn bad_gradients(model: &Model, views: &Views, packs: &[Pack], squares: &[f64]) -> Vec<BadTask> {
    let bad_head = |name: &str| {
        let mut parameters = model.parameters.iter().zip(squares);
        parameters.any(|(p, s)| !s.is_finite() && p.group == Group::Task(name.into()))
    };
    let mut named: Vec<usize> = (0..model.tasks.len()).filter(|i| bad_head(&model.tasks[*i].name)).collect();
    if named.is_empty() {
        named = (0..model.tasks.len()).collect();
    }
    let fault = |i| bad_task(model, views, packs, i, "gradient not finite".into());
    named.into_iter().map(fault).filter(|f| f.of > 0).collect()
}

fn bad_task(model: &Model, views: &Views, packs: &[Pack], task: usize, found: String) -> BadTask {
    let task = &model.tasks[task];
    let labelled = |row| task.kind.labelled(Split::Train, row);
    let rows: Vec<u32> =
        packs.iter().flat_map(|p| batch_rows(p, task.view, labelled)).map(|r| r.row).collect();
    let place = |row: &u32| views.train.get(task.view)?.rows.get(*row as usize).map(|r| r.place.to_string());
    BadTask {
        task: task.name.clone(),
        found,
        rows: rows.iter().filter_map(place).take(ROWS_NAMED).collect(),
        of: rows.len(),
    }
}

/// Sums over the packs of a step.
#[derive(Default)]
struct Measures {
    of: BTreeMap<String, Sums>,
}

#[derive(Default)]
struct Sums {
    packs: usize,
    loss: f64,
    weight: f64,
    items: usize,
}

impl Measures {
    fn take_in(&mut self, model: &Model, losses: &Losses, weights: &[f64]) {
        for (i, task) in model.tasks.iter().enumerate() {
            let (Some(loss), Some(value)) = (&losses.of[i], losses.values[i]) else { continue };
            let sums = self.of.entry(task.name.clone()).or_default();
            sums.packs += 1;
            sums.loss += value;
            sums.weight += weights[i];
            sums.items += loss.items;
        }
    }

    fn finish(self, gradient_norm: f64) -> Measured {
        let mut measured = Measured { gradient_norm, ..Default::default() };
        for (task, sums) in self.of {
            measured.losses.insert(task.clone(), sums.loss / sums.packs as f64);
            measured.weights.insert(task.clone(), sums.weight / sums.packs as f64);
            measured.items.insert(task, sums.items);
        }
        measured
    }
}
