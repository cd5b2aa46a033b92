//! Squared gradients of a model's own losses: the diagonal of the empirical Fisher information, by which models are merged.

use super::row_gradients::{DrawnRows, each_row};
use crate::{
    error::TrainError,
    gradients::Gradient,
    job::{Job, merge::NamedValues},
};
use burn::tensor::Tensor;
use data::Split;
use std::sync::atomic::AtomicBool;

/// For each trained parameter of the trunk the mean, over training rows, of the squared gradient of the row's loss, summed over the tasks: of
/// each task `rows` rows, drawn by seed and the task's name, or all where it has fewer. Each row runs by itself, without dropout. Parameters
/// on which no loss depends are left out. `None` when `stop` is set before the end.
///
/// # Errors
/// [`TrainError::NoLabels`]; [`TrainError::NotMerged`] for a gradient that is not finite.
pub fn squared_gradients(
    job: &Job,
    rows: usize,
    seed: u64,
    stop: &AtomicBool,
) -> Result<Option<NamedValues>, TrainError> {
    let model = &job.model;
    let mut sums: Vec<Vec<f64>> = model.parameters.iter().map(|_| Vec::new()).collect();
    let drawn = DrawnRows { split: Split::Train, rows, seed, name: "merged" };
    let is_done = each_row(job, drawn, stop, |_, rows, mut gradients| {
        for (at, sum) in sums.iter_mut().enumerate() {
            let Some(gradient) = gradients.take(at) else { continue };
            sum.resize(model.parameters.parameter(at).size(), 0.0);
            add_squares(sum, gradient, 1.0 / rows as f64);
        }
    })?;
    if !is_done {
        return Ok(None);
    }
    let mut found = NamedValues::new();
    for (sum, parameter) in sums.into_iter().zip(model.parameters.iter()).filter(|(sum, _)| !sum.is_empty()) {
        if sum.iter().any(|square| !square.is_finite()) {
            let reason = "a gradient of it on the model's own training rows is not finite";
            return Err(TrainError::NotMerged { tensor: parameter.name.clone(), reason });
        }
        // A square that f32 has no place for counts as the largest that it has.
        let narrow = |square: f64| square.min(f64::from(f32::MAX)) as f32;
        found.insert(parameter.name.clone(), sum.into_iter().map(narrow).collect());
    }
    Ok(Some(found))
}

/// Adds the squares of a gradient, times `share`, to those of the whole parameter.
fn add_squares(sum: &mut [f64], gradient: Gradient, share: f64) {
    let mut add = |start: usize, values: Vec<f32>| {
        for (sum, value) in sum[start..].iter_mut().zip(values) {
            *sum += share * f64::from(value).powi(2);
        }
    };
    match gradient {
        Gradient::Vector(of) => add(0, values(of)),
        Gradient::Matrix(of) => add(0, values(of)),
        Gradient::Rows { rows, of } => {
            let columns = of.dims()[1];
            let all = values(of);
            for (row, values) in rows.iter().zip(all.chunks(columns.max(1))) {
                add(*row as usize * columns, values.to_vec());
            }
        }
    }
}

fn values<const D: usize>(of: Tensor<D>) -> Vec<f32> {
    of.into_data().try_into_vec().expect("gradients are f32 on the host's side")
}
