//! The loss of a softmax.

use super::node::{FusedOp, as_f32_slice, dim, like, tensor};
use crate::{CrossEntropyTargets, SoftCrossEntropyTargets, reference};
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;
use cpu::{cross_entropy, soft_cross_entropy};

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

/// `logits -> sum of losses` with distributions as targets; saves the gradient of the logits.
pub(super) struct SoftCrossEntropy(FlexTensor);

impl FusedOp<1> for SoftCrossEntropy {
    type Settings = SoftCrossEntropyTargets;

    fn forward(
        targets: SoftCrossEntropyTargets,
        [logits]: [FlexTensor; 1],
        requires_grad: [bool; 1],
    ) -> (FlexTensor, Option<Self>) {
        let (loss, gradient) = soft_cross_entropy::forward(as_f32_slice(&logits), &targets, requires_grad[0]);
        (tensor(vec![loss], [1]), gradient.map(|gradient| SoftCrossEntropy(like(gradient, &logits))))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let factor = as_f32_slice(&d)[0];
        let scaled = as_f32_slice(&self.0).iter().map(|gradient| gradient * factor).collect();
        [Some(like(scaled, &self.0))]
    }

    fn reference<B: Backend>(
        targets: SoftCrossEntropyTargets,
        [logits]: [FloatTensor<B>; 1],
    ) -> FloatTensor<B> {
        reference::soft_cross_entropy::<B>(logits, &targets)
    }
}

/// `x, table -> mean loss` of the logits `x table^T`; saves both gradients, and no logits.
pub(super) struct LinearCrossEntropy([Option<FlexTensor>; 2]);

impl FusedOp<2> for LinearCrossEntropy {
    type Settings = CrossEntropyTargets;

    fn forward(
        classes: CrossEntropyTargets,
        [x, table]: [FlexTensor; 2],
        requires_grad: [bool; 2],
    ) -> (FlexTensor, Option<Self>) {
        let states =
            cross_entropy::States { x: as_f32_slice(&x), table: as_f32_slice(&table), h: dim(&x, 1) };
        let (loss, [d_x, d_table]) = cross_entropy::forward_of_states(states, &classes, requires_grad);
        let saved = [d_x.map(|d| like(d, &x)), d_table.map(|d| like(d, &table))];
        (tensor(vec![loss], [1]), requires_grad.contains(&true).then_some(LinearCrossEntropy(saved)))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let factor = as_f32_slice(&d)[0];
        self.0.each_ref().map(|gradient| {
            let gradient = gradient.as_ref()?;
            if factor == 1.0 {
                return Some(gradient.clone());
            }
            Some(like(as_f32_slice(gradient).iter().map(|gradient| gradient * factor).collect(), gradient))
        })
    }

    fn reference<B: Backend>(
        classes: CrossEntropyTargets,
        [x, table]: [FloatTensor<B>; 2],
    ) -> FloatTensor<B> {
        let logits = B::float_matmul(x, B::float_swap_dims(table, 0, 1));
        reference::cross_entropy::<B>(logits, &classes)
    }
}
