//! One step: packs in, moved weights out, or the reason why nothing moved.

mod apart;
mod cut;
mod measures;
mod pieces;
mod validation;

pub(crate) use measures::Measured;
pub(crate) use validation::Validation;

use crate::{
    buffers::Buffers,
    clip,
    config::Settings,
    evaluate::rows_labelled,
    events::BadTask,
    gradients::{Gradients, read},
    job::{Model, TaskSlot, Views},
    optimizer::{Moments, Rates},
    trunk::{self, Pass, parts::Parts},
};
use balance::{Balancer, Needs};
use burn::tensor::Tensor;
use data::{Pack, Split, random};
use kernels::{NoRoom, Room};
use measures::Measures;
use model::{Group, Parameters};
use std::sync::Arc;
use tasks::{Batch, BatchRow, Loss};

/// How many rows a bad step names per task.
const ROWS_NAMED: usize = 5;

/// What moves with the weights.
pub(crate) struct Movers<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) balancer: &'a mut dyn Balancer,
    /// What the balancer keeps of every parameter.
    pub(crate) buffers: &'a mut Buffers,
    /// What a lookahead is made on, where the balancer needs one.
    pub(crate) validation: Option<&'a Validation>,
    pub(crate) moments: &'a mut Moments,
    pub(crate) rates: &'a Rates,
    /// The factor of the schedule.
    pub(crate) factor: f64,
    /// Who knows how much memory is left, where somebody does.
    pub(crate) room: Option<&'a Arc<dyn Room>>,
}

/// Why a step moved nothing.
#[derive(Debug)]
pub(crate) enum Fault {
    /// These tasks had a loss or gradient that is no finite number.
    Bad(Vec<BadTask>),
    /// Memory has no room for it.
    NoRoom,
}

impl From<Vec<BadTask>> for Fault {
    fn from(bad: Vec<BadTask>) -> Fault {
        Fault::Bad(bad)
    }
}

/// What some work of a step gives, unless memory has no room for it.
fn in_room<T>(
    room: Option<&Arc<dyn Room>>,
    work: impl FnOnce() -> Result<T, Vec<BadTask>>,
) -> Result<T, Fault> {
    match room {
        None => Ok(work()?),
        Some(room) => Ok(kernels::within(room, work).map_err(|NoRoom| Fault::NoRoom)??),
    }
}

/// More operations than lie one after the other in any network here.
const DEEPEST: usize = 2048;

/// Frees what was recorded for a backward pass that never came. The engine keeps it while somebody holds a tensor of it, such as the
/// parameters, which therefore begin anew, and then forgets one operation after the other, each at the end of another pass.
fn forget(parameters: &mut Parameters) {
    for index in 0..parameters.len() {
        let same = parameters.parameter(index).value().clone();
        parameters.put(index, same);
    }
    for _ in 0..DEEPEST {
        let one = Tensor::<1>::ones([1], parameters.device()).require_grad();
        drop((one * 2.0).backward());
    }
}

/// The losses of one pack, per task of the model; `None` for tasks without labels in it.
pub(crate) struct Losses<'m> {
    pub(crate) of: Vec<Option<Loss>>,
    pub(crate) values: Vec<Option<f64>>,
    /// What they were made of.
    parameters: Parameters,
    /// Where the trunk ran in parts: what is below the states, and these.
    parts: Option<(Parts<'m>, Tensor<2>)>,
}

/// What a step tells its passes.
#[derive(Clone, Copy)]
pub(crate) struct Learning<'a> {
    /// The seed of the dropout of something by name.
    pub(crate) noise: &'a dyn Fn(&str) -> u64,
    /// How much of the run lies behind, 0 to 1.
    pub(crate) progress: f64,
    /// The most tokens that go through the trunk at once; all where there is no such bound.
    pub(crate) part: Option<usize>,
}

