//! Linear layers with packed weights, which are not trained.

use super::linear::among_zeros;
use super::node::{FusedOp, as_f32_slice, dim, tensor, whole};
use crate::{Precision, reference};
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;
use cpu::{PackedMatrix, activation::gelu, linear};
use std::ops::Range;
use std::sync::Arc;

/// `x, b -> x w^T + b` with some rows of `w` and `b`
pub(super) struct PackedLinear {
    w: Arc<PackedMatrix>,
    rows: Range<usize>,
    n: usize,
    precision: Precision,
}

impl FusedOp<2> for PackedLinear {
    type Settings = (Arc<PackedMatrix>, Range<usize>, Precision);

    fn forward(
        (w, rows, precision): Self::Settings,
        [x, b]: [FlexTensor; 2],
        requires_grad: [bool; 2],
    ) -> (FlexTensor, Option<Self>) {
        let n = dim(&x, 0);
        let y = w.linear(as_f32_slice(&x), n, (rows.clone(), as_f32_slice(&b)), precision.kernel());
        let y = tensor(y, [n, rows.len()]);
        (y, requires_grad.contains(&true).then_some(PackedLinear { w, rows, n, precision }))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let PackedLinear { w, rows, n, precision } = self;
        let ([of, inputs], d) = (w.shape(), as_f32_slice(&d));
        let dx = || tensor(w.input_gradient(d, *n, rows.clone(), precision.kernel()), [*n, inputs]);
        let db = || tensor(among_zeros(linear::bias_gradient(d, rows.len()), rows, of, 1), [of]);
        [requires_grad[0].then(dx), requires_grad[1].then(db)]
    }

    fn reference<B: Backend>(
        (w, rows, precision): Self::Settings,
        [x, b]: [FloatTensor<B>; 2],
    ) -> FloatTensor<B> {
        let [of, inputs] = w.shape();
        let w = reference::host::<B>(w.rows(0..of), [of, inputs], &x);
        reference::linear_rows::<B>(x, w, b, rows, precision)
    }
}

/// `x, b -> gelu(x w^T + b)`
pub(super) struct PackedLinearGelu {
    w: Arc<PackedMatrix>,
    /// The activation's derivative at each place.
    derivative: Vec<f32>,
    n: usize,
    precision: Precision,
}

impl FusedOp<2> for PackedLinearGelu {
    type Settings = (Arc<PackedMatrix>, Precision);

    fn forward(
        (w, precision): Self::Settings,
        [x, b]: [FlexTensor; 2],
        requires_grad: [bool; 2],
    ) -> (FlexTensor, Option<Self>) {
        let (n, [outputs, _], b) = (dim(&x, 0), w.shape(), as_f32_slice(&b));
        if !requires_grad.contains(&true) {
            let y = w.linear_gelu(as_f32_slice(&x), n, b, precision.kernel());
            return (tensor(y, [n, outputs]), None);
        }
        let zeros = vec![0.0; outputs];
        let mut y = w.linear(as_f32_slice(&x), n, (0..outputs, &zeros), precision.kernel());
        let active = gelu::forward_and_derivative(&mut y, b);
        (tensor(active, [n, outputs]), Some(PackedLinearGelu { w, derivative: y, n, precision }))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let PackedLinearGelu { w, derivative, n, precision } = self;
        let ([outputs, inputs], mut d) = (w.shape(), whole(d));
        let db = gelu::backward(d.storage_mut(), derivative, outputs);
        let dx = || w.input_gradient(as_f32_slice(&d), *n, 0..outputs, precision.kernel());
        [
            requires_grad[0].then(|| tensor(dx(), [*n, inputs])),
            requires_grad[1].then(|| tensor(db, [outputs])),
        ]
    }

    fn reference<B: Backend>((w, precision): Self::Settings, [x, b]: [FloatTensor<B>; 2]) -> FloatTensor<B> {
        let [of, inputs] = w.shape();
        let w = reference::host::<B>(w.rows(0..of), [of, inputs], &x);
        reference::linear_gelu::<B>(x, w, b, precision)
    }
}
