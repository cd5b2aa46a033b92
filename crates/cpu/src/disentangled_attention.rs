//! Disentangled attention inside each row of a pack (He et al. 2021, "DeBERTa", equations 2 to 4): to the product of a query and a
//! key come that of the query and of a key for the distance between them, and that of the key and of a query for the distance.
//!
//! ```text
//! score[i, j] = (q_i k_j + q_i Pk[r] + k_j Pq[r]) / sqrt(d terms)          r = index[j - i], terms = 1 to 3
//! ```
//!
//! Rows are worked on in parallel, the heads of a row one by one.

use crate::attention::{QkvView, copy_dropped, cut, drop_out, softmax_backward};
use crate::dropout::DropoutMask;
use crate::matmul::{MatRef, Parallelism, add_product, product_into};
use crate::simd;
use rayon::prelude::*;
use std::ops::Range;

/// A disentangled attention over a pack.
#[derive(Clone, Copy)]
pub struct DisentangledArgs<'a> {
    /// `h` columns of queries.
    pub q: QkvView<'a>,
    /// `h` columns of keys, `h` of values. As many rows as there are of queries.
    pub kv: QkvView<'a>,
    /// Number of heads.
    pub heads: usize,
    /// Columns of all heads together.
    pub h: usize,
    /// `[queries]`: the position of each query among the keys of its row; `None`: the queries are the last ones.
    pub positions: Option<&'a [u32]>,
    /// `[distances, h]` each: keys, and queries, of relative positions; without numbers where that term is left out.
    pub tables: [&'a [f32]; 2],
    /// The row of the tables for each distance, the key's position less the query's, from `-reach` to `reach`.
    pub index: &'a [u32],
}

/// Which rows of the tables the distances of a row of the pack have, and where each is among them.
struct Relative<'a> {
    /// The rows of the tables that occur.
    rows: Range<usize>,
    /// By distance, from `-reach` on.
    index: &'a [u32],
    /// The position of each query.
    positions: Vec<usize>,
    keys: usize,
}

impl Relative<'_> {
    /// How many rows of the tables occur.
    fn width(&self) -> usize {
        self.rows.len()
    }

    /// For a query the row of each key's distance, in the tables.
    fn of_query(&self, query: usize) -> &[u32] {
        let first = self.index.len() / 2 - self.positions[query];
        &self.index[first..first + self.keys]
    }
}

impl<'a> DisentangledArgs<'a> {
    /// Columns of one head.
    fn d(&self) -> usize {
        self.h / self.heads
    }

    /// What scores are multiplied by.
    fn factor(&self) -> f32 {
        let terms = 1 + self.tables.iter().filter(|table| !table.is_empty()).count();
        1.0 / ((self.d() * terms) as f32).sqrt()
    }

    fn lengths(&self, row: usize) -> (usize, usize) {
        (self.q.tokens(row), self.kv.tokens(row))
    }

    fn row_count(&self) -> usize {
        self.q.rows.len() - 1
    }

    /// Probabilities of each row.
    fn probabilities(&self) -> impl Iterator<Item = usize> {
        (0..self.row_count()).map(|row| self.heads * self.q.tokens(row) * self.kv.tokens(row))
    }

    /// Index of each row's first probability.
    fn starts(&self) -> Vec<usize> {
        let next = |at: &mut usize, size: usize| Some(std::mem::replace(at, *at + size));
        self.probabilities().scan(0, next).collect()
    }

    /// The rows of the tables that the distances in a row of the pack may have.
    fn table_rows(&self, row: usize) -> Range<usize> {
        let (queries, keys) = self.lengths(row);
        if queries * keys == 0 || self.tables.iter().all(|table| table.is_empty()) {
            return 0..0;
        }
        let reach = self.index.len() / 2;
        let occurring = &self.index[reach + 1 - keys..reach + keys];
        let least = occurring.iter().copied().min().unwrap_or(0) as usize;
        least..occurring.iter().copied().max().map_or(0, |most| most as usize + 1)
    }

    fn relative(&self, row: usize) -> Relative<'a> {
        let (queries, keys) = self.lengths(row);
        let positions = match self.positions {
            Some(positions) => {
                let own = &positions[self.q.rows[row]..self.q.rows[row + 1]];
                own.iter().map(|position| *position as usize).collect()
            }
            None => (keys - queries..keys).collect(),
        };
        Relative { rows: self.table_rows(row), index: self.index, positions, keys }
    }

    /// The columns of a head in some rows of a table.
    fn of_table(&self, table: usize, rows: &Range<usize>, column: usize) -> MatRef<'a> {
        MatRef::block(&self.tables[table][rows.start * self.h + column..], rows.len(), self.d(), self.h)
    }
}