impl<'m> Losses<'m> {
    /// Runs the heads that have rows on the states of a pack, all of it made of `parameters`.
    pub(crate) fn of_heads(
        model: &Model,
        parameters: Parameters,
        (states, pack): (&Tensor<2>, &Pack),
        rows: &[Vec<BatchRow>],
        split: Split,
        learning: Option<Learning<'_>>,
    ) -> Losses<'m> {
        let progress = learning.map_or(1.0, |learning| learning.progress);
        let loss = |(task, rows): (&TaskSlot, &Vec<BatchRow>)| {
            if rows.is_empty() {
                return None;
            }
            let noise_seed = learning.map(|learning| (learning.noise)(&format!("task {}", task.name)));
            let batch = Batch { states, pack, split, rows, noise_seed, progress };
            task.kind.loss(&parameters, &batch)
        };
        let of: Vec<Option<Loss>> = model.tasks.iter().zip(rows).map(loss).collect();
        let mut means = read(of.iter().flatten().map(|loss| loss.mean.clone().inner()).collect()).into_iter();
        let values = of.iter().map(|loss| loss.as_ref().and_then(|_| means.next())).collect();
        Losses { of, values, parameters, parts: None }
    }

    /// The gradient of `share * sum_i weight_i loss_i` over the tasks with labels and a weight, and of a leaf that the losses
    /// are made of; `None` where there is no such task.
    pub(crate) fn gradients(
        self,
        weights: &[f64],
        share: f64,
        leaf: Option<&Tensor<2>>,
    ) -> Option<(Gradients, Option<Tensor<2>>)> {
        let weighted = self.of.into_iter().zip(weights).filter_map(|(loss, weight)| {
            let mean = loss.filter(|_| *weight != 0.0)?.mean;
            Some(mean.mul_scalar(weight * share))
        });
        let sum = weighted.reduce(|a, b| a + b)?;
        let Some((parts, states)) = self.parts else {
            return Some(Gradients::backward_to(sum, &self.parameters, leaf));
        };
        let (mut gradients, d_states) = Gradients::backward_to(sum, &self.parameters, Some(&states));
        if let Some(d_states) = d_states {
            parts.backward(&self.parameters, &d_states, &mut gradients);
        }
        Some((gradients, None))
    }
}

/// Does a step on its packs. `below` holds for each the states of the backbone's frozen part, where they are known. With `Err`
/// neither weights nor moments nor the balancer have moved.
pub(crate) fn step(
    model: &mut Model,
    views: &Views,
    packs: &[Pack],
    below: Vec<Option<Tensor<2>>>,
    at: At,
    mut movers: Movers<'_>,
) -> Result<Measured, Fault> {
    let balancer_before = movers.balancer.state();
    let undo = |balancer: &mut dyn Balancer, fault| {
        // A balancer takes its own state back; it has no reason to refuse.
        let _ = balancer.restore(&balancer_before);
        Err(fault)
    };
    let step = Packs { model, views, packs, seed: movers.settings.train.seed, at };
    let gathered = match movers.balancer.needs() {
        Needs::Losses => in_room(movers.room, || together(step, below, movers.balancer)),
        _ => apart::apart(step, below, &mut movers),
    };
    let Gathered { gradients, measured } = match gathered {
        Ok(gathered) => gathered,
        Err(fault) => {
            if matches!(fault, Fault::NoRoom) {
                forget(&mut model.parameters);
            }
            return undo(movers.balancer, fault);
        }
    };
    let squares = gradients.squared_norms();
    let norm = squares.iter().sum::<f64>().sqrt();
    if !norm.is_finite() {
        return undo(movers.balancer, bad_gradients(model, views, packs, &squares).into());
    }
    let shrink = clip::factor(norm, movers.settings.train.clip_norm);
    let optimizer = &movers.settings.optimizer;
    optimizer.step(&mut model.parameters, gradients, movers.moments, movers.rates, shrink, movers.factor);
    Ok(Measured { gradient_norm: norm, ..measured })
}

/// The packs of a step, and what they run through.
#[derive(Clone, Copy)]
pub(crate) struct Packs<'a> {
    pub(crate) model: &'a Model,
    pub(crate) views: &'a Views,
    pub(crate) packs: &'a [Pack],
    pub(crate) seed: u64,
    pub(crate) at: At,
}

/// Where in the run a step is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    /// Its number, from 0 on.
    pub(crate) index: usize,
    /// How much of the run lies behind, 0 to 1.
    pub(crate) progress: f64,
    /// The most tokens that go through the trunk at once, where that is bounded.
    pub(crate) part: Option<usize>,
}

impl Packs<'_> {
    /// What the passes of the step are told, where this is their noise.
    fn learning<'a>(&self, noise: &'a dyn Fn(&str) -> u64) -> Learning<'a> {
        Learning { noise, progress: self.at.progress, part: self.at.part }
    }
}

/// The gradient of a step, and what was measured on the way.
pub(crate) struct Gathered {
    pub(crate) gradients: Gradients,
    pub(crate) measured: Measured,
}

