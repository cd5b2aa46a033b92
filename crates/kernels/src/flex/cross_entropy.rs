//! The loss of a softmax.

use super::node::{FusedOp, as_f32_slice, like, tensor};
use crate::{CrossEntropyTargets, reference};
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;
use cpu::cross_entropy;

/// `logits -> mean loss`; saves the gradient of the logits.
pub(super) struct CrossEntropy(FlexTensor);

impl FusedOp<1> for CrossEntropy {
    type Settings = CrossEntropyTargets;

    fn forward(
        classes: CrossEntropyTargets,
        [logits]: [FlexTensor; 1],
        requires_grad: [bool; 1],
    ) -> (FlexTensor, Option<Self>) {
        let (loss, gradient) = cross_entropy::forward(as_f32_slice(&logits), &classes, requires_grad[0]);
        (tensor(vec![loss], [1]), gradient.map(|gradient| CrossEntropy(like(gradient, &logits))))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let factor = as_f32_slice(&d)[0];
        let scaled = as_f32_slice(&self.0).iter().map(|gradient| gradient * factor).collect();
        [Some(like(scaled, &self.0))]
    }

    fn reference<B: Backend>(classes: CrossEntropyTargets, [logits]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        reference::cross_entropy::<B>(logits, &classes)
    }
}
