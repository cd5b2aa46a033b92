//! Learning to branch: the tree by which tasks share layers is found while the weights are trained.
//!
//! Every task has a trunk, each layer of which chooses from which task's layer below it reads.
//!
//! ```text
//! x_t = sum_u y[t, u] h_u                 what enters layer l of task t, from the states of the layers below of all tasks u
//! y   = straight-through one-hot of softmax((logits + Gumbel noise) / tau)          one choice in the forward pass, all in the backward
//! ```
//!
//! Shapes: logits `[tasks, tasks]` for each layer above the lowest of the columns, 0 at the beginning. tau falls with the training from
//! `temperature` as `temperature / sqrt(1 + 99 progress)`; in the first hundredth of it every choice is the mean of all. Outside of
//! training the choice is the largest logit, the lower task where two are equal. All trunks begin as the checkpoint, so that every choice
//! is the same at the beginning: hard sharing.
//! Defaults: columns from the first layer of the upper half on, temperature 5.
//! Parameters while it searches: (tasks - 1) times those of the layers from `first_layer` on, and tasks^2 a layer.
//! Cost: as `cross_stitch`. It is a search: a run writes the tree that it has found as `branches.toml`, whose `[[sharing.branch.levels]]`
//! train again, at the cost of the branches alone.
//! When to use: few tasks and a small trunk; `polytask affinity` finds groups at less cost.
//! Errors: a layer that the backbone does not have, a temperature of 0, frozen layers above `first_layer`.
//! Paper: Guo, Lee and Ulbricht 2020, "Learning to branch for multi-task learning"; Jang et al. 2017, "Categorical reparameterization
//! with Gumbel-softmax".

use super::build::SchemeParameters;
use super::columns::{Columns, half_of_the_layers};
use super::targets::refused;
use super::{BranchLevel, Sharing, SharingConfig, TrunkShape, WeightCopies};
use crate::cast::to_f32;
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{Level, MatrixId, Parameters, Role};
use crate::trunk::LayerContext;
use burn::tensor::{Tensor, TensorData};
use kernels::RowOffsets;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[sharing.learn_to_branch]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LearnToBranchConfig {
    /// The lowest layer that each task has for itself, from 0. Left out: the first of the upper half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_layer: Option<usize>,
    /// The temperature of the choices at the beginning.
    #[schemars(range(min = 0.0))]
    pub temperature: f64,
}

impl Default for LearnToBranchConfig {
    fn default() -> Self {
        Self { first_layer: None, temperature: 5.0 }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct LearnToBranch {
    config: LearnToBranchConfig,
    columns: Columns,
    /// Logits `[1, tasks tasks]`, by the layer that they choose the input of.
    logits: BTreeMap<usize, MatrixId>,
}

const NAME: &str = "learn_to_branch";
/// Until so much of the training lies behind, the choices are means.
const WARMUP: f64 = 0.01;

impl LearnToBranch {
    pub(super) fn new(config: LearnToBranchConfig) -> Self {
        LearnToBranch { config, columns: Columns::default(), logits: BTreeMap::new() }
    }

    /// The weights `[1, tasks tasks]` of a layer's choices.
    fn choices(&self, layer: usize, context: &LayerContext<'_>, logits: MatrixId) -> Tensor<2> {
        let k = self.columns.tasks.len();
        let logits = context.matrix(logits).reshape([k, k]);
        let flat =
            |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [k, k]), &logits.device());
        let Some(seed) = context.noise_seed(layer as u64) else {
            let values: Vec<f32> = logits.into_data().iter::<f32>().collect();
            let device = context.parameters().device();
            return Tensor::from_data(TensorData::new(one_hot(&values, k), [1, k * k]), device);
        };
        if context.progress() < WARMUP {
            return flat(vec![1.0 / k as f32; k * k]).reshape([1, k * k]);
        }
        let tau = temperature(self.config.temperature, context.progress());
        let soft = kernels::softmax((logits.clone() + flat(gumbel(seed, k * k))) / tau);
        let values: Vec<f32> = soft.clone().into_data().iter::<f32>().collect();
        let chosen = flat(one_hot(&values, k));
        (chosen + (soft.clone() - soft.detach())).reshape([1, k * k])
    }
}

fn temperature(first: f64, progress: f64) -> f64 {
    first / (1.0 + 99.0 * progress).sqrt()
}

/// 1 for the largest number of each row, the first of equal ones, and 0 elsewhere.
fn one_hot(values: &[f32], width: usize) -> Vec<f32> {
    let row = |row: &[f32]| {
        let chosen = largest(row);
        (0..row.len()).map(move |i| if i == chosen { 1.0 } else { 0.0 }).collect::<Vec<f32>>()
    };
    values.chunks(width).flat_map(row).collect()
}

