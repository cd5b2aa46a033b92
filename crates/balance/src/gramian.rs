//! The Gramian of the task gradients: all that most gradient methods look at.

use crate::BalanceError;

/// How far two numbers that stand for the same inner product may differ, relative to the two norms: the trainer adds
/// them up in f32.
const ROUNDING: f64 = 1e-3;

/// `G = J J^T` for K tasks, K x K in f64, where row i of J is the gradient of task i's loss over the shared parameters:
/// symmetric, no negative diagonal, no inner product larger than its two norms allow.
///
/// A task whose squared norm is NaN or infinite is broken; methods leave it out as if it were absent. All other numbers
/// are finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Gramian {
    tasks: usize,
    values: Vec<f64>,
}

impl Gramian {
    /// From K x K numbers, row by row. What rounding did to symmetry is repaired.
    ///
    /// # Errors
    /// When these are not K x K numbers that inner products of K rows can be: a negative square, a pair that differs from
    /// its mirror image or exceeds its norms by more than 0.1 percent of the two norms, a number that is not finite
    /// between two tasks whose squares are.
    pub fn new(tasks: usize, values: Vec<f64>) -> Result<Self, BalanceError> {
        let wrong = |reason: String| Err(BalanceError::Gramian { reason });
        if tasks.checked_mul(tasks) != Some(values.len()) {
            return wrong(format!("{} numbers for {tasks} tasks, expected one each pair", values.len()));
        }
        let mut gramian = Gramian { tasks, values };
        for i in 0..tasks {
            let square = gramian.at(i, i);
            if square < 0.0 {
                return wrong(format!("the square of task {i} is {square}, expected at least 0"));
            }
        }
        for i in 0..tasks {
            for j in 0..i {
                if !(gramian.is_valid(i) && gramian.is_valid(j)) {
                    continue;
                }
                let most = gramian.at(i, i).sqrt() * gramian.at(j, j).sqrt();
                let (below, above) = (gramian.at(i, j), gramian.at(j, i));
                if !((below - above).abs() <= ROUNDING * most && below.abs() <= (1.0 + ROUNDING) * most) {
                    return wrong(format!(
                        "{below} and {above} between tasks {i} and {j}, whose norms give at most {most}"
                    ));
                }
                let mean = (0.5 * below + 0.5 * above).clamp(-most, most);
                gramian.values[i * tasks + j] = mean;
                gramian.values[j * tasks + i] = mean;
            }
        }
        Ok(gramian)
    }

    /// Of the rows themselves, summed in f64 from first to last.
    ///
    /// # Panics
    /// When the rows differ in length.
    pub fn of_rows<T: Copy + Into<f64>>(rows: &[&[T]]) -> Self {
        let tasks = rows.len();
        let mut values = vec![0.0; tasks * tasks];
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate().take(i + 1) {
                assert_eq!(a.len(), b.len(), "rows of one length");
                let product = a.iter().zip(*b).map(|(&a, &b)| a.into() * b.into()).sum();
                values[i * tasks + j] = product;
                values[j * tasks + i] = product;
            }
        }
        Gramian { tasks, values }
    }

    /// From inner products that are known to be some.
    pub(crate) fn of_products(tasks: usize, values: Vec<f64>) -> Self {
        Gramian { tasks, values }
    }

    /// How many tasks there are, K.
    pub fn tasks(&self) -> usize {
        self.tasks
    }

    /// The inner product of the gradients of two tasks.
    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.values[i * self.tasks + j]
    }

    /// Whether the task's gradient has a finite norm.
    pub fn is_valid(&self, task: usize) -> bool {
        self.at(task, task).is_finite()
    }

    /// The norm of each task's gradient.
    pub fn norms(&self) -> Vec<f64> {
        (0..self.tasks).map(|i| self.at(i, i).sqrt()).collect()
    }

    /// The cosine between two gradients; `None` where one of them is 0 or broken.
    pub fn cosine(&self, i: usize, j: usize) -> Option<f64> {
        let (a, b) = (self.at(i, i).sqrt(), self.at(j, j).sqrt());
        let cosine = self.at(i, j) / a / b;
        cosine.is_finite().then(|| cosine.clamp(-1.0, 1.0))
    }

    /// The share of pairs whose gradients point apart (cosine below 0) among the pairs that have a cosine; `None` where
    /// there is no such pair.
    pub fn conflicts(&self) -> Option<f64> {
        let cosines: Vec<f64> =
            (0..self.tasks).flat_map(|i| (0..i).filter_map(move |j| self.cosine(i, j))).collect();
        let apart = cosines.iter().filter(|&&cosine| cosine < 0.0).count();
        (!cosines.is_empty()).then(|| apart as f64 / cosines.len() as f64)
    }

    /// The Gramian of some of the tasks, in the order given.
    pub fn of(&self, tasks: &[usize]) -> Gramian {
        let values = tasks.iter().flat_map(|&i| tasks.iter().map(move |&j| self.at(i, j))).collect();
        Gramian { tasks: tasks.len(), values }
    }

    /// The Gramian of the gradients times one factor each.
    pub(crate) fn scaled(&self, factors: &[f64]) -> Gramian {
        let scaled = |i: usize| (0..self.tasks).map(move |j| factors[i] * self.at(i, j) * factors[j]);
        Gramian { tasks: self.tasks, values: (0..self.tasks).flat_map(scaled).collect() }
    }

    /// Every pair's cosine: the Gramian of the gradients at length 1, none of which is 0.
    pub(crate) fn cosine_matrix(&self) -> Gramian {
        let norms = self.norms();
        let cosine = |i: usize, j: usize| {
            if i == j { 1.0 } else { (self.at(i, j) / norms[i] / norms[j]).clamp(-1.0, 1.0) }
        };
        let values = (0..self.tasks).flat_map(|i| (0..self.tasks).map(move |j| (i, j)));
        Gramian { tasks: self.tasks, values: values.map(|(i, j)| cosine(i, j)).collect() }
    }

    /// The Gramian with `by` added to every square.
    pub(crate) fn add_diagonal(mut self, by: f64) -> Gramian {
        for i in 0..self.tasks {
            self.values[i * self.tasks + i] += by;
        }
        self
    }

    /// `G w`: the inner product of each gradient with `J^T w`.
    pub(crate) fn matvec(&self, weights: &[f64]) -> Vec<f64> {
        self.values.chunks_exact(self.tasks.max(1)).map(|row| dot(row, weights)).collect()
    }

    /// The inner products of one gradient with all.
    pub(crate) fn row(&self, task: usize) -> &[f64] {
        &self.values[task * self.tasks..][..self.tasks]
    }

    /// The inner product of one gradient with `J^T w`.
    pub(crate) fn product(&self, task: usize, weights: &[f64]) -> f64 {
        dot(self.row(task), weights)
    }

    /// `w^T G w`, the squared norm of `J^T w`, at least 0.
    pub(crate) fn quadratic_form(&self, weights: &[f64]) -> f64 {
        dot(weights, &self.matvec(weights)).max(0.0)
    }
}

