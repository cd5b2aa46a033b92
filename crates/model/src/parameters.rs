//! The parameters of a trunk and its heads: one flat table of named f32 tensors.
//!
//! Networks keep handles ([`Matrix`], [`Vector`]) and look their tensors up when they run; optimizers, checkpoints and
//! files go through the table by index or name. So nothing but this table owns weights, and no code walks over modules.

mod sharing;

use crate::error::ModelError;
use crate::init::Init;
use burn::tensor::{Device, Tensor, TensorData};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// Whose a parameter is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Group {
    /// Shared by all tasks: the backbone (and, later, what shares it).
    Trunk,
    /// The head of the task of this name.
    Task(String),
}

/// A parameter's tensor: as many dimensions as there are sorts of parameters.
#[derive(Debug, Clone)]
pub enum Weight {
    /// `[n]`: a bias, a norm's scale or shift.
    Vector(Tensor<1>),
    /// `[rows, columns]`; of a linear layer `[out, in]`, of an embedding `[ids, width]`.
    Matrix(Tensor<2>),
}

impl Weight {
    fn from_values(values: Vec<f32>, shape: &[usize], device: &Device) -> Self {
        match *shape {
            [rows, columns] => {
                Self::Matrix(Tensor::from_data(TensorData::new(values, [rows, columns]), device))
            }
            _ => {
                let len = values.len();
                Self::Vector(Tensor::from_data(TensorData::new(values, [len]), device))
            }
        }
    }

    /// A leaf on the table's device: tracked if it shall be trained and the device differentiates.
    fn leaf(self, autodiff: bool, trainable: bool) -> Self {
        match self {
            Self::Vector(t) => Self::Vector(leaf(t, autodiff, trainable)),
            Self::Matrix(t) => Self::Matrix(leaf(t, autodiff, trainable)),
        }
    }

    /// The numbers, in row-major order.
    fn values(&self) -> Vec<f32> {
        let data = match self {
            Self::Vector(t) => t.clone().inner().into_data(),
            Self::Matrix(t) => t.clone().inner().into_data(),
        };
        data.try_into_vec().expect("every parameter is f32 on the host's side")
    }
}

fn leaf<const D: usize>(tensor: Tensor<D>, autodiff: bool, trainable: bool) -> Tensor<D> {
    let tensor = tensor.inner();
    if autodiff { tensor.autodiff().set_require_grad(trainable) } else { tensor }
}

/// One parameter: name, owner, and how the optimizer shall treat it.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Unique in the table: `backbone....` for the trunk, `head.TASK....` for heads.
    pub name: String,
    /// Whose it is.
    pub group: Group,
    /// Whether weight decay applies: true for matrices, false for vectors (biases and norms).
    pub decay: bool,
    /// Whether it gets gradients. Frozen parameters stay as they are.
    pub trainable: bool,
    shape: Vec<usize>,
    value: Weight,
    /// Which rows of the parameter these are, rising; `None` for all of it.
    rows: Option<Arc<[u32]>>,
    /// Whether another task uses it, too.
    shared: bool,
}

impl Parameter {
    /// Which of its rows [`Parameter::value`] holds, rising, where that is not all of them ([`Parameters::with_rows`]).
    pub fn rows(&self) -> Option<&Arc<[u32]>> {
        self.rows.as_ref()
    }
    /// Whether several tasks use it: the trunk's, and those of a head that tasks share.
    pub fn is_shared(&self) -> bool {
        self.shared || self.group == Group::Trunk
    }
    /// Its sizes: one or two numbers.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
    /// How many numbers it holds.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }
    /// Whether it is a linear map inside the trunk: a matrix, but no table of embeddings.
    pub fn is_map(&self) -> bool {
        self.group == Group::Trunk && self.shape.len() == 2 && !self.name.contains("embedding")
    }
    /// Its tensor, for looking at gradients: `tensor.grad(&gradients)`.
    pub fn value(&self) -> &Weight {
        &self.value
    }
}

