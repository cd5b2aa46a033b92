//! Self-attention inside each row of a pack. Rows are worked on in parallel, the heads of a row one by one.

use super::matmul::{Matrix, Threads, product_into};
use super::simd;
use crate::noise::Mask;
use rayon::prelude::*;

/// The shape of an attention over a pack.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'a> {
    /// Offsets of the rows.
    pub rows: &'a [usize],
    /// Number of heads.
    pub heads: usize,
    /// Columns of all heads together.
    pub h: usize,
}

impl Shape<'_> {
    /// Columns of one head.
    fn d(&self) -> usize {
        self.h / self.heads
    }

    /// What scores are multiplied by.
    fn factor(&self) -> f32 {
        1.0 / (self.d() as f32).sqrt()
    }

    /// Tokens of each row.
    fn lengths(&self) -> impl Iterator<Item = usize> {
        self.rows.windows(2).map(|row| row[1] - row[0])
    }

    /// Probabilities of all rows: `heads t^2` each.
    fn probabilities(&self) -> usize {
        self.lengths().map(|t| self.heads * t * t).sum()
    }

    /// Index of each row's first probability.
    fn starts(&self) -> Vec<usize> {
        let next = |at: &mut usize, t: usize| Some(std::mem::replace(at, *at + self.heads * t * t));
        self.lengths().scan(0, next).collect()
    }

    /// Cuts a buffer with `each(t)` numbers for a row of `t` tokens into its rows.
    fn cut<'a>(&self, mut buffer: &'a mut [f32], each: impl Fn(usize) -> usize) -> Vec<&'a mut [f32]> {
        let rows = self.lengths().map(|t| {
            let row;
            (row, buffer) = std::mem::take(&mut buffer).split_at_mut(each(t));
            row
        });
        rows.collect()
    }

    /// The same for a buffer that is only read.
    fn row<'a>(&self, buffer: &'a [f32], row: usize, width: usize) -> &'a [f32] {
        &buffer[self.rows[row] * width..self.rows[row + 1] * width]
    }
}

/// `qkv` `[n, 3h]` -> context `[n, h]` and, if asked for, the probabilities before dropout.
pub(crate) fn forward(
    qkv: &[f32],
    shape: Shape,
    mask: Option<Mask>,
    keep: bool,
) -> (Vec<f32>, Option<Vec<f32>>) {
    let (h, heads, d) = (shape.h, shape.heads, shape.d());
    let mut context = vec![0.0; qkv.len() / 3];
    let mut kept = vec![0.0; if keep { shape.probabilities() } else { 0 }];
    let outputs = shape.cut(&mut context, |t| t * h);
    let kept_rows = shape.cut(&mut kept, |t| if keep { heads * t * t } else { 0 });
    let rows: Vec<_> = outputs.into_iter().zip(kept_rows).zip(shape.starts()).enumerate().collect();
    rows.into_par_iter().for_each(|(row, ((out, kept), start))| {
        let x = shape.row(qkv, row, 3 * h);
        let t = out.len() / h;
        if t == 0 {
            return;
        }
        let mut scratch = vec![0.0; if keep && mask.is_none() { 0 } else { t * t }];
        for head in 0..heads {
            let [q, k, v] = [0, h, 2 * h].map(|part| Matrix::block(&x[part + head * d..], t, d, 3 * h));
            let at = start + head * t * t;
            let p = if keep { &mut kept[head * t * t..][..t * t] } else { &mut scratch[..] };
            product_into(p, t, q, k.t(), shape.factor(), Threads::Own);
            softmax(p, t);
            let p = match mask {
                Some(mask) if keep => {
                    copy_dropped(&mut scratch, &kept[head * t * t..][..t * t], mask, at);
                    &scratch[..]
                }
                Some(mask) => {
                    drop_out(p, mask, at);
                    &p[..]
                }
                None => &p[..],
            };
            product_into(&mut out[head * d..], h, Matrix::new(p, t, t), v, 1.0, Threads::Own);
        }
    });
    (context, keep.then_some(kept))
}

/// Gradient of `qkv` from that of the context, `dy` `[n, h]`.
pub(crate) fn backward(dy: &[f32], qkv: &[f32], kept: &[f32], shape: Shape, mask: Option<Mask>) -> Vec<f32> {
    let (h, heads, d) = (shape.h, shape.heads, shape.d());
    let mut gradient = vec![0.0; qkv.len()];
    let outputs = shape.cut(&mut gradient, |t| t * 3 * h);
    let rows: Vec<_> = outputs.into_iter().zip(shape.starts()).enumerate().collect();
    rows.into_par_iter().for_each(|(row, (out, start))| {
        let (x, dy) = (shape.row(qkv, row, 3 * h), shape.row(dy, row, h));
        let t = dy.len() / h;
        if t == 0 {
            return;
        }
        let mut scores = vec![0.0; t * t];
        let mut dropped = vec![0.0; if mask.is_some() { t * t } else { 0 }];
        for head in 0..heads {
            let [q, k, v] = [0, h, 2 * h].map(|part| Matrix::block(&x[part + head * d..], t, d, 3 * h));
            let dy = Matrix::block(&dy[head * d..], t, d, h);
            let at = start + head * t * t;
            let p = &kept[at..][..t * t];
            // d of the dropped-out probabilities, then of the scores.
            product_into(&mut scores, t, dy, v.t(), 1.0, Threads::Own);
            let seen = match mask {
                Some(mask) => {
                    drop_out(&mut scores, mask, at);
                    copy_dropped(&mut dropped, p, mask, at);
                    &dropped[..]
                }
                None => p,
            };
            softmax_backward(&mut scores, p, t, shape.factor());
            let d_scores = Matrix::new(&scores, t, t);
            let column = |part: usize| part * h + head * d;
            product_into(&mut out[column(0)..], 3 * h, d_scores, k, 1.0, Threads::Own);
            product_into(&mut out[column(1)..], 3 * h, d_scores.t(), q, 1.0, Threads::Own);
            product_into(&mut out[column(2)..], 3 * h, Matrix::new(seen, t, t).t(), dy, 1.0, Threads::Own);
        }
    });
    gradient
}

simd::simd! {
    /// Softmax of each row of a square.
    fn softmax(square: &mut [f32], t: usize) {
        for row in square.chunks_exact_mut(t) {
            let most = simd::max(row);
            for x in row.iter_mut() {
                *x = simd::exp(*x - most);
            }
            let inverse = 1.0 / simd::sum(row);
            for x in row.iter_mut() {
                *x *= inverse;
            }
        }
    }

    /// `d := (d - d.p) p factor` for each row.
    fn softmax_backward(d: &mut [f32], p: &[f32], t: usize, factor: f32) {
        for (d, p) in d.chunks_exact_mut(t).zip(p.chunks_exact(t)) {
            let along = simd::dot(d, p);
            for (d, p) in d.iter_mut().zip(p) {
                *d = (*d - along) * p * factor;
            }
        }
    }

    fn drop_out(x: &mut [f32], mask: Mask, at: usize) {
        for (i, x) in x.iter_mut().enumerate() {
            *x *= mask.factor(at + i);
        }
    }

    fn copy_dropped(to: &mut [f32], from: &[f32], mask: Mask, at: usize) {
        for (i, (to, from)) in to.iter_mut().zip(from).enumerate() {
            *to = from * mask.factor(at + i);
        }
    }
}
