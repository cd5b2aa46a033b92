//! Validation rows that a balancer looks ahead at ([`balance::Needs::Lookahead`]).

use super::{PassContext, StepInputs, forward, nonfinite_losses, rows_of_all};
use crate::{
    forward::evaluate::labelled,
    gradients::{Gradient, Gradients},
    job::Job,
    run::events::NonFiniteTask,
};
use data::{Pack, RowRef, Split, random};
use model::{ParameterTensor, Parameters};

/// Draws a pack of validation rows for every step, of at most so many tokens.
pub(crate) struct LookaheadBatch {
    /// The rows that carry a label, view by view.
    rows: Vec<Vec<RowRef>>,
    tokens: usize,
}

impl LookaheadBatch {
    /// `None` where no validation row carries a label.
    pub(crate) fn of(job: &Job, tokens: usize) -> Option<LookaheadBatch> {
        let mut rows: Vec<Vec<RowRef>> = job.views.validation.iter().map(|_| Vec::new()).collect();
        for row in labelled(&job.model.tasks, |_| true, Split::Validation, &job.views.validation) {
            rows[row.view as usize].push(row);
        }
        rows.retain(|rows| !rows.is_empty());
        (!rows.is_empty()).then_some(LookaheadBatch { rows, tokens })
    }

    /// The gradient over the trunk of the sum of the validation losses, at the parameters that a step of length `rate` along
    /// `direction` from `parameters` leads to.
    pub(crate) fn gradient(
        &self,
        step: &StepInputs<'_>,
        parameters: &Parameters,
        direction: &Gradients,
        rate: f64,
    ) -> Result<Gradients, Vec<NonFiniteTask>> {
        let model = step.model;
        let pack = self.draw(step);
        let rows = rows_of_all(model, &pack, Split::Validation);
        let moved = moved(parameters, direction, rate);
        let chunk_tokens = step.position.chunk_tokens;
        let context = PassContext { chunk_tokens, ..PassContext::EVALUATION };
        let losses = forward(model, &moved, (&pack, None), rows, Split::Validation, context);
        let errors = nonfinite_losses(model, step.views, &pack, Split::Validation, &losses.values);
        if !errors.is_empty() {
            return Err(errors);
        }
        let all = vec![1.0; model.tasks.len()];
        let (gradients, _) =
            losses.gradients(&all, 1.0, None).unwrap_or((Gradients::none(model.parameters.len()), None));
        Ok(gradients.split(|index| model.parameters.parameter(index).is_shared()).0)
    }

    /// Rows of every view in turn, so that small corpora are seen as often as large ones while they last.
    fn draw(&self, step: &StepInputs<'_>) -> Pack {
        let views = &step.views.validation;
        let mut rng = random::stream(step.seed, "validation rows of a lookahead", step.position.index as u64);
        let mut left = self.rows.clone();
        left.iter_mut().for_each(|rows| random::shuffle(&mut rng, rows));
        let (mut drawn, mut tokens) = (Vec::new(), 0);
        while left.iter().any(|rows| !rows.is_empty()) {
            for row in left.iter_mut().filter_map(Vec::pop) {
                tokens += views[row.view as usize].encoded.length(row.row as usize);
                if tokens > self.tokens && !drawn.is_empty() {
                    return Pack::of(views, &drawn);
                }
                drawn.push(row);
            }
        }
        Pack::of(views, &drawn)
    }
}

/// The parameters after a plain step of length `rate` along `direction`.
fn moved(parameters: &Parameters, direction: &Gradients, rate: f64) -> Parameters {
    let mut moved = parameters.clone();
    for index in 0..parameters.len() {
        let tensor = match (parameters.parameter(index).value(), direction.get(index)) {
            (ParameterTensor::Vector(w), Some(Gradient::Vector(g))) => {
                ParameterTensor::Vector(w.clone().inner() - g.clone() * rate)
            }
            (ParameterTensor::Matrix(w), Some(Gradient::Matrix(g))) => {
                ParameterTensor::Matrix(w.clone().inner() - g.clone() * rate)
            }
            (ParameterTensor::Matrix(w), Some(Gradient::Rows { rows, of })) => {
                let dense = kernels::scatter_add_rows(of.clone() * rate, rows, w.dims()[0]);
                ParameterTensor::Matrix(w.clone().inner() - dense)
            }
            _ => continue,
        };
        moved.put(index, tensor);
    }
    moved
}
