//! Rounding column by column, where later columns make up for the errors of earlier ones: Frantar et al. 2023, "GPTQ: Accurate post-training
//! quantization for generative pre-trained transformers". It minimizes the error of a layer's outputs on rows that stand for its inputs, of
//! which it needs the Gram matrix `X^T X`.

use super::{Grid, Int4Matrix, pack};
use crate::dense::{cholesky, solve_lower_from_right};
use rayon::prelude::*;

/// What is added to the diagonal, as a share of its mean.
const DAMPING: f64 = 0.01;

/// How errors are passed on to later inputs: the upper Cholesky factor of the inverse of the damped Gram matrix of a layer's inputs.
#[derive(Debug, Clone)]
pub struct InputErrors {
    inputs: usize,
    /// `[inputs, inputs]`, upper triangular.
    factor: Vec<f32>,
    /// Inputs that were 0 in all rows.
    unused: Vec<bool>,
}

impl InputErrors {
    /// Of a Gram matrix `[inputs, inputs]`; `None` where it is not one: not finite, or with a negative eigenvalue.
    ///
    /// # Panics
    /// If the numbers do not fill the shape.
    pub fn of_gram(gram: &[f64], inputs: usize) -> Option<Self> {
        assert_eq!(gram.len(), inputs * inputs, "a matrix must fill its slice");
        let diagonal = |i: usize| gram[i * inputs + i];
        let unused: Vec<bool> = (0..inputs).map(|i| diagonal(i) == 0.0).collect();
        let mean = (0..inputs).map(diagonal).sum::<f64>() / inputs.max(1) as f64;
        // The factor of a matrix whose rows and columns run backwards is the upper one, of which the inverse is wanted.
        let mut backwards: Vec<f64> = gram.iter().rev().copied().collect();
        for i in 0..inputs {
            let own = &mut backwards[i * inputs + i];
            *own = if *own == 0.0 { 1.0 } else { *own + DAMPING * mean };
        }
        let lower = cholesky(&backwards, inputs)?;
        let mut identity = vec![0.0; inputs * inputs];
        (0..inputs).for_each(|i| identity[i * inputs + i] = 1.0);
        let inverse = solve_lower_from_right(&lower, &identity, inputs);
        let factor: Vec<f32> = inverse.into_iter().rev().map(|number| number as f32).collect();
        factor.iter().all(|number| number.is_finite()).then_some(InputErrors { inputs, factor, unused })
    }
}

crate::simd::simd! {
    fn subtract_scaled(from: &mut [f32], of: &[f32], factor: f32) {
        for (from, of) in from.iter_mut().zip(of) {
            *from -= factor * of;
        }
    }
}

impl Int4Matrix {
    /// Rounds each row from its first number to its last; the grid of a group is the range of its numbers when their turn comes.
    ///
    /// # Panics
    /// If the numbers do not fill the shape, rows do not fall into groups, or the errors are those of other inputs.
    pub fn gptq(values: &[f32], shape: [usize; 2], errors: &InputErrors) -> Self {
        let inputs = shape[1];
        assert!(values.len() == shape[0] * inputs && errors.inputs == inputs, "gptq: sizes");
        let group = Int4Matrix::group_size(inputs).expect("rows fall into groups");
        let rows = values.par_chunks(inputs).map(|row| rounded_row(row.to_vec(), group, errors));
        let (bytes, grids): (Vec<Vec<u8>>, Vec<Vec<Grid>>) = rows.unzip();
        Int4Matrix::of_grids(bytes.concat(), &grids.concat(), shape)
    }
}

/// The codes of a row, two a byte, and the grids of its groups.
fn rounded_row(mut row: Vec<f32>, group: usize, errors: &InputErrors) -> (Vec<u8>, Vec<Grid>) {
    let n = row.len();
    let (mut bytes, mut grids) = (vec![0; n / 2], Vec::with_capacity(n / group));
    for (number, unused) in row.iter_mut().zip(&errors.unused) {
        if *unused && number.is_finite() {
            *number = 0.0;
        }
    }
    let mut codes = vec![0; group];
    for first in (0..n).step_by(group) {
        let grid = Grid::of_range(row[first..first + group].iter().copied());
        for at in first..first + group {
            let code = grid.code(row[at]);
            codes[at - first] = code;
            let own = &errors.factor[at * n..][..n];
            let error = (row[at] - grid.value(code)) / own[at];
            subtract_scaled(&mut row[at + 1..], &own[at + 1..], error);
        }
        pack(&codes, &mut bytes[first / 2..][..group / 2]);
        grids.push(grid);
    }
    (bytes, grids)
}
