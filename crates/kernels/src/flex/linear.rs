//! Linear layers, alone and in a feed-forward block, and products of a matrix and a vector in each row.

use super::node::{FusedOp, as_f32_slice, backward_if, dim, like, tensor, whole};
use crate::{Precision, reference};
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;
use cpu::{GemmKernel, activation::gelu, linear, matvec};
use std::ops::Range;

/// `x, w, b -> x w^T + b` with some rows of `w` and `b`
pub(super) struct Linear {
    /// Saved for the gradient of the weight.
    x: Option<FlexTensor>,
    /// Saved for the gradient of the input.
    w: Option<FlexTensor>,
    /// The rows that are used, of so many.
    rows: Range<usize>,
    of: usize,
    shape: [usize; 3],
    products: GemmKernel,
}

impl FusedOp<3> for Linear {
    type Settings = (Range<usize>, Precision);

    fn forward(
        (rows, precision): (Range<usize>, Precision),
        [x, w, b]: [FlexTensor; 3],
        requires_grad: [bool; 3],
    ) -> (FlexTensor, Option<Self>) {
        let (shape, products) = ([dim(&x, 0), dim(&x, 1), rows.len()], precision.kernel());
        let [used, bias] = [rows_of(&w, &rows, shape[1]), rows_of(&b, &rows, 1)];
        let y = linear::forward(as_f32_slice(&x), used, Some(bias), shape, products);
        let of = dim(&w, 0);
        let [x, w] = [requires_grad[1].then_some(x), requires_grad[0].then_some(w)];
        let saved = Linear { x, w, rows, of, shape, products };
        (tensor(y, [shape[0], shape[2]]), requires_grad.contains(&true).then_some(saved))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let (d, shape, products) = (as_f32_slice(&d), self.shape, self.products);
        let [n, inputs, outputs] = shape;
        let (w, x) =
            (self.w.as_ref().filter(|_| requires_grad[0]), self.x.as_ref().filter(|_| requires_grad[1]));
        let dx = w.map(|w| linear::input_gradient(d, rows_of(w, &self.rows, inputs), shape, products));
        let dw = x.map(|x| linear::weight_gradient(d, as_f32_slice(x), shape, products));
        let db = requires_grad[2].then(|| linear::bias_gradient(d, outputs));
        [
            dx.map(|dx| tensor(dx, [n, inputs])),
            dw.map(|dw| tensor(among_zeros(dw, &self.rows, self.of, inputs), [self.of, inputs])),
            db.map(|db| tensor(among_zeros(db, &self.rows, self.of, 1), [self.of])),
        ]
    }

    fn reference<B: Backend>(
        (rows, precision): (Range<usize>, Precision),
        [x, w, b]: [FloatTensor<B>; 3],
    ) -> FloatTensor<B> {
        reference::linear_rows::<B>(x, w, b, rows, precision)
    }
}

/// Some rows of a matrix with `width` columns.
fn rows_of<'a>(matrix: &'a FlexTensor, rows: &Range<usize>, width: usize) -> &'a [f32] {
    &as_f32_slice(matrix)[rows.start * width..rows.end * width]
}

/// Rows among zeros, in their places in a matrix with so many rows.
pub(super) fn among_zeros(part: Vec<f32>, rows: &Range<usize>, of: usize, width: usize) -> Vec<f32> {
    if rows.len() == of {
        return part;
    }
    let mut whole = vec![0.0; of * width];
    whole[rows.start * width..rows.end * width].copy_from_slice(&part);
    whole
}

/// `x, w, b -> gelu(x w^T + b)`
pub(super) struct LinearGelu {
    /// Saved for the gradient of the weight.
    x: Option<FlexTensor>,
    /// Saved for the gradient of the input.
    w: Option<FlexTensor>,
    /// The activation's derivative at each place.
    derivative: Vec<f32>,
    shape: [usize; 3],
    products: GemmKernel,
}

impl FusedOp<3> for LinearGelu {
    type Settings = Precision;

