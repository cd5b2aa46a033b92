//! Tests of the operations as they are called: against the engine's own operations, against mathematics in f64,
//! against PyTorch. Each runs on every device that is built in.

mod against_f64;
mod against_reference;
mod against_torch;
mod bf16;
mod disentangled_attention;
mod elementwise;
mod gradient_sums;
mod jacobian;
mod level1;
mod low_rank;
mod repeat;
mod rows;

use crate::RowOffsets;
use burn::backend::DispatchTensor;
use burn::tensor::{Device, Tensor, TensorData};

/// Numbers that look random and are the same every time, within -1..1.
fn numbers(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(next).collect()
}

fn matrix(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn vector(x: &Tensor<2>) -> Tensor<1> {
    let len = x.dims().iter().product::<usize>();
    x.clone().reshape([len])
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_into_vec().unwrap()
}

fn rows(lengths: &[usize]) -> RowOffsets {
    crate::offsets_from_lengths(lengths.iter().copied())
}

/// The devices that are built in, the processor first.
fn devices() -> Vec<Device> {
    vec![
        Device::flex(),
        #[cfg(feature = "wgpu")]
        Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
    ]
}

/// Runs an operation of some matrices and returns the result and the gradient of `sum(result * weights)` by each.
fn run(
    device: &Device,
    inputs: &[(Vec<f32>, [usize; 2])],
    operation: &dyn Fn(&[Tensor<2>]) -> Tensor<2>,
) -> (Vec<f32>, Vec<Vec<f32>>) {
    let device = device.clone().autodiff();
    let tracked =
        |(values, shape): &(Vec<f32>, [usize; 2])| matrix(values.clone(), *shape, &device).require_grad();
    let inputs: Vec<Tensor<2>> = inputs.iter().map(tracked).collect();
    let result = operation(&inputs);
    let [n, h] = result.dims();
    let weights = matrix(numbers(n * h, 99), [n, h], &device);
    let gradients = (result.clone() * weights).sum().backward();
    // An input that nothing of the result depends on has no gradient in the graph.
    let gradient =
        |x: &Tensor<2>| values(x.grad(&gradients).unwrap_or_else(|| x.clone().inner().zeros_like()));
    let by_input = inputs.iter().map(gradient).collect();
    (values(result), by_input)
}

/// Distance over size, in the Euclidean norm.
fn relative(a: &[f32], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let far: f64 = a.iter().zip(b).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
    let size: f64 = b.iter().map(|b| b * b).sum();
    if far == 0.0 { 0.0 } else { (far / size).sqrt() }
}

fn to_f64(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

fn dispatched(x: &Tensor<2>) -> DispatchTensor {
    x.clone().into_dispatch()
}

fn flat(x: &Tensor<2>) -> DispatchTensor {
    vector(x).into_dispatch()
}
