//! The Cholesky factor of a symmetric positive definite matrix (Golub and Van Loan, "Matrix Computations", 4.2), row by row.

use super::dot;
use rayon::prelude::*;

/// The lower triangular `s` with `s s^T = a`, `[n, n]`; `None` where `a` is not positive definite, as far as f64 tells. Only the lower
/// triangle of `a` is read.
///
/// # Panics
/// If `a` is not of this size.
pub fn cholesky(a: &[f64], n: usize) -> Option<Vec<f64>> {
    assert_eq!(a.len(), n * n, "dense::cholesky: size");
    let mut s = vec![0.0; n * n];
    for column in 0..n {
        let (done, below) = s.split_at_mut((column + 1) * n);
        let pivot = &mut done[column * n..];
        let square = a[column * n + column] - dot(&pivot[..column], &pivot[..column]);
        // Also false where it is NaN.
        if !(square > 0.0 && square.is_finite()) {
            return None;
        }
        let root = square.sqrt();
        pivot[column] = root;
        let pivot = &*pivot;
        below.par_chunks_mut(n).with_min_len(64).enumerate().for_each(|(row, s)| {
            let of_a = a[(column + 1 + row) * n + column];
            s[column] = (of_a - dot(&s[..column], &pivot[..column])) / root;
        });
    }
    Some(s)
}

/// The `x` `[rows, n]` with `x s = b`, for a lower triangular `s` `[n, n]` without zeros on its diagonal: `b s^-1`.
///
/// # Panics
/// If the sizes do not fit.
pub fn solve_lower_from_right(s: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    assert!(s.len() == n * n && b.len().is_multiple_of(n.max(1)), "dense::solve_lower_from_right: sizes");
    let mut x = b.to_vec();
    x.par_chunks_mut(n.max(1)).for_each(|x| {
        for column in (0..n).rev() {
            let row = &s[column * n..][..=column];
            x[column] /= row[column];
            let factor = x[column];
            x[..column].iter_mut().zip(row).for_each(|(x, s)| *x -= factor * s);
        }
    });
    x
}

#[cfg(test)]
mod tests {
    use super::super::product_transposed;
    use super::*;

    #[test]
    fn the_factor_times_itself_is_the_matrix_and_can_be_divided_by() {
        let a = [4.0, 2.0, -2.0, 2.0, 10.0, 5.0, -2.0, 5.0, 9.0];
        let s = cholesky(&a, 3).unwrap();
        let again = product_transposed(&s, &s, [3, 3, 3]);
        assert!(again.iter().zip(a).all(|(found, expected)| (found - expected).abs() < 1e-12), "{again:?}");
        assert_eq!((s[1], s[2], s[5]), (0.0, 0.0, 0.0));
        let x = solve_lower_from_right(&s, &[1.0, -2.0, 3.0, 0.5, 0.0, 1.0], 3);
        let b = super::super::product(&x, &s, [2, 3, 3]);
        assert!(b.iter().zip([1.0, -2.0, 3.0, 0.5, 0.0, 1.0]).all(|(a, b)| (a - b).abs() < 1e-12), "{b:?}");
    }

    #[test]
    fn what_is_not_positive_definite_has_no_factor() {
        assert!(cholesky(&[1.0, 2.0, 2.0, 1.0], 2).is_none());
        assert!(cholesky(&[0.0], 1).is_none() && cholesky(&[f64::NAN], 1).is_none());
        assert_eq!(cholesky(&[], 0), Some(vec![]));
    }
}
