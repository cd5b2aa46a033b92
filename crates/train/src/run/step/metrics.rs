//! What a step measures, task by task.

use super::Losses;
use crate::{job::Model, run::events::TaskGradients};
use std::collections::BTreeMap;

/// What a step metrics. The maps hold only tasks with labels in it.
#[derive(Debug, Default)]
pub(crate) struct StepMetrics {
    pub(crate) losses: BTreeMap<String, f64>,
    pub(crate) weights: BTreeMap<String, f64>,
    pub(crate) num_targets: BTreeMap<String, usize>,
    pub(crate) gradient_norm: f64,
    pub(crate) task_gradients: Option<TaskGradients>,
}

/// Sums over the packs of a step.
#[derive(Default)]
pub(crate) struct StepMetricsBuilder {
    of: BTreeMap<String, Sums>,
}

#[derive(Default)]
struct Sums {
    /// How many packs, and shares of packs.
    packs: f64,
    loss: f64,
    weighings: usize,
    weight: f64,
    num_targets: usize,
}

impl StepMetricsBuilder {
    /// Takes in what a pack gave, or a part of its rows that counts as this share of a pack.
    pub(crate) fn losses(&mut self, model: &Model, losses: &Losses, share: f64) {
        for (i, task) in model.tasks.iter().enumerate() {
            let (Some(loss), Some(value)) = (&losses.of[i], losses.values[i]) else { continue };
            let sums = self.of.entry(task.name.clone()).or_default();
            sums.packs += share;
            sums.loss += value * share;
            sums.num_targets += loss.num_targets;
        }
    }

    /// Takes in the weights of the tasks that have a loss.
    pub(crate) fn weights(&mut self, model: &Model, losses: &[Option<f64>], weights: &[f64]) {
        for ((task, loss), weight) in model.tasks.iter().zip(losses).zip(weights) {
            if loss.is_some() {
                let sums = self.of.entry(task.name.clone()).or_default();
                sums.weighings += 1;
                sums.weight += weight;
            }
        }
    }

    /// The mean loss of each task of the model over the packs that had it; `None` where none had.
    pub(crate) fn means(&self, model: &Model) -> Vec<Option<f64>> {
        let mean = |sums: &Sums| sums.loss / sums.packs;
        model.tasks.iter().map(|task| self.of.get(&task.name).map(mean)).collect()
    }

    /// All but the norm of the gradient.
    pub(crate) fn finish(self) -> StepMetrics {
        let mut metrics = StepMetrics::default();
        for (task, sums) in self.of {
            metrics.losses.insert(task.clone(), sums.loss / sums.packs);
            metrics.weights.insert(task.clone(), sums.weight / sums.weighings as f64);
            metrics.num_targets.insert(task, sums.num_targets);
        }
        metrics
    }
}
