//! Weights and what the optimizer remembers as safetensors, both ways.

use crate::{
    best_heads::BestHeads,
    buffers::Buffers,
    error::TrainError,
    optimizer::{Moment, Moments, Optimizing},
};
use burn::tensor::{Tensor, TensorData};
use model::{Parameters, Weight};
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
            return Err(TrainError::BadWeight { name: parameter.name.clone(), found, step });
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

/// The names of what an optimizer remembers of a parameter, in its order.
const PARTS: [&str; 3] = ["first", "second", "third"];

/// Writes what the optimizer remembers of every parameter that has moved, what a balancer keeps of parameters, and the heads of
/// tasks with early stopping at their best.
pub(super) fn write_moments(
    path: &Path,
    parameters: &Parameters,
    moments: &Moments,
    buffers: &Buffers,
    best_heads: &BestHeads,
) -> Result<(), TrainError> {
    let mut tensors = Vec::new();
    for (parameter, moment) in parameters.iter().zip(moments.iter()) {
        let Some(moment) = moment else { continue };
        for (part, weight) in PARTS.iter().zip(&moment.parts) {
            let stored = Stored { shape: shape(weight), values: Box::new(move || values(weight)) };
            tensors.push((format!("{}.{part}", parameter.name), stored));
        }
    }
    for (index, tasks) in buffers.iter() {
        for (task, numbers) in tasks.iter().enumerate() {
            let stored = Stored { shape: parameters.shape(index), values: Box::new(move || numbers.clone()) };
            tensors.push((buffer_name(parameters, index, task), stored));
        }
    }
    for (index, numbers) in best_heads.iter() {
        let stored = Stored { shape: parameters.shape(index), values: Box::new(move || numbers.to_vec()) };
        tensors.push((best_name(parameters, index), stored));
    }
    write(path, tensors)
}

fn shape(weight: &Weight) -> Vec<usize> {
    match weight {
        Weight::Vector(t) => t.dims().to_vec(),
        Weight::Matrix(t) => t.dims().to_vec(),
    }
}

fn values(weight: &Weight) -> Vec<f32> {
    let data = match weight {
        Weight::Vector(t) => t.to_data(),
        Weight::Matrix(t) => t.to_data(),
    };
    data.try_into_vec().expect("moments are f32, as the gradients they come from")
}

/// Puts every weight into its place.
pub(super) fn restore_weights(
    path: &Path,
    bytes: &[u8],
    parameters: &mut Parameters,
) -> Result<(), TrainError> {
    let file = parse(path, bytes)?;
    let names: Vec<String> = parameters.iter().map(|p| p.name.clone()).collect();
    for (i, name) in names.iter().enumerate() {
        let values = numbers(path, &file, name, &parameters.shape(i))?;
        parameters.set_data(i, values)?;
    }
    Ok(())
}

/// What the optimizer remembers of every parameter that has moved.
pub(super) fn restore_moments(
    path: &Path,
    bytes: &[u8],
    updates: &BTreeMap<String, u32>,
    optimizer: &Optimizing,
    parameters: &Parameters,
) -> Result<Moments, TrainError> {
    let file = parse(path, bytes)?;
    let device = parameters.device().clone().inner();
    let mut moments = Vec::with_capacity(parameters.len());
    for parameter in parameters.iter() {
        let read = |(part, shape): (&&str, Vec<usize>)| -> Result<Weight, TrainError> {
            let values = numbers(path, &file, &format!("{}.{part}", parameter.name), &shape)?;
            Ok(match *shape {
                [rows, columns] => {
                    Weight::Matrix(Tensor::from_data(TensorData::new(values, [rows, columns]), &device))
                }
                _ => {
                    let len = values.len();
                    Weight::Vector(Tensor::from_data(TensorData::new(values, [len]), &device))
                }
            })
        };
        moments.push(match updates.get(&parameter.name) {
            Some(time) => {
                let parts = PARTS.iter().zip(optimizer.memory(parameter)).map(read);
                Some(Moment { parts: parts.collect::<Result<_, _>>()?, time: *time })
            }
            None => None,
        });
    }
    Ok(Moments::of(moments))
}

/// What a balancer keeps of parameters: for every parameter as many buffers as there are.
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
        let read = |name: String| numbers(path, &file, &name, &parameters.shape(index));
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
            heads.put(index, numbers(path, &file, &name, &parameters.shape(index))?);
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

fn numbers(path: &Path, file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, TrainError> {
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
