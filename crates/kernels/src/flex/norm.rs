//! Norms, with dropout and a residual before them, and dropout on its own.

use super::node::{Block, dim, numbers, tensor, whole};
use crate::cpu::norm;
use crate::noise::Mask;
use crate::{Noise, plain};
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;

/// What every norm saves.
struct Kept {
    norm: norm::Saved,
    gamma: FlexTensor,
    kind: norm::Kind,
    mask: Option<Mask>,
}

/// The inputs of a norm: `norm(dropout(y) + residual)`; without `beta` it is an RMS norm.
struct Inputs {
    y: FlexTensor,
    residual: Option<FlexTensor>,
    gamma: FlexTensor,
    beta: Option<FlexTensor>,
}

/// The norm and, if asked for, what its backward needs.
fn forward(inputs: Inputs, eps: f32, noise: Option<Noise>, keep: bool) -> (FlexTensor, Option<Kept>) {
    let Inputs { y, residual, gamma, beta } = inputs;
    let mask = Mask::of(noise, dim(&y, 1));
    let mut y = whole(y);
    let of = norm::Norm { gamma: numbers(&gamma), beta: beta.as_ref().map(numbers), eps };
    let (kind, residual) = (of.kind(), residual.as_ref().map(numbers));
    if !keep {
        norm::forward(y.storage_mut(), residual, of, mask);
        return (y, None);
    }
    let norm = norm::forward_and_save(y.storage_mut(), residual, of, mask);
    (y, Some(Kept { norm, gamma, kind, mask }))
}

impl Kept {
    /// Gradients of `y`, of the residual, of scale and shift, where they are needed.
    fn backward(&self, d: FlexTensor, need: [bool; 4]) -> [Option<FlexTensor>; 4] {
        let mut d = whole(d);
        let [d_gamma, d_beta] = norm::backward(d.storage_mut(), &self.norm, numbers(&self.gamma), self.kind);
        let residual = need[1].then(|| d.clone());
        let y = need[0].then(|| match self.mask {
            Some(mask) => {
                norm::dropout(d.storage_mut(), mask);
                d
            }
            None => d,
        });
        let width = d_gamma.len();
        let sums = [(need[2], d_gamma), (need[3], d_beta)];
        let [d_gamma, d_beta] = sums.map(|(need, sum)| need.then(|| tensor(sum, [width])));
        [y, residual, d_gamma, d_beta]
    }
}

/// `y, residual, gamma, beta -> norm(dropout(y) + residual)`
pub(super) struct AddNorm(Kept);

impl Block<4> for AddNorm {
    type Settings = (f32, Option<Noise>);

    fn forward(
        (eps, noise): Self::Settings,
        [y, residual, gamma, beta]: [FlexTensor; 4],
        need: [bool; 4],
    ) -> (FlexTensor, Option<Self>) {
        let inputs = Inputs { y, residual: Some(residual), gamma, beta: Some(beta) };
        let (y, kept) = forward(inputs, eps, noise, need.contains(&true));
        (y, kept.map(AddNorm))
    }

    fn backward(&self, d: FlexTensor, need: [bool; 4]) -> [Option<FlexTensor>; 4] {
        self.0.backward(d, need)
    }

    fn plain<B: Backend>(
        (eps, noise): Self::Settings,
        [y, residual, gamma, beta]: [FloatTensor<B>; 4],
    ) -> FloatTensor<B> {
        plain::add_norm::<B>(y, residual, gamma, beta, eps, noise)
    }
}

/// `x, gamma, beta -> norm(x)`
pub(super) struct Norm(Kept);

impl Block<3> for Norm {
    type Settings = f32;

    fn forward(eps: f32, [y, gamma, beta]: [FlexTensor; 3], need: [bool; 3]) -> (FlexTensor, Option<Self>) {
        let inputs = Inputs { y, residual: None, gamma, beta: Some(beta) };
        let (y, kept) = forward(inputs, eps, None, need.contains(&true));
        (y, kept.map(Norm))
    }

    fn backward(&self, d: FlexTensor, need: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let [d, _, d_gamma, d_beta] = self.0.backward(d, [need[0], false, need[1], need[2]]);
        [d, d_gamma, d_beta]
    }

    fn plain<B: Backend>(eps: f32, [x, gamma, beta]: [FloatTensor<B>; 3]) -> FloatTensor<B> {
        plain::norm::<B>(x, gamma, beta, eps)
    }
}

/// `y, residual, gamma -> rms_norm(dropout(y) + residual)`
pub(super) struct AddRmsNorm(Kept);

impl Block<3> for AddRmsNorm {
    type Settings = (f32, Option<Noise>);

    fn forward(
        (eps, noise): Self::Settings,
        [y, residual, gamma]: [FlexTensor; 3],
        need: [bool; 3],
    ) -> (FlexTensor, Option<Self>) {
        let inputs = Inputs { y, residual: Some(residual), gamma, beta: None };
        let (y, kept) = forward(inputs, eps, noise, need.contains(&true));
        (y, kept.map(AddRmsNorm))
    }

    fn backward(&self, d: FlexTensor, need: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let [d_y, d_residual, d_gamma, _] = self.0.backward(d, [need[0], need[1], need[2], false]);
        [d_y, d_residual, d_gamma]
    }

    fn plain<B: Backend>(
        (eps, noise): Self::Settings,
        [y, residual, gamma]: [FloatTensor<B>; 3],
    ) -> FloatTensor<B> {
        plain::add_rms_norm::<B>(y, residual, gamma, eps, noise)
    }
}

/// `x, gamma -> rms_norm(x)`
pub(super) struct RmsNorm(Kept);

impl Block<2> for RmsNorm {
    type Settings = f32;

    fn forward(eps: f32, [y, gamma]: [FlexTensor; 2], need: [bool; 2]) -> (FlexTensor, Option<Self>) {
        let inputs = Inputs { y, residual: None, gamma, beta: None };
        let (y, kept) = forward(inputs, eps, None, need.contains(&true));
        (y, kept.map(RmsNorm))
    }

    fn backward(&self, d: FlexTensor, need: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let [d, _, d_gamma, _] = self.0.backward(d, [need[0], false, need[1], false]);
        [d, d_gamma]
    }

    fn plain<B: Backend>(eps: f32, [x, gamma]: [FloatTensor<B>; 2]) -> FloatTensor<B> {
        plain::rms_norm::<B>(x, gamma, eps)
    }
}

/// `x -> dropout(x)`
pub(super) struct Dropout(Option<Mask>);

impl Block<1> for Dropout {
    type Settings = Noise;

    fn forward(noise: Noise, [x]: [FlexTensor; 1], need: [bool; 1]) -> (FlexTensor, Option<Self>) {
        let block = Dropout(Mask::of(Some(noise), dim(&x, 1)));
        (block.apply(x), need[0].then_some(block))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(self.apply(d))]
    }

    fn plain<B: Backend>(noise: Noise, [x]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        plain::dropout::<B>(x, Some(noise))
    }
}

impl Dropout {
    fn apply(&self, x: FlexTensor) -> FlexTensor {
        let mut x = whole(x);
        if let Some(mask) = self.0 {
            norm::dropout(x.storage_mut(), mask);
        }
        x
    }
}
