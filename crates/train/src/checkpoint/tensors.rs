//! Weights and the optimizer's state as safetensors, both ways.

use crate::{
    error::TrainError,
    gradients::buffers::Buffers,
    optimizer::{OptimizerConfig, OptimizerState, ParameterState},
    run::best_heads::BestHeads,
};
use burn::tensor::{Tensor, TensorData};
use model::{ParameterTensor, Parameters};
use safetensors::{Dtype, SafeTensorError, SafeTensors, View};
use std::{borrow::Cow, collections::BTreeMap, path::Path};

/// A tensor whose bytes are made when they are written, so that only one is there twice at a time.
struct Stored<'a> {
    shape: Vec<usize>,
    values: Box<dyn Fn() -> Vec<f32> + 'a>,
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned((self.values)().into_iter().flat_map(f32::to_le_bytes).collect())
    }
    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * 4
    }
}

/// Writes tensors one after the other, so that a file takes no more memory than its largest tensor.
fn write(path: &Path, tensors: Vec<(String, Stored<'_>)>) -> Result<(), TrainError> {
    safetensors::serialize_to_file(tensors, None, path).map_err(|e| match e {
        SafeTensorError::IoError(e) => TrainError::io("writing", path, e),
        other => TrainError::broken(path, format!("its tensors cannot be written: {other}")),
    })
}

/// Refuses weights that are not finite.
pub(super) fn check(parameters: &Parameters, step: usize) -> Result<(), TrainError> {
    for (i, parameter) in parameters.iter().enumerate() {
        if let Some(found) = parameters.data(i).into_iter().find(|v| !v.is_finite()) {
            return Err(TrainError::NonFiniteWeight { name: parameter.name.clone(), found, step });
        }
    }
    Ok(())
}

/// Writes every parameter by name.
pub(super) fn write_weights(path: &Path, parameters: &Parameters) -> Result<(), TrainError> {
    let mut tensors = Vec::new();
    for (i, parameter) in parameters.iter().enumerate() {
        let values = Box::new(move || parameters.data(i));
        tensors.push((parameter.name.clone(), Stored { shape: parameters.shape(i), values }));
    }
    write(path, tensors)
}

/// The names of the slots of a parameter's state, in the order of the optimizer.
const SLOTS: [&str; 3] = ["first", "second", "third"];

/// Writes the optimizer's state of every parameter that was updated, what a balancer keeps of parameters, and the heads of tasks
/// with early stopping at their best.
pub(super) fn write_optimizer(
    path: &Path,
    parameters: &Parameters,
    optimizer: &OptimizerState,
    buffers: &Buffers,
    best_heads: &BestHeads,
) -> Result<(), TrainError> {
    let mut tensors = Vec::new();
    for (parameter, state) in parameters.iter().zip(optimizer.iter()) {
        let Some(state) = state else { continue };
        for (slot, tensor) in SLOTS.iter().zip(&state.slots) {
            let stored = Stored { shape: shape(tensor), values: Box::new(move || values(tensor)) };
            tensors.push((format!("{}.{slot}", parameter.name), stored));
        }
    }
    for (index, tasks) in buffers.iter() {
        for (task, buffer) in tasks.iter().enumerate() {
            let stored = Stored { shape: parameters.shape(index), values: Box::new(move || buffer.clone()) };
            tensors.push((buffer_name(parameters, index, task), stored));
        }
    }
    for (index, kept) in best_heads.iter() {
        let stored = Stored { shape: parameters.shape(index), values: Box::new(move || kept.to_vec()) };
        tensors.push((best_name(parameters, index), stored));
    }
    write(path, tensors)
}

fn shape(tensor: &ParameterTensor) -> Vec<usize> {
    match tensor {
        ParameterTensor::Vector(t) => t.dims().to_vec(),
        ParameterTensor::Matrix(t) => t.dims().to_vec(),
    }
}

fn values(tensor: &ParameterTensor) -> Vec<f32> {
    let data = match tensor {
        ParameterTensor::Vector(t) => t.to_data(),
        ParameterTensor::Matrix(t) => t.to_data(),
    };
    data.try_into_vec().expect("the state is f32, as the gradients it comes from")
}

/// Restores every weight.
pub(super) fn restore_weights(
    path: &Path,
    bytes: &[u8],
    parameters: &mut Parameters,
) -> Result<(), TrainError> {
    let file = parse(path, bytes)?;
    let names: Vec<String> = parameters.iter().map(|p| p.name.clone()).collect();
    for (i, name) in names.iter().enumerate() {
        let values = values_of(path, &file, name, &parameters.shape(i))?;
        parameters.set_data(i, values)?;
    }
    Ok(())
}

/// The optimizer's state of every parameter that was updated.
pub(super) fn restore_optimizer(
    path: &Path,
    bytes: &[u8],
    updates: &BTreeMap<String, u32>,
    config: &OptimizerConfig,
    parameters: &Parameters,
) -> Result<OptimizerState, TrainError> {
    let file = parse(path, bytes)?;
    let device = parameters.device().clone().inner();
    let mut states = Vec::with_capacity(parameters.len());
    for parameter in parameters.iter() {
        let read = |(slot, shape): (&&str, Vec<usize>)| -> Result<ParameterTensor, TrainError> {
            let values = values_of(path, &file, &format!("{}.{slot}", parameter.name), &shape)?;
            Ok(match *shape {
                [rows, columns] => ParameterTensor::Matrix(Tensor::from_data(
                    TensorData::new(values, [rows, columns]),
                    &device,
                )),
                _ => {
                    let len = values.len();
                    ParameterTensor::Vector(Tensor::from_data(TensorData::new(values, [len]), &device))
                }
            })
        };
        states.push(match updates.get(&parameter.name) {
            Some(step) => {
                let slots = SLOTS.iter().zip(config.state_shapes(parameter)).map(read);
                Some(ParameterState { slots: slots.collect::<Result<_, _>>()?, step: *step })
            }
            None => None,
        });
    }
    Ok(OptimizerState::of(states))
}

/// The buffers that a balancer keeps of parameters: for every parameter as many as there are.
pub(super) fn restore_buffers(
    path: &Path,
    bytes: &[u8],
    parameters: &Parameters,
) -> Result<Buffers, TrainError> {
    let file = parse(path, bytes)?;
    let mut buffers = Buffers::default();
    for index in 0..parameters.len() {
        let names = (0..).map(|task| buffer_name(parameters, index, task));
        let there = names.take_while(|name| file.tensor(name).is_ok());
        let read = |name: String| values_of(path, &file, &name, &parameters.shape(index));
        let tasks = there.map(read).collect::<Result<Vec<_>, _>>()?;
        if !tasks.is_empty() {
            buffers.put(index, tasks);
        }
    }
    Ok(buffers)
}

/// The heads of tasks with early stopping, as they were at their best.
pub(super) fn restore_best_heads(
    path: &Path,
    bytes: &[u8],
    parameters: &Parameters,
) -> Result<BestHeads, TrainError> {
    let file = parse(path, bytes)?;
    let mut heads = BestHeads::default();
    for index in 0..parameters.len() {
        let name = best_name(parameters, index);
        if file.tensor(&name).is_ok() {
            heads.put(index, values_of(path, &file, &name, &parameters.shape(index))?);
        }
    }
    Ok(heads)
}

fn best_name(parameters: &Parameters, index: usize) -> String {
    format!("{}.best", parameters.parameter(index).name)
}

fn buffer_name(parameters: &Parameters, index: usize, task: usize) -> String {
    format!("{}.task.{task}", parameters.parameter(index).name)
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<SafeTensors<'a>, TrainError> {
    SafeTensors::deserialize(bytes).map_err(|e| TrainError::broken(path, format!("not safetensors: {e}")))
}

fn values_of(
    path: &Path,
    file: &SafeTensors<'_>,
    name: &str,
    shape: &[usize],
) -> Result<Vec<f32>, TrainError> {
    let tensor = file.tensor(name).map_err(|_| TrainError::broken(path, format!("no tensor {name}")))?;
    if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
        let (dtype, found) = (tensor.dtype(), tensor.shape());
        return Err(TrainError::broken(
            path,
            format!("tensor {name}: found {dtype:?} {found:?}, expected F32 {shape:?}"),
        ));
    }
    let (words, _) = tensor.data().as_chunks::<4>();
    Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
}
