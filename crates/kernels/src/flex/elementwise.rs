//! Operations element by element: activations, and sums.

use super::gradient_sums;
use super::node::{FusedOp, as_f32_slice, dim, like, whole};
use crate::reference;
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;
use cpu::Glu;
use cpu::activation::{gelu, gelu_tanh, glu, relu};

/// `x -> gelu(x)`; saves the activation's derivative at each place.
pub(super) struct Gelu(FlexTensor);

impl FusedOp<1> for Gelu {
    type Settings = ();

    fn forward((): (), [x]: [FlexTensor; 1], requires_grad: [bool; 1]) -> (FlexTensor, Option<Self>) {
        let zeros = vec![0.0; dim(&x, 1)];
        let mut y = as_f32_slice(&x).to_vec();
        if !requires_grad[0] {
            gelu::forward(&mut y, &zeros);
            return (like(y, &x), None);
        }
        let activation = gelu::forward_and_derivative(&mut y, &zeros);
        (like(activation, &x), Some(Gelu(like(y, &x))))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let mut d = whole(d);
        gelu::backward(d.storage_mut(), as_f32_slice(&self.0), dim(&self.0, 1));
        [Some(d)]
    }

    fn reference<B: Backend>((): (), [x]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        reference::gelu::<B>(x)
    }
}

/// `x -> gelu(x)`, the approximation with tanh; saves `x`.
pub(super) struct GeluTanh(FlexTensor);

impl FusedOp<1> for GeluTanh {
    type Settings = ();

    fn forward((): (), [x]: [FlexTensor; 1], requires_grad: [bool; 1]) -> (FlexTensor, Option<Self>) {
        let mut y = as_f32_slice(&x).to_vec();
        gelu_tanh::forward(&mut y);
        (like(y, &x), requires_grad[0].then_some(GeluTanh(x)))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let mut d = whole(d);
        gelu_tanh::backward(d.storage_mut(), as_f32_slice(&self.0));
        [Some(d)]
    }

    fn reference<B: Backend>((): (), [x]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        reference::gelu_tanh::<B>(x)
    }
}

/// `a, b -> activation(a) b`
pub(super) struct GatedLinearUnit([FlexTensor; 2], Glu);

impl FusedOp<2> for GatedLinearUnit {
    type Settings = Glu;

    fn forward(
        activation: Glu,
        [a, b]: [FlexTensor; 2],
        requires_grad: [bool; 2],
    ) -> (FlexTensor, Option<Self>) {
        let y = like(glu::forward(as_f32_slice(&a), as_f32_slice(&b), activation), &a);
        (y, requires_grad.contains(&true).then_some(GatedLinearUnit([a, b], activation)))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let GatedLinearUnit([a, b], activation) = self;
        let [d_a, d_b] = glu::backward(as_f32_slice(&d), as_f32_slice(a), as_f32_slice(b), *activation);
        [requires_grad[0].then(|| like(d_a, a)), requires_grad[1].then(|| like(d_b, a))]
    }

    fn reference<B: Backend>(activation: Glu, [a, b]: [FloatTensor<B>; 2]) -> FloatTensor<B> {
        reference::glu::<B>(a, b, activation)
    }
}

/// `a, b -> a + b`
pub(super) struct Add;

impl FusedOp<2> for Add {
    type Settings = ();

    fn forward((): (), [a, b]: [FlexTensor; 2], requires_grad: [bool; 2]) -> (FlexTensor, Option<Self>) {
        (gradient_sums::add(a, b), requires_grad.contains(&true).then_some(Add))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 2]) -> [Option<FlexTensor>; 2] {
        requires_grad.map(|requires_grad| requires_grad.then(|| d.clone()))
    }

    fn reference<B: Backend>((): (), [a, b]: [FloatTensor<B>; 2]) -> FloatTensor<B> {
        B::float_add(a, b)
    }
}

/// `x -> x` above 0, and 0 or `slope x` below; saves the result.
pub(super) struct Relu {
    y: FlexTensor,
    slope: f32,
}

impl FusedOp<1> for Relu {
    type Settings = f32;

    fn forward(slope: f32, [x]: [FlexTensor; 1], requires_grad: [bool; 1]) -> (FlexTensor, Option<Self>) {
        let mut y = whole(x);
        relu::forward(y.storage_mut(), slope);
        (y.clone(), requires_grad[0].then_some(Relu { y, slope }))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let mut d = whole(d);
        relu::backward(d.storage_mut(), as_f32_slice(&self.y), self.slope);
        [Some(d)]
    }

    fn reference<B: Backend>(slope: f32, [x]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        if slope == 0.0 { B::relu(x) } else { B::leaky_relu(x, slope.into()) }
    }
}