    fn forward(
        precision: Precision,
        [x, w, b]: [FlexTensor; 3],
        requires_grad: [bool; 3],
    ) -> (FlexTensor, Option<Self>) {
        let (shape, products) = ([dim(&x, 0), dim(&x, 1), dim(&w, 0)], precision.kernel());
        let [n, _, outputs] = shape;
        let mut y = linear::forward(as_f32_slice(&x), as_f32_slice(&w), None, shape, products);
        if !requires_grad.contains(&true) {
            gelu::forward(&mut y, as_f32_slice(&b));
            return (tensor(y, [n, outputs]), None);
        }
        let activation = gelu::forward_and_derivative(&mut y, as_f32_slice(&b));
        let [x, w] = [requires_grad[1].then_some(x), requires_grad[0].then_some(w)];
        (tensor(activation, [n, outputs]), Some(LinearGelu { x, w, derivative: y, shape, products }))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let (shape @ [n, inputs, outputs], products) = (self.shape, self.products);
        let mut d = whole(d);
        let db = match requires_grad[2] {
            true => Some(gelu::backward(d.storage_mut(), &self.derivative, outputs)),
            false => {
                gelu::input_gradient(d.storage_mut(), &self.derivative);
                None
            }
        };
        let d = as_f32_slice(&d);
        let (w, x) =
            (self.w.as_ref().filter(|_| requires_grad[0]), self.x.as_ref().filter(|_| requires_grad[1]));
        [
            w.map(|w| tensor(linear::input_gradient(d, as_f32_slice(w), shape, products), [n, inputs])),
            x.map(|x| {
                tensor(linear::weight_gradient(d, as_f32_slice(x), shape, products), [outputs, inputs])
            }),
            db.map(|db| tensor(db, [outputs])),
        ]
    }

    fn reference<B: Backend>(precision: Precision, [x, w, b]: [FloatTensor<B>; 3]) -> FloatTensor<B> {
        reference::linear_gelu::<B>(x, w, b, precision)
    }
}

/// `x, w1, b1, w2, b2 -> gelu(x w1^T + b1) w2^T + b2`; of each half what it saves, if it needs to.
pub(super) struct Ffn(Option<LinearGelu>, Option<Linear>);

impl FusedOp<5> for Ffn {
    type Settings = Precision;

    fn forward(
        precision: Precision,
        [x, w1, b1, w2, b2]: [FlexTensor; 5],
        requires_grad: [bool; 5],
    ) -> (FlexTensor, Option<Self>) {
        let n_inner = requires_grad[..3].contains(&true);
        let (inner, wide) = LinearGelu::forward(
            precision,
            [x, w1, b1],
            [requires_grad[0], requires_grad[1], requires_grad[2]],
        );
        let settings = (0..dim(&w2, 0), precision);
        let (y, narrow) =
            Linear::forward(settings, [inner, w2, b2], [n_inner, requires_grad[3], requires_grad[4]]);
        (y, requires_grad.contains(&true).then_some(Ffn(wide, narrow)))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 5]) -> [Option<FlexTensor>; 5] {
        let n_inner = requires_grad[..3].contains(&true);
        let [d_inner, dw2, db2] =
            backward_if(self.1.as_ref(), Some(d), [n_inner, requires_grad[3], requires_grad[4]]);
        let [dx, dw1, db1] =
            backward_if(self.0.as_ref(), d_inner, [requires_grad[0], requires_grad[1], requires_grad[2]]);
        [dx, dw1, db1, dw2, db2]
    }

    fn reference<B: Backend>(
        precision: Precision,
        [x, w1, b1, w2, b2]: [FloatTensor<B>; 5],
    ) -> FloatTensor<B> {
        reference::ffn::<B>(x, w1, b1, w2, b2, precision)
    }
}

/// `a, x -> a x`, a matrix and a vector in each row.
pub(super) struct BatchedMatvec([FlexTensor; 2]);

impl BatchedMatvec {
    /// Rows and columns of each matrix.
    fn shape([a, x]: [&FlexTensor; 2]) -> [usize; 2] {
        let w = dim(x, 1);
        [dim(a, 1) / w, w]
    }
}

impl FusedOp<2> for BatchedMatvec {
    type Settings = ();

    fn forward((): (), [a, x]: [FlexTensor; 2], requires_grad: [bool; 2]) -> (FlexTensor, Option<Self>) {
        let shape = Self::shape([&a, &x]);
        let y = matvec::forward(as_f32_slice(&a), as_f32_slice(&x), shape);
        let y = tensor(y, [dim(&x, 0), shape[0]]);
        (y, requires_grad.contains(&true).then_some(BatchedMatvec([a, x])))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let [a, x] = &self.0;
        let shape = Self::shape([a, x]);
        let [d_a, d_x] = matvec::backward(as_f32_slice(&d), as_f32_slice(a), as_f32_slice(x), shape);
        [requires_grad[0].then(|| like(d_a, a)), requires_grad[1].then(|| like(d_x, x))]
    }

    fn reference<B: Backend>((): (), [a, x]: [FloatTensor<B>; 2]) -> FloatTensor<B> {
        reference::batched_matvec::<B>(a, x)
    }
}
