//! The parameters of a trunk and its heads: one flat table of named f32 tensors.
//!
//! Networks keep handles ([`MatrixId`], [`VectorId`]) and look their tensors up when they run; optimizers, checkpoints and
//! files go through the table by index or name. So nothing but this table owns weights, and no code walks over modules.

mod factors;
mod packed;
mod shared_head;
mod spec;

pub use packed::Weight;
pub(crate) use packed::multiply;
pub use spec::{Depth, Level, Owner, ParameterSpec, Role, Stack, head_prefix};

use crate::cast::to_u32;
use crate::error::ModelError;
use crate::init::Init;
use burn::tensor::{Device, Tensor, TensorData};
use kernels::{CodeType, PackedMatrix};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// A parameter's tensor.
#[derive(Debug, Clone)]
pub enum ParameterTensor {
    /// `[n]`: a bias, a norm's scale or shift.
    Vector(Tensor<1>),
    /// `[rows, columns]`; of a linear layer `[out, in]`, of an embedding `[ids, width]`.
    Matrix(Tensor<2>),
}

impl ParameterTensor {
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

    /// The same with other numbers: `change` gets them, and how many a row has (a vector is one of rows of 1). Of the same device; what was
    /// tracked is no longer.
    pub fn changed(self, change: impl FnOnce(&mut [f32], usize)) -> Self {
        let (shape, device, data) = match self {
            Self::Vector(t) => (t.dims().to_vec(), t.device().inner(), t.inner().into_data()),
            Self::Matrix(t) => (t.dims().to_vec(), t.device().inner(), t.inner().into_data()),
        };
        let mut values = data.try_into_vec().expect("every parameter is f32 on the host's side");
        change(&mut values, shape.get(1).copied().unwrap_or(1));
        Self::from_values(values, &shape, &device)
    }

    /// The numbers, in row-major order.
    pub fn values(&self) -> Vec<f32> {
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

/// One parameter.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Unique in the table: `backbone....` for the trunk, `head.TASK....` for heads.
    pub name: String,
    /// Whose it is.
    pub owner: Owner,
    /// What it does.
    pub role: Role,
    /// Where it stands; `None` for what stands in no stack.
    pub depth: Option<Depth>,
    /// Whether weight decay applies: true for matrices, false for vectors (biases and norms).
    pub decay: bool,
    /// Whether it gets gradients. Frozen parameters stay as they are.
    pub trainable: bool,
    is_copy: bool,
    shape: Vec<usize>,
    /// A placeholder where `packed` has the numbers.
    value: ParameterTensor,
    packed: Option<Arc<PackedMatrix>>,
    /// What layers see it rounded to.
    rounded_to: Option<CodeType>,
    /// The second of two factors, of which this is the first.
    second_factor: Option<MatrixId>,
    /// Which rows of the parameter these are, rising; `None` for all of it.
    rows: Option<Arc<[u32]>>,
}

impl Parameter {
    /// Which of its rows [`Parameter::value`] holds, rising, where that is not all of them ([`Parameters::with_row_subset`]).
    pub fn rows(&self) -> Option<&Arc<[u32]>> {
        self.rows.as_ref()
    }
    /// Whether several tasks use it: the trunk's, and those of a head that tasks share.
    pub fn is_shared(&self) -> bool {
        self.owner.is_shared()
    }
    /// Whether it is in the trunk, for all tasks or for some; false for heads.
    pub fn is_trunk(&self) -> bool {
        self.role != Role::Head
    }
    /// Whether it is of a network itself, and neither of a sharing scheme nor of a head.
    pub fn is_base(&self) -> bool {
        !matches!(self.role, Role::Adapter | Role::Gate | Role::Head) && !self.is_copy
    }
    /// Whether a sharing scheme made it as a copy of a network's parameter ([`Parameters::add_copy`]).
    pub fn is_copy(&self) -> bool {
        self.is_copy
    }
    /// Whether it is below, or in, the first `layers` layers of the encoder.
    pub fn is_in_prefix(&self, layers: usize) -> bool {
        match self.depth {
            Some(Depth { stack: Stack::Encoder, level: Level::Embeddings }) => true,
            Some(Depth { stack: Stack::Encoder, level: Level::Layer(layer) }) => usize::from(layer) < layers,
            _ => false,
        }
    }
    /// Its sizes: one or two numbers.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
    /// How many numbers it holds.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }
    /// Whether it is the weight of a linear layer inside the trunk.
    pub fn is_linear_weight(&self) -> bool {
        self.role == Role::Linear
    }
    /// What its numbers take of memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.packed.as_ref().map_or(4 * self.size(), |packed| packed.bytes())
    }
    /// Its tensor, for looking at gradients: `tensor.grad(&gradients)`.
    pub fn value(&self) -> &ParameterTensor {
        &self.value
    }
}

