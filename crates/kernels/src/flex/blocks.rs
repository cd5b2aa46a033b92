//! Some rows or columns of a matrix, and two matrices side by side. The engine would go back through them by a zero matrix of full size
//! for each, added up on one thread.

use super::node::{FusedOp, as_f32_slice, dim, tensor, whole};
use burn::backend::{Backend, Flex, Slice, ops::FloatTensorOps, tensor::FloatTensor};
use burn_flex::FlexTensor;
use cpu::columns;
use std::ops::Range;

/// `x -> x[rows]`, a view.
pub(super) struct TakeRows {
    rows: Range<usize>,
    shape: [usize; 2],
}

impl FusedOp<1> for TakeRows {
    type Settings = Range<usize>;
    const ADDS_TO_GRADIENT: bool = true;

    fn forward(
        rows: Range<usize>,
        [x]: [FlexTensor; 1],
        requires_grad: [bool; 1],
    ) -> (FlexTensor, Option<Self>) {
        let shape = [dim(&x, 0), dim(&x, 1)];
        let y = Flex::float_slice(x, &[Slice::from(rows.clone())]);
        (y, requires_grad[0].then_some(TakeRows { rows, shape }))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(self.add_to_gradient(zeros(self.shape), &d))]
    }

    fn add_to_gradient(&self, total: FlexTensor, d: &FlexTensor) -> FlexTensor {
        let (mut total, width) = (whole(total), self.shape[1]);
        let own = self.rows.start * width..self.rows.end * width;
        cpu::level1::add(&mut total.storage_mut()[own], as_f32_slice(d));
        total
    }

    fn reference<B: Backend>(rows: Range<usize>, [x]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        B::float_slice(x, &[Slice::from(rows)])
    }
}

/// `x -> x[:, columns]`
pub(super) struct TakeColumns {
    columns: Range<usize>,
    shape: [usize; 2],
}

impl FusedOp<1> for TakeColumns {
    type Settings = Range<usize>;
    const ADDS_TO_GRADIENT: bool = true;

    fn forward(
        columns: Range<usize>,
        [x]: [FlexTensor; 1],
        requires_grad: [bool; 1],
    ) -> (FlexTensor, Option<Self>) {
        let shape @ [n, width] = [dim(&x, 0), dim(&x, 1)];
        let y = tensor(columns::take(as_f32_slice(&x), width, columns.clone()), [n, columns.len()]);
        (y, requires_grad[0].then_some(TakeColumns { columns, shape }))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(self.add_to_gradient(zeros(self.shape), &d))]
    }

    fn add_to_gradient(&self, total: FlexTensor, d: &FlexTensor) -> FlexTensor {
        let mut total = whole(total);
        columns::add(total.storage_mut(), self.shape[1], self.columns.clone(), as_f32_slice(d));
        total
    }

    fn reference<B: Backend>(columns: Range<usize>, [x]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        crate::reference::take_columns::<B>(x, columns)
    }
}

/// `a, b -> a` and `b` side by side.
pub(super) struct JoinColumns([usize; 2]);

impl FusedOp<2> for JoinColumns {
    type Settings = ();

    fn forward((): (), [a, b]: [FlexTensor; 2], requires_grad: [bool; 2]) -> (FlexTensor, Option<Self>) {
        let widths = [dim(&a, 1), dim(&b, 1)];
        let y = columns::join([&a, &b].map(as_f32_slice), widths);
        let y = tensor(y, [dim(&a, 0), widths[0] + widths[1]]);
        (y, requires_grad.contains(&true).then_some(JoinColumns(widths)))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let ([of_a, of_b], n) = (self.0, dim(&d, 0));
        let width = of_a + of_b;
        let part = |range: Range<usize>| {
            let len = range.len();
            tensor(columns::take(as_f32_slice(&d), width, range), [n, len])
        };
        [requires_grad[0].then(|| part(0..of_a)), requires_grad[1].then(|| part(of_a..width))]
    }

    fn reference<B: Backend>((): (), [a, b]: [FloatTensor<B>; 2]) -> FloatTensor<B> {
        B::float_cat(vec![a, b], 1)
    }
}

/// What a gradient begins as.
fn zeros([n, width]: [usize; 2]) -> FlexTensor {
    tensor(vec![0.0; n * width], [n, width])
}
