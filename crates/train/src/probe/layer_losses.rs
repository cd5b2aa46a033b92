//! What the losses of a model's tasks are when layers are left out, and which layers these may be: the least harmful one first, then
//! again with that one gone.

use super::row_gradients::DrawnRows;
use crate::{
    error::TrainError,
    forward::evaluate::{packs, rows_labelled, sort_by_length},
    job::Job,
    run::step::{PassContext, forward},
};
use data::Split;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};

/// The losses of a model that lacks some layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossesWithout {
    /// The layers that are left out, rising.
    pub layers: Vec<usize>,
    /// The mean loss of each task over its rows, in the order of the model's tasks; null where it is no finite number.
    pub losses: Vec<Option<f64>>,
}

/// The mean loss of each task without some layers, over the rows that [`super::importance::importance`] would measure: of each task
/// `rows` labelled rows of a split, or all where it has fewer, in packs of at most `tokens` tokens, without dropout or gradients. The
/// trunk has hard sharing. `None` when `stop` is set before the end.
///
/// # Errors
/// [`TrainError::NoLabels`]
pub fn losses_without(
    job: &mut Job,
    layers: Vec<usize>,
    (split, rows): (Split, usize),
    seed: u64,
    tokens: usize,
    stop: &AtomicBool,
) -> Result<Option<LossesWithout>, TrainError> {
    job.model.trunk.leave_out(layers.clone());
    let drawn = DrawnRows { split, rows, seed, name: "pruned" };
    let found = (0..job.model.tasks.len()).map(|task| loss_of(job, task, drawn, tokens, stop));
    let found: Result<Option<Vec<Option<f64>>>, TrainError> =
        found.collect::<Result<Vec<_>, _>>().map(|all| all.into_iter().collect());
    job.model.trunk.leave_out(Vec::new());
    Ok(found?.map(|losses| LossesWithout { layers, losses }))
}

/// The mean loss of a task; the outer `None` when asked to stop, the inner one where it is no finite number.
fn loss_of(
    job: &Job,
    task: usize,
    drawn: DrawnRows,
    tokens: usize,
    stop: &AtomicBool,
) -> Result<Option<Option<f64>>, TrainError> {
    let (model, views) = (&job.model, job.views.of(drawn.split));
    let parameters = model.parameters.inference();
    let mut rows = drawn.of_task(job, task)?;
    sort_by_length(&mut rows, views);
    let (mut sum, mut targets) = (0.0, 0);
    for pack in packs(&rows, views, tokens) {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut of_tasks = vec![Vec::new(); model.tasks.len()];
        of_tasks[task] = rows_labelled(&pack, &model.tasks[task], drawn.split);
        let losses =
            forward(model, &parameters, (&pack, None), of_tasks, drawn.split, PassContext::EVALUATION);
        if let (Some(loss), Some(mean)) = (&losses.of[task], losses.values[task]) {
            sum += mean * loss.num_targets as f64;
            targets += loss.num_targets;
        }
    }
    Ok(Some(Some(sum / targets.max(1) as f64).filter(|loss| loss.is_finite())))
}

/// A task whose loss is all but gone would count for more than all others: relative changes are of this at least.
const LEAST_LOSS: f64 = 1e-3;

/// The search for the layers that stay, in steps, so that what has been measured can be kept in between: greedy, each time the layer without
/// which the mean of the tasks' losses, each relative to that of the whole model and times the task's weight, is least.
#[derive(Debug, Clone)]
pub struct LayerSearch {
    layers: usize,
    kept: usize,
    first_stays: bool,
    weights: Vec<f64>,
    known: Vec<LossesWithout>,
}

/// What a search needs next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchStep {
    /// The losses without these layers; of the whole model where there are none.
    Measure(Vec<usize>),
    /// Nothing: these layers went, in this order.
    Done(Vec<usize>),
}

impl LayerSearch {
    /// For `kept` of `layers` layers, among which the first is where `first_stays`; `weights` are those of the tasks, and `known` is what was
    /// measured before.
    pub fn new(
        (layers, kept): (usize, usize),
        first_stays: bool,
        weights: Vec<f64>,
        known: Vec<LossesWithout>,
    ) -> Self {
        LayerSearch { layers, kept, first_stays, weights, known }
    }

    /// Takes what was measured.
    pub fn add(&mut self, found: LossesWithout) {
        self.known.push(found);
    }

    /// All that was measured.
    pub fn known(&self) -> &[LossesWithout] {
        &self.known
    }

    /// The losses without some layers, rising, where they are known.
    fn losses(&self, layers: &[usize]) -> Option<&[Option<f64>]> {
        self.known.iter().find(|known| known.layers == layers).map(|known| &known.losses[..])
    }

