//! Linear equations with a symmetric matrix that has no negative eigenvalue.

use crate::gramian::{add, dot};

/// No pivot is smaller, relative to its diagonal entry: what is below is rounding.
pub(crate) const SMALLEST_PIVOT: f64 = 1e-14;

/// Equations `A x = b`, factored by Cholesky as they are added one by one, so that an active set that changes by a few
/// tasks is not factored anew.
pub(crate) struct Equations {
    /// How many there is room for, the distance between columns.
    room: usize,
    /// L of `A = L L^T`, column by column, below the diagonal: substitution along columns has sums that do not wait for
    /// each other.
    columns: Vec<f64>,
    /// One over the diagonal of L.
    inverse: Vec<f64>,
    /// `L^-1 b`.
    reduced: Vec<f64>,
    /// The new row of L.
    row: Vec<f64>,
}

impl Equations {
    /// None yet; room for so many.
    pub fn with_room(room: usize) -> Equations {
        let list = || Vec::with_capacity(room);
        Equations { room, columns: vec![0.0; room * room], inverse: list(), reduced: list(), row: list() }
    }

    /// Adds one: its row of A up to and with the diagonal entry, and its `b`. Answers which share of the diagonal entry the
    /// equations before it do not explain: at most [`SMALLEST_PIVOT`] where A is 0, up to rounding, in some direction.
    pub fn push(&mut self, entries: impl Iterator<Item = f64>, b: f64) -> f64 {
        let size = self.inverse.len();
        self.row.clear();
        self.row.extend(entries);
        let diagonal = self.row[size];
        let (mut pivot, mut b) = (diagonal, b);
        for k in 0..size {
            let column = &mut self.columns[k * self.room..][..=size];
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

    /// Drops all but the first so many.
    pub fn truncate(&mut self, size: usize) {
        self.inverse.truncate(size);
        self.reduced.truncate(size);
    }

    /// Puts the solution into `x`. Along directions in which A is 0 up to rounding, it is one of the many answers if there
    /// is an answer at all.
    pub fn solve(&self, x: &mut Vec<f64>) {
        x.clear();
        x.extend(&self.reduced);
        let size = x.len();
        for k in (0..size).rev() {
            let column = &self.columns[k * self.room..][k + 1..size];
            x[k] = (x[k] - dot(column, &x[k + 1..])) * self.inverse[k];
        }
    }
}

/// `x` with `A x = b`, A (n x n) given row by row.
pub(crate) fn solve(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut equations = Equations::with_room(b.len());
    for (i, (row, &b)) in a.chunks_exact(b.len().max(1)).zip(b).enumerate() {
        equations.push(row[..=i].iter().copied(), b);
    }
    let mut x = Vec::new();
    equations.solve(&mut x);
    x
}