/// A handle to a two-dimensional parameter of the table that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixId(usize);
/// A handle to a one-dimensional parameter of the table that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorId(usize);

impl MatrixId {
    /// Its index in the table.
    pub fn index(self) -> usize {
        self.0
    }
}
impl VectorId {
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
    alias: Option<shared_head::Alias>,
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

    /// Adds a matrix `[rows, columns]`, which decays.
    ///
    /// # Panics
    /// If the name is taken, the shape is no matrix's, or an [`Init::Data`] has the wrong number of values: mistakes of the
    /// calling code, not of input.
    pub fn add_matrix(&mut self, spec: ParameterSpec<'_>) -> MatrixId {
        assert_eq!(spec.shape.len(), 2, "{} is a matrix", spec.name);
        MatrixId(self.add(spec))
    }

    /// Adds a vector `[len]`, which does not decay.
    ///
    /// # Panics
    /// As [`Parameters::add_matrix`].
    pub fn add_vector(&mut self, spec: ParameterSpec<'_>) -> VectorId {
        assert_eq!(spec.shape.len(), 1, "{} is a vector", spec.name);
        VectorId(self.add(spec))
    }

    /// Adds a copy of a parameter that other tasks own: of the same shape, role and depth, with its values as they are now.
    ///
    /// # Panics
    /// If the name is taken.
    pub fn add_copy(&mut self, of: usize, name: String, owner: Owner) -> usize {
        let Parameter { role, depth, trainable, shape, second_factor, .. } = self.table[of].clone();
        let init = Init::Data(self.data(of));
        let index = self.add(ParameterSpec { name: name.into(), shape: &shape, owner, role, depth, init });
        (self.table[index].is_copy, self.table[index].second_factor) = (true, second_factor);
        if !trainable {
            self.set_trainable(index, false);
        }
        index
    }

    /// Gives a parameter to other tasks.
    pub fn set_owner(&mut self, index: usize, owner: Owner) {
        self.table[index].owner = owner;
    }

