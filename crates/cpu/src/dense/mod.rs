//! Dense linear algebra in f64, of which decompositions of weights are made: products, the Cholesky factor, and eigenvectors of
//! symmetric matrices. Matrices are row-major; every result is the same with any number of threads.

mod cholesky;
mod symmetric_eigen;

pub use cholesky::{cholesky, solve_lower_from_right};
pub use symmetric_eigen::{SymmetricEigen, symmetric_eigen};

use rayon::prelude::*;

/// The sum of the products of the numbers of two slices, in a fixed order that vector instructions can follow.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (a, b) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.0.iter().zip(b.0) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a.1.iter().zip(b.1).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

/// Adds `factor x` to `y`.
fn axpy(factor: f64, x: &[f64], y: &mut [f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
}

/// The product `a b`: `a` `[rows, inner]`, `b` `[inner, columns]`, result `[rows, columns]`.
///
/// # Panics
/// If the sizes do not fit.
pub fn product(a: &[f64], b: &[f64], [rows, inner, columns]: [usize; 3]) -> Vec<f64> {
    assert_eq!((a.len(), b.len()), (rows * inner, inner * columns), "dense::product: sizes");
    let mut y = vec![0.0; rows * columns];
    if inner == 0 || columns == 0 {
        return y;
    }
    y.par_chunks_mut(columns).zip(a.par_chunks(inner)).for_each(|(y, a)| {
        for (factor, b) in a.iter().zip(b.chunks_exact(columns)) {
            axpy(*factor, b, y);
        }
    });
    y
}

/// The product `a b^T`: `a` `[rows, inner]`, `b` `[columns, inner]`, result `[rows, columns]`.
///
/// # Panics
/// If the sizes do not fit.
pub fn product_transposed(a: &[f64], b: &[f64], [rows, inner, columns]: [usize; 3]) -> Vec<f64> {
    assert_eq!((a.len(), b.len()), (rows * inner, columns * inner), "dense::product_transposed: sizes");
    let mut y = vec![0.0; rows * columns];
    if inner == 0 || columns == 0 {
        return y;
    }
    y.par_chunks_mut(columns).zip(a.par_chunks(inner)).for_each(|(y, a)| {
        for (y, b) in y.iter_mut().zip(b.chunks_exact(inner)) {
            *y = dot(a, b);
        }
    });
    y
}

/// The transposed matrix of `a` `[rows, columns]`.
pub fn transposed(a: &[f64], [rows, columns]: [usize; 2]) -> Vec<f64> {
    let mut y = vec![0.0; a.len()];
    y.par_chunks_mut(rows.max(1)).enumerate().for_each(|(column, y)| {
        y.iter_mut().enumerate().for_each(|(row, y)| *y = a[row * columns + column]);
    });
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_small_matrices() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 2.0, -1.0, 0.5, 3.0]);
        assert_eq!(product(&a, &b, [2, 3, 2]), [6.5, 7.0, 17.0, 13.0]);
        assert_eq!(product_transposed(&a, &transposed(&b, [3, 2]), [2, 3, 2]), [6.5, 7.0, 17.0, 13.0]);
        assert!(product(&[], &[], [0, 0, 3]).is_empty() && product(&[], &[], [2, 0, 1]) == [0.0, 0.0]);
    }
}
