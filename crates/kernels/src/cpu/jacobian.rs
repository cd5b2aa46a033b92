//! Inner products of the rows of a Jacobian, and their weighted sum.

use super::simd;
use rayon::prelude::*;

/// Numbers of each row that are worked on at a time: a few dozen rows of them fit into the second cache.
const CHUNK: usize = 1 << 13;
/// Numbers that are added up in f32 before they go on in f64.
const RUN: usize = 512;

/// Adds `<row i, row j>` to `products[i K + j]` for all pairs of K rows of one length. In f64 over runs of f32, in an order that
/// does not depend on the threads. Each row is read once.
pub(crate) fn add_products(rows: &[&[f32]], products: &mut [f64]) {
    let (k, len) = (rows.len(), rows.first().map_or(0, |row| row.len()));
    let chunks = (0..len.div_ceil(CHUNK)).into_par_iter().map(|chunk| {
        let range = chunk * CHUNK..len.min((chunk + 1) * CHUNK);
        let rows: Vec<&[f32]> = rows.iter().map(|row| &row[range.clone()]).collect();
        let mut part = vec![0.0; k * k];
        lower(&rows, &mut part);
        part
    });
    for part in chunks.collect::<Vec<Vec<f64>>>() {
        for i in 0..k {
            for j in 0..=i {
                products[i * k + j] += part[i * k + j];
                if i != j {
                    products[j * k + i] += part[i * k + j];
                }
            }
        }
    }
}

/// `out := own out + sum_i weight_i row_i`
pub(crate) fn combine(out: &mut [f32], own: f32, rows: &[(f32, &[f32])]) {
    out.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| {
        simd::scale(out, own);
        for (weight, row) in rows {
            add_weighted(out, *weight, &row[chunk * CHUNK..][..out.len()]);
        }
    });
}

simd::simd! {
    /// The products of row i with the rows up to it.
    fn lower(rows: &[&[f32]], products: &mut [f64]) {
        let k = rows.len();
        for i in 0..k {
            for j in 0..=i {
                let runs = rows[i].chunks(RUN).zip(rows[j].chunks(RUN));
                products[i * k + j] = runs.map(|(a, b)| f64::from(simd::dot(a, b))).sum();
            }
        }
    }

    fn add_weighted(out: &mut [f32], weight: f32, row: &[f32]) {
        for (out, x) in out.iter_mut().zip(row) {
            *out += weight * x;
        }
    }
}
