//! The matrices of the golden values, and helpers that apply a method to them. The values are from float64 computations of the
//! papers' formulas outside this crate, which agree with TorchJD's own tests where it has the same matrix.

use crate::method_impl::{ActiveTasks, MethodImpl, State};
use crate::{Balancer, CrossGramian, Gramian, StepStatistics};

/// TorchJD's example.
pub(crate) const BASE: &[&[f64]] = &[&[-4.0, 1.0, 1.0], &[6.0, 1.0, 1.0]];
/// Three tasks, two conflicts.
pub(crate) const THREE: &[&[f64]] = &[&[1.0, 2.0, 0.0, -1.0], &[-1.0, 1.0, 3.0, 0.0], &[2.0, -3.0, 1.0, 1.0]];
/// Two conflicting gradients of very different length.
pub(crate) const SCALED: &[&[f64]] = &[&[10.0, 0.0], &[-0.5, 0.5]];

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

pub(crate) fn gramian(rows: &[&[f64]]) -> Gramian {
    Gramian::of_rows(rows)
}

/// A step in which these tasks are active, as a method sees it.
pub(crate) fn active_tasks(rows: &[&[f64]], losses: &[f64], importance: &[f64]) -> ActiveTasks<'static> {
    let scale = gramian(rows).norms().into_iter().fold(0.0, f64::max);
    let gramian = gramian(rows).scaled(&vec![1.0 / scale; rows.len()]);
    ActiveTasks { gramian, scale, ..active_with_losses(losses, importance) }
}

/// A step of which only the losses are known.
pub(crate) fn active_with_losses(losses: &[f64], importance: &[f64]) -> ActiveTasks<'static> {
    ActiveTasks {
        indices: (0..losses.len()).collect(),
        order: &[],
        names: NAMES[..losses.len()].to_vec(),
        losses: losses.to_vec(),
        importance: importance.to_vec(),
        gramian: gramian(&[]),
        scale: 0.0,
        cross_gramian: CrossGramian::of_rows::<f64>(&[], &[]),
        lookahead: Vec::new(),
    }
}

/// A step with this cross-Gramian.
pub(crate) fn active_with_cross_gramian(rows: &[&[f64]]) -> ActiveTasks<'static> {
    let ones = vec![1.0; rows.len()];
    ActiveTasks {
        cross_gramian: CrossGramian::new(rows.len(), rows.concat()).expect("square"),
        ..active_with_losses(&ones, &ones)
    }
}

/// Gradients of tasks with losses of 1 after a method's transform, which gets them in chunks.
pub(crate) fn transform(
    of: &mut dyn Balancer,
    rows: &[Vec<f32>],
    buffers: &mut [Vec<f32>],
    chunk: usize,
) -> Vec<Vec<f32>> {
    let mut rows = rows.to_vec();
    let method = of.gradient_transform().expect("it has a gradient transform");
    assert_eq!(method.keeps_buffers(), !buffers.is_empty());
    let length = rows[0].len();
    for first in (0..length).step_by(chunk) {
        let range = first..(first + chunk).min(length);
        let mut slices: Vec<&mut [f32]> = rows.iter_mut().map(|row| &mut row[range.clone()]).collect();
        let mut kept: Vec<&mut [f32]> = buffers.iter_mut().map(|buffer| &mut buffer[range.clone()]).collect();
        method.transform_chunk(first as u64, &vec![Some(1.0); slices.len()], &mut slices, &mut kept);
    }
    rows
}

/// The balancer for `tasks` tasks of importance 1.
pub(crate) fn balancer<R: MethodImpl + Clone>(settings: &R, tasks: usize) -> Box<dyn Balancer> {
    settings.build(&NAMES[..tasks], &vec![1.0; tasks]).expect("valid settings")
}

/// The weights of the first step.
pub(crate) fn weights<R: MethodImpl + Clone>(settings: &R, rows: &[&[f64]]) -> Vec<f64> {
    weights_with(settings, rows, &vec![1.0; rows.len()])
}

/// The weights of the first step with importances.
pub(crate) fn weights_with<R: MethodImpl + Clone>(
    settings: &R,
    rows: &[&[f64]],
    importance: &[f64],
) -> Vec<f64> {
    let mut balancer = settings.build(&NAMES[..rows.len()], importance).expect("valid settings");
    let losses = vec![Some(1.0); rows.len()];
    let gramian = gramian(rows);
    let step = StepStatistics { losses: &losses, gramian: Some(&gramian), ..StepStatistics::default() };
    balancer.weights(&step)
}

/// `J^T w` of the first step.
pub(crate) fn direction<R: MethodImpl + Clone>(settings: &R, rows: &[&[f64]]) -> Vec<f64> {
    let weights = weights(settings, rows);
    (0..rows[0].len()).map(|k| rows.iter().zip(&weights).map(|(row, weight)| row[k] * weight).sum()).collect()
}

/// The state before the first step.
pub(crate) fn initial<R: MethodImpl>(_settings: &R, tasks: usize) -> R::State {
    R::State::initial(tasks)
}

/// Equal up to the six digits in which golden values are printed.
#[track_caller]
pub(crate) fn close(ours: &[f64], golden: &[f64]) {
    assert_eq!(ours.len(), golden.len());
    for (o, g) in ours.iter().zip(golden) {
        assert!((o - g).abs() < 1e-5 * g.abs().max(0.1), "{ours:?}, expected {golden:?}");
    }
}
