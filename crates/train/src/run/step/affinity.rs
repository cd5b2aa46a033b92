//! How tasks agree: their gradients over what they share, and what a step on one does to the losses of the others. Nothing of the
//! model, the optimizer or the stream changes.

mod draw;

use super::{PassContext, StepError, StepPosition, forward, with_memory_limit};
use crate::{
    config::Settings,
    gradients::clip,
    gradients::jacobian::{combined, products_over},
    gradients::{Gradient, Gradients},
    job::{Model, Views},
    optimizer::{LearningRates, OptimizerState},
    run::events::{Affinity, LayerCosine, PairAffinity, TaskAffinity, Transfer},
};
use burn::tensor::Tensor;
use data::{Split, random};
use draw::{AffinityDraw, HalfDraw};
use kernels::MemoryLimit;
use model::{Depth, Level, Parameter, ParameterTensor, Parameters, Stack};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tasks::BatchRow;

pub use draw::ROWS_PER_TASK;

/// What a measurement goes by.
pub(crate) struct AffinityContext<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) optimizer_state: &'a OptimizerState,
    pub(crate) rates: &'a LearningRates,
    /// The factor of the schedule.
    pub(crate) factor: f64,
    pub(crate) position: StepPosition,
    pub(crate) memory_limit: Option<&'a Arc<dyn MemoryLimit>>,
    /// Set it, and the measurement is given up before its next pass.
    pub(crate) stop: &'a AtomicBool,
}

/// Measures the tasks that are trained at present. Step and time of the event are left to the caller.
///
/// # Errors
/// [`StepError::OutOfMemory`] and [`StepError::Stopped`].
pub(crate) fn measure_affinity(
    model: &Model,
    views: &Views,
    context: &AffinityContext<'_>,
) -> Result<Affinity, StepError> {
    let unmeasured = |why: &str| Ok(Affinity { unmeasured: Some(why.into()), ..Affinity::default() });
    if model.tasks.iter().filter(|task| task.is_trained).count() < 2 {
        return unmeasured("a single task is trained: there is nothing to compare it with");
    }
    if !model.parameters.iter().any(|p| p.trainable && p.is_shared()) {
        return unmeasured("the tasks share no parameter that is trained");
    }
    with_memory_limit(context.memory_limit, || {
        let draw = AffinityDraw::new(model, views, context.settings.train.seed, context.position.index);
        Measurement { model, context, draw }.measure()
    })
}

struct Measurement<'a> {
    model: &'a Model,
    context: &'a AffinityContext<'a>,
    draw: AffinityDraw,
}

/// The gradient of a task, and what is said of it.
struct TaskGradient {
    task: usize,
    gradient: Gradients,
    loss: f64,
    reliability: Option<f64>,
}

