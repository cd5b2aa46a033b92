//! Attention inside each row of a pack, from queries to keys and values of the same row. Rows are worked on in parallel,
//! the heads of a row one by one.

use crate::dropout::DropoutMask;
use crate::matmul::{MatRef, Parallelism, add_product, product_into};
use crate::simd;
use rayon::prelude::*;
use std::ops::Range;

/// Tokens of a pack, laid out as rows of `width` numbers; the wanted ones begin at `column`.
#[derive(Clone, Copy)]
pub struct QkvView<'a> {
    /// `[n, width]`
    pub data: &'a [f32],
    /// Offsets of the pack's rows.
    pub rows: &'a [usize],
    /// Numbers of a token.
    pub width: usize,
    /// Where in a token the queries, or the keys, begin; the values follow the keys.
    pub column: usize,
}

impl<'a> QkvView<'a> {
    /// Tokens of a row.
    pub(crate) fn tokens(&self, row: usize) -> usize {
        self.rows[row + 1] - self.rows[row]
    }

    /// `d` columns of each of the row's tokens, from `column` of the wanted ones on.
    pub(crate) fn block(&self, row: usize, column: usize, d: usize) -> MatRef<'a> {
        let begin = self.rows[row] * self.width + self.column + column;
        MatRef::block(&self.data[begin..], self.tokens(row), d, self.width)
    }

    /// Cuts a buffer with `width` numbers a token into the pack's rows.
    pub(crate) fn cut<'b>(&self, buffer: &'b mut [f32], width: usize) -> Vec<&'b mut [f32]> {
        cut(buffer, self.rows.windows(2).map(|row| (row[1] - row[0]) * width))
    }
}

/// An attention over a pack.
#[derive(Clone, Copy)]
pub struct AttentionArgs<'a> {
    /// `h` columns of queries.
    pub q: QkvView<'a>,
    /// `d kv_heads` columns of keys, as many of values, where `d = h / heads`. As many rows as there are of queries.
    pub kv: QkvView<'a>,
    /// Number of heads.
    pub heads: usize,
    /// Heads of keys and values, which divide `heads`: each is that of as many heads in a row.
    pub kv_heads: usize,
    /// Columns of all heads together.
    pub h: usize,
    /// A query sees only keys that are at most so far from it.
    pub window: Option<usize>,
    /// What scores are multiplied by; `None`: one over the root of a head's columns, or 1 where there is a bias.
    pub scale: Option<f32>,
    /// Whether a query sees only the keys up to its own position.
    pub causal: bool,
    /// `[queries]`: the position of each query among the keys of its row; `None`: the queries are the last ones.
    pub positions: Option<&'a [u32]>,
    /// Added to the scores, which are then not divided by a root.
    pub bias: Option<Bias<'a>>,
}

/// A number for each head and distance from a query to a key.
#[derive(Clone, Copy)]
pub struct Bias<'a> {
    /// `[heads, 2 max_distance + 1]`, by distances from `-max_distance` to `max_distance`.
    pub table: &'a [f32],
    /// The farthest distance that has a number of its own.
    pub max_distance: usize,
}

impl Bias<'_> {
    /// How many distances there are.
    fn distances(&self) -> usize {
        2 * self.max_distance + 1
    }

    /// Adds to the scores of a head `[queries, keys]`.
    fn add(&self, scores: &mut [f32], head: usize, mask: CausalMask) {
        let table = &self.table[head * self.distances()..];
        for (query, scores) in scores.chunks_exact_mut(mask.keys).enumerate() {
            let first = self.max_distance.wrapping_add_signed(-mask.position(query));
            scores.iter_mut().zip(&table[first..]).for_each(|(score, bias)| *score += bias);
        }
    }
}

impl<'a> AttentionArgs<'a> {
    /// Columns of one head.
    fn d(&self) -> usize {
        self.h / self.heads
    }

    /// Columns of the keys.
    fn kv_h(&self) -> usize {
        self.d() * self.kv_heads
    }

    /// Heads that have the same keys and values.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Keys and values of a head in a row.
    fn keys_and_values(&self, row: usize, head: usize) -> [MatRef<'a>; 2] {
        let (d, column) = (self.d(), head / self.group() * self.d());
        [0, self.kv_h()].map(|part| self.kv.block(row, part + column, d))
    }

    /// What scores are multiplied by.
    fn factor(&self) -> f32 {
        let usual = if self.bias.is_some() { 1.0 } else { 1.0 / (self.d() as f32).sqrt() };
        self.scale.unwrap_or(usual)
    }

    /// Queries and keys of a row.
    fn lengths(&self, row: usize) -> (usize, usize) {
        (self.q.tokens(row), self.kv.tokens(row))
    }

