//! The gradient of a scalar over a table of parameters.

pub(crate) mod buffers;
pub(crate) mod clip;
pub(crate) mod jacobian;
use burn::tensor::Tensor;
use model::{ParameterTensor, Parameters, Penalty};
use std::sync::Arc;

/// The gradient of one parameter, on the inner device.
#[derive(Debug, Clone)]
pub enum Gradient {
    /// `[n]`
    Vector(Tensor<1>),
    /// `[rows, columns]`
    Matrix(Tensor<2>),
    /// Of a table of which only some rows were looked up. The gradient of all others is 0.
    Rows {
        /// The numbers of these rows, rising.
        rows: Arc<[u32]>,
        /// Their gradients `[rows, columns]`.
        of: Tensor<2>,
    },
}

/// One gradient per parameter, in the order of the table; `None` where a parameter is frozen or the scalar does not depend
/// on it. A clone shares the tensors.
#[derive(Debug, Clone)]
pub struct Gradients {
    of: Vec<Option<Gradient>>,
}

impl Gradients {
    /// No gradient yet, for so many parameters.
    pub fn none(parameters: usize) -> Self {
        Gradients { of: (0..parameters).map(|_| None).collect() }
    }

    /// Runs the backward pass of `scalar` (shape `[1]`), which uses its graph up. `parameters` are those that the scalar was
    /// made of; of a table of which they hold only some rows, the gradient is that of these rows.
    pub fn backward(scalar: Tensor<1>, parameters: &Parameters) -> Self {
        Self::backward_to(scalar, parameters, None).0
    }

    /// [`Gradients::backward`], and the gradient of a tensor that is a leaf of the graph too.
    pub(crate) fn backward_to(
        scalar: Tensor<1>,
        parameters: &Parameters,
        leaf: Option<&Tensor<2>>,
    ) -> (Self, Option<Tensor<2>>) {
        kernels::check_memory();
        let mut all = kernels::backward(&scalar);
        drop(scalar);
        // What it has taken is seen here.
        kernels::check_memory();
        let of_leaf = leaf.and_then(|leaf| leaf.grad_remove(&mut all));
        let mut take = |p: &model::Parameter| match p.value() {
            _ if !p.trainable => None,
            ParameterTensor::Vector(t) => t.grad_remove(&mut all).map(Gradient::Vector),
            ParameterTensor::Matrix(t) => {
                let of = t.grad_remove(&mut all)?;
                Some(match p.rows() {
                    Some(rows) => Gradient::Rows { rows: rows.clone(), of },
                    None => Gradient::Matrix(of),
                })
            }
        };
        (Gradients { of: parameters.iter().map(&mut take).collect() }, of_leaf)
    }

    /// Adds another gradient over the same parameters.
    pub fn add(&mut self, other: Gradients) {
        for (mine, theirs) in self.of.iter_mut().zip(other.of) {
            *mine = match (mine.take(), theirs) {
                (Some(mine), Some(theirs)) => Some(mine.plus(theirs)),
                (a, b) => a.or(b),
            };
        }
    }

    /// Those of the parameters that `wanted` picks, and the others.
    pub(crate) fn split(self, wanted: impl Fn(usize) -> bool) -> (Gradients, Gradients) {
        let (mut these, mut others) = (Gradients::none(self.of.len()), Gradients::none(self.of.len()));
        for (index, gradient) in self.of.into_iter().enumerate() {
            let to = if wanted(index) { &mut these } else { &mut others };
            to.of[index] = gradient;
        }
        (these, others)
    }

    /// The gradient of a parameter.
    pub(crate) fn get(&self, index: usize) -> Option<&Gradient> {
        self.of.get(index)?.as_ref()
    }

    /// Takes the gradient of a parameter out.
    pub(crate) fn take(&mut self, index: usize) -> Option<Gradient> {
        self.of.get_mut(index)?.take()
    }

    /// Gives a parameter a gradient in place of what it had.
    pub(crate) fn set(&mut self, index: usize, gradient: Gradient) {
        self.of[index] = Some(gradient);
    }

    /// Adds a term of the loss that is a function of the weights alone, to what has a gradient: what has none stays where it is.
    pub(crate) fn add_penalty(&mut self, penalty: Penalty) {
        for (index, gradient) in penalty.gradients {
            let gradient = match gradient {
                ParameterTensor::Vector(of) => Gradient::Vector(of),
                ParameterTensor::Matrix(of) => Gradient::Matrix(of),
            };
            if let Some(found) = self.take(index) {
                self.set(index, found.plus(gradient));
            }
        }
    }

    /// How many parameters there are, with a gradient or without.
    pub(crate) fn len(&self) -> usize {
        self.of.len()
    }

    /// The squared norm per parameter, summed in a fixed order; 0 where there is no gradient.
    pub fn squared_norms(&self) -> Vec<f64> {
        let norm = |g: &Gradient| match g {
            Gradient::Vector(of) => kernels::squared_norm(of),
            Gradient::Matrix(of) | Gradient::Rows { of, .. } => kernels::squared_norm(of),
        };
        let mut norms = read_scalars(self.of.iter().flatten().map(norm).collect()).into_iter();
        self.of.iter().map(|g| g.as_ref().and_then(|_| norms.next()).unwrap_or(0.0)).collect()
    }

