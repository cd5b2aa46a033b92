//! Eigenvalues and eigenvectors of a symmetric matrix.

use crate::Gramian;
use crate::gramian::dot;

/// `G = V L V^T`.
pub(crate) struct Eigen {
    /// The eigenvalues, in no order.
    pub values: Vec<f64>,
    /// For each, its eigenvector of length 1.
    pub vectors: Vec<Vec<f64>>,
}

impl Eigen {
    /// By the cyclic Jacobi method: rotations that turn every entry off the diagonal to 0, pair after pair, until the
    /// squares of the entries off the diagonal are nothing beside the whole (Golub and Van Loan, section 8.5).
    pub fn of(gramian: &Gramian) -> Eigen {
        let n = gramian.tasks();
        let mut a: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| gramian.at(i, j)).collect()).collect();
        let mut vectors: Vec<Vec<f64>> =
            (0..n).map(|i| (0..n).map(|j| if i == j { 1.0 } else { 0.0 }).collect()).collect();
        let whole: f64 = a.iter().flatten().map(|x| x * x).sum();
        for _ in 0..60 {
            let off: f64 =
                (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i][j] * a[i][j]).sum();
            if off <= 1e-32 * whole {
                break;
            }
            for p in 0..n {
                for q in p + 1..n {
                    rotate(&mut a, &mut vectors, p, q);
                }
            }
        }
        Eigen { values: (0..n).map(|i| a[i][i]).collect(), vectors }
    }

    /// `V f(L) V^T x`.
    pub fn apply(&self, function: impl Fn(f64) -> f64, x: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; x.len()];
        for (value, vector) in self.values.iter().zip(&self.vectors) {
            let along = function(*value) * dot(vector, x);
            out.iter_mut().zip(vector).for_each(|(out, v)| *out += along * v);
        }
        out
    }

    /// The largest eigenvalue.
    pub fn largest(&self) -> f64 {
        self.values.iter().copied().fold(0.0, f64::max)
    }
}

/// Turns `a[p][q]` to 0.
fn rotate(a: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) {
    if a[p][q] == 0.0 {
        return;
    }
    let ratio = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
    let tangent = ratio.signum() / (ratio.abs() + ratio.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    let turn = |x: f64, y: f64| (cosine * x - sine * y, sine * x + cosine * y);
    for row in a.iter_mut() {
        (row[p], row[q]) = turn(row[p], row[q]);
    }
    for k in 0..a.len() {
        let (x, y) = turn(a[p][k], a[q][k]);
        (a[p][k], a[q][k]) = (x, y);
        let (x, y) = turn(vectors[p][k], vectors[q][k]);
        (vectors[p][k], vectors[q][k]) = (x, y);
    }
    (a[p][q], a[q][p]) = (0.0, 0.0);
}

#[cfg(test)]
mod tests {
    use super::super::samples::{gramian, rows, small};
    use super::*;

    #[test]
    fn vectors_are_orthonormal_and_give_the_matrix_back() {
        for (seed, tasks, length, rank) in small().chain([(99, 32, 40, 40)]) {
            let gramian = gramian(&rows(seed, tasks, length, rank));
            let eigen = Eigen::of(&gramian);
            for i in 0..tasks {
                for j in 0..tasks {
                    let unit = if i == j { 1.0 } else { 0.0 };
                    assert!((dot(&eigen.vectors[i], &eigen.vectors[j]) - unit).abs() < 1e-13);
                }
                let mut unit = vec![0.0; tasks];
                unit[i] = 1.0;
                for (j, entry) in eigen.apply(|value| value, &unit).into_iter().enumerate() {
                    assert!((entry - gramian.at(i, j)).abs() < 1e-13 * eigen.largest(), "seed {seed}");
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
