//! Validation rows that a balancer looks ahead at ([`balance::Needs::Lookahead`]).

use super::{Packs, bad_losses, forward, rows_of_all};
use crate::{
    evaluate::labelled,
    events::BadTask,
    gradients::{Gradient, Gradients},
    job::Job,
};
use data::{Pack, RowRef, Split, random};
use model::{Parameters, Weight};

/// Draws a pack of validation rows for every step, of at most so many tokens.
pub(crate) struct Validation {
    /// The rows that carry a label, view by view.
    rows: Vec<Vec<RowRef>>,
    tokens: usize,
}

impl Validation {
    /// `None` where no validation row carries a label.
    pub(crate) fn of(job: &Job, tokens: usize) -> Option<Validation> {
        let mut rows: Vec<Vec<RowRef>> = job.views.validation.iter().map(|_| Vec::new()).collect();
        for row in labelled(&job.model.tasks, |_| true, Split::Validation, &job.views.validation) {
            rows[row.view as usize].push(row);
        }
        rows.retain(|rows| !rows.is_empty());
        (!rows.is_empty()).then_some(Validation { rows, tokens })
    }

    /// The gradient over the trunk of the sum of the validation losses, at the parameters that a step of length `rate` along
    /// `direction` from `parameters` leads to.
    pub(crate) fn gradient(
        &self,
        step: &Packs<'_>,
        parameters: &Parameters,
        direction: &Gradients,
        rate: f64,
    ) -> Result<Gradients, Vec<BadTask>> {
        let model = step.model;
        let pack = self.draw(step);
        let rows = rows_of_all(model, &pack, Split::Validation);
        let moved = moved(parameters, direction, rate);
        let losses = forward(model, &moved, (&pack, None), &rows, Split::Validation, None);
        let faults = bad_losses(model, step.views, &pack, Split::Validation, &losses.values);
        if !faults.is_empty() {
            return Err(faults);
        }
        let all = vec![1.0; model.tasks.len()];
        let (gradients, _) =
            losses.gradients(&all, 1.0, None).unwrap_or((Gradients::none(model.parameters.len()), None));
        Ok(gradients.split(|index| model.parameters.parameter(index).is_shared()).0)
    }

    /// Rows of every view in turn, so that small corpora are seen as often as large ones while they last.
    fn draw(&self, step: &Packs<'_>) -> Pack {
        let views = &step.views.validation;
        let mut rng = random::stream(step.seed, "validation rows of a lookahead", step.at.index as u64);
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
        let weight = match (parameters.parameter(index).value(), direction.get(index)) {
            (Weight::Vector(w), Some(Gradient::Vector(g))) => {
                Weight::Vector(w.clone().inner() - g.clone() * rate)
            }
            (Weight::Matrix(w), Some(Gradient::Matrix(g))) => {
                Weight::Matrix(w.clone().inner() - g.clone() * rate)
            }
            (Weight::Matrix(w), Some(Gradient::Rows { rows, of })) => {
                let whole = kernels::spread(of.clone() * rate, rows, w.dims()[0]);
                Weight::Matrix(w.clone().inner() - whole)
            }
            _ => continue,
        };
        moved.put(index, weight);
    }
    moved
}
