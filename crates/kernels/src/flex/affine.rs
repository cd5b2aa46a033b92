//! Scales and shifts of columns by groups of rows, and of rows.

use super::node::{FusedOp, as_f32_slice, dim, like, whole};
use crate::reference;
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;
use cpu::{AffineGroups, affine};

/// `x, factor, shift -> x factor + shift` in some columns of groups of rows.
pub(super) struct GroupedAffine {
    /// Saved for the gradient of the factors.
    x: Option<FlexTensor>,
    vectors: [FlexTensor; 2],
    groups: AffineGroups,
}

impl FusedOp<3> for GroupedAffine {
    type Settings = AffineGroups;

    fn forward(
        groups: AffineGroups,
        [x, factor, shift]: [FlexTensor; 3],
        requires_grad: [bool; 3],
    ) -> (FlexTensor, Option<Self>) {
        let saved = requires_grad[1].then(|| x.clone());
        let mut y = whole(x);
        let vectors = [factor, shift];
        affine::forward(y.storage_mut(), vectors.each_ref().map(as_f32_slice), &groups);
        (y, requires_grad.contains(&true).then_some(GroupedAffine { x: saved, vectors, groups }))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let [factor, shift] = &self.vectors;
        let [mut d_factor, mut d_shift] = [None, None];
        if requires_grad[1] || requires_grad[2] {
            // Without the input only the shifts' gradient is wanted, which does not read it.
            let x = self.x.as_ref().unwrap_or(&d);
            let [of_factor, of_shift] =
                affine::vector_gradients(as_f32_slice(&d), as_f32_slice(x), &self.groups);
            d_factor = requires_grad[1].then(|| like(of_factor, factor));
            d_shift = requires_grad[2].then(|| like(of_shift, shift));
        }
        let d_x = requires_grad[0].then(|| {
            let mut d = whole(d);
            affine::input_gradient(d.storage_mut(), as_f32_slice(factor), &self.groups);
            d
        });
        [d_x, d_factor, d_shift]
    }

    fn reference<B: Backend>(groups: AffineGroups, inputs: [FloatTensor<B>; 3]) -> FloatTensor<B> {
        reference::grouped_affine::<B>(inputs, &groups)
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
