//! Inner products between the task gradients of two independent halves of a step's rows.

/// `A = J1 J2^T`, K x K: entry (i, j) is the inner product of task i's gradient over the first half of the rows with task
/// j's over the second. Its expectation is the Gramian of the expected gradients (double sampling), while a Gramian of one
/// sample is biased on its diagonal; so it need be neither symmetric nor positive.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossGramian {
    tasks: usize,
    values: Vec<f64>,
}

impl CrossGramian {
    /// The cross-Gramian of gradient rows, summed in f64 from first to last.
    ///
    /// # Panics
    /// When there are not as many rows in both halves, or rows differ in length.
    pub fn of_rows<T: Copy + Into<f64>>(first: &[&[T]], second: &[&[T]]) -> Self {
        assert_eq!(first.len(), second.len(), "the same tasks in both halves");
        let product = |a: &[T], b: &[T]| {
            assert_eq!(a.len(), b.len(), "rows of one length");
            a.iter().zip(b).map(|(&a, &b)| a.into() * b.into()).sum()
        };
        let values = first.iter().flat_map(|a| second.iter().map(move |b| product(a, b))).collect();
        CrossGramian { tasks: first.len(), values }
    }

    /// From K x K numbers, row by row; `None` when these are not K x K.
    pub fn new(tasks: usize, values: Vec<f64>) -> Option<Self> {
        (tasks.checked_mul(tasks) == Some(values.len())).then_some(CrossGramian { tasks, values })
    }

    /// How many tasks there are, K.
    pub fn tasks(&self) -> usize {
        self.tasks
    }

    /// The inner product of task i's gradient over the first half with task j's over the second.
    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.values[i * self.tasks + j]
    }

    /// Whether a task has a finite gradient in both halves.
    pub fn is_valid(&self, task: usize) -> bool {
        self.at(task, task).is_finite()
    }

    /// The submatrix of some of the tasks, in the order given. Where two finite gradients have a product that is not finite, it
    /// is 0: their squares are near f64's largest value.
    pub(crate) fn of(&self, tasks: &[usize]) -> CrossGramian {
        let entry = |i: usize, j: usize| if self.at(i, j).is_finite() { self.at(i, j) } else { 0.0 };
        let values = tasks.iter().flat_map(|&i| tasks.iter().map(move |&j| entry(i, j))).collect();
        CrossGramian { tasks: tasks.len(), values }
    }

    /// `A w`.
    pub(crate) fn matvec(&self, weights: &[f64]) -> Vec<f64> {
        let row = |i: usize| weights.iter().enumerate().map(|(j, weight)| self.at(i, j) * weight).sum();
        (0..self.tasks).map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_two_halves() {
        let (first, second) = ([[1.0f32, 2.0], [0.0, 1.0]], [[3.0, 0.0], [1.0, -1.0]]);
        let cross_gramian = CrossGramian::of_rows(&[&first[0], &first[1]], &[&second[0], &second[1]]);
        assert_eq!(cross_gramian, CrossGramian::new(2, vec![3.0, -1.0, 0.0, -1.0]).expect("2 x 2"));
        assert_eq!(cross_gramian.matvec(&[1.0, 2.0]), [1.0, -2.0]);
        assert_eq!(CrossGramian::new(2, vec![0.0; 3]), None);
    }
}
