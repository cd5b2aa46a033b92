//! Linear layers and the loss: forward, what it saves, and backward, over the kernels of `cpu/`.

use super::node::{Block, back, dim, like, numbers, tensor, whole};
use crate::cpu::{cross_entropy, gate, gelu, linear};
use crate::precision::{Precision, Products};
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
    products: Products,
}

impl Block<3> for Linear {
    type Settings = Precision;

    fn forward(
        precision: Precision,
        [x, w, b]: [FlexTensor; 3],
        need: [bool; 3],
    ) -> (FlexTensor, Option<Self>) {
        let (shape, products) = ([dim(&x, 0), dim(&x, 1), dim(&w, 0)], Products::of(precision));
        let y = linear::forward(numbers(&x), numbers(&w), Some(numbers(&b)), shape, products);
        let saved = Linear { x: need[1].then_some(x), w: need[0].then_some(w), shape, products };
        (tensor(y, [shape[0], shape[2]]), need.contains(&true).then_some(saved))
    }

    fn backward(&self, d: FlexTensor, need: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let (d, shape, products) = (numbers(&d), self.shape, self.products);
        let [n, inputs, outputs] = shape;
        let (w, x) = (self.w.as_ref().filter(|_| need[0]), self.x.as_ref().filter(|_| need[1]));
        let dx = w.map(|w| linear::input_gradient(d, numbers(w), shape, products));
        let dw = x.map(|x| linear::weight_gradient(d, numbers(x), shape, products));
        let db = need[2].then(|| linear::bias_gradient(d, outputs));
        [
            dx.map(|dx| tensor(dx, [n, inputs])),
            dw.map(|dw| tensor(dw, [outputs, inputs])),
            db.map(|db| tensor(db, [outputs])),
        ]
    }

    fn plain<B: Backend>(precision: Precision, [x, w, b]: [FloatTensor<B>; 3]) -> FloatTensor<B> {
        plain::linear::<B>(x, w, b, precision)
    }
}

/// `x, w, b -> gelu(x w^T + b)`
pub(super) struct LinearGelu {
    x: FlexTensor,
    w: FlexTensor,
    /// The activation's derivative at each place.
    slope: Vec<f32>,
    products: Products,
}

impl Block<3> for LinearGelu {
    type Settings = Precision;

    fn forward(
        precision: Precision,
        [x, w, b]: [FlexTensor; 3],
        need: [bool; 3],
    ) -> (FlexTensor, Option<Self>) {
        let (shape, products) = ([dim(&x, 0), dim(&x, 1), dim(&w, 0)], Products::of(precision));
        let [n, _, outputs] = shape;
        let mut y = linear::forward(numbers(&x), numbers(&w), None, shape, products);
        if !need.contains(&true) {
            gelu::forward(&mut y, numbers(&b));
            return (tensor(y, [n, outputs]), None);
        }
        let activation = gelu::forward_and_slope(&mut y, numbers(&b));
        (tensor(activation, [n, outputs]), Some(LinearGelu { x, w, slope: y, products }))
    }

    fn backward(&self, d: FlexTensor, need: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let (shape, products) = ([dim(&self.x, 0), dim(&self.x, 1), dim(&self.w, 0)], self.products);
        let mut d = whole(d);
        let db = gelu::backward(d.storage_mut(), &self.slope, shape[2]);
        let dx = || linear::input_gradient(numbers(&d), numbers(&self.w), shape, products);
        let dw = || linear::weight_gradient(numbers(&d), numbers(&self.x), shape, products);
        [
            need[0].then(|| like(dx(), &self.x)),
            need[1].then(|| like(dw(), &self.w)),
            need[2].then(|| tensor(db, [shape[2]])),
        ]
    }

    fn plain<B: Backend>(precision: Precision, [x, w, b]: [FloatTensor<B>; 3]) -> FloatTensor<B> {
        plain::linear_gelu::<B>(x, w, b, precision)
    }
}

/// `x, w1, b1, w2, b2 -> gelu(x w1^T + b1) w2^T + b2`; of each half what it saves, if it needs to.
pub(super) struct Ffn(Option<LinearGelu>, Option<Linear>);

impl Block<5> for Ffn {
    type Settings = Precision;

    fn forward(
        precision: Precision,
        [x, w1, b1, w2, b2]: [FlexTensor; 5],
        need: [bool; 5],
    ) -> (FlexTensor, Option<Self>) {
        let n_inner = need[..3].contains(&true);
        let (inner, wide) = LinearGelu::forward(precision, [x, w1, b1], [need[0], need[1], need[2]]);
        let (y, narrow) = Linear::forward(precision, [inner, w2, b2], [n_inner, need[3], need[4]]);
        (y, need.contains(&true).then_some(Ffn(wide, narrow)))
    }

    fn backward(&self, d: FlexTensor, need: [bool; 5]) -> [Option<FlexTensor>; 5] {
        let n_inner = need[..3].contains(&true);
        let [d_inner, dw2, db2] = back(self.1.as_ref(), Some(d), [n_inner, need[3], need[4]]);
        let [dx, dw1, db1] = back(self.0.as_ref(), d_inner, [need[0], need[1], need[2]]);
        [dx, dw1, db1, dw2, db2]
    }

    fn plain<B: Backend>(precision: Precision, [x, w1, b1, w2, b2]: [FloatTensor<B>; 5]) -> FloatTensor<B> {
        plain::ffn::<B>(x, w1, b1, w2, b2, precision)
    }
}

/// `a, b -> gelu(a) b`
pub(super) struct GatedGelu([FlexTensor; 2]);

impl Block<2> for GatedGelu {
    type Settings = ();

    fn forward((): (), [a, b]: [FlexTensor; 2], need: [bool; 2]) -> (FlexTensor, Option<Self>) {
        let y = like(gate::forward(numbers(&a), numbers(&b)), &a);
        (y, need.contains(&true).then_some(GatedGelu([a, b])))
    }

    fn backward(&self, d: FlexTensor, need: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let [a, b] = &self.0;
        let [d_a, d_b] = gate::backward(numbers(&d), numbers(a), numbers(b));
        [need[0].then(|| like(d_a, a)), need[1].then(|| like(d_b, a))]
    }

    fn plain<B: Backend>((): (), [a, b]: [FloatTensor<B>; 2]) -> FloatTensor<B> {
        plain::gated_gelu::<B>(a, b)
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
