//! Low-rank updates, of groups of rows and gated: what they save, and the way back.

use super::node::{FusedOp, as_f32_slice, like, whole};
use crate::reference;
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;
use cpu::gated_low_rank::GatedInner;
use cpu::{GatedLowRankShape, LowRankGroups, gated_low_rank, low_rank};

/// `y, x, a, b -> y + updates`
pub(super) struct LowRank {
    inputs: [FlexTensor; 3],
    /// `x A^T`
    inner: Vec<f32>,
    groups: LowRankGroups,
}

impl FusedOp<4> for LowRank {
    type Settings = LowRankGroups;

    fn forward(
        groups: LowRankGroups,
        [y, x, a, b]: [FlexTensor; 4],
        requires_grad: [bool; 4],
    ) -> (FlexTensor, Option<Self>) {
        let mut y = whole(y);
        let inputs = [x, a, b];
        let inner = low_rank::forward(y.storage_mut(), inputs.each_ref().map(as_f32_slice), &groups);
        (y, requires_grad.contains(&true).then_some(LowRank { inputs, inner, groups }))
    }

    fn backward(&self, d: FlexTensor, [of_y, of_x, of_a, of_b]: [bool; 4]) -> [Option<FlexTensor>; 4] {
        let inputs = self.inputs.each_ref().map(as_f32_slice);
        let wanted = [of_x, of_a, of_b];
        let found = low_rank::backward(as_f32_slice(&d), inputs, &self.inner, &self.groups, wanted);
        let mut gradients = found.into_iter().zip(&self.inputs).map(|(found, of)| found.map(|d| like(d, of)));
        let [d_x, d_a, d_b] = std::array::from_fn(|_| gradients.next().flatten());
        [of_y.then_some(d), d_x, d_a, d_b]
    }

    fn reference<B: Backend>(groups: LowRankGroups, inputs: [FloatTensor<B>; 4]) -> FloatTensor<B> {
        reference::grouped_low_rank::<B>(inputs, &groups)
    }
}

/// `y, x, a, router, b -> y + update`
pub(super) struct GatedLowRank {
    inputs: [FlexTensor; 4],
    inner: GatedInner,
    shape: GatedLowRankShape,
}

impl FusedOp<5> for GatedLowRank {
    type Settings = GatedLowRankShape;

    fn forward(
        shape: GatedLowRankShape,
        [y, x, a, router, b]: [FlexTensor; 5],
        requires_grad: [bool; 5],
    ) -> (FlexTensor, Option<Self>) {
        let mut y = whole(y);
        let inputs = [x, a, router, b];
        let inner = gated_low_rank::forward(y.storage_mut(), inputs.each_ref().map(as_f32_slice), &shape);
        (y, requires_grad.contains(&true).then_some(GatedLowRank { inputs, inner, shape }))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 5]) -> [Option<FlexTensor>; 5] {
        let inputs = self.inputs.each_ref().map(as_f32_slice);
        let gradients = gated_low_rank::backward(as_f32_slice(&d), inputs, &self.inner, &self.shape);
        let mut all = [requires_grad[0].then_some(d), None, None, None, None];
        for (i, gradient) in gradients.into_iter().enumerate() {
            all[i + 1] = requires_grad[i + 1].then(|| like(gradient, &self.inputs[i]));
        }
        all
    }

    fn reference<B: Backend>(shape: GatedLowRankShape, inputs: [FloatTensor<B>; 5]) -> FloatTensor<B> {
        reference::gated_low_rank::<B>(inputs, &shape)
    }
}
