//! Gradients task by task: the rows of J, their inner products, and the way from weights back to one gradient.

use crate::config::gradient_scope::GradientScope;
use crate::gradients::buffers::Buffers;
use crate::gradients::{DenseRows, Gradient, Gradients, align_sparse_rows};
use balance::GradientTransform;
use burn::tensor::Tensor;
use model::Parameters;

/// The gradient of every task. Those of one sort, as the scope has it, are the rows of J; the head of a task takes its
/// task's gradient as it is.
pub(crate) struct Jacobian {
    scope: GradientScope,
    /// Over the trunk's parameters above the cut; without a cut, over all of them; and over shared heads. `None` for a task that is absent.
    parameters: Vec<Option<Gradients>>,
    /// Over the states at the cut, a matrix `[tokens, hidden]` a pack. Empty without a cut.
    states: Vec<Option<Gradients>>,
    /// Over the heads that no two tasks share.
    heads: Gradients,
}

/// A gradient that is one for all tasks.
pub(crate) struct Direction {
    /// Of the trunk's parameters above the cut, and of the heads.
    pub(crate) parameters: Gradients,
    /// Of the states at the cut, a matrix a pack.
    pub(crate) states: Gradients,
}

impl Jacobian {
    /// No gradient yet, of so many rows.
    pub(crate) fn none(scope: GradientScope, rows: usize, packs: usize, parameters: &Parameters) -> Jacobian {
        let states = if scope == GradientScope::AllShared { 0 } else { packs };
        Jacobian {
            scope,
            parameters: (0..rows).map(|_| None).collect(),
            states: (0..rows).map(|_| (states > 0).then(|| Gradients::none(states))).collect(),
            heads: Gradients::none(parameters.len()),
        }
    }

    /// Adds to a row what a task's rows of one pack say.
    pub(crate) fn add(&mut self, row: usize, gradients: Gradients, parameters: &Parameters) {
        let (trunk, head) = gradients.split(|index| parameters.parameter(index).is_shared());
        self.heads.add(head);
        match &mut self.parameters[row] {
            Some(row) => row.add(trunk),
            row => *row = Some(trunk),
        }
    }

    /// Takes in the gradient of the states that a pack has at the cut.
    pub(crate) fn add_states(&mut self, row: usize, pack: usize, gradient: Option<Tensor<2>>) {
        if let (Some(row), Some(gradient)) = (&mut self.states[row], gradient) {
            row.set(pack, Gradient::Matrix(gradient));
        }
    }

    /// The rows of J.
    pub(crate) fn rows(&self) -> Vec<Option<&Gradients>> {
        let rows = if self.scope == GradientScope::Representation { &self.states } else { &self.parameters };
        rows.iter().map(Option::as_ref).collect()
    }

    /// Lets a balancer see and change J, a parameter after the other. `losses` has one entry a row.
    pub(crate) fn transform_rows(
        &mut self,
        balancer: &mut dyn GradientTransform,
        losses: &[Option<f64>],
        buffers: &mut Buffers,
        parameters: &Parameters,
    ) {
        let at_states = self.scope == GradientScope::Representation;
        let rows = if at_states { &mut self.states } else { &mut self.parameters };
        let count = rows.iter().flatten().map(Gradients::len).max().unwrap_or(0);
        let mut first = 0;
        for index in 0..count {
            let mut present = Vec::new();
            let mut found = Vec::new();
            for (row, gradients) in rows.iter_mut().enumerate().filter(|(row, _)| losses[*row].is_some()) {
                if let Some(gradient) = gradients.as_mut().and_then(|gradients| gradients.take(index)) {
                    present.push(row);
                    found.push(gradient);
                }
            }
            let place = ParamSlice { first, index, tasks: &present, losses };
            first += match found.first() {
                Some(Gradient::Matrix(of)) if at_states => of.dims().iter().product::<usize>() as u64,
                _ if at_states => 0,
                _ => parameters.parameter(index).size() as u64,
            };
            if found.is_empty() {
                continue;
            }
            let whole = balancer.keeps_buffers().then(|| parameters.shape(index)[0]);
            for (row, gradient) in present.iter().zip(changed(found, whole, &place, balancer, buffers)) {
                if let Some(gradients) = &mut rows[*row] {
                    gradients.set(index, gradient);
                }
            }
        }
    }

    /// `J^T w` with one weight a row, over everything that is shared, and the heads' own gradients. A row of weight 0 has no
    /// part in it.
    pub(crate) fn weighted_direction(self, weights: &[f64]) -> Direction {
        let mut total = self.heads;
        total.add(combined(self.parameters, weights));
        Direction { parameters: total, states: combined(self.states, weights) }
    }

    /// `J^T w` over the parameters alone, while J stays.
    pub(crate) fn trial(&self, weights: &[f64]) -> Gradients {
        combined(self.parameters.clone(), weights)
    }
}

/// Which parameter is passed, of which tasks.
struct ParamSlice<'a> {
    /// The place of its first number among all.
    first: u64,
    index: usize,
    /// The rows of J that have a gradient of it.
    tasks: &'a [usize],
    losses: &'a [Option<f64>],
}