    /// Probabilities of each row.
    fn probabilities(&self) -> impl Iterator<Item = usize> {
        let of_row = |row| self.heads * self.q.tokens(row) * self.kv.tokens(row);
        (0..self.q.rows.len() - 1).map(of_row)
    }

    /// Index of each row's first probability.
    fn starts(&self) -> Vec<usize> {
        let next = |at: &mut usize, size: usize| Some(std::mem::replace(at, *at + size));
        self.probabilities().scan(0, next).collect()
    }

    /// Which keys the queries of a row see.
    fn causal_mask(&self, row: usize) -> CausalMask<'a> {
        let (queries, keys) = self.lengths(row);
        let positions = self.positions.map(|positions| &positions[self.q.rows[row]..self.q.rows[row + 1]]);
        CausalMask { queries, keys, causal: self.causal, window: self.window, positions }
    }
}

/// Queries and keys of a row, and which keys a query sees.
#[derive(Clone, Copy)]
struct CausalMask<'a> {
    queries: usize,
    keys: usize,
    /// Whether a query sees no key after its own position.
    causal: bool,
    /// How far away a key may be.
    window: Option<usize>,
    positions: Option<&'a [u32]>,
}

impl CausalMask<'_> {
    /// The position of a query among the keys; below 0 where there are more queries than keys.
    #[inline(always)]
    fn position(&self, query: usize) -> isize {
        match self.positions {
            Some(positions) => positions[query] as isize,
            None => query as isize + self.keys as isize - self.queries as isize,
        }
    }

    /// The keys that a query sees.
    #[inline(always)]
    fn visible_keys(&self, query: usize) -> Range<usize> {
        let position = self.position(query);
        let at = |key: isize| key.clamp(0, self.keys as isize) as usize;
        let window = self.window.map(|window| isize::try_from(window).unwrap_or(isize::MAX));
        let begin = window.map_or(0, |window| at(position.saturating_sub(window)));
        let end = match (self.causal, window) {
            (true, _) => at(position + 1),
            (false, Some(window)) => at(position.saturating_add(window).saturating_add(1)),
            (false, None) => self.keys,
        };
        begin..end.max(begin)
    }

    /// How many distances there are between the queries and the keys, and the least of them.
    fn distances(&self) -> (usize, isize) {
        match (self.queries, self.keys, self.positions) {
            (0, _, _) | (_, 0, _) => (0, 0),
            (_, keys, Some(_)) => (2 * keys - 1, 1 - keys as isize),
            (queries, keys, None) => (queries + keys - 1, 1 - keys as isize),
        }
    }
}

/// Cuts a buffer into pieces of the given sizes.
pub(crate) fn cut(mut buffer: &mut [f32], sizes: impl Iterator<Item = usize>) -> Vec<&mut [f32]> {
    let piece = |size| {
        let piece;
        (piece, buffer) = std::mem::take(&mut buffer).split_at_mut(size);
        piece
    };
    sizes.map(piece).collect()
}

/// Context `[queries, h]` and, if asked for, the probabilities before dropout.
pub fn forward(shape: AttentionArgs, mask: Option<DropoutMask>, keep: bool) -> (Vec<f32>, Option<Vec<f32>>) {
    let (h, heads, d) = (shape.h, shape.heads, shape.d());
    let tokens = shape.q.rows.last().copied().unwrap_or(0);
    let mut context = vec![0.0; tokens * h];
    let mut kept = vec![0.0; if keep { shape.probabilities().sum() } else { 0 }];
    let outputs = shape.q.cut(&mut context, h);
    let kept_rows = cut(&mut kept, shape.probabilities().map(|size| if keep { size } else { 0 }));
    let rows: Vec<_> = outputs.into_iter().zip(kept_rows).zip(shape.starts()).enumerate().collect();
    rows.into_par_iter().for_each(|(row, ((out, kept), start))| {
        let (queries, keys) = shape.lengths(row);
        let size = queries * keys;
        if size == 0 {
            return;
        }
        let mut scratch = vec![0.0; if keep && mask.is_none() { 0 } else { size }];
        for head in 0..heads {
            let q = shape.q.block(row, head * d, d);
            let [k, v] = shape.keys_and_values(row, head);
            let at = start + head * size;
            let p = if keep { &mut kept[head * size..][..size] } else { &mut scratch[..] };
            product_into(p, keys, q, k.t(), shape.factor(), Parallelism::Serial);
            if let Some(bias) = shape.bias {
                bias.add(p, head, shape.causal_mask(row));
            }
            softmax(p, shape.causal_mask(row));
            let p = match mask {
                Some(mask) if keep => {
                    copy_dropped(&mut scratch, &kept[head * size..][..size], mask, at);
                    &scratch[..]
                }
                Some(mask) => {
                    drop_out(p, mask, at);
                    &p[..]
                }
                None => &p[..],
            };
            let p = MatRef::new(p, queries, keys);
            product_into(&mut out[head * d..], h, p, v, 1.0, Parallelism::Serial);
        }
    });
    (context, keep.then_some(kept))
}

