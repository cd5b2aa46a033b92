//! Norms, with dropout and a residual before them, and dropout on its own.

use super::node::{FusedOp, as_f32_slice, dim, tensor, whole};
use crate::{Dropout, reference};
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;
use cpu::{DropoutMask, norm};

/// What every norm saves.
struct Kept {
    norm: norm::Saved,
    gamma: FlexTensor,
    kind: norm::Kind,
    mask: Option<DropoutMask>,
}

/// The inputs of a norm: `norm(dropout(y) + residual)`; without `beta` it is an RMS norm.
struct Inputs {
    y: FlexTensor,
    residual: Option<FlexTensor>,
    gamma: FlexTensor,
    beta: Option<FlexTensor>,
}

/// The norm and, if asked for, what its backward needs.
fn forward(inputs: Inputs, eps: f32, dropout: Option<Dropout>, keep: bool) -> (FlexTensor, Option<Kept>) {
    let Inputs { y, residual, gamma, beta } = inputs;
    let mask = DropoutMask::of(dropout, dim(&y, 1));
    let mut y = whole(y);
    let of = norm::Norm { gamma: as_f32_slice(&gamma), beta: beta.as_ref().map(as_f32_slice), eps };
    let (kind, residual) = (of.kind(), residual.as_ref().map(as_f32_slice));
    if !keep {
        norm::forward(y.storage_mut(), residual, of, mask);
        return (y, None);
    }
    let norm = norm::forward_and_save(y.storage_mut(), residual, of, mask);
    (y, Some(Kept { norm, gamma, kind, mask }))
}

impl Kept {
    /// Gradients of `y`, of the residual, of scale and shift, where they are needed.
    fn backward(&self, d: FlexTensor, requires_grad: [bool; 4]) -> [Option<FlexTensor>; 4] {
        let mut d = whole(d);
        let gamma = as_f32_slice(&self.gamma);
        let sums = match requires_grad[2] || requires_grad[3] {
            true => Some(norm::backward(d.storage_mut(), &self.norm, gamma, self.kind)),
            false => {
                norm::input_gradient(d.storage_mut(), &self.norm, gamma, self.kind);
                None
            }
        };
        let residual = requires_grad[1].then(|| d.clone());
        let y = requires_grad[0].then(|| match self.mask {
            Some(mask) => {
                norm::dropout(d.storage_mut(), mask);
                d
            }
            None => d,
        });
        let width = gamma.len();
        let [d_gamma, d_beta] = sums.map_or([None, None], |sums| sums.map(|sum| Some(tensor(sum, [width]))));
        [y, residual, d_gamma.filter(|_| requires_grad[2]), d_beta.filter(|_| requires_grad[3])]
    }
}

/// `y, residual, gamma, beta -> norm(dropout(y) + residual)`
pub(super) struct AddNorm(Kept);

impl FusedOp<4> for AddNorm {
    type Settings = (f32, Option<Dropout>);

    fn forward(
        (eps, dropout): Self::Settings,
        [y, residual, gamma, beta]: [FlexTensor; 4],
        requires_grad: [bool; 4],
    ) -> (FlexTensor, Option<Self>) {
        let inputs = Inputs { y, residual: Some(residual), gamma, beta: Some(beta) };
        let (y, kept) = forward(inputs, eps, dropout, requires_grad.contains(&true));
        (y, kept.map(AddNorm))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 4]) -> [Option<FlexTensor>; 4] {
        self.0.backward(d, requires_grad)
    }

    fn reference<B: Backend>(
        (eps, dropout): Self::Settings,
        [y, residual, gamma, beta]: [FloatTensor<B>; 4],
    ) -> FloatTensor<B> {
        reference::add_norm::<B>(y, residual, gamma, beta, eps, dropout)
    }
}

/// `x, gamma, beta -> norm(x)`
pub(super) struct Norm(Kept);

impl FusedOp<3> for Norm {
    type Settings = f32;