/// A handle to a two-dimensional parameter of the table that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix(usize);
/// A handle to a one-dimensional parameter of the table that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector(usize);

impl Matrix {
    /// Its index in the table.
    pub fn index(self) -> usize {
        self.0
    }
}
impl Vector {
    /// Its index in the table.
    pub fn index(self) -> usize {
        self.0
    }
}

/// All parameters of a trunk and its heads, in the order in which they were made.
#[derive(Debug, Clone)]
pub struct Parameters {
    device: Device,
    seed: u64,
    table: Vec<Parameter>,
    by_name: HashMap<String, usize>,
    alias: Option<sharing::Alias>,
}

impl Parameters {
    /// An empty table. `device` decides whether parameters are differentiable (`Device::flex().autodiff()`);
    /// `seed` with a parameter's name decides its first values.
    pub fn new(device: &Device, seed: u64) -> Self {
        Self { device: device.clone(), seed, table: Vec::new(), by_name: HashMap::new(), alias: None }
    }

    /// Where the parameters live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Adds a matrix `[rows, columns]` with weight decay.
    ///
    /// # Panics
    /// If the name is taken or an [`Init::Data`] has the wrong number of values: mistakes of the calling code, not of input.
    pub fn matrix(&mut self, group: &Group, name: &str, shape: [usize; 2], init: Init) -> Matrix {
        Matrix(self.add(group, name, &shape, init))
    }

    /// Adds a vector `[len]` without weight decay.
    ///
    /// # Panics
    /// As [`Parameters::matrix`].
    pub fn vector(&mut self, group: &Group, name: &str, len: usize, init: Init) -> Vector {
        Vector(self.add(group, name, &[len], init))
    }

    fn add(&mut self, group: &Group, name: &str, shape: &[usize], init: Init) -> usize {
        if let Some(index) = self.shared(name, shape) {
            return index;
        }
        let size = shape.iter().product();
        let values = init.draw(self.seed, name, size);
        assert_eq!(values.len(), size, "the first values of {name} must fill its shape {shape:?}");
        let index = self.table.len();
        let taken = self.by_name.insert(name.to_owned(), index);
        assert!(taken.is_none(), "there is a parameter called {name} already");
        let value = Weight::from_values(values, shape, &self.device).leaf(self.device.is_autodiff(), true);
        self.table.push(Parameter {
            name: name.to_owned(),
            group: group.clone(),
            decay: shape.len() > 1,
            trainable: true,
            shape: shape.to_vec(),
            value,
            rows: None,
            shared: false,
        });
        index
    }

    /// The tensor behind a handle.
    pub fn get(&self, handle: Matrix) -> Tensor<2> {
        match &self.table[handle.0].value {
            Weight::Matrix(tensor) => tensor.clone(),
            Weight::Vector(_) => unreachable!("a matrix handle is only made with a matrix"),
        }
    }

    /// The tensor behind a handle.
    pub fn at(&self, handle: Vector) -> Tensor<1> {
        match &self.table[handle.0].value {
            Weight::Vector(tensor) => tensor.clone(),
            Weight::Matrix(_) => unreachable!("a vector handle is only made with a vector"),
        }
    }

