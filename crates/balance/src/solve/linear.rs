//! Linear equations with a symmetric positive semidefinite matrix.

use crate::gramian::{add, dot};

/// The smallest pivot relative to its diagonal entry: below it there is only rounding error.
pub(crate) const SMALLEST_PIVOT: f64 = 1e-14;

/// Equations `A x = b` with a Cholesky factorization that is extended with each equation, so that an active set that changes by
/// a few tasks is not factored anew.
pub(crate) struct IncrementalCholesky {
    /// The maximum number of equations, and the distance between columns.
    capacity: usize,
    /// L of `A = L L^T`, column by column, below the diagonal: substitution along columns has independent sums.
    columns: Vec<f64>,
    /// One over the diagonal of L.
    inverse: Vec<f64>,
    /// `L^-1 b`.
    reduced: Vec<f64>,
    /// The new row of L.
    row: Vec<f64>,
}

impl IncrementalCholesky {
    /// No equations yet, with memory for `capacity` of them.
    pub fn with_capacity(capacity: usize) -> IncrementalCholesky {
        let list = || Vec::with_capacity(capacity);
        let columns = vec![0.0; capacity * capacity];
        IncrementalCholesky { capacity, columns, inverse: list(), reduced: list(), row: list() }
    }

    /// Adds an equation: its row of A up to and including the diagonal entry, and its `b`. Returns the pivot relative to the
    /// diagonal entry: at most [`SMALLEST_PIVOT`] where A is singular up to rounding.
    pub fn push(&mut self, entries: impl Iterator<Item = f64>, b: f64) -> f64 {
        let size = self.inverse.len();
        self.row.clear();
        self.row.extend(entries);
        let diagonal = self.row[size];
        let (mut pivot, mut b) = (diagonal, b);
        for k in 0..size {
            let column = &mut self.columns[k * self.capacity..][..=size];
            let (before, after) = self.row.split_at_mut(k + 1);
            let entry = before[k] * self.inverse[k];
            add(&mut after[..size - k - 1], -entry, &column[k + 1..size]);
            column[size] = entry;
            pivot -= entry * entry;
            b -= entry * self.reduced[k];
        }
        let inverse = 1.0 / pivot.max(SMALLEST_PIVOT * diagonal).max(f64::MIN_POSITIVE).sqrt();
        self.inverse.push(inverse);
        self.reduced.push(b * inverse);
        pivot / diagonal
    }

    /// Keeps the first `size` equations only.
    pub fn truncate(&mut self, size: usize) {
        self.inverse.truncate(size);
        self.reduced.truncate(size);
    }

    /// Writes the solution to `x`. Where A is singular up to rounding, it is one of the solutions if there is any.
    pub fn solve(&self, x: &mut Vec<f64>) {
        x.clear();
        x.extend(&self.reduced);
        let size = x.len();
        for k in (0..size).rev() {
            let column = &self.columns[k * self.capacity..][k + 1..size];
            x[k] = (x[k] - dot(column, &x[k + 1..])) * self.inverse[k];
        }
    }
}

/// `x` with `A x = b`, A (n x n) given row by row.
pub(crate) fn solve(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut equations = IncrementalCholesky::with_capacity(b.len());
    for (i, (row, &b)) in a.chunks_exact(b.len().max(1)).zip(b).enumerate() {
        equations.push(row[..=i].iter().copied(), b);
    }
    let mut x = Vec::new();
    equations.solve(&mut x);
    x
}
