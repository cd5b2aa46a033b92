//! Picking rows and averaging them, and the additions that undo both.

use crate::uninit::zeros;
use crate::{ROWS, simd};
use rayon::prelude::*;

/// Row `i` of the result is row `index[i]` of `x`, whose rows have `h` numbers.
pub fn gather_rows(x: &[f32], index: &[u32], h: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(index.len() * h);
    for &i in index {
        out.extend_from_slice(&x[i as usize * h..][..h]);
    }
    out
}

/// [`gather_rows`] from the concatenation of two matrices, which is not made.
pub fn gather_rows_concat([a, b]: [&[f32]; 2], index: &[u32], h: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(index.len() * h);
    for start in index.iter().map(|&i| i as usize * h) {
        out.extend_from_slice(if start < a.len() { &a[start..][..h] } else { &b[start - a.len()..][..h] });
    }
    out
}

/// Row `i` of the result is the sum of row `ids[t][i]` of every table `t`, first to last.
pub fn add_tables<const N: usize>(tables: [&[f32]; N], ids: [&[u32]; N], h: usize) -> Vec<f32> {
    let mut out = gather_rows(tables[0], ids[0], h);
    if h > 0 {
        out.par_chunks_mut(ROWS * h).enumerate().for_each(|(chunk, out)| {
            for (row, i) in out.chunks_exact_mut(h).zip(chunk * ROWS..) {
                for (table, ids) in tables.iter().zip(ids).skip(1) {
                    simd::add(row, &table[ids[i] as usize * h..][..h]);
                }
            }
        });
    }
    out
}

/// Adds row `i` of `dy` to row `index[i]` of a zero matrix of `n` rows, in order.
pub fn gather_rows_backward(dy: &[f32], index: &[u32], n: usize, h: usize) -> Vec<f32> {
    let mut dx = zeros(n * h);
    if h > 0 {
        for (&i, dy) in index.iter().zip(dy.chunks_exact(h)) {
            simd::add(&mut dx[i as usize * h..][..h], dy);
        }
    }
    dx
}

/// The mean of each row's tokens; zeros for a row without tokens.
pub fn segment_mean(x: &[f32], rows: &[usize], h: usize) -> Vec<f32> {
    let mut means = vec![0.0; (rows.len() - 1) * h];
    if h > 0 {
        means.par_chunks_mut(h).zip(rows.par_windows(2)).for_each(|(mean, row)| {
            for token in x[row[0] * h..row[1] * h].chunks_exact(h) {
                simd::add(mean, token);
            }
            simd::scale(mean, 1.0 / (row[1] - row[0]).max(1) as f32);
        });
    }
    means
}

/// Each token's share of its row's gradient.
pub fn segment_mean_backward(dy: &[f32], rows: &[usize], h: usize) -> Vec<f32> {
    let mut dx = Vec::with_capacity(rows.last().map_or(0, |n| n * h));
    for (row, mean) in rows.windows(2).zip(0..) {
        let t = row[1] - row[0];
        let start = dx.len();
        if t > 0 {
            dx.extend(dy[mean * h..][..h].iter().map(|d| d / t as f32));
            for _ in 1..t {
                dx.extend_from_within(start..start + h);
            }
        }
    }
    dx
}
