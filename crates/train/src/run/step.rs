//! One step: packs in, moved weights out, or the reason why nothing moved.

mod affinity;
mod boundary;
mod lookahead;
mod metrics;
mod micro_batch;
mod per_task;

pub use affinity::ROWS_PER_TASK;
pub(crate) use affinity::{AffinityContext, measure_affinity};
pub(crate) use lookahead::LookaheadBatch;
pub(crate) use metrics::StepMetrics;

use crate::{
    config::Settings,
    forward::evaluate::rows_labelled,
    forward::task_input::TaskInput,
    forward::trunk::{self, PassInput, WorkPack, chunked::ChunkedForward},
    gradients::buffers::Buffers,
    gradients::clip,
    gradients::{Gradients, read_scalars},
    job::{Model, TaskSlot, Views},
    optimizer::{LearningRates, OptimizerState},
    pruning::GradualPruning,
    run::events::NonFiniteTask,
};
use balance::{Balancer, Needs};
use burn::tensor::Tensor;
use data::{Pack, Split, random};
use kernels::{MemoryLimit, OutOfMemory};
use metrics::StepMetricsBuilder;
use model::Parameters;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tasks::{BatchRow, Loss};

/// How many rows an error names per task.
const MAX_ROWS_NAMED: usize = 5;

/// What a step changes beside the weights, and what it goes by.
pub(crate) struct StepContext<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) balancer: &'a mut dyn Balancer,
    /// What the balancer keeps of every parameter.
    pub(crate) buffers: &'a mut Buffers,
    /// What a lookahead is made on, where the balancer needs one.
    pub(crate) validation: Option<&'a LookaheadBatch>,
    pub(crate) optimizer_state: &'a mut OptimizerState,
    pub(crate) rates: &'a LearningRates,
    /// The factor of the schedule.
    pub(crate) factor: f64,
    /// What is pruned, where the model is.
    pub(crate) pruning: Option<&'a mut GradualPruning>,
    /// What bounds the memory of the step.
    pub(crate) memory_limit: Option<&'a Arc<dyn MemoryLimit>>,
    /// Set it, and the step is given up before its next pack.
    pub(crate) stop: &'a AtomicBool,
}

/// Why a step changed nothing.
#[derive(Debug)]
pub(crate) enum StepError {
    /// These tasks had a loss or gradient that is no finite number.
    NonFinite(Vec<NonFiniteTask>),
    /// It would have exceeded the memory limit.
    OutOfMemory,
    /// The run was asked to stop between two of its packs.
    Stopped,
}

impl From<Vec<NonFiniteTask>> for StepError {
    fn from(tasks: Vec<NonFiniteTask>) -> StepError {
        StepError::NonFinite(tasks)
    }
}

/// What some work of a step gives, unless it would exceed the memory limit.
fn with_memory_limit<T>(
    limit: Option<&Arc<dyn MemoryLimit>>,
    work: impl FnOnce() -> Result<T, StepError>,
) -> Result<T, StepError> {
    match limit {
        None => work(),
        Some(limit) => {
            kernels::with_memory_limit(limit, work).map_err(|OutOfMemory| StepError::OutOfMemory)?
        }
    }
}

/// Frees the graph of an aborted pass; the parameters, which are its leaves, become new ones for that.
pub(crate) fn release_autograd_graph(parameters: &mut Parameters) {
    parameters.renew_leaves();
    kernels::release_autograd_graph(parameters.device());
}

/// The losses of one pack, per task of the model; `None` for tasks without labels in it.
pub(crate) struct Losses<'m> {
    pub(crate) of: Vec<Option<Loss>>,
    pub(crate) values: Vec<Option<f64>>,
    /// What they were made of.
    parameters: Parameters,
    /// Where the graph of the trunk was not kept: what makes it again, and the states.
    chunked: Option<(ChunkedForward<'m>, Tensor<2>)>,
}