/// Gradient of queries, keys and values that lie side by side, `[n, 3h]`, from that of the context, `dy` `[n, h]`. Every head has its
/// own keys.
pub fn self_backward(dy: &[f32], kept: &[f32], shape: AttentionArgs, mask: Option<DropoutMask>) -> Vec<f32> {
    let h = shape.h;
    assert_eq!(shape.heads, shape.kv_heads, "side by side every head has its own keys");
    let mut gradient = vec![0.0; shape.q.data.len()];
    let outputs = shape.q.cut(&mut gradient, 3 * h);
    backward(outputs, dy, kept, shape, mask, |out, head| {
        let at = |part: usize, out: &mut [f32], a: MatRef, b: MatRef| {
            product_into(&mut out[part * h + head.column..], 3 * h, a, b, 1.0, Parallelism::Serial);
        };
        at(0, out, head.d_scores, head.k);
        at(1, out, head.d_scores.t(), head.q);
        at(2, out, head.dropped_probs.t(), head.dy);
    });
    gradient
}

/// Gradients of the queries `[queries, h]` and of keys and values `[keys, 2 kv_heads d]` from that of the context.
pub fn cross_backward(
    dy: &[f32],
    kept: &[f32],
    shape: AttentionArgs,
    mask: Option<DropoutMask>,
) -> [Vec<f32>; 2] {
    let (mut d_q, mut d_kv) = (vec![0.0; shape.q.data.len()], vec![0.0; shape.kv.data.len()]);
    let kv_width = 2 * shape.kv_h();
    let outputs = shape.q.cut(&mut d_q, shape.h).into_iter().zip(shape.kv.cut(&mut d_kv, kv_width)).collect();
    backward(outputs, dy, kept, shape, mask, |(d_q, d_kv), head| write_gradients(shape, d_q, d_kv, &head));
    [d_q, d_kv]
}

/// Writes the gradient of a head's queries into a row's, and adds that of its keys and values, which heads of a group share.
fn write_gradients(shape: AttentionArgs, d_q: &mut [f32], d_kv: &mut [f32], head: &Head<'_>) {
    let (kv_h, first) = (shape.kv_h(), head.index.is_multiple_of(shape.group()));
    product_into(&mut d_q[head.column..], shape.h, head.d_scores, head.k, 1.0, Parallelism::Serial);
    let column = head.index / shape.group() * shape.d();
    let write = if first { product_into } else { add_product };
    write(&mut d_kv[column..], 2 * kv_h, head.d_scores.t(), head.q, 1.0, Parallelism::Serial);
    write(&mut d_kv[kv_h + column..], 2 * kv_h, head.dropped_probs.t(), head.dy, 1.0, Parallelism::Serial);
}

/// [`cross_backward`] of an attention with a bias, and the gradient of the bias, `[heads, 2 max_distance + 1]`.
pub fn relative_backward(
    dy: &[f32],
    kept: &[f32],
    shape: AttentionArgs,
    bias: Bias<'_>,
    mask: Option<DropoutMask>,
) -> [Vec<f32>; 3] {
    let (h, kv_width) = (shape.h, 2 * shape.kv_h());
    let (mut d_q, mut d_kv) = (vec![0.0; shape.q.data.len()], vec![0.0; shape.kv.data.len()]);
    // Of each row and head a number for each distance that occurs in it.
    let wide = |row| shape.causal_mask(row).distances().0;
    let rows = shape.q.rows.len() - 1;
    let mut parts = vec![0.0; (0..rows).map(|row| shape.heads * wide(row)).sum()];
    let pieces = cut(&mut parts, (0..rows).map(|row| shape.heads * wide(row)));
    let outputs = shape.q.cut(&mut d_q, h).into_iter().zip(shape.kv.cut(&mut d_kv, kv_width)).zip(pieces);
    backward(outputs.collect(), dy, kept, shape, mask, |((d_q, d_kv), part), head| {
        write_gradients(shape, d_q, d_kv, &head);
        let (distances, least) = head.causal_mask.distances();
        let part = &mut part[head.index * distances..];
        for (query, d) in head.d_numbers.chunks_exact(head.causal_mask.keys).enumerate() {
            let first = (-head.causal_mask.position(query) - least) as usize;
            part[first..].iter_mut().zip(d).for_each(|(sum, d)| *sum += d);
        }
    });
    // The rows one after the other, so that the sums do not depend on threads.
    let (mut d_bias, mut begin) = (vec![0.0; bias.table.len()], 0);
    for row in 0..rows {
        for head in 0..shape.heads {
            let part = &parts[begin..begin + wide(row)];
            if !part.is_empty() {
                let first = bias.max_distance.wrapping_add_signed(shape.causal_mask(row).distances().1);
                let to = &mut d_bias[head * bias.distances() + first..];
                to.iter_mut().zip(part).for_each(|(sum, d)| *sum += d);
            }
            begin += part.len();
        }
    }
    [d_q, d_kv, d_bias]
}