    /// All parameters, in the order of their indices.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Parameter> {
        self.table.iter()
    }

    /// How many parameters (tensors, not numbers) there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The index of the parameter of this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// How many numbers the parameters of a group hold; all with `None`.
    pub fn size(&self, group: Option<&Group>) -> usize {
        self.table.iter().filter(|p| group.is_none_or(|g| p.group == *g)).map(Parameter::size).sum()
    }

    /// The parameter at an index below [`Parameters::len`].
    pub fn parameter(&self, index: usize) -> &Parameter {
        &self.table[index]
    }

    /// Its shape: one or two numbers.
    pub fn shape(&self, index: usize) -> Vec<usize> {
        self.table[index].shape.clone()
    }

    /// Takes a parameter's tensor out, leaving a placeholder, so that an optimizer holds the only handle and can write in
    /// place. [`Parameters::put`] must follow before the parameter is used again.
    pub fn take(&mut self, index: usize) -> Weight {
        // On the processor, whatever the device: a placeholder is not worth a transfer.
        let device = Device::flex();
        let parameter = &mut self.table[index];
        let placeholder = match parameter.value {
            Weight::Vector(_) => Weight::from_values(vec![f32::NAN], &[1], &device),
            Weight::Matrix(_) => Weight::from_values(vec![f32::NAN], &[1, 1], &device),
        };
        std::mem::replace(&mut parameter.value, placeholder)
    }

    /// Puts a tensor back as a fresh leaf: without a graph, and tracked where the parameter is trainable and the device
    /// differentiates. It may come from the inner device.
    pub fn put(&mut self, index: usize, weight: Weight) {
        let autodiff = self.device.is_autodiff();
        let parameter = &mut self.table[index];
        debug_assert!(
            match &weight {
                Weight::Vector(t) => t.dims()[..] == parameter.shape[..],
                Weight::Matrix(t) => t.dims()[..] == parameter.shape[..],
            },
            "{} must keep its shape",
            parameter.name
        );
        parameter.value = weight.leaf(autodiff, parameter.trainable);
    }

    /// Freezes a parameter, or thaws it.
    pub fn set_trainable(&mut self, index: usize, trainable: bool) {
        self.table[index].trainable = trainable;
        let weight = self.take(index);
        self.put(index, weight);
    }

    /// A parameter's numbers, in row-major order.
    pub fn data(&self, index: usize) -> Vec<f32> {
        self.table[index].value.values()
    }

    /// Replaces a parameter's numbers.
    ///
    /// # Errors
    /// [`ModelError::Length`] if their number is not the parameter's.
    pub fn set_data(&mut self, index: usize, values: Vec<f32>) -> Result<(), ModelError> {
        let parameter = &self.table[index];
        if values.len() != parameter.size() {
            let (name, expected) = (parameter.name.clone(), parameter.size());
            return Err(ModelError::Length { name, found: values.len(), expected });
        }
        let weight = Weight::from_values(values, &parameter.shape, &self.device);
        self.put(index, weight);
        Ok(())
    }

    /// The same parameters, but of `table` only the given rows, rising: a leaf of its own, whose gradient is as small as they
    /// are. For passes that look only these rows up. Everything else is shared.
    pub fn with_rows(&self, table: Matrix, rows: &[u32]) -> Self {
        let mut copy = self.clone();
        let autodiff = self.device.is_autodiff();
        let parameter = &mut copy.table[table.0];
        let picked = kernels::pick(self.get(table).inner(), rows);
        parameter.value = Weight::Matrix(picked).leaf(autodiff, parameter.trainable);
        parameter.rows = Some(rows.into());
        copy
    }

    /// Where the rows `ids` of a table are in its tensor: in their own places, except in what [`Parameters::with_rows`] made.
    ///
    /// # Panics
    /// When one of them was left out.
    pub fn places<'a>(&self, table: Matrix, ids: &'a [u32]) -> Cow<'a, [u32]> {
        let Some(rows) = &self.table[table.0].rows else { return Cow::Borrowed(ids) };
        let place = |id: &u32| rows.binary_search(id).expect("every row that is looked up is there") as u32;
        Cow::Owned(ids.iter().map(place).collect())
    }

    /// The same weights on the device without differentiation: shares the memory, keeps the handles valid.
    pub fn inference(&self) -> Self {
        let mut copy = self.clone();
        copy.device = copy.device.inner();
        for parameter in &mut copy.table {
            parameter.value = parameter.value.clone().leaf(false, false);
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(device: &Device) -> (Parameters, Matrix, Vector) {
        let mut parameters = Parameters::new(device, 17);
        let w = parameters.matrix(&Group::Trunk, "backbone.w", [2, 3], Init::Normal(1.0));
        let b = parameters.vector(&Group::Task("polarity".into()), "head.polarity.bias", 2, Init::Zeros);
        (parameters, w, b)
    }

    #[test]
    fn the_table_knows_names_groups_and_sizes() {
        let (parameters, w, b) = table(&Device::flex());
        assert_eq!(parameters.len(), 2);
        assert_eq!(parameters.find("head.polarity.bias"), Some(b.index()));
        assert_eq!((parameters.size(None), parameters.size(Some(&Group::Trunk))), (8, 6));
        assert_eq!(parameters.shape(w.index()), [2, 3]);
        assert_eq!(parameters.iter().map(|p| p.decay).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn first_values_do_not_depend_on_the_order_of_making() {
        let (one, w, _) = table(&Device::flex());
        let mut other = Parameters::new(&Device::flex(), 17);
        other.matrix(&Group::Trunk, "backbone.first", [4, 4], Init::Normal(1.0));
        let again = other.matrix(&Group::Trunk, "backbone.w", [2, 3], Init::Normal(1.0));
        assert_eq!(one.data(w.index()), other.data(again.index()));
    }

    #[test]
    fn put_makes_a_fresh_leaf_that_gets_gradients() {
        let (mut parameters, w, b) = table(&Device::flex().autodiff());
        for _ in 0..2 {
            let loss = (parameters.get(w).sum() * 3.0) + parameters.at(b).sum();
            let gradients = loss.backward();
            let gradient = parameters.get(w).grad(&gradients).expect("w is trainable");
            assert_eq!(gradient.into_data().try_into_vec::<f32>().unwrap(), [3.0; 6]);
            let Weight::Matrix(tensor) = parameters.take(w.index()) else { unreachable!() };
            parameters.put(w.index(), Weight::Matrix(tensor.inner() * 2.0));
        }
        parameters.set_trainable(w.index(), false);
        let gradients = (parameters.get(w).sum() + parameters.at(b).sum()).backward();
        assert!(parameters.get(w).grad(&gradients).is_none() && parameters.at(b).grad(&gradients).is_some());
    }

    #[test]
    fn a_table_with_some_of_its_rows_gives_their_gradients() {
        let (parameters, w, b) = table(&Device::flex().autodiff());
        let some = parameters.with_rows(w, &[1]);
        assert_eq!(&*some.places(w, &[1, 1]), [0, 0]);
        assert_eq!(&*parameters.places(w, &[1, 1]), [1, 1]);
        assert_eq!(some.data(w.index()), parameters.data(w.index())[3..]);
        let picked = kernels::pick(some.get(w), &some.places(w, &[1, 1]));
        let gradients = (picked.sum() + some.at(b).sum()).backward();
        let gradient = some.get(w).grad(&gradients).expect("w is trainable");
        assert_eq!(gradient.into_data().try_into_vec::<f32>().unwrap(), [2.0; 3]);
        assert!(parameters.at(b).grad(&gradients).is_some(), "the others are shared");
    }

    #[test]
    fn the_inference_copy_has_the_same_values_and_no_gradients() {
        let (parameters, w, _) = table(&Device::flex().autodiff());
        let copy = parameters.inference();
        assert!(!copy.get(w).is_autodiff() && parameters.get(w).is_autodiff());
        assert_eq!(copy.data(w.index()), parameters.data(w.index()));
    }

    #[test]
    fn values_of_the_wrong_number_are_an_error() {
        let (mut parameters, w, _) = table(&Device::flex());
        parameters.set_data(w.index(), vec![1.0; 6]).unwrap();
        assert_eq!(parameters.data(w.index()), [1.0; 6]);
        let error = parameters.set_data(w.index(), vec![1.0; 5]).unwrap_err();
        assert_eq!(error.to_string(), "parameter backbone.w: found 5 values, expected 6");
    }
}