/// What the passes of a step, or of an evaluation, go by.
#[derive(Clone, Copy)]
pub(crate) struct PassContext<'a> {
    /// The seed of the dropout of something by name; `None`: no dropout.
    pub(crate) dropout_seed: Option<&'a dyn Fn(&str) -> u64>,
    /// How much of the run lies behind, 0 to 1.
    pub(crate) progress: f64,
    /// Which share of the step the pack is; 0 outside of training.
    pub(crate) share: f64,
    /// The most tokens that go through the trunk at once; `None`: all.
    pub(crate) chunk_tokens: Option<usize>,
}

impl PassContext<'_> {
    /// Outside of training: no dropout, all tokens at once.
    pub(crate) const EVALUATION: PassContext<'static> =
        PassContext { dropout_seed: None, progress: 1.0, share: 0.0, chunk_tokens: None };

    /// The seed of the dropout of something, where there is dropout.
    pub(crate) fn seed(&self, name: &str) -> Option<u64> {
        self.dropout_seed.map(|seed| seed(name))
    }
}

impl<'m> Losses<'m> {
    /// Runs the heads that have rows on the states of a pack, all of it made of `parameters`.
    pub(crate) fn of_heads(
        model: &Model,
        parameters: Parameters,
        of_trunk: (&Tensor<2>, &Pack),
        rows: &[Vec<BatchRow>],
        split: Split,
        context: PassContext<'_>,
    ) -> Losses<'m> {
        let loss = |(task, rows): (&TaskSlot, &Vec<BatchRow>)| {
            if rows.is_empty() {
                return None;
            }
            let dropout_seed = context.seed(&format!("task {}", task.name));
            let input = TaskInput::new(model, &parameters, task, of_trunk, rows);
            task.head.loss(&parameters, &input.batch(split, dropout_seed, context.progress))
        };
        let of: Vec<Option<Loss>> = model.tasks.iter().zip(rows).map(loss).collect();
        let means = of.iter().flatten().map(|loss| loss.mean.clone().inner()).collect();
        let mut means = read_scalars(means).into_iter();
        let values = of.iter().map(|loss| loss.as_ref().and_then(|_| means.next())).collect();
        Losses { of, values, parameters, chunked: None }
    }

    /// Says that the graph of the trunk below the states was not kept, and what makes it again.
    pub(crate) fn with_chunked(self, chunked: Option<ChunkedForward<'m>>, states: &Tensor<2>) -> Losses<'m> {
        Losses { chunked: chunked.map(|chunked| (chunked, states.clone())), ..self }
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
        let Some((chunked, states)) = self.chunked else {
            return Some(Gradients::backward_to(sum, &self.parameters, leaf));
        };
        let (mut gradients, d_states) = Gradients::backward_to(sum, &self.parameters, Some(&states));
        if let Some(d_states) = d_states {
            chunked.backward(&self.parameters, &d_states, &mut gradients);
        }
        Some((gradients, None))
    }
}

/// Does a step on its packs. `below` holds for each the states out of the backbone's frozen prefix, where they are known. With `Err`
/// neither weights nor optimizer state nor the balancer have changed.
pub(crate) fn step(
    model: &mut Model,
    views: &Views,
    packs: &[Pack],
    below: Vec<Option<Tensor<2>>>,
    position: StepPosition,
    mut context: StepContext<'_>,
) -> Result<StepMetrics, StepError> {
    let balancer_before = context.balancer.state();
    let undo = |balancer: &mut dyn Balancer, error| {
        // A balancer takes its own state back; it has no reason to refuse.
        let _ = balancer.restore(&balancer_before);
        Err(error)
    };
    let inputs =
        StepInputs { model, views, packs, seed: context.settings.train.seed, position, stop: context.stop };
    let gathered = match context.balancer.needs() {
        Needs::Losses => {
            let limit = context.memory_limit;
            with_memory_limit(limit, || joint_gradients(inputs, below, context.balancer))
        }
        _ => per_task::per_task_gradients(inputs, below, &mut context),
    };
    let StepGradients { mut gradients, metrics } = match gathered {
        Ok(gathered) => gathered,
        Err(error) => {
            if !matches!(error, StepError::NonFinite(_)) {
                release_autograd_graph(&mut model.parameters);
            }
            return undo(context.balancer, error);
        }
    };
    if let Some(penalty) = model.trunk.sharing().penalty(&model.parameters) {
        gradients.add_penalty(penalty);
    }
    let squares = gradients.squared_norms();
    let norm = squares.iter().sum::<f64>().sqrt();
    if !norm.is_finite() {
        return undo(context.balancer, nonfinite_gradients(model, views, packs, &squares).into());
    }
    let shrink = clip::factor(norm, context.settings.train.max_grad_norm);
    let StepContext { optimizer_state, rates, factor, mut pruning, .. } = context;
    let optimizer = &context.settings.optimizer;
    if let Some(pruning) = &mut pruning {
        pruning.observe(&model.parameters, &gradients, shrink);
    }
    optimizer.step(&mut model.parameters, gradients, optimizer_state, rates, shrink, factor);
    if let Some(pruning) = pruning {
        pruning.hold(&mut model.parameters);
    }
    Ok(StepMetrics { gradient_norm: norm, ..metrics })
}