    /// Adds parameters of a task's head.
    pub fn head<'a>(&'a mut self, task: &str) -> HeadBuilder<'a> {
        HeadBuilder { parameters: self, owner: Owner::task(task), prefix: head_prefix(task) }
    }

    fn add(&mut self, spec: ParameterSpec<'_>) -> usize {
        let ParameterSpec { name, shape, owner, role, depth, init } = spec;
        if let Some(index) = self.shared(&name, shape, &owner) {
            return index;
        }
        let size = shape.iter().product();
        let values = init.draw(self.seed, &name, size);
        assert_eq!(values.len(), size, "the first values of {name} must fill its shape {shape:?}");
        let index = self.table.len();
        let taken = self.by_name.insert(name.to_string(), index);
        assert!(taken.is_none(), "there is a parameter called {name} already");
        let value =
            ParameterTensor::from_values(values, shape, &self.device).leaf(self.device.is_autodiff(), true);
        self.table.push(Parameter {
            name: name.into_owned(),
            owner,
            role,
            depth,
            decay: shape.len() > 1,
            trainable: true,
            is_copy: false,
            shape: shape.to_vec(),
            value,
            packed: None,
            rounded_to: None,
            second_factor: None,
            rows: None,
        });
        index
    }

    /// The tensor behind a handle; of a packed one, and of two factors, a new tensor in f32.
    pub fn matrix(&self, handle: MatrixId) -> Tensor<2> {
        self.weight(handle).into_dense(&self.device)
    }

    /// The tensor behind a handle.
    pub fn vector(&self, handle: VectorId) -> Tensor<1> {
        match &self.table[handle.0].value {
            ParameterTensor::Vector(tensor) => tensor.clone(),
            ParameterTensor::Matrix(_) => unreachable!("a vector handle is only made with a vector"),
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

    /// How many numbers all parameters hold.
    pub fn size(&self) -> usize {
        self.table.iter().map(Parameter::size).sum()
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
    pub fn take(&mut self, index: usize) -> ParameterTensor {
        // On the processor, whatever the device: a placeholder is not worth a transfer.
        let device = Device::flex();
        let parameter = &mut self.table[index];
        let placeholder = match parameter.value {
            ParameterTensor::Vector(_) => ParameterTensor::from_values(vec![f32::NAN], &[1], &device),
            ParameterTensor::Matrix(_) => ParameterTensor::from_values(vec![f32::NAN], &[1, 1], &device),
        };
        std::mem::replace(&mut parameter.value, placeholder)
    }

    /// Puts a tensor back as a fresh leaf: without a graph, and tracked where the parameter is trainable and the device
    /// differentiates. It may come from the inner device.
    pub fn put(&mut self, index: usize, weight: ParameterTensor) {
        let autodiff = self.device.is_autodiff();
        let parameter = &mut self.table[index];
        debug_assert!(
            match &weight {
                ParameterTensor::Vector(t) => t.dims()[..] == parameter.shape[..],
                ParameterTensor::Matrix(t) => t.dims()[..] == parameter.shape[..],
            },
            "{} must keep its shape",
            parameter.name
        );
        parameter.packed = None;
        parameter.value = weight.leaf(autodiff, parameter.trainable);
    }

    /// Makes every parameter a fresh leaf, as [`Parameters::put`] does with what it is given.
    pub fn renew_leaves(&mut self) {
        let autodiff = self.device.is_autodiff();
        for parameter in &mut self.table {
            parameter.value = parameter.value.clone().leaf(autodiff, parameter.trainable);
        }
    }

    /// Freezes a parameter, or thaws it; a packed one is then f32 again.
    pub fn set_trainable(&mut self, index: usize, trainable: bool) {
        let parameter = &mut self.table[index];
        parameter.trainable = trainable;
        let weight = match parameter.packed.take_if(|_| trainable) {
            Some(packed) => {
                let values = packed.rows(0..packed.shape()[0]);
                ParameterTensor::from_values(values, &parameter.shape, &self.device)
            }
            None if parameter.packed.is_some() => return,
            None => self.take(index),
        };
        self.put(index, weight);
    }

    /// A parameter's numbers, in row-major order.
    pub fn data(&self, index: usize) -> Vec<f32> {
        let parameter = &self.table[index];
        match &parameter.packed {
            Some(packed) => packed.rows(0..packed.shape()[0]),
            None => parameter.value.values(),
        }
    }

    /// Replaces a parameter's numbers; those of a packed one are rounded.
    ///
    /// # Errors
    /// [`ModelError::Length`] if their number is not the parameter's.
    pub fn set_data(&mut self, index: usize, values: Vec<f32>) -> Result<(), ModelError> {
        let parameter = &self.table[index];
        if values.len() != parameter.size() {
            let (name, expected) = (parameter.name.clone(), parameter.size());
            return Err(ModelError::Length { name, found: values.len(), expected });
        }
        if let Some(packed) = &mut self.table[index].packed {
            *packed = Arc::new(packed.of_values(&values));
            return Ok(());
        }
        let weight = ParameterTensor::from_values(values, &self.table[index].shape, &self.device);
        self.put(index, weight);
        Ok(())
    }

    /// The same parameters, but of `table` only the given rows, rising: a leaf of its own, whose gradient is as small as they
    /// are. For passes that look only these rows up. Everything else is shared.
    pub fn with_row_subset(&self, table: MatrixId, rows: &[u32]) -> Self {
        let mut copy = self.clone();
        let autodiff = self.device.is_autodiff();
        let parameter = &mut copy.table[table.0];
        let picked = match parameter.packed.take() {
            Some(packed) => {
                let shape = [rows.len(), packed.shape()[1]];
                Tensor::from_data(TensorData::new(packed.gather(rows), shape), &self.device.clone().inner())
            }
            None => kernels::gather_rows(self.own_weight(table).into_dense(&self.device).inner(), rows),
        };
        parameter.value = ParameterTensor::Matrix(picked).leaf(autodiff, parameter.trainable);
        parameter.rows = Some(rows.into());
        copy
    }

    /// Where the rows `ids` of a table are in its tensor: `ids` themselves, except in what [`Parameters::with_row_subset`] made.
    ///
    /// # Panics
    /// When one of them was left out.
    pub fn local_row_indices<'a>(&self, table: MatrixId, ids: &'a [u32]) -> Cow<'a, [u32]> {
        let Some(rows) = &self.table[table.0].rows else { return Cow::Borrowed(ids) };
        let place = |id: &u32| to_u32(rows.binary_search(id).expect("every row that is looked up is there"));
        Cow::Owned(ids.iter().map(place).collect())
    }

    /// The same weights on the device without differentiation: shares the memory, keeps the handles valid. What layers see rounded
    /// ([`Parameters::set_rounded_to`]) is rounded once, here.
    pub fn inference(&self) -> Self {
        let mut copy = self.clone();
        copy.device = copy.device.inner();
        for parameter in &mut copy.table {
            parameter.value = parameter.value.clone().leaf(false, false);
            if let (Some(to), ParameterTensor::Matrix(matrix)) =
                (parameter.rounded_to.take(), &parameter.value)
            {
                parameter.value = ParameterTensor::Matrix(kernels::fake_quantize(matrix.clone(), to));
            }
        }
        copy
    }
}

