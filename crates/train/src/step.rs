//! One step: packs in, moved weights out, or the reason why nothing moved.

use crate::{
    clip,
    config::Settings,
    evaluate::rows_labelled,
    events::{BadTask, Cosine, TaskGradients},
    gradients::{Gradients, read},
    jacobian::Jacobian,
    job::{Model, TaskSlot, Views},
    optimizer::{Moments, Rates},
    trunk::{self, Pass},
};
use balance::{Balancer, Gramian, Needs, Step};
use burn::tensor::Tensor;
use data::{Pack, RowRef, Split, random};
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
    pub(crate) task_gradients: Option<TaskGradients>,
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
    let step = Packs { model, views, packs, index, seed: movers.settings.train.seed };
    let gathered = match movers.balancer.needs() {
        Needs::Losses => together(step, below, movers.balancer),
        // `setup` lets no method in that needs more.
        _ => apart(step, below, movers.balancer),
    };
    let Gathered { gradients, measured } = match gathered {
        Ok(gathered) => gathered,
        Err(faults) => return undo(movers.balancer, faults),
    };
    let squares = gradients.squared_norms();
    let norm = squares.iter().sum::<f64>().sqrt();
    if !norm.is_finite() {
        return undo(movers.balancer, bad_gradients(model, views, packs, &squares));
    }
    let shrink = clip::factor(norm, movers.settings.train.clip_norm);
    let optimizer = &movers.settings.optimizer;
    optimizer.step(&mut model.parameters, gradients, movers.moments, movers.rates, shrink, movers.factor);
    Ok(Measured { gradient_norm: norm, ..measured })
}

/// The packs of a step, and what they run through.
#[derive(Clone, Copy)]
struct Packs<'a> {
    model: &'a Model,
    views: &'a Views,
    packs: &'a [Pack],
    index: usize,
    seed: u64,
}

/// The gradient of a step, and what was measured on the way.
struct Gathered {
    gradients: Gradients,
    measured: Measured,
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
        let noise = |name: &str| noise(step.seed, name, step.index, micro);
        let all = |_: &TaskSlot| true;
        let losses = forward(model, pack, below, &all, &noise);
        let faults = bad_losses(model, views, pack, &losses.values);
        if !faults.is_empty() {
            return Err(faults);
        }
        let weights = balancer.weights(&losses.values);
        measures.losses(model, &losses);
        measures.weights(model, &losses.values, &weights);
        if let Some(sum) = weighted_sum(losses, &weights, 1.0 / packs.len() as f64) {
            gradients.add(Gradients::backward(sum, &model.parameters));
        }
    }
    Ok(Gathered { gradients, measured: measures.finish() })
}

/// Each task's rows by themselves: a gradient for every task, of which the balancer sees the inner products. Rows that
/// several tasks share run once for each of them.
fn apart(
    step: Packs<'_>,
    below: Vec<Option<Tensor<2>>>,
    balancer: &mut dyn Balancer,
) -> Result<Gathered, Vec<BadTask>> {
    let Packs { model, views, packs, .. } = step;
    let mut jacobian = Jacobian::none(model.tasks.len(), &model.parameters);
    let mut measures = Measures::default();
    for (micro, (pack, below)) in packs.iter().zip(below).enumerate() {
        for (index, task) in model.tasks.iter().enumerate() {
            let (part, below) = rows_of(task, views, pack, below.as_ref());
            if part.is_empty() {
                continue;
            }
            let noise =
                |name: &str| noise(step.seed, &format!("{name} for {}", task.name), step.index, micro);
            let losses = forward(model, &part, below, &|other| other.name == task.name, &noise);
            let faults = bad_losses(model, views, &part, &losses.values);
            if !faults.is_empty() {
                return Err(faults);
            }
            measures.losses(model, &losses);
            let mut alone = vec![0.0; model.tasks.len()];
            alone[index] = 1.0;
            if let Some(loss) = weighted_sum(losses, &alone, 1.0 / packs.len() as f64) {
                jacobian.add(index, Gradients::backward(loss, &model.parameters), &model.parameters);
            }
        }
    }
    let losses = measures.means(model);
    let tasks = model.tasks.len();
    let products = jacobian.products();
    let finite = |i: &usize| products[i * tasks..][..tasks].iter().all(|x| x.is_finite());
    let broken: Vec<usize> = (0..tasks).filter(|i| !finite(i)).collect();
    let gramian = Gramian::new(tasks, products);
    let Some(gramian) = gramian.ok().filter(|_| broken.is_empty()) else {
        let named = if broken.is_empty() { (0..tasks).collect() } else { broken };
        let fault = |i| bad_task(model, views, packs, i, "gradient not finite".into());
        return Err(named.into_iter().map(fault).filter(|f| f.of > 0).collect());
    };
    let weights = balancer.weigh(&Step { losses: &losses, gramian: Some(&gramian), ..Default::default() });
    measures.weights(model, &losses, &weights);
    let mut measured = measures.finish();
    measured.task_gradients = Some(task_gradients(model, &losses, &gramian));
    Ok(Gathered { gradients: jacobian.direction(&weights), measured })
}

