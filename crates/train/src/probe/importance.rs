//! How much the losses of a model's tasks depend on its layers, heads and feed-forward columns.

use super::row_gradients::{DrawnRows, each_row_of};
use crate::{
    error::TrainError,
    gradients::{Gradient, Gradients},
    job::Job,
};
use data::Split;
use model::pruning::{ColumnGates, LayerGates, StateGate, gates, state_gates};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::AtomicBool,
};

/// How much the loss of a task depends on structures of the trunk: the mean over rows of the size of the derivative of the row's loss by
/// the structure's gate ([`model::pruning`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskImportance {
    /// The task.
    pub task: String,
    /// Rows that were measured.
    pub rows: usize,
    /// Of each layer.
    pub layers: Vec<f64>,
    /// Of each layer its feed-forward columns; none where they cannot be cut.
    pub ffn: Vec<Vec<f64>>,
    /// Of each layer its groups of heads; none where they cannot be cut.
    pub heads: Vec<Vec<f64>>,
    /// Of the dimensions of states; none where they cannot be cut, or were not measured.
    pub hidden: Vec<f64>,
}

/// What a task's loss depends on: of the task at this index `rows` labelled rows of a split, drawn by seed and the task's name, or all where
/// it has fewer. Each row runs by itself, without dropout. `None` when `stop` is set before the end.
///
/// # Errors
/// [`TrainError::NoLabels`]; [`TrainError::NonFiniteImportance`].
pub fn importance_of(
    job: &mut Job,
    task: usize,
    (split, rows): (Split, usize),
    seed: u64,
    with_hidden: bool,
    stop: &AtomicBool,
) -> Result<Option<TaskImportance>, TrainError> {
    let trunk = &job.model.trunk;
    let gates = Gates {
        layers: gates(trunk),
        states: if with_hidden { state_gates(trunk) } else { Vec::new() },
        width: trunk.hidden(),
    };
    let was_trainable = differentiate_only(job, &gates);
    let found = measured(job, task, &gates, (split, rows), seed, stop);
    for (index, trainable) in was_trainable.into_iter().enumerate() {
        job.model.parameters.set_trainable(index, trainable);
    }
    found
}

/// [`importance_of`] every task, in their order.
///
/// # Errors
/// As [`importance_of`].
pub fn importance(
    job: &mut Job,
    rows: (Split, usize),
    seed: u64,
    stop: &AtomicBool,
) -> Result<Option<Vec<TaskImportance>>, TrainError> {
    let tasks = (0..job.model.tasks.len()).map(|task| importance_of(job, task, rows, seed, true, stop));
    tasks.collect::<Result<Vec<_>, _>>().map(|tasks| tasks.into_iter().collect())
}

/// What is measured.
struct Gates {
    layers: Vec<LayerGates>,
    states: Vec<StateGate>,
    width: usize,
}

impl Gates {
    /// The parameters that they are made of.
    fn parameters(&self) -> impl Iterator<Item = usize> + '_ {
        self.layers.iter().flat_map(parameters_of).chain(self.states.iter().map(|gate| gate.parameter))
    }
}

/// Computes gradients of those parameters alone that gates are made of; gives what was trainable.
fn differentiate_only(job: &mut Job, gates: &Gates) -> Vec<bool> {
    let parameters = &mut job.model.parameters;
    let was = parameters.iter().map(|parameter| parameter.trainable).collect();
    let wanted: BTreeSet<usize> = gates.parameters().collect();
    (0..parameters.len()).for_each(|index| parameters.set_trainable(index, wanted.contains(&index)));
    was
}

/// The parameters that the gates of a layer are made of.
fn parameters_of(gates: &LayerGates) -> impl Iterator<Item = usize> + '_ {
    let columns = gates.ffn.iter().chain(&gates.heads).map(|columns| columns.parameter);
    columns.chain(gates.layer.iter().map(|(parameter, _)| *parameter))
}

