//! Scales of columns by groups of rows, and of rows; mixtures of matrices.

use super::node::{FusedOp, as_f32_slice, dim, like, tensor, whole};
use crate::reference;
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;
use cpu::{AffineGroups, MixtureWeights, affine, mixture};

/// `x, factor, center -> factor x + (1 - factor) center` in some columns of groups of rows.
pub(super) struct GroupedScale {
    /// Saved for the gradient of the factors.
    x: Option<FlexTensor>,
    vectors: [FlexTensor; 2],
    groups: AffineGroups,
}

impl FusedOp<3> for GroupedScale {
    type Settings = AffineGroups;

    fn forward(
        groups: AffineGroups,
        [x, factor, center]: [FlexTensor; 3],
        requires_grad: [bool; 3],
    ) -> (FlexTensor, Option<Self>) {
        let saved = requires_grad[1].then(|| x.clone());
        let mut y = whole(x);
        let vectors = [factor, center];
        affine::forward(y.storage_mut(), vectors.each_ref().map(as_f32_slice), &groups);
        (y, requires_grad.contains(&true).then_some(GroupedScale { x: saved, vectors, groups }))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let (groups, [factor, center]) = (&self.groups, &self.vectors);
        let d_factor = self.x.as_ref().filter(|_| requires_grad[1]).map(|x| {
            let read = [x, center].map(as_f32_slice);
            like(affine::factor_gradient(as_f32_slice(&d), read, groups), factor)
        });
        let d_center = requires_grad[2].then(|| {
            let centers = dim(center, 0);
            like(affine::center_gradient(as_f32_slice(&d), as_f32_slice(factor), centers, groups), center)
        });
        let d_x = requires_grad[0].then(|| {
            let mut d = whole(d);
            affine::input_gradient(d.storage_mut(), as_f32_slice(factor), groups);
            d
        });
        [d_x, d_factor, d_center]
    }

    fn reference<B: Backend>(groups: AffineGroups, inputs: [FloatTensor<B>; 3]) -> FloatTensor<B> {
        reference::grouped_scale::<B>(inputs, &groups)
    }
}

/// `weights, parts -> sum_k weights_k parts_k`
pub(super) struct WeightedMix([FlexTensor; 2]);

impl FusedOp<2> for WeightedMix {
    type Settings = ();

    fn forward(
        (): (),
        [weights, parts]: [FlexTensor; 2],
        requires_grad: [bool; 2],
    ) -> (FlexTensor, Option<Self>) {
        let sum = affine::weighted_mix(as_f32_slice(&weights), as_f32_slice(&parts));
        let sum = tensor(sum, [dim(&parts, 0) / dim(&weights, 0), dim(&parts, 1)]);
        (sum, requires_grad.contains(&true).then_some(WeightedMix([weights, parts])))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let [weights, parts] = &self.0;
        let of = [weights, parts].map(as_f32_slice);
        let [d_weights, d_parts] = affine::weighted_mix_backward(as_f32_slice(&d), of[0], of[1]);
        [requires_grad[0].then(|| like(d_weights, weights)), requires_grad[1].then(|| like(d_parts, parts))]
    }

    fn reference<B: Backend>((): (), inputs: [FloatTensor<B>; 2]) -> FloatTensor<B> {
        reference::weighted_mix::<B>(inputs)
    }
}

/// `x, factor -> x factor`, a factor for each row.
pub(super) struct ScaleRows([FlexTensor; 2]);

impl FusedOp<2> for ScaleRows {
    type Settings = ();

    fn forward((): (), [x, factor]: [FlexTensor; 2], requires_grad: [bool; 2]) -> (FlexTensor, Option<Self>) {
        let mut y = whole(x.clone());
        affine::scale_rows(y.storage_mut(), as_f32_slice(&factor), dim(&x, 1));
        (y, requires_grad.contains(&true).then_some(ScaleRows([x, factor])))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let [x, factor] = &self.0;
        let d_factor = requires_grad[1].then(|| {
            let (n, width) = (dim(x, 0), dim(x, 1));
            like(affine::row_factor_gradient(as_f32_slice(&d), as_f32_slice(x), n, width), factor)
        });
        let d_x = requires_grad[0].then(|| {
            let mut d = whole(d);
            affine::scale_rows(d.storage_mut(), as_f32_slice(factor), dim(x, 1));
            d
        });
        [d_x, d_factor]
    }

    fn reference<B: Backend>((): (), inputs: [FloatTensor<B>; 2]) -> FloatTensor<B> {
        reference::scale_rows::<B>(inputs)
    }
}

/// `logits -> weights` of mixtures, by row.
pub(super) struct Mixture {
    logits: FlexTensor,
    weights: FlexTensor,
    of: MixtureWeights,
}

impl FusedOp<1> for Mixture {
    type Settings = MixtureWeights;

    fn forward(
        of: MixtureWeights,
        [logits]: [FlexTensor; 1],
        requires_grad: [bool; 1],
    ) -> (FlexTensor, Option<Self>) {
        let weights = like(mixture::forward(as_f32_slice(&logits), dim(&logits, 1), of), &logits);
        (weights.clone(), requires_grad[0].then_some(Mixture { logits, weights, of }))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let Mixture { logits, weights, of } = self;
        let read = [&d, logits, weights].map(as_f32_slice);
        let d_logits = mixture::backward(read[0], read[1], read[2], dim(logits, 1), *of);
        [Some(like(d_logits, logits))]
    }

    fn reference<B: Backend>(of: MixtureWeights, [logits]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        reference::mixture_weights::<B>(logits, of)
    }
}