/// The rows of a pack that carry a label of a task, and the states below them.
fn rows_of(
    task: &TaskSlot,
    views: &Views,
    pack: &Pack,
    below: Option<&Tensor<2>>,
) -> (Pack, Option<Tensor<2>>) {
    let rows = rows_labelled(pack, task, Split::Train);
    let refs: Vec<RowRef> = rows.iter().map(|row| pack.rows[row.pack_row as usize]).collect();
    let below = below.map(|below| {
        let offset = |row: usize| pack.offsets[row] as u32;
        let tokens = rows.iter().flat_map(|row| {
            let row = row.pack_row as usize;
            offset(row)..offset(row + 1)
        });
        kernels::pick(below.clone(), &tokens.collect::<Vec<u32>>())
    });
    (Pack::of(&views.train, &refs), below)
}

/// Norms and cosines of the tasks that took part.
fn task_gradients(model: &Model, losses: &[Option<f64>], gramian: &Gramian) -> TaskGradients {
    let present: Vec<usize> = (0..losses.len()).filter(|i| losses[*i].is_some()).collect();
    let name = |i: usize| model.tasks[i].name.clone();
    let norms = gramian.norms();
    let pairs =
        present.iter().enumerate().flat_map(|(at, i)| present[at + 1..].iter().map(move |j| (*i, *j)));
    let cosine = |(i, j)| Some(Cosine { tasks: (name(i), name(j)), cosine: gramian.cosine(i, j)? });
    TaskGradients {
        norms: present.iter().map(|i| (name(*i), norms[*i])).collect(),
        // Absent tasks have zeros in it, and so no pairs.
        conflicts: gramian.conflicts(),
        cosines: pairs.filter_map(cosine).collect(),
    }
}

/// The seed of a step's dropout: trunk and heads, steps and packs all draw apart.
fn noise(seed: u64, name: &str, step: usize, micro: usize) -> u64 {
    random::seed_of(seed, &format!("dropout of {name} in pack {micro}"), step as u64)
}

/// The trunk once, from the states `below` its trained part if they are known, then the head of every task that is `wanted`
/// on the rows that carry its labels.
fn forward(
    model: &Model,
    pack: &Pack,
    below: Option<Tensor<2>>,
    wanted: &dyn Fn(&TaskSlot) -> bool,
    noise: &dyn Fn(&str) -> u64,
) -> Losses {
    let labelled =
        |task: &TaskSlot| if wanted(task) { rows_labelled(pack, task, Split::Train) } else { Vec::new() };
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
    let rows: Vec<u32> =
        packs.iter().flat_map(|p| rows_labelled(p, task, Split::Train)).map(|r| r.row).collect();
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
    weighings: usize,
    weight: f64,
    items: usize,
}

impl Measures {
    /// Takes in what a pack gave.
    fn losses(&mut self, model: &Model, losses: &Losses) {
        for (i, task) in model.tasks.iter().enumerate() {
            let (Some(loss), Some(value)) = (&losses.of[i], losses.values[i]) else { continue };
            let sums = self.of.entry(task.name.clone()).or_default();
            sums.packs += 1;
            sums.loss += value;
            sums.items += loss.items;
        }
    }

    /// Takes in the weights of the tasks that have a loss.
    fn weights(&mut self, model: &Model, losses: &[Option<f64>], weights: &[f64]) {
        for ((task, loss), weight) in model.tasks.iter().zip(losses).zip(weights) {
            if loss.is_some() {
                let sums = self.of.entry(task.name.clone()).or_default();
                sums.weighings += 1;
                sums.weight += weight;
            }
        }
    }

    /// The mean loss of each task of the model over the packs that had it; `None` where none had.
    fn means(&self, model: &Model) -> Vec<Option<f64>> {
        let mean = |sums: &Sums| sums.loss / sums.packs as f64;
        model.tasks.iter().map(|task| self.of.get(&task.name).map(mean)).collect()
    }

    /// All but the norm of the gradient.
    fn finish(self) -> Measured {
        let mut measured = Measured::default();
        for (task, sums) in self.of {
            measured.losses.insert(task.clone(), sums.loss / sums.packs as f64);
            measured.weights.insert(task.clone(), sums.weight / sums.weighings as f64);
            measured.items.insert(task, sums.items);
        }
        measured
    }
}