impl Measurement<'_> {
    fn measure(&self) -> Result<Affinity, StepError> {
        let (mut found, mut nonfinite) = (Vec::new(), Vec::new());
        for task in (0..self.model.tasks.len()).filter(|task| !self.draw.rows[*task].is_empty()) {
            match self.gradient(task)? {
                Some(gradient) => found.push(gradient),
                None => nonfinite.push(self.name(task)),
            }
        }
        let rows: Vec<Option<&Gradients>> = found.iter().map(|of| Some(&of.gradient)).collect();
        let products = Products::of(&rows, |_| true);
        let pairs = self.pairs(&found, &rows, &products);
        let norms: Vec<f64> = (0..found.len()).map(|i| products.norm(i)).collect();
        let all = zeros(&found, &self.model.parameters);
        let before = self.losses(&self.model.parameters)?;
        let decrease = |after: &[Option<f64>], task: usize| {
            let (before, after) = (before[task]?, after[task]?);
            let affinity = 1.0 - after / before;
            (before > 0.0 && affinity.is_finite()).then_some(affinity)
        };
        let after = self.losses(&self.moved(all.clone(), 0.0))?;
        let mut tasks = BTreeMap::new();
        for (of, norm) in found.iter().zip(&norms) {
            let measured = TaskAffinity {
                rows: self.draw.rows[of.task].len(),
                loss: of.loss,
                gradient_norm: *norm,
                reliability: of.reliability,
                without_gradient: decrease(&after, of.task),
            };
            tasks.insert(self.name(of.task), measured);
        }
        let measured: Vec<usize> = found.iter().map(|of| of.task).collect();
        let mut transfers = Vec::new();
        for (of, norm) in found.into_iter().zip(norms) {
            let mut gradient = all.clone();
            gradient.add(of.gradient);
            let after = self.losses(&self.moved(gradient, norm))?;
            let of_task = |to: &usize| {
                let (from, to, affinity) = (self.name(of.task), self.name(*to), decrease(&after, *to)?);
                Some(Transfer { from, to, affinity })
            };
            transfers.extend(measured.iter().filter_map(of_task));
        }
        Ok(Affinity { tasks, nonfinite, pairs, transfers, ..Affinity::default() })
    }

    fn name(&self, task: usize) -> String {
        self.model.tasks[task].name.clone()
    }

    fn check_stop(&self) -> Result<(), StepError> {
        if self.context.stop.load(Ordering::Relaxed) { Err(StepError::Stopped) } else { Ok(()) }
    }

    fn pass_context(&self) -> PassContext<'static> {
        let StepPosition { progress, chunk_tokens, .. } = self.context.position;
        PassContext { progress, chunk_tokens, ..PassContext::EVALUATION }
    }

    /// The gradient of a task's mean loss, from two halves of its rows; `None` where it is not finite.
    fn gradient(&self, task: usize) -> Result<Option<TaskGradient>, StepError> {
        let (mut halves, mut losses, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for half in self.draw.halves.iter().filter(|half| !half.rows[task].is_empty()) {
            self.check_stop()?;
            let rows: Vec<usize> = half.rows[task].iter().map(|row| row.pack_row as usize).collect();
            let pack = half.pack.select_rows(&rows);
            let mut own = vec![Vec::new(); self.model.tasks.len()];
            let placed = (0..).zip(&half.rows[task]);
            own[task] = placed.map(|(pack_row, of)| BatchRow { pack_row, row: of.row }).collect();
            let parameters = &self.model.parameters;
            let found =
                forward(self.model, parameters, (&pack, None), own, Split::Train, self.pass_context());
            let (Some(loss), Some(value)) = (&found.of[task], found.values[task]) else { continue };
            losses.push(value);
            targets.push(loss.num_targets as f64);
            let mut only = vec![0.0; self.model.tasks.len()];
            only[task] = 1.0;
            let (gradients, _) =
                found.gradients(&only, 1.0, None).unwrap_or((Gradients::none(parameters.len()), None));
            halves.push(Some(gradients.split(|index| parameters.parameter(index).is_shared()).0));
        }
        let both: Vec<Option<&Gradients>> = halves.iter().map(Option::as_ref).collect();
        let products = Products::of(&both, |_| true);
        let total: f64 = targets.iter().sum();
        let shares: Vec<f64> = targets.iter().map(|targets| targets / total).collect();
        let loss: f64 = losses.iter().zip(&shares).map(|(loss, share)| loss * share).sum();
        if !loss.is_finite() || !(0..halves.len()).all(|half| products.norm(half).is_finite()) {
            return Ok(None);
        }
        let reliability = if halves.len() == 2 { products.cosine(0, 1) } else { None };
        Ok(Some(TaskGradient { task, gradient: combined(halves, &shares), loss, reliability }))
    }

    /// The parameters after the optimizer's step along a gradient of this norm.
    fn moved(&self, gradient: Gradients, norm: f64) -> Parameters {
        let AffinityContext { settings, optimizer_state, rates, factor, .. } = self.context;
        let shrink = clip::factor(norm, settings.train.max_grad_norm);
        let parameters = &self.model.parameters;
        settings.optimizer.trial(parameters, gradient, optimizer_state, rates, shrink, *factor)
    }

    /// The mean loss of each task over its rows of the draw; `None` for those without.
    fn losses(&self, parameters: &Parameters) -> Result<Vec<Option<f64>>, StepError> {
        let parameters = parameters.inference();
        let mut sums = vec![(0.0, 0.0); self.model.tasks.len()];
        for HalfDraw { pack, rows } in &self.draw.halves {
            self.check_stop()?;
            let rows = rows.clone();
            let found =
                forward(self.model, &parameters, (pack, None), rows, Split::Train, self.pass_context());
            for ((sum, loss), value) in sums.iter_mut().zip(&found.of).zip(&found.values) {
                if let (Some(loss), Some(value)) = (loss, value) {
                    sum.0 += loss.num_targets as f64 * value;
                    sum.1 += loss.num_targets as f64;
                }
            }
        }
        Ok(sums.into_iter().map(|(sum, targets)| (targets > 0.0).then(|| sum / targets)).collect())
    }

    /// The cosines of every pair, over everything and part by part.
    fn pairs(
        &self,
        found: &[TaskGradient],
        rows: &[Option<&Gradients>],
        products: &Products,
    ) -> Vec<PairAffinity> {
        let parameters = &self.model.parameters;
        let mut parts: Vec<Part> = parameters.iter().filter(|p| p.is_shared()).map(Part::of).collect();
        parts.sort_unstable();
        parts.dedup();
        let of_part = |part: &Part| {
            (part.to_string(), Products::of(rows, |index| Part::of(parameters.parameter(index)) == *part))
        };
        let parts: Vec<(String, Products)> = parts.iter().map(of_part).collect();
        let pair = |(i, j): (usize, usize)| PairAffinity {
            tasks: (self.name(found[i].task), self.name(found[j].task)),
            cosine: products.cosine(i, j),
            layers: parts
                .iter()
                .filter_map(|(layer, of)| {
                    Some(LayerCosine { layer: layer.clone(), cosine: of.cosine(i, j)? })
                })
                .collect(),
            shared_rows: self.draw.shared_rows(found[i].task, found[j].task),
        };
        (0..found.len()).flat_map(|i| (i + 1..found.len()).map(move |j| (i, j))).map(pair).collect()
    }
}

