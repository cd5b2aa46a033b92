//! The step of a balancing method that compares the gradients of the tasks: each task's rows by themselves, a gradient for every
//! task, of which the balancer sees the inner products, and whatever else it needs.
//!
//! Without a boundary ([`GradientScope::AllShared`]) every task's rows run through the whole trunk by themselves; rows that several
//! tasks share run once for each of them. With one, all rows run together up to the boundary, then each task's from there, and the
//! weighted gradient at the boundary goes back through the lower part once.

use super::boundary::{GradientBoundary, backward_below, forward_above, forward_below, leaf};
use super::micro_batch::{
    MicroBatch, dropout_seed_of, micro_batches, pack_rows, rows_of_one, share, some_rows,
};
use super::{
    Losses, PassContext, StepContext, StepError, StepGradients, StepInputs, StepMetricsBuilder, forward,
    nonfinite_losses, nonfinite_task, rows_of_all, with_memory_limit,
};
use crate::{
    config::gradient_scope::GradientScope,
    gradients::Gradients,
    gradients::buffers::Buffers,
    gradients::jacobian::{Jacobian, products},
    job::Model,
    run::events::{Cosine, NonFiniteTask, TaskGradients},
};
use balance::{Balancer, CrossGramian, Gramian, Needs, StepStatistics};
use burn::tensor::Tensor;
use data::Split;
use tasks::BatchRow;

/// The gradient of a step by the balancer's weights. All of it is bounded by the memory limit: the lookahead and the backward pass
/// below the boundary run the trunk too.
pub(super) fn per_task_gradients(
    step: StepInputs<'_>,
    below: Vec<Option<Tensor<2>>>,
    context: &mut StepContext<'_>,
) -> Result<StepGradients, StepError> {
    with_memory_limit(context.memory_limit, || within_limit(step, below, context))
}

fn within_limit(
    step: StepInputs<'_>,
    below: Vec<Option<Tensor<2>>>,
    context: &mut StepContext<'_>,
) -> Result<StepGradients, StepError> {
    let (model, scope) = (step.model, context.settings.train.gradient_scope);
    let needs = context.balancer.needs();
    let (micro_batches, halves) = micro_batches(&step, below, needs == Needs::IndependentHalves);
    let PerTaskPasses { mut jacobian, metrics, boundaries } = gather(&step, &micro_batches, halves, scope)?;
    let losses = metrics.means(model);

    let raw = products(&jacobian.rows());
    let gramian = gramian(&step, &sum_of_halves(&raw, halves))?;
    let cross_gramian =
        (needs == Needs::IndependentHalves).then(|| between_halves(&step, &micro_batches, &raw));
    let seen = transform_rows(&step, &mut jacobian, context.balancer, context.buffers, &losses)?;
    let lookahead = match (needs, context.validation) {
        (Needs::Lookahead, Some(validation)) => {
            let trial = jacobian.trial(&context.balancer.trial(&losses));
            let rate = context.rates.trunk * context.factor;
            let averaged = context.settings.optimizer.averaged(&model.parameters, context.optimizer_state);
            let from = averaged.as_ref().unwrap_or(&model.parameters);
            Some(lookahead(&jacobian, validation.gradient(&step, from, &trial, rate)?))
        }
        _ => None,
    };
    let weights = context.balancer.weights(&StepStatistics {
        losses: &losses,
        gramian: Some(seen.as_ref().unwrap_or(&gramian)),
        cross_gramian: cross_gramian.as_ref(),
        lookahead: lookahead.as_deref(),
    });

    let mut metrics = metrics;
    metrics.weights(model, &losses, &weights);
    let mut metrics = metrics.finish();
    metrics.task_gradients = Some(task_gradients(model, &losses, &gramian));
    let direction = jacobian.weighted_direction(&weights.repeat(halves));
    let mut gradients = direction.parameters;
    let by = (scope, &weights[..]);
    backward_below(&step, &micro_batches, boundaries, direction.states, by, &mut gradients);
    Ok(StepGradients { gradients, metrics })
}

/// What the micro-batches of a step gave.
struct PerTaskPasses<'m> {
    jacobian: Jacobian,
    metrics: StepMetricsBuilder,
    /// Of each micro-batch what was run below the boundary, where there is one.
    boundaries: Vec<Option<GradientBoundary<'m>>>,
}