/// One head of one row on the way back.
struct Head<'a> {
    /// Its number.
    index: usize,
    causal_mask: CausalMask<'a>,
    /// Where its columns begin.
    column: usize,
    q: MatRef<'a>,
    k: MatRef<'a>,
    /// Gradient of the context.
    dy: MatRef<'a>,
    /// Gradient of the scores, `[queries, keys]`.
    d_scores: MatRef<'a>,
    /// The same, row by row.
    d_numbers: &'a [f32],
    /// The probabilities after dropout.
    dropped_probs: MatRef<'a>,
}

/// Hands every head of every row, with the row's piece of the output, to `write`.
fn backward<T: Send>(
    outputs: Vec<T>,
    dy: &[f32],
    kept: &[f32],
    shape: AttentionArgs,
    mask: Option<DropoutMask>,
    write: impl Fn(&mut T, Head<'_>) + Sync,
) {
    let (h, d) = (shape.h, shape.d());
    let dy = QkvView { data: dy, rows: shape.q.rows, width: h, column: 0 };
    let rows: Vec<_> = outputs.into_iter().zip(shape.starts()).enumerate().collect();
    rows.into_par_iter().for_each(|(row, (mut out, start))| {
        let (queries, keys) = shape.lengths(row);
        let size = queries * keys;
        if size == 0 {
            return;
        }
        let mut scores = vec![0.0; size];
        let mut dropped = vec![0.0; if mask.is_some() { size } else { 0 }];
        for head in 0..shape.heads {
            let column = head * d;
            let (q, dy) = (shape.q.block(row, column, d), dy.block(row, column, d));
            let [k, v] = shape.keys_and_values(row, head);
            let at = start + head * size;
            let p = &kept[at..][..size];
            // d of the dropped-out probabilities, then of the scores.
            product_into(&mut scores, keys, dy, v.t(), 1.0, Parallelism::Serial);
            let dropped_probs = match mask {
                Some(mask) => {
                    drop_out(&mut scores, mask, at);
                    copy_dropped(&mut dropped, p, mask, at);
                    &dropped[..]
                }
                None => p,
            };
            softmax_backward(&mut scores, p, keys, shape.factor());
            let [d_scores, dropped_probs] =
                [&scores[..], dropped_probs].map(|x| MatRef::new(x, queries, keys));
            let (index, causal_mask, d_numbers) = (head, shape.causal_mask(row), &scores[..]);
            write(
                &mut out,
                Head { index, causal_mask, column, q, k, dy, d_scores, d_numbers, dropped_probs },
            );
        }
    });
}

simd::simd! {
    /// Softmax of each query's scores, over the keys that it sees; zeros for the others.
    fn softmax(scores: &mut [f32], causal_mask: CausalMask<'_>) {
        for (query, row) in scores.chunks_exact_mut(causal_mask.keys).enumerate() {
            let seen = causal_mask.visible_keys(query);
            row[..seen.start].fill(0.0);
            row[seen.end..].fill(0.0);
            let row = &mut row[seen];
            let most = simd::max(row);
            for x in row.iter_mut() {
                *x = simd::exp(*x - most);
            }
            let inverse = 1.0 / simd::sum(row);
            for x in row {
                *x *= inverse;
            }
        }
    }

    /// `d := (d - d.p) p factor` for each row.
    pub(crate) fn softmax_backward(d: &mut [f32], p: &[f32], keys: usize, factor: f32) {
        for (d, p) in d.chunks_exact_mut(keys).zip(p.chunks_exact(keys)) {
            let along = simd::dot(d, p);
            for (d, p) in d.iter_mut().zip(p) {
                *d = (*d - along) * p * factor;
            }
        }
    }

    pub(crate) fn drop_out(x: &mut [f32], mask: DropoutMask, at: usize) {
        for (i, x) in x.iter_mut().enumerate() {
            *x *= mask.factor(at + i);
        }
    }

    pub(crate) fn copy_dropped(to: &mut [f32], from: &[f32], mask: DropoutMask, at: usize) {
        for (i, (to, from)) in to.iter_mut().zip(from).enumerate() {
            *to = from * mask.factor(at + i);
        }
    }
}
