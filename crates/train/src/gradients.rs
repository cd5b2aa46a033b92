//! The gradient of a scalar over a table of parameters.

use burn::tensor::Tensor;
use model::{Parameters, Weight};

/// One gradient per parameter, in the order of the table, on the inner device; `None` where a parameter is
/// frozen or the scalar does not depend on it.
#[derive(Debug)]
pub struct Gradients {
    of: Vec<Option<Weight>>,
}

impl Gradients {
    /// No gradient yet, for so many parameters.
    pub fn none(parameters: usize) -> Self {
        Gradients { of: (0..parameters).map(|_| None).collect() }
    }

    /// Runs the backward pass of `scalar` (shape `[1]`), which uses its graph up.
    pub fn backward(scalar: Tensor<1>, parameters: &Parameters) -> Self {
        let mut all = scalar.backward();
        drop(scalar);
        let mut take = |p: &model::Parameter| match p.value() {
            _ if !p.trainable => None,
            Weight::Vector(t) => t.grad_remove(&mut all).map(Weight::Vector),
            Weight::Matrix(t) => t.grad_remove(&mut all).map(Weight::Matrix),
        };
        Gradients { of: parameters.iter().map(&mut take).collect() }
    }

    /// Adds another gradient over the same parameters.
    pub fn add(&mut self, other: Gradients) {
        for (mine, theirs) in self.of.iter_mut().zip(other.of) {
            *mine = match (mine.take(), theirs) {
                (Some(Weight::Vector(a)), Some(Weight::Vector(b))) => Some(Weight::Vector(a + b)),
                (Some(Weight::Matrix(a)), Some(Weight::Matrix(b))) => Some(Weight::Matrix(a + b)),
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
    pub(crate) fn get(&self, index: usize) -> Option<&Weight> {
        self.of.get(index)?.as_ref()
    }

    /// Gives a parameter a gradient in place of what it had.
    pub(crate) fn set(&mut self, index: usize, gradient: Weight) {
        self.of[index] = Some(gradient);
    }

    /// How many parameters there are, with a gradient or without.
    pub(crate) fn len(&self) -> usize {
        self.of.len()
    }

    /// The squared norm per parameter, summed in a fixed order; 0 where there is no gradient.
    pub fn squared_norms(&self) -> Vec<f64> {
        let norm = |g: &Weight| match g {
            Weight::Vector(t) => kernels::squared_norm(t),
            Weight::Matrix(t) => kernels::squared_norm(t),
        };
        let mut norms = read(self.of.iter().flatten().map(norm).collect()).into_iter();
        self.of.iter().map(|g| g.as_ref().and_then(|_| norms.next()).unwrap_or(0.0)).collect()
    }

    /// Whether no parameter has a gradient.
    pub fn is_empty(&self) -> bool {
        self.of.iter().all(Option::is_none)
    }
}

/// The numbers of tensors `[1]`, read all at once: every read waits until the device has done what it was given.
pub(crate) fn read(numbers: Vec<Tensor<1>>) -> Vec<f64> {
    if numbers.is_empty() {
        return Vec::new();
    }
    Tensor::cat(numbers, 0).into_data().iter().collect()
}

impl IntoIterator for Gradients {
    type Item = Option<Weight>;
    type IntoIter = std::vec::IntoIter<Option<Weight>>;

    fn into_iter(self) -> Self::IntoIter {
        self.of.into_iter()
    }
}
