//! Eigenvalues and eigenvectors of a symmetric matrix.

use crate::Gramian;
use crate::gramian::{add, dot};

/// The maximum number of QL steps per eigenvalue; three are typical.
const MAX_STEPS: usize = 60;

/// `G = V L V^T`.
pub(crate) struct Eigen {
    /// The eigenvalues, in no order.
    pub values: Vec<f64>,
    /// For each, its eigenvector of length 1.
    pub vectors: Vec<Vec<f64>>,
}

impl Eigen {
    /// By Householder tridiagonalization and implicit QL steps (Golub and Van Loan, sections 8.3.1 and 8.3.5). Values are exact up
    /// to rounding of the largest.
    pub fn of(gramian: &Gramian) -> Eigen {
        let mut matrix = Tridiagonal::of(gramian);
        matrix.diagonalize();
        Eigen { values: matrix.diagonal, vectors: matrix.basis }
    }

    /// `V f(L) V^T x`.
    pub fn apply(&self, function: impl Fn(f64) -> f64, x: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; x.len()];
        for (value, vector) in self.values.iter().zip(&self.vectors) {
            add(&mut out, function(*value) * dot(vector, x), vector);
        }
        out
    }

    /// The largest eigenvalue.
    pub fn largest(&self) -> f64 {
        self.values.iter().copied().fold(0.0, f64::max)
    }
}

/// `G = Q T Q^T`, where T is tridiagonal.
struct Tridiagonal {
    diagonal: Vec<f64>,
    /// `off_diagonal[i]` is between `diagonal[i]` and `diagonal[i + 1]`; the last is 0.
    off_diagonal: Vec<f64>,
    /// The columns of Q.
    basis: Vec<Vec<f64>>,
}

impl Tridiagonal {
    /// Column after column is reflected onto its first entry below the diagonal.
    fn of(gramian: &Gramian) -> Tridiagonal {
        let n = gramian.tasks();
        let mut a: Vec<Vec<f64>> = (0..n).map(|i| gramian.row(i).to_vec()).collect();
        let unit = |i: usize| (0..n).map(|j| if i == j { 1.0 } else { 0.0 }).collect();
        let mut basis: Vec<Vec<f64>> = (0..n).map(unit).collect();
        let mut off_diagonal = vec![0.0; n];
        for k in 1..n {
            // From here on, `reflector` and all that it is multiplied with start at index k.
            let mut reflector = a[k - 1][k..].to_vec();
            let length = -dot(&reflector, &reflector).sqrt().copysign(reflector[0]);
            off_diagonal[k - 1] = length;
            reflector[0] -= length;
            let square = dot(&reflector, &reflector);
            if square < f64::MIN_POSITIVE {
                continue;
            }
            // H A H, H = 1 - 2 m m^T / m^T m, is A - m w^T - w m^T.
            let mut w: Vec<f64> =
                a[k..].iter().map(|row| 2.0 / square * dot(&row[k..], &reflector)).collect();
            let along = dot(&w, &reflector) / square;
            add(&mut w, -along, &reflector);
            for (i, row) in a[k..].iter_mut().enumerate() {
                add(&mut row[k..], -reflector[i], &w);
                add(&mut row[k..], -w[i], &reflector);
            }
            let mut image = vec![0.0; n];
            reflector.iter().zip(&basis[k..]).for_each(|(&by, row)| add(&mut image, by, row));
            reflector.iter().zip(&mut basis[k..]).for_each(|(&by, row)| add(row, -2.0 / square * by, &image));
        }
        Tridiagonal { diagonal: (0..n).map(|i| a[i][i]).collect(), off_diagonal, basis }
    }

    /// Makes T diagonal by implicit QL steps.
    fn diagonalize(&mut self) {
        let n = self.diagonal.len();
        let whole = self.diagonal.iter().chain(&self.off_diagonal).map(|x| x.abs()).fold(0.0, f64::max);
        for first in 0..n {
            for _ in 0..MAX_STEPS {
                let ends = |&at: &usize| {
                    let size = self.diagonal[at].abs() + self.diagonal[at + 1].abs() + 1e-15 * whole;
                    self.off_diagonal[at].abs() <= f64::EPSILON * size
                };
                let last = (first..n - 1).find(ends).unwrap_or(n - 1);
                if last == first {
                    break;
                }
                self.ql_step(first, last);
            }
        }
    }

    /// One QL step on the part from `first` to `last`, shifted by the eigenvalue of its first two rows that is nearer to the
    /// first entry (Wilkinson 1968).
    fn ql_step(&mut self, first: usize, last: usize) {
        let (d, e) = (&mut self.diagonal, &mut self.off_diagonal);
        let half = (d[first + 1] - d[first]) / (2.0 * e[first]);
        let shift = d[first] - e[first] / (half + (1.0 + half * half).sqrt().copysign(half));
        let mut g = d[last] - shift;
        let (mut sine, mut cosine, mut taken) = (1.0, 1.0, 0.0);
        for i in (first..last).rev() {
            let (f, b) = (sine * e[i], cosine * e[i]);
            let r = (f * f + g * g).sqrt();
            e[i + 1] = r;
            if r == 0.0 {
                // The matrix falls in two here.
                d[i + 1] -= taken;
                e[last] = 0.0;
                return;
            }
            (sine, cosine) = (f / r, g / r);
            g = d[i + 1] - taken;
            let mixed = (d[i] - g) * sine + 2.0 * cosine * b;
            taken = sine * mixed;
            d[i + 1] = g + taken;
            g = cosine * mixed - b;
            let (before, after) = self.basis.split_at_mut(i + 1);
            for (x, y) in before[i].iter_mut().zip(&mut after[0]) {
                (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
            }
        }
        d[first] -= taken;
        e[first] = g;
        e[last] = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{gramian, hard, rows, small};
    use super::*;

    #[test]
    fn vectors_are_orthonormal_and_give_the_matrix_back() {
        let small =
            small().map(|(seed, tasks, length, rank)| (seed.to_string(), rows(seed, tasks, length, rank)));
        for (what, rows) in small.chain(hard()).chain([("zeros".to_owned(), vec![vec![0.0; 3]; 5])]) {
            let (gramian, tasks) = (gramian(&rows), rows.len());
            let eigen = Eigen::of(&gramian);
            for i in 0..tasks {
                for j in 0..tasks {
                    let unit = if i == j { 1.0 } else { 0.0 };
                    assert!((dot(&eigen.vectors[i], &eigen.vectors[j]) - unit).abs() < 1e-13, "{what}");
                }
                let mut unit = vec![0.0; tasks];
                unit[i] = 1.0;
                for (j, entry) in eigen.apply(|value| value, &unit).into_iter().enumerate() {
                    assert!((entry - gramian.at(i, j)).abs() <= 1e-13 * eigen.largest(), "{what}");
                }
            }
        }
    }

    #[test]
    fn a_known_matrix() {
        let gramian = Gramian::new(2, vec![2.0, 1.0, 1.0, 2.0]).expect("a Gramian");
        let mut values = Eigen::of(&gramian).values;
        values.sort_by(f64::total_cmp);
        assert!((values[0] - 1.0).abs() < 1e-15 && (values[1] - 3.0).abs() < 1e-15, "{values:?}");
    }
}