/// The place of the largest number, the first of equal ones.
fn largest(values: &[f32]) -> usize {
    (0..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

/// Numbers of the standard Gumbel distribution, `-ln(-ln u)`.
fn gumbel(seed: u64, len: usize) -> Vec<f32> {
    let number = |i: usize| {
        let bits = kernels::splitmix(seed.wrapping_add(i as u64)) >> 11;
        let even = (bits as f64 + 0.5) / (1u64 << 53) as f64;
        to_f32(-(-even.ln()).ln())
    };
    (0..len).map(number).collect()
}

impl Sharing for LearnToBranch {
    fn config(&self) -> SharingConfig {
        SharingConfig::LearnToBranch(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let temperature = self.config.temperature;
        if !(temperature.is_finite() && temperature > 0.0) {
            return Err(refused(NAME, "temperature", temperature, "a number above 0"));
        }
        let first = self.config.first_layer.unwrap_or_else(|| half_of_the_layers(trunk));
        self.columns = Columns::build(NAME, first, trunk, tasks, parameters)?;
        let mut make = SchemeParameters { scheme: NAME, parameters };
        let k = tasks.len();
        for layer in first + 1..trunk.layers.len() {
            let at = (Role::Gate, Level::layer(layer));
            let logits = make.matrix((&None, &format!("layer.{layer}")), [1, k * k], at, Init::Zeros);
            self.logits.insert(layer, logits);
        }
        Ok(())
    }

    fn first_layer(&self) -> usize {
        self.columns.first_layer
    }

    fn columns(&self) -> &[String] {
        &self.columns.tasks
    }

    fn copies(&self) -> Option<&WeightCopies> {
        Some(&self.columns.copies)
    }

    fn enter(&self, layer: usize, context: &LayerContext<'_>, x: Tensor<2>) -> Tensor<2> {
        match self.logits.get(&layer) {
            Some(logits) => kernels::mix(x, self.choices(layer, context, *logits), self.columns.tasks.len()),
            None => self.columns.begin(layer, x),
        }
    }

    fn reads_out(&self) -> bool {
        true
    }

    fn readout(
        &self,
        task: Option<&str>,
        _context: &LayerContext<'_>,
        states: Tensor<2>,
        _rows: &RowOffsets,
    ) -> Tensor<2> {
        self.columns.of_task(task, states)
    }

    fn branches(&self, parameters: &Parameters) -> Option<Vec<BranchLevel>> {
        let tasks = &self.columns.tasks;
        // From the highest layer down: the column that each task's path goes through.
        let mut at: Vec<usize> = (0..tasks.len()).collect();
        let level = |first_layer: usize, at: &[usize]| {
            let columns: std::collections::BTreeSet<usize> = at.iter().copied().collect();
            let members = |column: usize| {
                (0..tasks.len()).filter(|task| at[*task] == column).map(|task| tasks[task].clone()).collect()
            };
            let mut groups: Vec<Vec<String>> = columns.into_iter().map(members).collect();
            groups.sort_by_key(|group| tasks.iter().position(|task| Some(task) == group.first()));
            BranchLevel { first_layer, groups }
        };
        let mut levels = Vec::new();
        for (layer, logits) in self.logits.iter().rev() {
            levels.push(level(*layer, &at));
            let values = parameters.data(logits.index());
            let row = |column: usize| largest(&values[column * tasks.len()..][..tasks.len()]);
            at = at.into_iter().map(row).collect();
        }
        levels.push(level(self.columns.first_layer, &at));
        levels.reverse();
        // A level that parts nothing anew says nothing, nor does one without parts.
        levels.dedup_by(|level, before| level.groups == before.groups);
        levels.retain(|level| level.groups.len() > 1);
        Some(levels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_temperature_falls_from_the_first_to_a_tenth() {
        assert_eq!(temperature(5.0, 0.0), 5.0);
        assert!((temperature(5.0, 1.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn one_is_chosen_in_each_row() {
        assert_eq!(one_hot(&[0.1, 0.7, 0.2, 3.0, 3.0, -1.0], 3), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    }

    /// Mean and variance of the standard Gumbel distribution: Euler's constant and pi^2 / 6.
    #[test]
    fn noise_has_the_distribution_that_it_is_called_by() {
        let draws = gumbel(7, 100_000);
        let mean = draws.iter().map(|x| f64::from(*x)).sum::<f64>() / 1e5;
        let variance = draws.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / 1e5;
        assert!((mean - 0.577_215_66).abs() < 0.02, "{mean}");
        assert!((variance - std::f64::consts::PI.powi(2) / 6.0).abs() < 0.05, "{variance}");
    }
}
