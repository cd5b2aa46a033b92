//! Weighted sums of blocks of columns, softmax over a row, and the gate by a sigmoid: what they save, and the way back.

use super::node::{FusedOp, as_f32_slice, dim, like, tensor, whole};
use crate::reference;
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;
use cpu::activation::sigmoid_gate;
use cpu::{Mixing, mix};

/// `x, w -> w x`, row by row
pub(super) struct Mix {
    inputs: [FlexTensor; 2],
    settings: Mixing,
}

impl FusedOp<2> for Mix {
    type Settings = Mixing;

    fn forward(s: Mixing, [x, w]: [FlexTensor; 2], requires_grad: [bool; 2]) -> (FlexTensor, Option<Self>) {
        let (n, width) = (dim(&x, 0), dim(&x, 1) / s.blocks.max(1));
        let y = mix::forward(as_f32_slice(&x), as_f32_slice(&w), width, s);
        let saved = requires_grad.contains(&true).then_some(Mix { inputs: [x, w], settings: s });
        (tensor(y, [n, s.outputs * width]), saved)
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let ([x, w], s) = (&self.inputs, self.settings);
        let (d, width) = (as_f32_slice(&d), dim(x, 1) / s.blocks.max(1));
        [
            requires_grad[0].then(|| like(mix::backward_x(d, as_f32_slice(w), width, s), x)),
            requires_grad[1].then(|| like(mix::backward_w(d, as_f32_slice(x), width, s), w)),
        ]
    }

    fn reference<B: Backend>(settings: Mixing, inputs: [FloatTensor<B>; 2]) -> FloatTensor<B> {
        reference::mix::<B>(inputs, settings)
    }
}

/// `z -> softmax(z)`; saves the probabilities.
pub(super) struct Softmax(FlexTensor);

impl FusedOp<1> for Softmax {
    type Settings = ();

    fn forward((): (), [z]: [FlexTensor; 1], requires_grad: [bool; 1]) -> (FlexTensor, Option<Self>) {
        let mut z = whole(z);
        let width = dim(&z, 1);
        mix::softmax(z.storage_mut(), width);
        (z.clone(), requires_grad[0].then_some(Softmax(z)))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let mut d = whole(d);
        mix::softmax_backward(d.storage_mut(), as_f32_slice(&self.0), dim(&self.0, 1));
        [Some(d)]
    }

    fn reference<B: Backend>((): (), [z]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        B::softmax(z, 1)
    }
}

/// `a, b -> sigmoid(a) b`
pub(super) struct SigmoidGate([FlexTensor; 2]);

impl FusedOp<2> for SigmoidGate {
    type Settings = ();

    fn forward((): (), [a, b]: [FlexTensor; 2], requires_grad: [bool; 2]) -> (FlexTensor, Option<Self>) {
        let y = like(sigmoid_gate::forward(as_f32_slice(&a), as_f32_slice(&b)), &a);
        (y, requires_grad.contains(&true).then_some(SigmoidGate([a, b])))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let [a, b] = &self.0;
        let [d_a, d_b] = sigmoid_gate::backward(as_f32_slice(&d), as_f32_slice(a), as_f32_slice(b));
        [requires_grad[0].then(|| like(d_a, a)), requires_grad[1].then(|| like(d_b, a))]
    }

    fn reference<B: Backend>((): (), [a, b]: [FloatTensor<B>; 2]) -> FloatTensor<B> {
        B::float_mul(B::sigmoid(a), b)
    }
}

/// `x, g -> x`, whose gradient is that of the result plus `g`; saves `g`.
pub(super) struct AddGradient(FlexTensor);

impl FusedOp<2> for AddGradient {
    type Settings = ();

    fn forward((): (), [x, g]: [FlexTensor; 2], requires_grad: [bool; 2]) -> (FlexTensor, Option<Self>) {
        (x, requires_grad.contains(&true).then_some(AddGradient(g)))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let mut d = whole(d);
        cpu::level1::add(d.storage_mut(), as_f32_slice(&self.0));
        [requires_grad[0].then_some(d), None]
    }

    fn reference<B: Backend>((): (), [x, _]: [FloatTensor<B>; 2]) -> FloatTensor<B> {
        x
    }
}
