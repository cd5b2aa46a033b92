//! Each operation's forward, what it saves, and its backward, over the kernels of `cpu/`.

use super::node::{Block, dim, like, numbers, tensor, whole};
use crate::cpu::{attention, cross_entropy, embed, gelu, linear, norm};
use crate::noise::Mask;
use crate::{Classes, Noise, Rows, plain};
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;
use std::sync::Arc;

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

/// `qkv -> context`
pub(super) struct Attention {
    qkv: FlexTensor,
    /// Probabilities before dropout, row by row and head by head.
    probabilities: Vec<f32>,
    rows: Rows,
    heads: usize,
    mask: Option<Mask>,
}

impl Block<1> for Attention {
    type Settings = (Rows, usize, Option<Noise>);

    fn forward(
        (rows, heads, noise): Self::Settings,
        [qkv]: [FlexTensor; 1],
        need: [bool; 1],
    ) -> (FlexTensor, Option<Self>) {
        let (n, h, mask) = (dim(&qkv, 0), dim(&qkv, 1) / 3, Mask::of(noise));
        let shape = attention::Shape { rows: &rows, heads, h };
        let (y, kept) = attention::forward(numbers(&qkv), shape, mask, need[0]);
        let saved = kept.map(|probabilities| Attention { qkv, probabilities, rows, heads, mask });
        (tensor(y, [n, h]), saved)
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let shape = attention::Shape { rows: &self.rows, heads: self.heads, h: dim(&d, 1) };
        let gradient =
            attention::backward(numbers(&d), numbers(&self.qkv), &self.probabilities, shape, self.mask);
        [Some(like(gradient, &self.qkv))]
    }

    fn plain<B: Backend>((rows, heads, noise): Self::Settings, [qkv]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        plain::attention::<B>(qkv, &rows, heads, noise)
    }
}

/// `y, residual, gamma, beta -> norm(dropout(y) + residual)`
pub(super) struct AddNorm {
    norm: norm::Saved,
    gamma: FlexTensor,
    mask: Option<Mask>,
}

impl Block<4> for AddNorm {
    type Settings = (f32, Option<Noise>);

    fn forward(
        (eps, noise): Self::Settings,
        [y, residual, gamma, beta]: [FlexTensor; 4],
        need: [bool; 4],
    ) -> (FlexTensor, Option<Self>) {
        let (mut y, mask) = (whole(y), Mask::of(noise));
        let numbers_of = norm::Norm { gamma: numbers(&gamma), beta: numbers(&beta), eps };
        if !need.contains(&true) {
            norm::forward(y.storage_mut(), Some(numbers(&residual)), numbers_of, mask);
            return (y, None);
        }
        let norm = norm::forward_and_save(y.storage_mut(), Some(numbers(&residual)), numbers_of, mask);
        (y, Some(AddNorm { norm, gamma, mask }))
    }

    fn backward(&self, d: FlexTensor, need: [bool; 4]) -> [Option<FlexTensor>; 4] {
        let mut d = whole(d);
        let [d_gamma, d_beta] = norm::backward(d.storage_mut(), &self.norm, numbers(&self.gamma));
        let residual = need[1].then(|| d.clone());
        let y = need[0].then(|| match self.mask {
            Some(mask) => {
                norm::dropout(d.storage_mut(), mask);
                d
            }
            None => d,
        });
        let width = d_gamma.len();
        let sums = [(need[2], d_gamma), (need[3], d_beta)];
        let [d_gamma, d_beta] = sums.map(|(need, sum)| need.then(|| tensor(sum, [width])));
        [y, residual, d_gamma, d_beta]
    }

    fn plain<B: Backend>(
        (eps, noise): Self::Settings,
        [y, residual, gamma, beta]: [FloatTensor<B>; 4],
    ) -> FloatTensor<B> {
        plain::add_norm::<B>(y, residual, gamma, beta, eps, noise)
    }
}