    /// What is needed next.
    pub fn next(&self) -> SearchStep {
        let Some(whole) = self.losses(&[]) else { return SearchStep::Measure(Vec::new()) };
        let (mut gone, mut order) = (Vec::new(), Vec::new());
        while gone.len() + self.kept < self.layers {
            let stays = |layer: &usize| gone.contains(layer) || (self.first_stays && *layer == 0);
            let mut least: Option<(f64, Vec<usize>, usize)> = None;
            for layer in (0..self.layers).filter(|layer| !stays(layer)) {
                let mut without = [&gone[..], &[layer]].concat();
                without.sort_unstable();
                let Some(losses) = self.losses(&without) else { return SearchStep::Measure(without) };
                let harm = self.harm(losses, whole);
                if least.as_ref().is_none_or(|(found, ..)| harm < *found) {
                    least = Some((harm, without, layer));
                }
            }
            let Some((_, without, layer)) = least else { break };
            gone = without;
            order.push(layer);
        }
        SearchStep::Done(order)
    }

    /// The weighted mean of the losses relative to those of the whole model; infinite where one is no number.
    fn harm(&self, losses: &[Option<f64>], whole: &[Option<f64>]) -> f64 {
        let relative = losses.iter().zip(whole).zip(&self.weights).map(|((loss, whole), weight)| {
            weight * loss.unwrap_or(f64::INFINITY) / whole.unwrap_or(f64::INFINITY).max(LEAST_LOSS)
        });
        let mean = relative.sum::<f64>() / self.weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        if mean.is_nan() { f64::INFINITY } else { mean }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The search when losses are a function of what is left out.
    fn search(mut of: LayerSearch, losses: impl Fn(&[usize]) -> Vec<Option<f64>>) -> (Vec<usize>, usize) {
        let mut measured = 0;
        loop {
            match of.next() {
                SearchStep::Measure(layers) => {
                    let losses = losses(&layers);
                    of.add(LossesWithout { layers, losses });
                    measured += 1;
                }
                SearchStep::Done(order) => return (order, measured),
            }
        }
    }

    fn of(kept: usize, first_stays: bool, weights: &[f64]) -> LayerSearch {
        LayerSearch::new((4, kept), first_stays, weights.to_vec(), Vec::new())
    }

    /// Alone each of two layers does nothing; without both all is lost. Task 1's losses are a thousand times those of task 0.
    fn redundant(layers: &[usize]) -> Vec<Option<f64>> {
        let both = if layers.contains(&1) && layers.contains(&2) { 10.0 } else { 0.0 };
        let own = |harm: [f64; 4]| layers.iter().map(|layer| harm[*layer]).sum::<f64>();
        vec![
            Some(1.0 + both + own([0.5, 0.1, 0.2, 0.9])),
            Some(1000.0 * (1.0 + both + own([0.4, 0.1, 0.2, 5.0]))),
        ]
    }

    #[test]
    fn the_least_harmful_layer_goes_and_then_again_without_it() {
        // The whole, four, three.
        assert_eq!(search(of(2, false, &[1.0, 1.0]), redundant), (vec![1, 0], 8));
        assert_eq!(search(of(4, false, &[1.0, 1.0]), redundant), (vec![], 1));
        assert_eq!(search(of(2, true, &[1.0, 1.0]), redundant).0, [1, 3]);
        // Of the first task alone.
        let third = |layers: &[usize]| {
            redundant(layers).into_iter().rev().map(|loss| loss.map(|loss| loss / 2.0)).collect()
        };
        assert_eq!(search(of(1, false, &[0.0, 1.0]), third).0, [1, 0, 3]);
    }

    #[test]
    fn what_is_known_is_not_measured_again_and_no_number_is_the_worst() {
        let mut whole = of(2, false, &[1.0, 1.0]);
        while let SearchStep::Measure(layers) = whole.next() {
            let losses = redundant(&layers);
            whole.add(LossesWithout { layers, losses });
        }
        let again = LayerSearch::new((4, 2), false, vec![1.0, 1.0], whole.known().to_vec());
        assert_eq!(again.next(), SearchStep::Done(vec![1, 0]));
        let broken = |layers: &[usize]| match layers.contains(&1) {
            true => vec![None, Some(1.0)],
            false => redundant(layers),
        };
        assert_eq!(search(of(2, false, &[1.0, 1.0]), broken).0, [2, 0]);
        // A loss that is all but gone does not decide alone.
        let gone = |layers: &[usize]| match layers {
            [] => vec![Some(1e-12), Some(1.0)],
            [0] => vec![Some(1e-6), Some(1.1)],
            _ => vec![Some(1e-12), Some(2.0)],
        };
        assert_eq!(search(of(3, false, &[1.0, 1.0]), gone).0, [0]);
    }
}
