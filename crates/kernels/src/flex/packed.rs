//! Linear layers with packed weights, which are not trained.

use super::linear::among_zeros;
use super::node::{FusedOp, as_f32_slice, dim, tensor};
use crate::{Precision, reference};
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;
use cpu::{PackedMatrix, linear};
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