/// Runs every task's rows of every micro-batch. Row `half K + task` of the Jacobian is a task's gradient over one half of the rows.
fn gather<'m>(
    step: &StepInputs<'m>,
    micro_batches: &[MicroBatch],
    halves: usize,
    scope: GradientScope,
) -> Result<PerTaskPasses<'m>, StepError> {
    let model = step.model;
    let tasks = model.tasks.len();
    let mut jacobian = Jacobian::none(scope, halves * tasks, micro_batches.len(), &model.parameters);
    let (mut metrics, mut boundaries) = (StepMetricsBuilder::default(), Vec::new());
    for (index, micro_batch) in micro_batches.iter().enumerate() {
        step.check_stop(index)?;
        let rows = rows_of_all(model, &micro_batch.pack, Split::Train);
        let below = (scope != GradientScope::AllShared).then(|| forward_below(step, micro_batch, scope));
        let leaf = below.as_ref().map(|(boundary, _)| leaf(&boundary.states));
        for (task, rows_of_task) in rows.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            let losses = match (&below, &leaf) {
                (Some((boundary, at)), Some(leaf)) => {
                    forward_above(step, micro_batch, task, (boundary, at, leaf), scope)
                }
                _ => alone(step, micro_batch, task, rows_of_task),
            };
            let errors = nonfinite_losses(model, step.views, &micro_batch.pack, Split::Train, &losses.values);
            if !errors.is_empty() {
                return Err(errors.into());
            }
            let share = share(step, micro_batch, task);
            metrics.losses(model, &losses, share);
            let scale = share / step.packs.len() as f64;
            if let Some((gradients, states)) = losses.gradients(&only(task, tasks), scale, leaf.as_ref()) {
                jacobian.add(micro_batch.half * tasks + task, gradients, &model.parameters);
                jacobian.add_states(micro_batch.half * tasks + task, index, states);
            }
        }
        // The graph below the boundary is kept for its backward pass only where there is one: more would take the memory that
        // accumulation is to save.
        let boundary = below.map(|(boundary, _)| boundary);
        boundaries.push(boundary.filter(|it| micro_batches.len() == 1 || it.chunked.is_some()));
    }
    Ok(PerTaskPasses { jacobian, metrics, boundaries })
}

/// Weight 1 for one of the tasks.
fn only(task: usize, tasks: usize) -> Vec<f64> {
    (0..tasks).map(|other| if other == task { 1.0 } else { 0.0 }).collect()
}

/// The rows of one task through the whole trunk.
fn alone<'m>(step: &StepInputs<'m>, micro_batch: &MicroBatch, task: usize, rows: &[BatchRow]) -> Losses<'m> {
    let model = step.model;
    let (part, below) = some_rows(&micro_batch.pack, micro_batch.below.as_ref(), &pack_rows(rows));
    let rows = rows_of_one(model, &part, task);
    let seed = dropout_seed_of(step, micro_batch, format!(" for {}", model.tasks[task].name));
    let context = step.pass_context(&seed);
    let of_pack = part.tokens() as f64 / step.packs[micro_batch.accumulation_index].tokens().max(1) as f64;
    let context = PassContext { share: context.share * of_pack, ..context };
    forward(model, &model.parameters, (&part, below), rows, Split::Train, context)
}

/// The Gramian out of inner products, if all of them are numbers.
fn gramian(step: &StepInputs<'_>, products: &[f64]) -> Result<Gramian, Vec<NonFiniteTask>> {
    let tasks = step.model.tasks.len();
    let finite = |i: &usize| products[i * tasks..][..tasks].iter().all(|x| x.is_finite());
    let broken: Vec<usize> = (0..tasks).filter(|i| !finite(i)).collect();
    let gramian = Gramian::new(tasks, products.to_vec());
    gramian.ok().filter(|_| broken.is_empty()).ok_or_else(|| {
        let named = if broken.is_empty() { (0..tasks).collect() } else { broken };
        let error = |i| {
            let found = "gradient not finite".into();
            nonfinite_task(step.model, step.views, step.packs, Split::Train, i, found)
        };
        named.into_iter().map(error).filter(|error| error.of > 0).collect()
    })
}

/// The products of the sums over the halves, K x K, from those of all rows.
fn sum_of_halves(products: &[f64], halves: usize) -> Vec<f64> {
    let rows = (products.len() as f64).sqrt().round() as usize;
    let tasks = rows / halves.max(1);
    let mut sum = vec![0.0; tasks * tasks];
    for (at, product) in products.iter().enumerate() {
        sum[(at / rows % tasks) * tasks + at % rows % tasks] += product;
    }
    sum
}

/// The products between the first half's gradients and the second's, each as long as if its half were all there is.
fn between_halves(step: &StepInputs<'_>, micro_batches: &[MicroBatch], products: &[f64]) -> CrossGramian {
    let tasks = step.model.tasks.len();
    let share = |half: usize, task: usize| {
        let own = micro_batches.iter().filter(|it| it.half == half);
        let of: f64 = own.map(|micro_batch| share(step, micro_batch, task)).sum();
        of / step.packs.len() as f64
    };
    let entry = |at: usize| {
        let (i, j) = (at / tasks, at % tasks);
        let shares = share(0, i) * share(1, j);
        if shares > 0.0 { products[i * 2 * tasks + tasks + j] / shares } else { 0.0 }
    };
    let values = (0..tasks * tasks).map(entry).collect();
    CrossGramian::new(tasks, values).expect("one entry a pair of tasks")
}

/// Lets the balancer see and change the gradients, where it wants to; then the Gramian of what it left.
fn transform_rows(
    step: &StepInputs<'_>,
    jacobian: &mut Jacobian,
    balancer: &mut dyn Balancer,
    buffers: &mut Buffers,
    losses: &[Option<f64>],
) -> Result<Option<Gramian>, Vec<NonFiniteTask>> {
    let needs = balancer.needs();
    let Some(transform) = balancer.gradient_transform() else { return Ok(None) };
    jacobian.transform_rows(transform, losses, buffers, &step.model.parameters);
    if needs != Needs::Gramian {
        return Ok(None);
    }
    gramian(step, &products(&jacobian.rows())).map(Some)
}

/// The products of the rows of J with one gradient more.
fn lookahead(jacobian: &Jacobian, gradient: Gradients) -> Vec<f64> {
    let mut rows = jacobian.rows();
    rows.push(Some(&gradient));
    let products = products(&rows);
    products[products.len() - rows.len()..][..rows.len() - 1].to_vec()
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
