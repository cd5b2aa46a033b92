//! How much the losses of a model's tasks depend on its layers, heads and feed-forward columns.

use super::row_gradients::{DrawnRows, each_row_of};
use crate::{error::TrainError, gradients::Gradients, job::Job};
use data::Split;
use model::pruning::{ColumnGates, LayerGates, gates};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::atomic::AtomicBool};

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
    stop: &AtomicBool,
) -> Result<Option<TaskImportance>, TrainError> {
    let gates = gates(&job.model.trunk);
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
    let tasks = (0..job.model.tasks.len()).map(|task| importance_of(job, task, rows, seed, stop));
    tasks.collect::<Result<Vec<_>, _>>().map(|tasks| tasks.into_iter().collect())
}

/// Computes gradients of those parameters alone that gates are made of; gives what was trainable.
fn differentiate_only(job: &mut Job, gates: &[LayerGates]) -> Vec<bool> {
    let parameters = &mut job.model.parameters;
    let was = parameters.iter().map(|parameter| parameter.trainable).collect();
    let wanted: Vec<usize> = gates.iter().flat_map(parameters_of).collect();
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
    gates: &[LayerGates],
    (split, rows): (Split, usize),
    seed: u64,
    stop: &AtomicBool,
) -> Result<Option<TaskImportance>, TrainError> {
    let parameters = &job.model.parameters;
    let weights: BTreeMap<usize, Vec<f32>> =
        gates.iter().flat_map(parameters_of).map(|index| (index, parameters.data(index))).collect();
    let zeros = |of: fn(&LayerGates) -> Option<ColumnGates>| {
        gates.iter().map(|gates| vec![0.0; of(gates).map_or(0, |columns| columns.count)]).collect()
    };
    let mut found = TaskImportance {
        task: job.model.tasks[task].name.clone(),
        rows: 0,
        layers: vec![0.0; gates.len()],
        ffn: zeros(|gates| gates.ffn),
        heads: zeros(|gates| gates.heads),
    };
    let drawn = DrawnRows { split, rows, seed, name: "pruned" };
    let is_done = each_row_of(job, task, drawn, stop, |rows, gradients| {
        found.rows = rows;
        add_row(&mut found, gates, &weights, gradients);
    })?;
    if !is_done {
        return Ok(None);
    }
    let mut all = found.layers.iter().chain(found.ffn.iter().flatten()).chain(found.heads.iter().flatten());
    match all.any(|number| !number.is_finite()) {
        true => Err(TrainError::NonFiniteImportance { task: found.task }),
        false => Ok(Some(found)),
    }
}

/// Adds the sizes of the derivatives of a row's loss by all gates.
fn add_row(
    task: &mut TaskImportance,
    gates: &[LayerGates],
    weights: &BTreeMap<usize, Vec<f32>>,
    mut gradients: Gradients,
) {
    let share = 1.0 / task.rows as f64;
    let gradients: BTreeMap<usize, Vec<f32>> =
        weights.keys().filter_map(|index| Some((*index, gradients.take(*index)?.values()))).collect();
    for (layer, gates) in gates.iter().enumerate() {
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
