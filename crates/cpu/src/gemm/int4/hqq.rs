//! Half-quadratic quantization: the offsets of groups that minimize the l_p norm, p = 0.7, of the error, by turns of a shrinkage of the
//! error and a mean (Badri & Shaji 2023). It needs no data. Numbers and stopping are those of `optimize_weights_proximal` in the
//! authors' library `hqq`.

use super::{GROUPS_AT_ONCE, Grid, MOST, range};
use rayon::prelude::*;

const P: f32 = 0.7;
/// The paper raises it from step to step by 1.01; the library's default does not.
const BETA: f32 = 10.0;
const ITERATIONS: usize = 20;

/// Steps a unit, and the code of 0, which need not be whole: `w = (q - zero) / steps`.
#[derive(Clone, Copy)]
pub(super) struct Affine {
    pub steps: f32,
    pub zero: f32,
}

/// The scale and offset of each group.
pub(super) fn grids(values: &[f32], group: usize) -> Vec<Grid> {
    let found = solve(values, group).into_par_iter().zip(values.par_chunks(group));
    found
        .map(|(affine, numbers)| match affine.steps.is_finite() {
            true => Grid::new(1.0 / affine.steps, -affine.zero / affine.steps),
            // One number alone, or what is not finite.
            false => Grid::of_range(numbers.iter().copied()),
        })
        .collect()
}

/// The solution of each group. All groups stop together, when the mean error over all of them falls no more.
pub(super) fn solve(values: &[f32], group: usize) -> Vec<Affine> {
    let first = |numbers: &[f32]| {
        let (least, most) = range(numbers.iter().copied());
        // Of equal numbers infinite, as of what is not finite: these take no part.
        let steps = MOST / (most - least);
        Affine { steps: if steps.is_normal() { steps } else { f32::INFINITY }, zero: -least * steps }
    };
    let mut affine: Vec<Affine> = values.par_chunks(group).map(first).collect();
    let mut best = f64::INFINITY;
    for _ in 0..ITERATIONS {
        let chunks = affine.par_chunks_mut(GROUPS_AT_ONCE).zip(values.par_chunks(GROUPS_AT_ONCE * group));
        let errors: Vec<f64> = chunks
            .map(|(affine, values)| {
                affine.iter_mut().zip(values.chunks(group)).map(|(of, numbers)| step(of, numbers)).sum()
            })
            .collect();
        let error: f64 = errors.iter().sum();
        if error >= best {
            break;
        }
        best = error;
    }
    affine
}

/// A step for a group; the sum of the sizes of the errors before it.
fn step(of: &mut Affine, numbers: &[f32]) -> f64 {
    if of.steps.is_infinite() {
        return 0.0;
    }
    let (mut error, mut zero) = (0.0, 0.0f64);
    for number in numbers {
        let code = (number * of.steps + of.zero).round_ties_even().clamp(0.0, MOST);
        let left = number - (code - of.zero) / of.steps;
        let size = left.abs();
        error += f64::from(size);
        let shrunk = (size - size.powf(P - 1.0) / BETA).max(0.0).copysign(left);
        zero += f64::from(code - (number - shrunk) * of.steps);
    }
    of.zero = (zero / numbers.len() as f64) as f32;
    error
}