fn measured(
    job: &Job,
    task: usize,
    gates: &Gates,
    (split, rows): (Split, usize),
    seed: u64,
    stop: &AtomicBool,
) -> Result<Option<TaskImportance>, TrainError> {
    let parameters = &job.model.parameters;
    let weights: BTreeMap<usize, Vec<f32>> =
        gates.parameters().map(|index| (index, parameters.data(index))).collect();
    let zeros = |of: fn(&LayerGates) -> Option<ColumnGates>| {
        gates.layers.iter().map(|gates| vec![0.0; of(gates).map_or(0, |columns| columns.count)]).collect()
    };
    let mut found = TaskImportance {
        task: job.model.tasks[task].name.clone(),
        rows: 0,
        layers: vec![0.0; gates.layers.len()],
        ffn: zeros(|gates| gates.ffn),
        heads: zeros(|gates| gates.heads),
        hidden: vec![0.0; if gates.states.is_empty() { 0 } else { gates.width }],
    };
    let drawn = DrawnRows { split, rows, seed, name: "pruned" };
    let is_done = each_row_of(job, task, drawn, stop, |rows, gradients| {
        found.rows = rows;
        add_row(&mut found, gates, &weights, gradients);
    })?;
    if !is_done {
        return Ok(None);
    }
    let by_layer = found.ffn.iter().chain(&found.heads).flatten();
    let mut all = found.layers.iter().chain(by_layer).chain(&found.hidden);
    match all.any(|number| !number.is_finite()) {
        true => Err(TrainError::NonFiniteImportance { task: found.task }),
        false => Ok(Some(found)),
    }
}

/// Adds the sizes of the derivatives of a row's loss by all gates.
fn add_row(
    task: &mut TaskImportance,
    gates: &Gates,
    weights: &BTreeMap<usize, Vec<f32>>,
    mut gradients: Gradients,
) {
    let share = 1.0 / task.rows as f64;
    let states = derivatives_of_states(gates, weights, &gradients);
    task.hidden.iter_mut().zip(states).for_each(|(sum, derivative)| *sum += share * derivative.abs());
    let gradients: BTreeMap<usize, Vec<f32>> =
        weights.keys().filter_map(|index| Some((*index, gradients.take(*index)?.values()))).collect();
    for (layer, gates) in gates.layers.iter().enumerate() {
        let columns = [(gates.ffn, &mut task.ffn[layer]), (gates.heads, &mut task.heads[layer])];
        for (gates, sums) in columns {
            let Some(gates) = gates else { continue };
            let Some(gradient) = gradients.get(&gates.parameter) else { continue };
            let found = gates.derivatives(&weights[&gates.parameter], gradient);
            sums.iter_mut().zip(found).for_each(|(sum, derivative)| *sum += share * derivative.abs());
        }
        let of_layer = gates.layer.iter().map(|(parameter, offset)| {
            let gradient = gradients.get(parameter).map_or(&[][..], |gradient| gradient);
            let pairs = weights[parameter].iter().zip(gradient);
            pairs.map(|(weight, gradient)| (offset + f64::from(*weight)) * f64::from(*gradient)).sum::<f64>()
        });
        task.layers[layer] += share * of_layer.sum::<f64>().abs();
    }
}

/// The derivatives of a row's loss by the gates of the dimensions of states.
fn derivatives_of_states(
    gates: &Gates,
    weights: &BTreeMap<usize, Vec<f32>>,
    gradients: &Gradients,
) -> Vec<f64> {
    let mut sums = vec![0.0; if gates.states.is_empty() { 0 } else { gates.width }];
    for gate in &gates.states {
        let (Some(gradient), weights) = (gradients.get(gate.parameter), &weights[&gate.parameter]) else {
            continue;
        };
        let values = gradient.clone().values();
        match gradient {
            Gradient::Rows { rows, .. } => {
                for (row, values) in rows.iter().zip(values.chunks(gates.width)) {
                    let first = *row as usize * gates.width;
                    gate.add_derivatives(&weights[first..first + gates.width], values, &mut sums);
                }
            }
            Gradient::Matrix(_) | Gradient::Vector(_) => gate.add_derivatives(weights, &values, &mut sums),
        }
    }
    sums
}