    fn forward(
        eps: f32,
        [y, gamma, beta]: [FlexTensor; 3],
        requires_grad: [bool; 3],
    ) -> (FlexTensor, Option<Self>) {
        let inputs = Inputs { y, residual: None, gamma, beta: Some(beta) };
        let (y, kept) = forward(inputs, eps, None, requires_grad.contains(&true));
        (y, kept.map(Norm))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let [d, _, d_gamma, d_beta] =
            self.0.backward(d, [requires_grad[0], false, requires_grad[1], requires_grad[2]]);
        [d, d_gamma, d_beta]
    }

    fn reference<B: Backend>(eps: f32, [x, gamma, beta]: [FloatTensor<B>; 3]) -> FloatTensor<B> {
        reference::norm::<B>(x, gamma, beta, eps)
    }
}

/// `y, residual, gamma -> rms_norm(dropout(y) + residual)`
pub(super) struct AddRmsNorm(Kept);

impl FusedOp<3> for AddRmsNorm {
    type Settings = (f32, Option<Dropout>);

    fn forward(
        (eps, dropout): Self::Settings,
        [y, residual, gamma]: [FlexTensor; 3],
        requires_grad: [bool; 3],
    ) -> (FlexTensor, Option<Self>) {
        let inputs = Inputs { y, residual: Some(residual), gamma, beta: None };
        let (y, kept) = forward(inputs, eps, dropout, requires_grad.contains(&true));
        (y, kept.map(AddRmsNorm))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let [d_y, d_residual, d_gamma, _] =
            self.0.backward(d, [requires_grad[0], requires_grad[1], requires_grad[2], false]);
        [d_y, d_residual, d_gamma]
    }

    fn reference<B: Backend>(
        (eps, dropout): Self::Settings,
        [y, residual, gamma]: [FloatTensor<B>; 3],
    ) -> FloatTensor<B> {
        reference::add_rms_norm::<B>(y, residual, gamma, eps, dropout)
    }
}

/// `x, gamma -> rms_norm(x)`
pub(super) struct RmsNorm(Kept);

impl FusedOp<2> for RmsNorm {
    type Settings = f32;

    fn forward(
        eps: f32,
        [y, gamma]: [FlexTensor; 2],
        requires_grad: [bool; 2],
    ) -> (FlexTensor, Option<Self>) {
        let inputs = Inputs { y, residual: None, gamma, beta: None };
        let (y, kept) = forward(inputs, eps, None, requires_grad.contains(&true));
        (y, kept.map(RmsNorm))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let [d, _, d_gamma, _] = self.0.backward(d, [requires_grad[0], false, requires_grad[1], false]);
        [d, d_gamma]
    }

    fn reference<B: Backend>(eps: f32, [x, gamma]: [FloatTensor<B>; 2]) -> FloatTensor<B> {
        reference::rms_norm::<B>(x, gamma, eps)
    }
}

/// `x -> dropout(x)`
pub(super) struct DropoutOp(Option<DropoutMask>);

impl FusedOp<1> for DropoutOp {
    type Settings = Dropout;

    fn forward(
        dropout: Dropout,
        [x]: [FlexTensor; 1],
        requires_grad: [bool; 1],
    ) -> (FlexTensor, Option<Self>) {
        let block = DropoutOp(DropoutMask::of(Some(dropout), dim(&x, 1)));
        (drop_elements(x, block.0), requires_grad[0].then_some(block))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(drop_elements(d, self.0))]
    }

    fn reference<B: Backend>(dropout: Dropout, [x]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        reference::dropout::<B>(x, Some(dropout))
    }
}

/// `dropout(x)`, in place if nobody else holds it.
fn drop_elements(x: FlexTensor, mask: Option<DropoutMask>) -> FlexTensor {
    let mut x = whole(x);
    if let Some(mask) = mask {
        norm::dropout(x.storage_mut(), mask);
    }
    x
}