/// Context `[queries, h]` and, if asked for, the probabilities before dropout.
pub fn forward(
    args: DisentangledArgs,
    mask: Option<DropoutMask>,
    keep: bool,
) -> (Vec<f32>, Option<Vec<f32>>) {
    let (h, d) = (args.h, args.d());
    let mut context = vec![0.0; args.q.rows.last().copied().unwrap_or(0) * h];
    let mut kept = vec![0.0; if keep { args.probabilities().sum() } else { 0 }];
    let outputs = args.q.cut(&mut context, h);
    let kept_rows = cut(&mut kept, args.probabilities().map(|size| if keep { size } else { 0 }));
    let rows: Vec<_> = outputs.into_iter().zip(kept_rows).zip(args.starts()).enumerate().collect();
    rows.into_par_iter().for_each(|(row, ((out, kept), start))| {
        let (queries, keys) = args.lengths(row);
        let size = queries * keys;
        if size == 0 {
            return;
        }
        let relative = args.relative(row);
        let mut products = [queries, keys].map(|tokens| vec![0.0; tokens * relative.width()]);
        let mut scratch = vec![0.0; if keep && mask.is_none() { 0 } else { size }];
        for head in 0..args.heads {
            let p = if keep { &mut kept[head * size..][..size] } else { &mut scratch[..] };
            scores(p, &args, row, head * d, &relative, &mut products);
            softmax(p, keys);
            let at = start + head * size;
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
            let v = args.kv.block(row, h + head * d, d);
            let p = MatRef::new(p, queries, keys);
            product_into(&mut out[head * d..], h, p, v, 1.0, Parallelism::Serial);
        }
    });
    (context, keep.then_some(kept))
}

/// The scores `[queries, keys]` of the head whose columns begin at `column`. `products` are buffers: `[queries, width]` and
/// `[keys, width]`.
fn scores(
    scores: &mut [f32],
    args: &DisentangledArgs,
    row: usize,
    column: usize,
    relative: &Relative<'_>,
    products: &mut [Vec<f32>; 2],
) {
    let (d, factor, width) = (args.d(), args.factor(), relative.width());
    let (q, k) = (args.q.block(row, column, d), args.kv.block(row, column, d));
    product_into(scores, relative.keys, q, k.t(), factor, Parallelism::Serial);
    for (table, (tokens, product)) in [q, k].into_iter().zip(products).enumerate() {
        if args.tables[table].is_empty() {
            continue;
        }
        let of_table = args.of_table(table, &relative.rows, column);
        product_into(product, width, tokens, of_table.t(), factor, Parallelism::Serial);
        for (query, scores) in scores.chunks_exact_mut(relative.keys).enumerate() {
            let index = relative.of_query(query);
            match table {
                0 => add_of_query(scores, &product[query * width..][..width], index, relative.rows.start),
                _ => add_of_keys(scores, product, index, relative.rows.start, width),
            }
        }
    }
}

/// Gradients of the queries `[queries, h]`, of keys and values `[keys, 2h]`, and of the tables, from that of the context.
pub fn backward(
    dy: &[f32],
    kept: &[f32],
    args: DisentangledArgs,
    mask: Option<DropoutMask>,
) -> ([Vec<f32>; 2], [Vec<f32>; 2]) {
    let h = args.h;
    let (mut d_q, mut d_kv) = (vec![0.0; args.q.data.len()], vec![0.0; args.kv.data.len()]);
    // Of each row of the pack the gradients of the rows of the tables that occur in it.
    let sizes = || (0..args.row_count()).map(|row| args.table_rows(row).len() * h);
    let mut parts = args.tables.map(|table| vec![0.0; if table.is_empty() { 0 } else { sizes().sum() }]);
    let [of_keys, of_queries] = parts.each_mut().map(|part| {
        let is_there = !part.is_empty();
        cut(part, sizes().map(|size| if is_there { size } else { 0 }))
    });
    let outputs = args.q.cut(&mut d_q, h).into_iter().zip(args.kv.cut(&mut d_kv, 2 * h));
    let outputs = outputs.zip(of_keys.into_iter().zip(of_queries)).zip(args.starts());
    let rows: Vec<_> = outputs.enumerate().collect();
    rows.into_par_iter().for_each(|(row, (((d_q, d_kv), (of_keys, of_queries)), start))| {
        row_backward(&args, row, (dy, &kept[start..], start), mask, [d_q, d_kv], [of_keys, of_queries]);
    });
    let d_tables = [0, 1].map(|table| {
        let mut sum = vec![0.0; args.tables[table].len()];
        add_parts(&mut sum, &parts[table], &args);
        sum
    });
    ([d_q, d_kv], d_tables)
}