/// One pass a pack for all tasks, one backward pass of the weighted sum of their losses.
fn together(
    step: Packs<'_>,
    below: Vec<Option<Tensor<2>>>,
    balancer: &mut dyn Balancer,
) -> Result<Gathered, Vec<BadTask>> {
    let Packs { model, views, packs, .. } = step;
    let mut gradients = Gradients::none(model.parameters.len());
    let mut measures = Measures::default();
    for (micro, (pack, below)) in packs.iter().zip(below).enumerate() {
        let noise = |name: &str| noise(step.seed, name, step.at.index, micro);
        let rows = rows_of_all(model, pack, Split::Train);
        let learning = Some(step.learning(&noise));
        let losses = forward(model, &model.parameters, (pack, below), &rows, Split::Train, learning);
        let faults = bad_losses(model, views, pack, Split::Train, &losses.values);
        if !faults.is_empty() {
            return Err(faults);
        }
        let weights = balancer.weights(&losses.values);
        measures.losses(model, &losses, 1.0);
        measures.weights(model, &losses.values, &weights);
        if let Some((found, _)) = losses.gradients(&weights, 1.0 / packs.len() as f64, None) {
            gradients.add(found);
        }
    }
    Ok(Gathered { gradients, measured: measures.finish() })
}

/// The seed of a step's dropout: trunk and heads, steps and packs all draw apart.
pub(crate) fn noise(seed: u64, name: &str, step: usize, micro: usize) -> u64 {
    random::seed_of(seed, &format!("dropout of {name} in pack {micro}"), step as u64)
}

/// The trunk once, from the states `below` its trained part if they are known, then the head of every task on its `rows`.
pub(crate) fn forward<'m>(
    model: &'m Model,
    parameters: &Parameters,
    (pack, below): (&Pack, Option<Tensor<2>>),
    rows: &[Vec<BatchRow>],
    split: Split,
    learning: Option<Learning<'_>>,
) -> Losses<'m> {
    let parameters = trunk::parameters_for(model, parameters, pack, rows);
    let noise_seed = learning.map(|learning| (learning.noise)("the trunk"));
    let part = learning.and_then(|learning| learning.part);
    let (Pass { states, pack }, parts) =
        trunk::pass_in_parts(model, &parameters, (pack, below), rows, noise_seed, part);
    let losses = Losses::of_heads(model, parameters, (&states, &pack), rows, split, learning);
    Losses { parts: parts.map(|parts| (parts, states)), ..losses }
}

/// For every task the rows of a pack that carry its labels.
pub(crate) fn rows_of_all(model: &Model, pack: &Pack, split: Split) -> Vec<Vec<BatchRow>> {
    model.tasks.iter().map(|task| rows_labelled(pack, task, split)).collect()
}

/// The tasks whose loss is no finite number, and the rows of the split that it was made of.
pub(crate) fn bad_losses(
    model: &Model,
    views: &Views,
    pack: &Pack,
    split: Split,
    values: &[Option<f64>],
) -> Vec<BadTask> {
    let found = |value: f64| match split {
        Split::Validation => format!("validation loss {value} after the trial step"),
        Split::Train | Split::Test => format!("loss {value}"),
    };
    let bad = values.iter().enumerate().filter_map(|(i, value)| Some((i, value.filter(|v| !v.is_finite())?)));
    let packs = std::slice::from_ref(pack);
    bad.map(|(i, value)| bad_task(model, views, packs, split, i, found(value))).collect()
}

/// The tasks whose own parameters have a gradient that is no finite number; where it is only the trunk's, every
/// task of the step.
fn bad_gradients(model: &Model, views: &Views, packs: &[Pack], squares: &[f64]) -> Vec<BadTask> {
    let bad_head = |name: &str| {
        let mut parameters = model.parameters.iter().zip(squares);
        parameters.any(|(p, s)| !s.is_finite() && p.group == Group::Task(name.into()))
    };
    let mut named: Vec<usize> = (0..model.tasks.len()).filter(|i| bad_head(model.tasks[*i].head())).collect();
    if named.is_empty() {
        named = (0..model.tasks.len()).collect();
    }
    let fault = |i| bad_task(model, views, packs, Split::Train, i, "gradient not finite".into());
    named.into_iter().map(fault).filter(|f| f.of > 0).collect()
}

pub(crate) fn bad_task(
    model: &Model,
    views: &Views,
    packs: &[Pack],
    split: Split,
    task: usize,
    found: String,
) -> BadTask {
    let task = &model.tasks[task];
    let rows: Vec<u32> = packs.iter().flat_map(|p| rows_labelled(p, task, split)).map(|r| r.row).collect();
    let place =
        |row: &u32| views.of(split).get(task.view)?.rows.get(*row as usize).map(|r| r.place.to_string());
    BadTask {
        task: task.name.clone(),
        found,
        rows: rows.iter().filter_map(place).take(ROWS_NAMED).collect(),
        of: rows.len(),
    }
}
