//! Inner products of the rows of a Jacobian, and their weighted sum.

use crate::simd;
use rayon::prelude::*;

/// Numbers of each row that are worked on at a time: a few dozen rows of them fit into the second cache.
const CHUNK: usize = 1 << 13;
/// Numbers that are added up in f32 before they go on in f64.
const RUN: usize = 512;

/// `<row i, row j>` for every row i of one length and every j up to it, i by i. In f64 over runs of f32, in an order that does
/// not depend on the threads. Each row is read once.
pub fn products(rows: &[&[f32]]) -> Vec<f64> {
    let len = rows.first().map_or(0, |row| row.len());
    let chunks = (0..len.div_ceil(CHUNK)).into_par_iter().map(|chunk| {
        let range = chunk * CHUNK..len.min((chunk + 1) * CHUNK);
        let rows: Vec<&[f32]> = rows.iter().map(|row| &row[range.clone()]).collect();
        let mut part = vec![0.0; rows.len() * (rows.len() + 1) / 2];
        products_of_chunk(&rows, &mut part);
        part
    });
    let mut total = vec![0.0; rows.len() * (rows.len() + 1) / 2];
    for part in chunks.collect::<Vec<Vec<f64>>>() {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    total
}

/// `out := own out + sum_i weight_i row_i`
pub fn weighted_sum(out: &mut [f32], own: f32, rows: &[(f32, &[f32])]) {
    out.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| {
        simd::scale(out, own);
        for (weight, row) in rows {
            simd::add_scaled(out, *weight, &row[chunk * CHUNK..][..out.len()]);
        }
    });
}

simd::simd! {
    // Loops, not iterators with closures: those are compiled without the instructions that this is all about. Run by run,
    // so that every row's part stays in the first cache while it meets the others.
    fn products_of_chunk(rows: &[&[f32]], products: &mut [f64]) {
        let len = rows[0].len();
        let mut begin = 0;
        while begin < len {
            let end = if len - begin < RUN { len } else { begin + RUN };
            let mut at = 0;
            for i in 0..rows.len() {
                for j in 0..i + 1 {
                    products[at] += f64::from(simd::dot(&rows[i][begin..end], &rows[j][begin..end]));
                    at += 1;
                }
            }
            begin = end;
        }
    }
}
