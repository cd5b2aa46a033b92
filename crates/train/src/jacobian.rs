//! Gradients task by task: the rows of J over the shared parameters, their Gramian, and the way from weights back to one
//! gradient.

use crate::gradients::Gradients;
use burn::tensor::Tensor;
use model::{Group, Parameters, Weight};

/// The gradient of every task. Over the shared parameters each is a row of its own; the head of a task takes its task's
/// gradient as it is.
pub(crate) struct Jacobian {
    /// Over the trunk, per task of the model; `None` for a task that is absent.
    rows: Vec<Option<Gradients>>,
    /// Over the heads, which no two tasks share.
    heads: Gradients,
}

impl Jacobian {
    /// No gradient yet, of so many tasks.
    pub(crate) fn none(tasks: usize, parameters: &Parameters) -> Jacobian {
        Jacobian { rows: (0..tasks).map(|_| None).collect(), heads: Gradients::none(parameters.len()) }
    }

    /// Adds to the gradient of a task.
    pub(crate) fn add(&mut self, task: usize, gradients: Gradients, parameters: &Parameters) {
        let (trunk, head) = gradients.split(|index| parameters.parameter(index).group == Group::Trunk);
        self.heads.add(head);
        match &mut self.rows[task] {
            Some(row) => row.add(trunk),
            row => *row = Some(trunk),
        }
    }

    /// `J J^T`, K x K row by row; zeros for absent tasks. Every row is read once.
    pub(crate) fn products(&self) -> Vec<f64> {
        let tasks = self.rows.len();
        let mut products = vec![0.0; tasks * tasks];
        let parameters = self.rows.iter().flatten().map(|row| row.len()).max().unwrap_or(0);
        for index in 0..parameters {
            let (mut vectors, mut matrices) = (Vec::new(), Vec::new());
            let (mut of_vectors, mut of_matrices) = (Vec::new(), Vec::new());
            for (task, row) in self.rows.iter().enumerate() {
                match row.as_ref().and_then(|row| row.get(index)) {
                    Some(Weight::Vector(g)) => {
                        vectors.push(g.clone());
                        of_vectors.push(task);
                    }
                    Some(Weight::Matrix(g)) => {
                        matrices.push(g.clone());
                        of_matrices.push(task);
                    }
                    None => {}
                }
            }
            add_products(&vectors, &of_vectors, tasks, &mut products);
            add_products(&matrices, &of_matrices, tasks, &mut products);
        }
        products
    }

    /// `J^T w` over the trunk, and the heads' own gradients. A task of weight 0 has no part in the trunk.
    pub(crate) fn direction(self, weights: &[f64]) -> Gradients {
        let mut total = self.heads;
        let mut rows: Vec<(f64, std::vec::IntoIter<Option<Weight>>)> = self
            .rows
            .into_iter()
            .zip(weights)
            .filter_map(|(row, weight)| Some((*weight, row.filter(|_| *weight != 0.0)?.into_iter())))
            .collect();
        let parameters = rows.iter().map(|(_, row)| row.len()).max().unwrap_or(0);
        for index in 0..parameters {
            let (mut vectors, mut matrices) = (Vec::new(), Vec::new());
            for (weight, row) in &mut rows {
                match row.next().flatten() {
                    Some(Weight::Vector(g)) => vectors.push((*weight, g)),
                    Some(Weight::Matrix(g)) => matrices.push((*weight, g)),
                    None => {}
                }
            }
            let sum = kernels::combine(vectors).map(Weight::Vector);
            if let Some(sum) = sum.or_else(|| kernels::combine(matrices).map(Weight::Matrix)) {
                total.set(index, sum);
            }
        }
        total
    }
}

/// Adds the products of one parameter's part of some tasks' rows.
fn add_products<const D: usize>(rows: &[Tensor<D>], of: &[usize], tasks: usize, products: &mut [f64]) {
    let mut found = vec![0.0; rows.len() * rows.len()];
    kernels::add_products(rows, &mut found);
    for (found, i) in found.chunks(rows.len().max(1)).zip(of) {
        for (found, j) in found.iter().zip(of) {
            products[i * tasks + j] += found;
        }
    }
}