    /// Whether no parameter has a gradient.
    pub fn is_empty(&self) -> bool {
        self.of.iter().all(Option::is_none)
    }
}

impl Gradient {
    /// Its numbers in row-major order; those of the rows that it has alone.
    pub(crate) fn values(self) -> Vec<f32> {
        let data = match self {
            Gradient::Vector(of) => of.into_data(),
            Gradient::Matrix(of) | Gradient::Rows { of, .. } => of.into_data(),
        };
        data.try_into_vec().expect("gradients are f32 on the host's side")
    }

    /// The gradient times a factor.
    pub(crate) fn scaled(self, factor: f64) -> Gradient {
        match self {
            Gradient::Vector(of) => Gradient::Vector(kernels::scale(of, factor)),
            Gradient::Matrix(of) => Gradient::Matrix(kernels::scale(of, factor)),
            Gradient::Rows { rows, of } => Gradient::Rows { rows, of: kernels::scale(of, factor) },
        }
    }

    /// The sum of two gradients of one parameter.
    fn plus(self, other: Gradient) -> Gradient {
        match (self, other) {
            (Gradient::Vector(a), Gradient::Vector(b)) => Gradient::Vector(kernels::add(a, b)),
            (Gradient::Matrix(a), Gradient::Matrix(b)) => Gradient::Matrix(kernels::add(a, b)),
            (Gradient::Rows { rows, of }, Gradient::Matrix(b))
            | (Gradient::Matrix(b), Gradient::Rows { rows, of }) => {
                let whole = b.dims()[0];
                Gradient::Matrix(kernels::add(b, kernels::scatter_add_rows(of, &rows, whole)))
            }
            (Gradient::Rows { rows: a_rows, of: a }, Gradient::Rows { rows: b_rows, of: b }) => {
                let rows = union([&*a_rows, &*b_rows]);
                let of = kernels::add(over(&rows, &a_rows, a), over(&rows, &b_rows, b));
                Gradient::Rows { rows, of }
            }
            (Gradient::Vector(_), _) | (_, Gradient::Vector(_)) => {
                unreachable!("both are of one parameter")
            }
        }
    }
}

/// The gradients of one parameter by several tasks, in tensors of one shape.
pub(crate) enum DenseRows {
    Vectors(Vec<Tensor<1>>),
    Matrices(Vec<Tensor<2>>),
    /// Of the same rows of a table, whose numbers come first.
    Rows(Arc<[u32]>, Vec<Tensor<2>>),
}

/// Brings gradients of one parameter to one shape.
pub(crate) fn align_sparse_rows(gradients: Vec<Gradient>) -> DenseRows {
    let rows_of = |gradient: &Gradient| match gradient {
        Gradient::Rows { rows, .. } => Some(rows.clone()),
        Gradient::Vector(_) | Gradient::Matrix(_) => None,
    };
    let rows: Vec<Arc<[u32]>> = gradients.iter().filter_map(rows_of).collect();
    let whole = gradients.iter().find_map(|gradient| match gradient {
        Gradient::Matrix(of) => Some(of.dims()[0]),
        Gradient::Vector(_) | Gradient::Rows { .. } => None,
    });
    let all = union(rows.iter().map(|rows| &**rows));
    let (mut vectors, mut matrices) = (Vec::new(), Vec::new());
    for gradient in gradients {
        match (gradient, whole) {
            (Gradient::Vector(of), _) => vectors.push(of),
            (Gradient::Matrix(of), _) => matrices.push(of),
            (Gradient::Rows { rows, of }, Some(whole)) => {
                matrices.push(kernels::scatter_add_rows(of, &rows, whole))
            }
            (Gradient::Rows { rows, of }, None) => matrices.push(over(&all, &rows, of)),
        }
    }
    match (rows.is_empty(), whole) {
        _ if !vectors.is_empty() => DenseRows::Vectors(vectors),
        (false, None) => DenseRows::Rows(all, matrices),
        _ => DenseRows::Matrices(matrices),
    }
}

/// All rows that occur in one of the lists, rising.
fn union<'a>(lists: impl IntoIterator<Item = &'a [u32]>) -> Arc<[u32]> {
    let mut all: Vec<u32> = lists.into_iter().flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    all.into()
}

/// The gradient of some rows as one of more rows, zeros for the others.
fn over(all: &[u32], rows: &[u32], of: Tensor<2>) -> Tensor<2> {
    if all.len() == rows.len() {
        return of;
    }
    let place = |row: &u32| all.partition_point(|other| other < row) as u32;
    kernels::scatter_add_rows(of, &rows.iter().map(place).collect::<Vec<u32>>(), all.len())
}

/// The numbers of tensors `[1]`, read all at once: every read waits until the device has done what it was given.
pub(crate) fn read_scalars(numbers: Vec<Tensor<1>>) -> Vec<f64> {
    if numbers.is_empty() {
        return Vec::new();
    }
    Tensor::cat(numbers, 0).into_data().iter().collect()
}

impl IntoIterator for Gradients {
    type Item = Option<Gradient>;
    type IntoIter = std::vec::IntoIter<Option<Gradient>>;

    fn into_iter(self) -> Self::IntoIter {
        self.of.into_iter()
    }
}