/// Adds up the gradients of a table, the rows of the pack one after the other, so that sums do not depend on threads.
fn add_parts(sum: &mut [f32], parts: &[f32], args: &DisentangledArgs) {
    if sum.is_empty() {
        return;
    }
    let mut begin = 0;
    for row in 0..args.row_count() {
        let rows = args.table_rows(row);
        let size = rows.len() * args.h;
        simd::add(&mut sum[rows.start * args.h..][..size], &parts[begin..begin + size]);
        begin += size;
    }
}

/// One row of the pack on the way back; `kept` and `at` are of its first probability.
fn row_backward(
    args: &DisentangledArgs,
    row: usize,
    (dy, kept, at): (&[f32], &[f32], usize),
    mask: Option<DropoutMask>,
    [d_q, d_kv]: [&mut [f32]; 2],
    d_tables: [&mut [f32]; 2],
) {
    let (h, d) = (args.h, args.d());
    let (queries, keys) = args.lengths(row);
    let size = queries * keys;
    if size == 0 {
        return;
    }
    let relative = args.relative(row);
    let (width, serial) = (relative.width(), Parallelism::Serial);
    let dy = QkvView { data: dy, rows: args.q.rows, width: h, column: 0 };
    let mut scores = vec![0.0; size];
    let mut dropped = vec![0.0; if mask.is_some() { size } else { 0 }];
    let mut d_products = [queries, keys].map(|tokens| vec![0.0; tokens * width]);
    for head in 0..args.heads {
        let column = head * d;
        let (q, k) = (args.q.block(row, column, d), args.kv.block(row, column, d));
        let (v, dy) = (args.kv.block(row, h + column, d), dy.block(row, column, d));
        let p = &kept[head * size..][..size];
        // d of the dropped-out probabilities, then of the scores.
        product_into(&mut scores, keys, dy, v.t(), 1.0, serial);
        let dropped_probs = match mask {
            Some(mask) => {
                drop_out(&mut scores, mask, at + head * size);
                copy_dropped(&mut dropped, p, mask, at + head * size);
                &dropped[..]
            }
            None => p,
        };
        softmax_backward(&mut scores, p, keys, args.factor());
        let [d_scores, dropped_probs] = [&scores[..], dropped_probs].map(|x| MatRef::new(x, queries, keys));
        product_into(&mut d_q[column..], h, d_scores, k, 1.0, serial);
        product_into(&mut d_kv[column..], 2 * h, d_scores.t(), q, 1.0, serial);
        product_into(&mut d_kv[h + column..], 2 * h, dropped_probs.t(), dy, 1.0, serial);
        for (table, d_product) in d_products.iter_mut().enumerate() {
            if args.tables[table].is_empty() {
                continue;
            }
            d_product.fill(0.0);
            for (query, scores) in scores.chunks_exact(keys).enumerate() {
                let index = relative.of_query(query);
                match table {
                    0 => {
                        let of_query = &mut d_product[query * width..][..width];
                        collect_of_query(of_query, scores, index, relative.rows.start);
                    }
                    _ => collect_of_keys(d_product, scores, index, relative.rows.start, width),
                }
            }
            let (tokens, d_tokens, stride) = match table {
                0 => (q, &mut d_q[column..], h),
                _ => (k, &mut d_kv[column..], 2 * h),
            };
            let d_product = MatRef::new(d_product, if table == 0 { queries } else { keys }, width);
            add_product(
                d_tokens,
                stride,
                d_product,
                args.of_table(table, &relative.rows, column),
                1.0,
                serial,
            );
            product_into(&mut d_tables[table][column..], h, d_product.t(), tokens, 1.0, serial);
        }
    }
}

/// Adds to the scores of a query its products with the keys of the distances.
fn add_of_query(scores: &mut [f32], product: &[f32], index: &[u32], first: usize) {
    for (score, at) in scores.iter_mut().zip(index) {
        *score += product[*at as usize - first];
    }
}

/// Adds to the scores of a query the products of each key with the query of its distance.
fn add_of_keys(scores: &mut [f32], products: &[f32], index: &[u32], first: usize, width: usize) {
    for ((score, at), product) in scores.iter_mut().zip(index).zip(products.chunks_exact(width)) {
        *score += product[*at as usize - first];
    }
}

/// The way back of [`add_of_query`].
fn collect_of_query(product: &mut [f32], scores: &[f32], index: &[u32], first: usize) {
    for (score, at) in scores.iter().zip(index) {
        product[*at as usize - first] += score;
    }
}

/// The way back of [`add_of_keys`].
fn collect_of_keys(products: &mut [f32], scores: &[f32], index: &[u32], first: usize, width: usize) {
    for ((score, at), product) in scores.iter().zip(index).zip(products.chunks_exact_mut(width)) {
        product[*at as usize - first] += score;
    }
}

simd::simd! {
    /// Softmax of each query's scores.
    fn softmax(scores: &mut [f32], keys: usize) {
        for row in scores.chunks_exact_mut(keys) {
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
}
