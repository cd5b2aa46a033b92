//! The best approximation of a matrix by one of lower rank, where some of its errors count for more than others.
//!
//! A weight `W` `[out, in]` meets inputs `X` `[tokens, in]`, of which `G = X^T X` is known. The `W'` of rank `r` with the least
//! `|X W^T - X W'^T|^2 = tr((W - W') G (W - W')^T)` is, with any `S S^T = G`, the truncated singular value decomposition of `W S` times
//! `S^-1`, and the least error is the sum of the squares of the singular values that were cut off (Wang et al. 2024, "SVD-LLM: Truncation-aware
//! singular value decomposition for large language model compression", which takes the Cholesky factor for `S`; the same solution is in Chen
//! et al. 2021, "DRONE"). The decomposition is that of the smaller of the two square matrices:
//!
//! ```text
//! out <= in:  W G W^T = U s^2 U^T       W' = U_r (U_r^T W)
//! out >  in:  S^T W^T W S = V s^2 V^T   W' = (W S V_r) (V_r^T S^-1)
//! ```
//!
//! so that small singular values, which are cut off, are as exact as `1e-8` of the greatest. The columns of the first factor and the rows of
//! the second are scaled in pairs, which leaves the product as it is, so that their numbers are alike in size: an optimizer that moves every
//! number by about the same then trains both alike.

use crate::cast::to_f32;
use kernels::dense::{
    cholesky, product, product_transposed, solve_lower_from_right, symmetric_eigen, transposed,
};

/// What is added to the diagonal of `G`, as a share of its mean: directions that no input has had still count for a little, and `G` has a
/// Cholesky factor. Ten times as much, and so on, where that is not enough.
const RIDGE: f64 = 1e-6;

/// Rows of a table that are taken at a time.
const ROWS: usize = 4096;

/// Two factors of an approximation `up down` of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRank {
    /// `[out, rank]`
    pub up: Vec<f32>,
    /// `[rank, in]`
    pub down: Vec<f32>,
    /// Columns of the first factor.
    pub rank: usize,
    /// The squared norm of what the whole matrix gives for the inputs: `tr(W G W^T)`.
    pub energy: f64,
    /// The squared norm of the error, in the same unit.
    pub lost: f64,
}

impl LowRank {
    /// The share of the energy that stays, 0 to 1; 1 where there is none.
    pub fn kept_share(&self) -> f64 {
        if self.energy > 0.0 { (1.0 - self.lost / self.energy).clamp(0.0, 1.0) } else { 1.0 }
    }
}

/// A weight `[out, in]` as two factors of a rank, for inputs with the sum `gram` `[in, in]`. `None` where numbers are not finite, or beyond
/// what f32 and the decomposition can hold.
///
/// # Panics
/// If sizes do not fit, or the rank is 0 or greater than the smaller one.
pub fn of_weight(weight: &[f32], [out, inputs]: [usize; 2], gram: &[f64], rank: usize) -> Option<LowRank> {
    assert!(weight.len() == out * inputs && gram.len() == inputs * inputs, "the sum must fit the weight");
    assert!((1..=out.min(inputs)).contains(&rank), "the rank must fit the weight");
    let w: Vec<f64> = weight.iter().map(|x| f64::from(*x)).collect();
    let mut ridge = RIDGE;
    let (gram, factor) = loop {
        let gram = with_ridge(gram, inputs, ridge);
        match (cholesky(&gram, inputs), ridge < 1.0) {
            (Some(factor), _) => break (gram, factor),
            (None, true) => ridge *= 10.0,
            (None, false) => return None,
        }
    };
    let (values, up, down) = if out <= inputs {
        let square = product_transposed(&product(&w, &gram, [out, inputs, inputs]), &w, [out, inputs, out]);
        let eigen = symmetric_eigen(square, out, rank)?;
        let down = product(&eigen.vectors, &w, [rank, out, inputs]);
        (eigen.values, transposed(&eigen.vectors, [rank, out]), down)
    } else {
        let of_rows = transposed(&w, [out, inputs]);
        let square = product(&of_rows, &w, [inputs, out, inputs]);
        let square = product(&transposed(&factor, [inputs, inputs]), &square, [inputs; 3]);
        let eigen = symmetric_eigen(product(&square, &factor, [inputs; 3]), inputs, rank)?;
        let whitened = product_transposed(&eigen.vectors, &factor, [rank, inputs, inputs]);
        let up = product_transposed(&w, &whitened, [out, inputs, rank]);
        (eigen.values, up, solve_lower_from_right(&factor, &eigen.vectors, inputs))
    };
    finished([up, down], [out, rank, inputs], &values)
}

