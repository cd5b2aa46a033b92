//! The CPU device, and the table of operations. A tensor that is not f32 goes to the engine's own operations.

mod affine;
mod attention;
mod blocks;
mod cross_entropy;
mod disentangled_attention;
mod elementwise;
mod embed;
mod fake_quantize;
mod gradient_sums;
mod linear;
mod low_rank;
mod mix;
mod node;
mod norm;
mod ops;
mod packed;
mod rotary;

use crate::AdamW;
use burn::backend::{BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind};
use burn::tensor::{DType, Tensor};
use burn_flex::FlexTensor;
pub(crate) use gradient_sums::backward;
use node::{as_f32_slice, contiguous, dim, tensor, whole};
pub(crate) use ops::PackOps;

/// The processor's own tensor behind a plain f32 tensor, its numbers in order; `None` for any other.
pub(crate) fn as_flex<const D: usize>(x: &Tensor<D>) -> Option<FlexTensor> {
    match x.clone().into_dispatch().kind {
        DispatchTensorKind::Flex(BackendTensor::Float(x)) if x.dtype() == DType::F32 => Some(contiguous(x)),
        _ => None,
    }
}

/// The numbers of a tensor that [`as_flex`] gave.
pub(crate) fn f32_slice_of(x: &FlexTensor) -> &[f32] {
    as_f32_slice(x)
}

/// The tensor after `write`, in place if nobody else holds it.
pub(crate) fn map_in_place<const D: usize>(x: FlexTensor, write: impl FnOnce(&mut [f32])) -> Tensor<D> {
    let mut x = whole(x);
    write(x.storage_mut());
    plain_tensor(x)
}

/// The tensors after `write`, which sees all of them at once; in place as in [`map_in_place`].
pub(crate) fn map_all_in_place<const D: usize>(
    tensors: Vec<FlexTensor>,
    write: impl FnOnce(&mut [&mut [f32]]),
) -> Vec<Tensor<D>> {
    let mut tensors: Vec<FlexTensor> = tensors.into_iter().map(whole).collect();
    write(&mut tensors.iter_mut().map(FlexTensor::storage_mut).collect::<Vec<_>>());
    tensors.into_iter().map(plain_tensor).collect()
}

/// [`crate::mean_squares`] of a tensor that [`as_flex`] gave.
pub(crate) fn mean_squares(x: &FlexTensor, scale: f32) -> [Tensor<2>; 2] {
    let [n, h] = [0, 1].map(|i| dim(x, i));
    let [rows, columns] = cpu::mean_squares::rows_and_columns(as_f32_slice(x), h, scale);
    [plain_tensor(tensor(rows, [n, 1])), plain_tensor(tensor(columns, [1, h]))]
}

/// [`crate::low_rank_row_norms`] of tensors that [`as_flex`] gave.
pub(crate) fn low_rank_row_norms(w: &FlexTensor, [a, b]: [&FlexTensor; 2], scale: f32) -> Tensor<1> {
    let shape @ [outputs, ..] = [dim(w, 0), dim(w, 1), dim(a, 0)];
    let norms = cpu::low_rank::row_norms(as_f32_slice(w), [a, b].map(as_f32_slice), shape, scale);
    plain_tensor(tensor(norms, [outputs]))
}

/// [`crate::scatter_add_rows`] of a tensor that [`as_flex`] gave.
pub(crate) fn scatter_add_rows(x: &FlexTensor, index: &[u32], rows: usize) -> Tensor<2> {
    let h = dim(x, 1);
    plain_tensor(tensor(cpu::embed::gather_rows_backward(as_f32_slice(x), index, rows, h), [rows, h]))
}

/// [`crate::adamw_rows`] of tensors that [`as_flex`] gave.
pub(crate) fn adamw_rows(
    step: AdamW,
    w: FlexTensor,
    (rows, g): (&[u32], FlexTensor),
    m: FlexTensor,
    v: FlexTensor,
) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
    let [mut w, mut m, mut v] = [w, m, v].map(whole);
    let g = (rows, as_f32_slice(&g));
    cpu::adamw::step_rows(step, w.storage_mut(), g, m.storage_mut(), v.storage_mut());
    (plain_tensor(w), plain_tensor(m), plain_tensor(v))
}

/// A tensor that autodiff does not follow.
fn plain_tensor<const D: usize>(x: FlexTensor) -> Tensor<D> {
    let kind = DispatchTensorKind::Flex(BackendTensor::Float(x));
    Tensor::from_dispatch(DispatchTensor { kind, autodiff: DispatchAutodiffContext::Disabled })
}