/// A part of the network, from the bottom up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Embeddings,
    Layer(u16),
    Decoder,
    Rest,
}

impl Part {
    fn of(parameter: &Parameter) -> Part {
        match parameter.depth {
            Some(Depth { stack: Stack::Encoder, level: Level::Embeddings }) => Part::Embeddings,
            Some(Depth { stack: Stack::Encoder, level: Level::Layer(layer) }) => Part::Layer(layer),
            Some(Depth { stack: Stack::Decoder, .. }) => Part::Decoder,
            Some(Depth { stack: Stack::Encoder, level: Level::Output }) | None => Part::Rest,
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Part::Embeddings => f.write_str("embeddings"),
            Part::Layer(layer) => write!(f, "layer {layer}"),
            Part::Decoder => f.write_str("decoder"),
            Part::Rest => f.write_str("rest"),
        }
    }
}

/// The inner products of some gradients.
struct Products {
    rows: usize,
    values: Vec<f64>,
}

impl Products {
    fn of(rows: &[Option<&Gradients>], wanted: impl Fn(usize) -> bool) -> Products {
        Products { rows: rows.len(), values: products_over(rows, wanted) }
    }

    fn norm(&self, i: usize) -> f64 {
        self.values[i * self.rows + i].sqrt()
    }

    /// `None` where a gradient is 0 or not finite.
    fn cosine(&self, i: usize, j: usize) -> Option<f64> {
        let cosine = self.values[i * self.rows + j] / self.norm(i) / self.norm(j);
        cosine.is_finite().then(|| cosine.clamp(-1.0, 1.0))
    }
}

/// Zeros for every parameter that one of the gradients has: with them, the optimizer moves the same parameters for every task, those
/// that a task does not use by momentum and weight decay alone.
fn zeros(found: &[TaskGradient], parameters: &Parameters) -> Gradients {
    let mut zeros = Gradients::none(parameters.len());
    for index in 0..parameters.len() {
        let Some(gradient) = found.iter().find_map(|of| of.gradient.get(index)) else { continue };
        let (shape, device) = (parameters.shape(index), parameters.device().clone().inner());
        let zero = match (parameters.parameter(index).value(), gradient) {
            (ParameterTensor::Vector(_), _) => Gradient::Vector(Tensor::zeros([shape[0]], &device)),
            (_, Gradient::Rows { .. }) => {
                let of = Tensor::zeros([1, shape[1]], &device);
                Gradient::Rows { rows: [0].into(), of }
            }
            (ParameterTensor::Matrix(_), _) => Gradient::Matrix(Tensor::zeros([shape[0], shape[1]], &device)),
        };
        zeros.set(index, zero);
    }
    zeros
}
