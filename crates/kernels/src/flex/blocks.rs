//! Linear layers and the loss: forward, what it saves, and backward, over the kernels of `cpu/`.

use super::node::{Block, dim, like, numbers, tensor};
use crate::cpu::{cross_entropy, gelu, linear};
use crate::{Classes, plain};
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;

/// `x, w, b -> x w^T + b`
pub(super) struct Linear {
    /// Saved for the gradient of the weight.
    x: Option<FlexTensor>,
    /// Saved for the gradient of the input.
    w: Option<FlexTensor>,
    shape: [usize; 3],
}

impl Block<3> for Linear {
    type Settings = ();

    fn forward(_: (), [x, w, b]: [FlexTensor; 3], need: [bool; 3]) -> (FlexTensor, Option<Self>) {
        let shape = [dim(&x, 0), dim(&x, 1), dim(&w, 0)];
        let y = linear::forward(numbers(&x), numbers(&w), Some(numbers(&b)), shape);
        let saved = Linear { x: need[1].then_some(x), w: need[0].then_some(w), shape };
        (tensor(y, [shape[0], shape[2]]), need.contains(&true).then_some(saved))
    }

    fn backward(&self, d: FlexTensor, need: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let (d, [n, inputs, outputs]) = (numbers(&d), self.shape);
        let dx =
            self.w.as_ref().filter(|_| need[0]).map(|w| linear::input_gradient(d, numbers(w), self.shape));
        let dw =
            self.x.as_ref().filter(|_| need[1]).map(|x| linear::weight_gradient(d, numbers(x), self.shape));
        let db = need[2].then(|| linear::bias_gradient(d, outputs));
        [
            dx.map(|dx| tensor(dx, [n, inputs])),
            dw.map(|dw| tensor(dw, [outputs, inputs])),
            db.map(|db| tensor(db, [outputs])),
        ]
    }

    fn plain<B: Backend>(_: (), [x, w, b]: [FloatTensor<B>; 3]) -> FloatTensor<B> {
        plain::linear::<B>(x, w, b)
    }
}

/// `x, w1, b1, w2, b2 -> gelu(x w1^T + b1) w2^T + b2`
pub(super) struct Ffn {
    x: FlexTensor,
    w1: FlexTensor,
    w2: FlexTensor,
    /// The activation's derivative at each place.
    slope: Vec<f32>,
    /// The activation.
    inner: Vec<f32>,
}

impl Block<5> for Ffn {
    type Settings = ();

    fn forward(_: (), [x, w1, b1, w2, b2]: [FlexTensor; 5], need: [bool; 5]) -> (FlexTensor, Option<Self>) {
        let [n, h, f, out] = [dim(&x, 0), dim(&x, 1), dim(&w1, 0), dim(&w2, 0)];
        let keep = need.contains(&true);
        let mut wide = linear::forward(numbers(&x), numbers(&w1), None, [n, h, f]);
        let (slope, inner) = if keep {
            let inner = gelu::forward_and_slope(&mut wide, numbers(&b1));
            (wide, inner)
        } else {
            gelu::forward(&mut wide, numbers(&b1));
            (vec![], wide)
        };
        let y = linear::forward(&inner, numbers(&w2), Some(numbers(&b2)), [n, f, out]);
        (tensor(y, [n, out]), keep.then_some(Ffn { x, w1, w2, slope, inner }))
    }

    fn backward(&self, d: FlexTensor, need: [bool; 5]) -> [Option<FlexTensor>; 5] {
        let [n, h, f, out] = [dim(&self.x, 0), dim(&self.x, 1), dim(&self.w1, 0), dim(&self.w2, 0)];
        let d = numbers(&d);
        let dw2 = need[3].then(|| like(linear::weight_gradient(d, &self.inner, [n, f, out]), &self.w2));
        let db2 = need[4].then(|| tensor(linear::bias_gradient(d, out), [out]));
        if !need[..3].contains(&true) {
            return [None, None, None, dw2, db2];
        }
        let mut wide = linear::input_gradient(d, numbers(&self.w2), [n, f, out]);
        let db1 = gelu::backward(&mut wide, &self.slope, f);
        let dw1 = || like(linear::weight_gradient(&wide, numbers(&self.x), [n, h, f]), &self.w1);
        let dx = || like(linear::input_gradient(&wide, numbers(&self.w1), [n, h, f]), &self.x);
        [need[0].then(dx), need[1].then(dw1), need[2].then(|| tensor(db1, [f])), dw2, db2]
    }

    fn plain<B: Backend>(_: (), [x, w1, b1, w2, b2]: [FloatTensor<B>; 5]) -> FloatTensor<B> {
        plain::ffn::<B>(x, w1, b1, w2, b2)
    }
}

/// `x, w, b -> gelu(x w^T + b)`
pub(super) struct LinearGelu {
    x: FlexTensor,
    w: FlexTensor,
    /// The activation's derivative at each place.
    slope: Vec<f32>,
}

impl Block<3> for LinearGelu {
    type Settings = ();

    fn forward(_: (), [x, w, b]: [FlexTensor; 3], need: [bool; 3]) -> (FlexTensor, Option<Self>) {
        let [n, inputs, outputs] = [dim(&x, 0), dim(&x, 1), dim(&w, 0)];
        let mut y = linear::forward(numbers(&x), numbers(&w), None, [n, inputs, outputs]);
        if !need.contains(&true) {
            gelu::forward(&mut y, numbers(&b));
            return (tensor(y, [n, outputs]), None);
        }
        let activation = gelu::forward_and_slope(&mut y, numbers(&b));
        (tensor(activation, [n, outputs]), Some(LinearGelu { x, w, slope: y }))
    }

    fn backward(&self, d: FlexTensor, need: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let [n, inputs, outputs] = [dim(&self.x, 0), dim(&self.x, 1), dim(&self.w, 0)];
        let mut d = numbers(&d).to_vec();
        let db = gelu::backward(&mut d, &self.slope, outputs);
        let dx = || linear::input_gradient(&d, numbers(&self.w), [n, inputs, outputs]);
        let dw = || linear::weight_gradient(&d, numbers(&self.x), [n, inputs, outputs]);
        [
            need[0].then(|| like(dx(), &self.x)),
            need[1].then(|| like(dw(), &self.w)),
            need[2].then(|| tensor(db, [outputs])),
        ]
    }

    fn plain<B: Backend>(_: (), [x, w, b]: [FloatTensor<B>; 3]) -> FloatTensor<B> {
        plain::linear_gelu::<B>(x, w, b)
    }
}

/// `logits -> mean loss`; saves the gradient of the logits.
pub(super) struct CrossEntropy(FlexTensor);

impl Block<1> for CrossEntropy {
    type Settings = Classes;

    fn forward(classes: Classes, [logits]: [FlexTensor; 1], need: [bool; 1]) -> (FlexTensor, Option<Self>) {
        let (loss, gradient) = cross_entropy::forward(numbers(&logits), &classes, need[0]);
        (tensor(vec![loss], [1]), gradient.map(|gradient| CrossEntropy(like(gradient, &logits))))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let factor = numbers(&d)[0];
        let scaled = numbers(&self.0).iter().map(|gradient| gradient * factor).collect();
        [Some(like(scaled, &self.0))]
    }

    fn plain<B: Backend>(classes: Classes, [logits]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        plain::cross_entropy::<B>(logits, &classes)
    }
}
