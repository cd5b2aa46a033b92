//! Weights as the codes that they are to become stand for, with gradients as if they were not rounded.

use super::node::{FusedOp, as_f32_slice, dim, tensor};
use crate::CodeType;
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;
use cpu::{int4::Int4Matrix, int8::Int8Matrix};

/// The straight-through estimator saves nothing.
pub(super) struct FakeQuantize;

impl FusedOp<1> for FakeQuantize {
    type Settings = CodeType;

    fn forward(to: CodeType, [w]: [FlexTensor; 1], [requires_grad]: [bool; 1]) -> (FlexTensor, Option<Self>) {
        let (shape, values) = ([dim(&w, 0), dim(&w, 1)], as_f32_slice(&w));
        let rounded = match to {
            CodeType::Int8 => Int8Matrix::rounded(values, shape[1]),
            CodeType::Int4 => Int4Matrix::rounded(values, shape),
        };
        (tensor(rounded, shape), requires_grad.then_some(FakeQuantize))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(d)]
    }

    fn reference<B: Backend>(_: CodeType, _: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        unreachable!("`fake_quantize` is called where `can_pack` says yes, on f32 alone")
    }
}