/// The gradients of one parameter after the balancer has seen them. Where it keeps buffers, `whole` is how many rows the
/// parameter has, and the gradient becomes that large: buffers do not fade only where tokens occur.
fn changed(
    gradients: Vec<Gradient>,
    whole: Option<usize>,
    place: &ParamSlice<'_>,
    balancer: &mut dyn GradientTransform,
    buffers: &mut Buffers,
) -> Vec<Gradient> {
    let mut show = |first: u64, rows: &mut [&mut [f32]]| place.show(first, rows, balancer, buffers);
    match (align_sparse_rows(gradients), whole) {
        (DenseRows::Vectors(of), _) => {
            let of = kernels::map_rows_in_place(of, |rows| show(place.first, rows));
            of.into_iter().map(Gradient::Vector).collect()
        }
        (DenseRows::Matrices(of), _) => {
            let of = kernels::map_rows_in_place(of, |rows| show(place.first, rows));
            of.into_iter().map(Gradient::Matrix).collect()
        }
        (DenseRows::Rows(ids, of), Some(whole)) => {
            let of = of.into_iter().map(|of| kernels::scatter_add_rows(of, &ids, whole)).collect();
            let of = kernels::map_rows_in_place(of, |rows| show(place.first, rows));
            of.into_iter().map(Gradient::Matrix).collect()
        }
        (DenseRows::Rows(ids, of), None) => {
            let width = of.first().map_or(0, |of| of.dims()[1]);
            let of = kernels::map_rows_in_place(of, |rows| {
                for (at, id) in ids.iter().enumerate() {
                    let mut one: Vec<&mut [f32]> =
                        rows.iter_mut().map(|row| &mut row[at * width..][..width]).collect();
                    show(place.first + u64::from(*id) * width as u64, &mut one);
                }
            });
            of.into_iter().map(|of| Gradient::Rows { rows: ids.clone(), of }).collect()
        }
    }
}

impl ParamSlice<'_> {
    /// Shows the balancer a chunk, with zeros for the tasks that have no part in it.
    fn show(
        &self,
        first: u64,
        rows: &mut [&mut [f32]],
        balancer: &mut dyn GradientTransform,
        buffers: &mut Buffers,
    ) {
        let length = rows.first().map_or(0, |row| row.len());
        let mut absent = vec![vec![0.0; length]; self.losses.len() - self.tasks.len()];
        let (mut rows, mut absent) = (rows.iter_mut(), absent.iter_mut());
        let mut row_of = |task: usize| match self.tasks.contains(&task) {
            true => rows.next().map(|row| &mut **row),
            false => absent.next().map(Vec::as_mut_slice),
        };
        let mut all: Vec<&mut [f32]> = (0..self.losses.len()).filter_map(&mut row_of).collect();
        if balancer.keeps_buffers() {
            let buffers = buffers.of(self.index, self.losses.len(), length);
            let mut buffers: Vec<&mut [f32]> = buffers.iter_mut().map(Vec::as_mut_slice).collect();
            balancer.transform_chunk(first, self.losses, &mut all, &mut buffers);
        } else {
            balancer.transform_chunk(first, self.losses, &mut all, &mut []);
        }
    }
}

/// The inner products of some gradients over the same parameters, row by row; zeros for those that are absent. Each is read
/// once.
pub(crate) fn products(rows: &[Option<&Gradients>]) -> Vec<f64> {
    products_over(rows, |_| true)
}

/// [`products`] over some of the parameters.
pub(crate) fn products_over(rows: &[Option<&Gradients>], wanted: impl Fn(usize) -> bool) -> Vec<f64> {
    let mut products = vec![0.0; rows.len() * rows.len()];
    let parameters = rows.iter().flatten().map(|row| row.len()).max().unwrap_or(0);
    for index in (0..parameters).filter(|index| wanted(*index)) {
        let part = |(i, row): (usize, &Option<&Gradients>)| Some((i, row.as_ref()?.get(index)?.clone()));
        let (of, parts): (Vec<usize>, Vec<Gradient>) = rows.iter().enumerate().filter_map(part).unzip();
        match align_sparse_rows(parts) {
            DenseRows::Vectors(parts) => add_products(&parts, &of, rows.len(), &mut products),
            DenseRows::Matrices(parts) | DenseRows::Rows(_, parts) => {
                add_products(&parts, &of, rows.len(), &mut products);
            }
        }
    }
    products
}

/// Adds the products of one parameter's part of some rows.
fn add_products<const D: usize>(parts: &[Tensor<D>], of: &[usize], rows: usize, products: &mut [f64]) {
    let mut found = vec![0.0; parts.len() * parts.len()];
    kernels::accumulate_gramian(parts, &mut found);
    for (found, i) in found.chunks(parts.len().max(1)).zip(of) {
        for (found, j) in found.iter().zip(of) {
            products[i * rows + j] += found;
        }
    }
}

/// The weighted sum of some gradients over the same parameters.
pub(crate) fn combined(rows: Vec<Option<Gradients>>, weights: &[f64]) -> Gradients {
    let parameters = rows.iter().flatten().map(Gradients::len).max().unwrap_or(0);
    let mut rows: Vec<(f64, Gradients)> = rows
        .into_iter()
        .zip(weights)
        .filter_map(|(row, weight)| Some((*weight, row.filter(|_| *weight != 0.0)?)))
        .collect();
    let mut total = Gradients::none(parameters);
    for index in 0..parameters {
        let part = |(weight, row): &mut (f64, Gradients)| Some((*weight, row.take(index)?));
        let (weights, parts): (Vec<f64>, Vec<Gradient>) = rows.iter_mut().filter_map(part).unzip();
        let sum = match align_sparse_rows(parts) {
            DenseRows::Vectors(of) => sum(weights, of).map(Gradient::Vector),
            DenseRows::Matrices(of) => sum(weights, of).map(Gradient::Matrix),
            DenseRows::Rows(rows, of) => sum(weights, of).map(|of| Gradient::Rows { rows, of }),
        };
        if let Some(sum) = sum {
            total.set(index, sum);
        }
    }
    total
}

fn sum<const D: usize>(weights: Vec<f64>, of: Vec<Tensor<D>>) -> Option<Tensor<D>> {
    kernels::weighted_sum(weights.into_iter().zip(of).collect())
}