/// The packs of a step, and what they run through.
#[derive(Clone, Copy)]
pub(crate) struct StepInputs<'a> {
    pub(crate) model: &'a Model,
    pub(crate) views: &'a Views,
    pub(crate) packs: &'a [Pack],
    pub(crate) seed: u64,
    pub(crate) position: StepPosition,
    pub(crate) stop: &'a AtomicBool,
}

/// Where in the run a step is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepPosition {
    /// Its number, from 0 on.
    pub(crate) index: usize,
    /// How much of the run lies behind, 0 to 1.
    pub(crate) progress: f64,
    /// The most tokens that go through the trunk at once, where that is bounded.
    pub(crate) chunk_tokens: Option<usize>,
}

impl StepInputs<'_> {
    /// Gives the step up before a pack if the run was asked to stop; never before the first, so that a run that is stopped and
    /// resumed again and again comes on.
    fn check_stop(&self, pack: usize) -> Result<(), StepError> {
        if pack > 0 && self.stop.load(Ordering::Relaxed) { Err(StepError::Stopped) } else { Ok(()) }
    }

    /// What the passes of the step go by, with these seeds of dropout.
    fn pass_context<'a>(&self, dropout_seed: &'a dyn Fn(&str) -> u64) -> PassContext<'a> {
        let StepPosition { progress, chunk_tokens, .. } = self.position;
        let share = 1.0 / self.packs.len().max(1) as f64;
        PassContext { dropout_seed: Some(dropout_seed), progress, share, chunk_tokens }
    }
}

/// The gradient of a step, and what was measured on the way.
pub(crate) struct StepGradients {
    pub(crate) gradients: Gradients,
    pub(crate) metrics: StepMetrics,
}

/// One pass a pack for all tasks, one backward pass of the weighted sum of their losses.
fn joint_gradients(
    step: StepInputs<'_>,
    below: Vec<Option<Tensor<2>>>,
    balancer: &mut dyn Balancer,
) -> Result<StepGradients, StepError> {
    let StepInputs { model, views, packs, .. } = step;
    let mut gradients = Gradients::none(model.parameters.len());
    let mut metrics = StepMetricsBuilder::default();
    for (accumulation_index, (pack, below)) in packs.iter().zip(below).enumerate() {
        step.check_stop(accumulation_index)?;
        let seed = |name: &str| dropout_seed(step.seed, name, step.position.index, accumulation_index);
        let rows = rows_of_all(model, pack, Split::Train);
        let context = step.pass_context(&seed);
        let losses = forward(model, &model.parameters, (pack, below), rows, Split::Train, context);
        let errors = nonfinite_losses(model, views, pack, Split::Train, &losses.values);
        if !errors.is_empty() {
            return Err(errors.into());
        }
        let weights = balancer.weights_from_losses(&losses.values);
        metrics.losses(model, &losses, 1.0);
        metrics.weights(model, &losses.values, &weights);
        if let Some((found, _)) = losses.gradients(&weights, 1.0 / packs.len() as f64, None) {
            gradients.add(found);
        }
    }
    Ok(StepGradients { gradients, metrics: metrics.finish() })
}