/// The inner product, in four sums that do not wait for each other.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, rest_of_a), (b, rest_of_b)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let mut sums = [0.0; 4];
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f64 = rest_of_a.iter().zip(rest_of_b).map(|(a, b)| a * b).sum();
    (sums[0] + sums[2]) + (sums[1] + sums[3]) + rest
}

/// `to += by x`.
pub(crate) fn add(to: &mut [f64], by: f64, x: &[f64]) {
    to.iter_mut().zip(x).for_each(|(to, x)| *to += by * x);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_give_norms_cosines_and_conflicts() {
        let rows: [&[f32]; 4] = [&[3.0, 4.0], &[-4.0, 3.0], &[-3.0, -4.0], &[0.0, 0.0]];
        let gramian = Gramian::of_rows(&rows);
        assert_eq!(gramian.norms(), [5.0, 5.0, 5.0, 0.0]);
        assert_eq!(gramian.cosine(0, 1), Some(0.0));
        assert_eq!(gramian.cosine(2, 0), Some(-1.0));
        assert_eq!(gramian.cosine(3, 0), None);
        assert_eq!(gramian.conflicts(), Some(1.0 / 3.0));
        assert_eq!(gramian.of(&[3]).conflicts(), None);
        assert_eq!(gramian.of(&[2, 0]), Gramian::of_rows(&[rows[2], rows[0]]));
        assert_eq!(gramian.matvec(&[1.0, 0.0, 1.0, 7.0]), [0.0; 4]);
    }

    #[test]
    fn what_no_rows_can_give_is_refused() {
        let check = |tasks: usize, values: &[f64], expected: &str| {
            let error = Gramian::new(tasks, values.to_vec()).expect_err("no Gramian").to_string();
            assert!(error.contains(expected), "{error}\nlacks: {expected}");
        };
        check(2, &[1.0; 3], "3 numbers for 2 tasks");
        check(1, &[-1.0], "the square of task 0 is -1");
        check(2, &[1.0, 0.5, 0.4, 1.0], "0.4 and 0.5 between tasks 1 and 0");
        check(2, &[1.0, 2.0, 2.0, 1.0], "whose norms give at most 1");
        check(2, &[1.0, f64::NAN, f64::NAN, 1.0], "NaN and NaN");
        check(2, &[0.0, 0.1, 0.1, 1.0], "at most 0");
        check(usize::MAX, &[], "0 numbers");
    }

    #[test]
    fn rounding_is_repaired_and_a_broken_task_is_kept_as_such() {
        let gramian = Gramian::new(2, vec![1.0, 1.00001, 1.00003, 1.0]).expect("a Gramian");
        assert_eq!((gramian.at(0, 1), gramian.at(1, 0)), (1.0, 1.0));
        let broken = Gramian::new(2, vec![1.0, f64::NAN, f64::NAN, f64::NAN]).expect("one broken task");
        assert!(broken.is_valid(0) && !broken.is_valid(1));
    }
}
