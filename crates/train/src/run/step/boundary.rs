//! A boundary in the trunk: what lies below it runs once for all tasks, what lies above once for each.

use super::micro_batch::{MicroBatch, dropout_seed_of, pack_rows, rows_of_one, some_rows};
use super::{Losses, StepInputs, rows_of_all};
use crate::config::gradient_scope::GradientScope;
use crate::forward::trunk::{self, Pass, PassInput, WorkPack, chunked::ChunkedForward};
use crate::gradients::{Gradient, Gradients};
use burn::tensor::Tensor;
use data::{Pack, Split};
use model::{Owner, Parameters};
use std::borrow::Cow;
use tasks::BatchRow;

/// A pass up to the boundary.
pub(super) struct GradientBoundary<'m> {
    /// What it was made of.
    pub(super) parameters: Parameters,
    /// `[tokens, hidden]`, at the end of its graph.
    pub(super) states: Tensor<2>,
    /// What makes the states again, where their graph was not kept.
    pub(super) chunked: Option<ChunkedForward<'m>>,
}

/// The pack at the boundary, and for each task its rows there.
pub(super) struct AtBoundary {
    pub(super) pack: Pack,
    pub(super) rows: Vec<Vec<BatchRow>>,
}

/// All rows of a micro-batch up to the boundary.
pub(super) fn forward_below<'m>(
    step: &StepInputs<'m>,
    micro_batch: &MicroBatch,
    scope: GradientScope,
) -> (GradientBoundary<'m>, AtBoundary) {
    let model = step.model;
    let rows = rows_of_all(model, &micro_batch.pack, Split::Train);
    let parameters = trunk::parameters_for(model, &model.parameters, &micro_batch.pack, &rows);
    let work = WorkPack::new(model, &micro_batch.pack, rows);
    let seed = dropout_seed_of(step, micro_batch, String::new())("the trunk");
    let input = PassInput {
        model,
        parameters: &parameters,
        work: &work,
        below: work.expanded(&micro_batch.pack, micro_batch.below.clone()),
        dropout_seed: Some(seed),
        progress: step.position.progress,
        share: 1.0 / step.packs.len().max(1) as f64,
        chunk_tokens: step.position.chunk_tokens,
    };
    let (states, pack, chunked) = if scope == GradientScope::LastLayer {
        let (states, chunked) = input.run_below_last();
        (states, Cow::Borrowed(&*work.pack), chunked)
    } else {
        let (Pass { states, pack }, chunked) = input.run();
        (states, pack, chunked)
    };
    let pack = pack.into_owned();
    let rows = work.rows;
    (GradientBoundary { parameters, states, chunked }, AtBoundary { pack, rows })
}

/// The same numbers where a graph begins.
pub(super) fn leaf(states: &Tensor<2>) -> Tensor<2> {
    states.clone().inner().autodiff().require_grad()
}

/// The rows of one task from the boundary on.
pub(super) fn forward_above<'m>(
    step: &StepInputs<'m>,
    micro_batch: &MicroBatch,
    task: usize,
    (boundary, at, leaf): (&GradientBoundary<'_>, &AtBoundary, &Tensor<2>),
    scope: GradientScope,
) -> Losses<'m> {
    let (model, parameters) = (step.model, boundary.parameters.clone());
    let seed = dropout_seed_of(step, micro_batch, format!(" for {}", model.tasks[task].name));
    let context = step.pass_context(&seed);
    if scope == GradientScope::Representation {
        let mut rows = vec![Vec::new(); model.tasks.len()];
        rows[task] = at.rows[task].clone();
        return Losses::of_heads(model, parameters, (leaf, &at.pack), &rows, Split::Train, context);
    }
    let (part, states) = some_rows(&at.pack, Some(leaf), &pack_rows(&at.rows[task]));
    let (rows, states) = (rows_of_one(model, &part, task), states.unwrap_or_else(|| leaf.clone()));
    let work = WorkPack::new(model, &part, rows);
    let states = work.expanded(&part, Some(states)).unwrap_or_else(|| leaf.clone());
    let input = PassInput {
        model,
        parameters: &parameters,
        work: &work,
        below: None,
        dropout_seed: context.seed("the trunk"),
        progress: context.progress,
        share: context.share,
        chunk_tokens: None,
    };
    let Pass { states, pack } = input.run_last(states);
    Losses::of_heads(model, parameters, (&states, &pack), &work.rows, Split::Train, context)
}

/// Carries the gradients of the states at the boundary through what lies below it. `weights` are those of the tasks: parameters that
/// a task has to itself take its gradient as it is, as its head does.
pub(super) fn backward_below(
    step: &StepInputs<'_>,
    micro_batches: &[MicroBatch],
    kept: Vec<Option<GradientBoundary<'_>>>,
    mut at_boundary: Gradients,
    (scope, weights): (GradientScope, &[f64]),
    into: &mut Gradients,
) {
    // Only lanes are summed apart, to be unweighted: all else adds up in the order of the passes.
    let mut apart = step.model.trunk.has_lanes().then(|| Gradients::none(step.model.parameters.len()));
    for (index, (micro_batch, kept)) in micro_batches.iter().zip(kept).enumerate() {
        let Some(Gradient::Matrix(d)) = at_boundary.take(index) else { continue };
        let again = || forward_below(step, micro_batch, scope).0;
        let GradientBoundary { parameters, states, chunked } = kept.unwrap_or_else(again);
        let sums = apart.as_mut().unwrap_or(&mut *into);
        if let Some(chunked) = chunked {
            chunked.backward(&parameters, &d, sums);
            continue;
        }
        if !states.is_require_grad() && !states.is_tracked() {
            continue; // All of it is frozen.
        }
        let product = (states * d.autodiff()).sum();
        sums.add(Gradients::backward(product, &parameters));
    }
    if let Some(mut apart) = apart {
        unweight_private(step, &mut apart, weights);
        into.add(apart);
    }
}

/// Divides the gradients of parameters that a task has to itself by the task's weight, with which they came. Lanes are apart, so
/// that this is the task's own gradient. A task of weight 0 moves nothing.
fn unweight_private(step: &StepInputs<'_>, gradients: &mut Gradients, weights: &[f64]) {
    for (index, parameter) in step.model.parameters.iter().enumerate() {
        let Owner::Tasks(tasks) = &parameter.owner else { continue };
        let [task] = &tasks[..] else { continue };
        let weight = step.model.tasks.iter().position(|slot| slot.name == *task).map_or(1.0, |i| weights[i]);
        if weight != 0.0
            && let Some(gradient) = gradients.take(index)
        {
            gradients.set(index, gradient.scaled(1.0 / weight));
        }
    }
}