/// `x, gamma, beta -> norm(x)`
pub(super) struct Norm {
    norm: norm::Saved,
    gamma: FlexTensor,
}

impl Block<3> for Norm {
    type Settings = f32;

    fn forward(eps: f32, [x, gamma, beta]: [FlexTensor; 3], need: [bool; 3]) -> (FlexTensor, Option<Self>) {
        let mut y = whole(x);
        let numbers_of = norm::Norm { gamma: numbers(&gamma), beta: numbers(&beta), eps };
        if !need.contains(&true) {
            norm::forward(y.storage_mut(), None, numbers_of, None);
            return (y, None);
        }
        let norm = norm::forward_and_save(y.storage_mut(), None, numbers_of, None);
        (y, Some(Norm { norm, gamma }))
    }

    fn backward(&self, d: FlexTensor, need: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let mut d = whole(d);
        let [d_gamma, d_beta] = norm::backward(d.storage_mut(), &self.norm, numbers(&self.gamma));
        let width = d_gamma.len();
        let sums = [(need[1], d_gamma), (need[2], d_beta)];
        let [d_gamma, d_beta] = sums.map(|(need, sum)| need.then(|| tensor(sum, [width])));
        [need[0].then_some(d), d_gamma, d_beta]
    }

    fn plain<B: Backend>(eps: f32, [x, gamma, beta]: [FloatTensor<B>; 3]) -> FloatTensor<B> {
        plain::norm::<B>(x, gamma, beta, eps)
    }
}

/// `x -> dropout(x)`
pub(super) struct Dropout(Option<Mask>);

impl Block<1> for Dropout {
    type Settings = Noise;

    fn forward(noise: Noise, [x]: [FlexTensor; 1], need: [bool; 1]) -> (FlexTensor, Option<Self>) {
        let block = Dropout(Mask::of(Some(noise)));
        (block.apply(x), need[0].then_some(block))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(self.apply(d))]
    }

    fn plain<B: Backend>(noise: Noise, [x]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        plain::dropout::<B>(x, Some(noise))
    }
}

impl Dropout {
    fn apply(&self, x: FlexTensor) -> FlexTensor {
        let mut x = whole(x);
        if let Some(mask) = self.0 {
            norm::dropout(x.storage_mut(), mask);
        }
        x
    }
}

/// `x -> rows of x`
pub(super) struct Pick {
    index: Arc<[u32]>,
    shape: [usize; 2],
}

impl Block<1> for Pick {
    type Settings = Arc<[u32]>;

    fn forward(index: Arc<[u32]>, [x]: [FlexTensor; 1], need: [bool; 1]) -> (FlexTensor, Option<Self>) {
        let shape = [dim(&x, 0), dim(&x, 1)];
        let y = tensor(embed::pick(numbers(&x), &index, shape[1]), [index.len(), shape[1]]);
        (y, need[0].then_some(Pick { index, shape }))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let [n, h] = self.shape;
        [Some(tensor(embed::pick_backward(numbers(&d), &self.index, n, h), [n, h]))]
    }

    fn plain<B: Backend>(index: Arc<[u32]>, [x]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        plain::pick::<B>(x, &index)
    }
}

/// `x -> mean of each row's tokens`
pub(super) struct MeanRows(Rows);

impl Block<1> for MeanRows {
    type Settings = Rows;

    fn forward(rows: Rows, [x]: [FlexTensor; 1], need: [bool; 1]) -> (FlexTensor, Option<Self>) {
        let h = dim(&x, 1);
        let y = tensor(embed::mean_rows(numbers(&x), &rows, h), [rows.len() - 1, h]);
        (y, need[0].then_some(MeanRows(rows)))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let (h, n) = (dim(&d, 1), self.0[self.0.len() - 1]);
        [Some(tensor(embed::mean_rows_backward(numbers(&d), &self.0, h), [n, h]))]
    }

    fn plain<B: Backend>(rows: Rows, [x]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        plain::mean_rows::<B>(x, &rows)
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