/// The seed of a step's dropout: trunk and heads, steps and packs all draw apart.
pub(crate) fn dropout_seed(seed: u64, name: &str, step: usize, accumulation_index: usize) -> u64 {
    random::derive_seed(seed, &format!("dropout of {name} in pack {accumulation_index}"), step as u64)
}

/// The trunk once, from the states `below` its lowest trained layer if they are known, then the head of every task on its `rows`.
pub(crate) fn forward<'m>(
    model: &'m Model,
    parameters: &Parameters,
    (pack, below): (&Pack, Option<Tensor<2>>),
    rows: Vec<Vec<BatchRow>>,
    split: Split,
    context: PassContext<'_>,
) -> Losses<'m> {
    let parameters = trunk::parameters_for(model, parameters, pack, &rows);
    let work = WorkPack::new(model, pack, rows);
    let input = PassInput {
        model,
        parameters: &parameters,
        work: &work,
        below: work.expanded(pack, below),
        dropout_seed: context.seed("the trunk"),
        progress: context.progress,
        share: context.share,
        chunk_tokens: context.chunk_tokens,
    };
    let (pass, chunked) = input.run();
    let on = (&pass.states, &*pass.pack);
    let losses = Losses::of_heads(model, parameters, on, &work.rows, split, context);
    losses.with_chunked(chunked, &pass.states)
}

/// For every task the rows of a pack that carry its labels.
pub(crate) fn rows_of_all(model: &Model, pack: &Pack, split: Split) -> Vec<Vec<BatchRow>> {
    model.tasks.iter().map(|task| rows_labelled(pack, task, split)).collect()
}

/// The tasks whose loss is no finite number, and the rows of the split that it was made of.
pub(crate) fn nonfinite_losses(
    model: &Model,
    views: &Views,
    pack: &Pack,
    split: Split,
    values: &[Option<f64>],
) -> Vec<NonFiniteTask> {
    let found = |value: f64| match split {
        Split::Validation => format!("validation loss {value} after the trial step"),
        Split::Train | Split::Test => format!("loss {value}"),
    };
    let bad = values.iter().enumerate().filter_map(|(i, value)| Some((i, value.filter(|v| !v.is_finite())?)));
    let packs = std::slice::from_ref(pack);
    bad.map(|(i, value)| nonfinite_task(model, views, packs, split, i, found(value))).collect()
}

/// The tasks whose own parameters have a gradient that is no finite number; where it is only the trunk's, every
/// task of the step.
fn nonfinite_gradients(model: &Model, views: &Views, packs: &[Pack], squares: &[f64]) -> Vec<NonFiniteTask> {
    let has_nonfinite = |task: &TaskSlot| {
        let own = [Some(task.name.as_str()), Some(task.head_owner())];
        let mut parameters = model.parameters.iter().zip(squares);
        parameters.any(|(p, square)| !square.is_finite() && own.contains(&p.owner.first_task()))
    };
    let mut named: Vec<usize> = (0..model.tasks.len()).filter(|i| has_nonfinite(&model.tasks[*i])).collect();
    if named.is_empty() {
        named = (0..model.tasks.len()).collect();
    }
    let error = |i| nonfinite_task(model, views, packs, Split::Train, i, "gradient not finite".into());
    named.into_iter().map(error).filter(|error| error.of > 0).collect()
}

pub(crate) fn nonfinite_task(
    model: &Model,
    views: &Views,
    packs: &[Pack],
    split: Split,
    task: usize,
    found: String,
) -> NonFiniteTask {
    let task = &model.tasks[task];
    let rows: Vec<u32> = packs.iter().flat_map(|p| rows_labelled(p, task, split)).map(|r| r.row).collect();
    let place =
        |row: &u32| views.of(split).get(task.view)?.rows.get(*row as usize).map(|r| r.place.to_string());
    NonFiniteTask {
        task: task.name.clone(),
        found,
        rows: rows.iter().filter_map(place).take(MAX_ROWS_NAMED).collect(),
        of: rows.len(),
    }
}