/// Adds parameters of a task's head: [`Parameters::head`].
pub struct HeadBuilder<'a> {
    parameters: &'a mut Parameters,
    owner: Owner,
    prefix: String,
}

impl HeadBuilder<'_> {
    /// Adds a matrix called `path` within the head.
    ///
    /// # Panics
    /// As [`Parameters::add_matrix`].
    pub fn matrix(&mut self, path: &str, shape: [usize; 2], init: Init) -> MatrixId {
        MatrixId(self.add(path, &shape, init))
    }

    /// Adds a vector called `path` within the head.
    ///
    /// # Panics
    /// As [`Parameters::add_matrix`].
    pub fn vector(&mut self, path: &str, len: usize, init: Init) -> VectorId {
        VectorId(self.add(path, &[len], init))
    }

    fn add(&mut self, path: &str, shape: &[usize], init: Init) -> usize {
        let name = format!("{}{path}", self.prefix).into();
        let owner = self.owner.clone();
        self.parameters.add(ParameterSpec { name, shape, owner, role: Role::Head, depth: None, init })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trunk<'a>(name: &'a str, shape: &'a [usize]) -> ParameterSpec<'a> {
        let (owner, role, init) = (Owner::Trunk, Role::Linear, Init::Normal(1.0));
        ParameterSpec { name: name.into(), shape, owner, role, depth: None, init }
    }

    fn table(device: &Device) -> (Parameters, MatrixId, VectorId) {
        let mut parameters = Parameters::new(device, 17);
        let w = parameters.add_matrix(trunk("backbone.w", &[2, 3]));
        let b = parameters.head("polarity").vector("bias", 2, Init::Zeros);
        (parameters, w, b)
    }

    #[test]
    fn the_table_knows_names_groups_and_sizes() {
        let (parameters, w, b) = table(&Device::flex());
        assert_eq!(parameters.len(), 2);
        assert_eq!(parameters.find("head.polarity.bias"), Some(b.index()));
        assert_eq!(parameters.size(), 8);
        assert_eq!(parameters.shape(w.index()), [2, 3]);
        assert_eq!(parameters.iter().map(|p| p.decay).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn first_values_do_not_depend_on_the_order_of_making() {
        let (one, w, _) = table(&Device::flex());
        let mut other = Parameters::new(&Device::flex(), 17);
        other.add_matrix(trunk("backbone.first", &[4, 4]));
        let again = other.add_matrix(trunk("backbone.w", &[2, 3]));
        assert_eq!(one.data(w.index()), other.data(again.index()));
    }

    #[test]
    fn put_makes_a_fresh_leaf_that_gets_gradients() {
        let (mut parameters, w, b) = table(&Device::flex().autodiff());
        for _ in 0..2 {
            let loss = (parameters.matrix(w).sum() * 3.0) + parameters.vector(b).sum();
            let gradients = loss.backward();
            let gradient = parameters.matrix(w).grad(&gradients).expect("w is trainable");
            assert_eq!(gradient.into_data().try_into_vec::<f32>().unwrap(), [3.0; 6]);
            let ParameterTensor::Matrix(tensor) = parameters.take(w.index()) else { unreachable!() };
            parameters.put(w.index(), ParameterTensor::Matrix(tensor.inner() * 2.0));
        }
        parameters.set_trainable(w.index(), false);
        let gradients = (parameters.matrix(w).sum() + parameters.vector(b).sum()).backward();
        assert!(
            parameters.matrix(w).grad(&gradients).is_none()
                && parameters.vector(b).grad(&gradients).is_some()
        );
    }

    #[test]
    fn a_table_with_some_of_its_rows_gives_their_gradients() {
        let (parameters, w, b) = table(&Device::flex().autodiff());
        let some = parameters.with_row_subset(w, &[1]);
        assert_eq!(&*some.local_row_indices(w, &[1, 1]), [0, 0]);
        assert_eq!(&*parameters.local_row_indices(w, &[1, 1]), [1, 1]);
        assert_eq!(some.data(w.index()), parameters.data(w.index())[3..]);
        let picked = kernels::gather_rows(some.matrix(w), &some.local_row_indices(w, &[1, 1]));
        let gradients = (picked.sum() + some.vector(b).sum()).backward();
        let gradient = some.matrix(w).grad(&gradients).expect("w is trainable");
        assert_eq!(gradient.into_data().try_into_vec::<f32>().unwrap(), [2.0; 3]);
        assert!(parameters.vector(b).grad(&gradients).is_some(), "the others are shared");
    }

    #[test]
    fn the_inference_copy_has_the_same_values_and_no_gradients() {
        let (parameters, w, _) = table(&Device::flex().autodiff());
        let copy = parameters.inference();
        assert!(!copy.matrix(w).is_autodiff() && parameters.matrix(w).is_autodiff());
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