/// A table `[rows, columns]` as two factors of a rank, where the squared error of each row counts by its `weights` `[rows]`, which are
/// positive. `None` as in [`of_weight`].
///
/// # Panics
/// As [`of_weight`].
pub fn of_table(table: &[f32], [rows, columns]: [usize; 2], weights: &[f64], rank: usize) -> Option<LowRank> {
    assert!(table.len() == rows * columns && weights.len() == rows, "the weights must fit the table");
    assert!((1..=rows.min(columns)).contains(&rank), "the rank must fit the table");
    let mut square = vec![0.0; columns * columns];
    let numbers = |part: &[f32]| part.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    for (part, weights) in table.chunks(ROWS * columns).zip(weights.chunks(ROWS)) {
        let (part, count) = (numbers(part), weights.len());
        let mut weighed = transposed(&part, [count, columns]);
        for row in weighed.chunks_mut(count) {
            row.iter_mut().zip(weights).for_each(|(x, weight)| *x *= weight);
        }
        let found = product(&weighed, &part, [columns, count, columns]);
        square.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
    }
    let eigen = symmetric_eigen(square, columns, rank)?;
    let of_part = |part: &[f32]| {
        product_transposed(&numbers(part), &eigen.vectors, [part.len() / columns, columns, rank])
    };
    let up = table.chunks(ROWS * columns).flat_map(of_part).collect();
    finished([up, eigen.vectors], [rows, rank, columns], &eigen.values)
}

fn with_ridge(gram: &[f64], inputs: usize, ridge: f64) -> Vec<f64> {
    let mean = gram.iter().step_by(inputs + 1).sum::<f64>() / inputs as f64;
    // Without inputs all directions count alike.
    let add = if mean > 0.0 { ridge * mean } else { 1.0 };
    let mut gram = gram.to_vec();
    gram.iter_mut().step_by(inputs + 1).for_each(|x| *x += add);
    gram
}

/// Scales the factors in pairs and rounds them. `values` are the squares of all singular values.
fn finished(
    [mut up, mut down]: [Vec<f64>; 2],
    [out, rank, inputs]: [usize; 3],
    values: &[f64],
) -> Option<LowRank> {
    let mut squares = vec![0.0; rank];
    for row in up.chunks(rank) {
        squares.iter_mut().zip(row).for_each(|(sum, x)| *sum += x * x);
    }
    let of_down = down.chunks(inputs).map(|row| row.iter().map(|x| x * x).sum::<f64>() / inputs as f64);
    let size = |mean_square: f64| mean_square.sqrt();
    let scale = |(up, down): (&f64, f64)| match (size(up / out as f64), size(down)) {
        (up, down) if up > 0.0 && down > 0.0 => (down / up).sqrt(),
        _ => 1.0,
    };
    let scales: Vec<f64> = squares.iter().zip(of_down).map(scale).collect();
    for row in up.chunks_mut(rank) {
        row.iter_mut().zip(&scales).for_each(|(x, scale)| *x *= scale);
    }
    for (row, scale) in down.chunks_mut(inputs).zip(&scales) {
        row.iter_mut().for_each(|x| *x /= scale);
    }
    let rounded = |values: Vec<f64>| {
        let values: Vec<f32> = values.into_iter().map(to_f32).collect();
        values.iter().all(|x| x.is_finite()).then_some(values)
    };
    // Rounding makes zeros a little less than that.
    let sum = |values: &[f64]| values.iter().map(|x| x.max(0.0)).sum::<f64>();
    Some(LowRank {
        up: rounded(up)?,
        down: rounded(down)?,
        rank,
        energy: sum(values),
        lost: sum(&values[rank..]),
    })
}
