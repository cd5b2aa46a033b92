//! Means of the squares of a matrix's rows and columns, of which Adafactor makes its second moment.

use crate::{ROWS, reduce_partials, simd::simd};
use rayon::prelude::*;

/// The means of `(scale x)^2` over each row and over each column of `x`, whose rows have `h` numbers.
pub fn rows_and_columns(x: &[f32], h: usize, scale: f32) -> [Vec<f32>; 2] {
    let n = x.len().checked_div(h).unwrap_or(0);
    let mut rows = vec![0.0; n];
    let chunks = x.par_chunks(ROWS * h.max(1)).zip(rows.par_chunks_mut(ROWS));
    let parts: Vec<[Vec<f32>; 1]> = chunks
        .map(|(x, rows)| {
            let mut columns = vec![0.0; h];
            for (x, row) in x.chunks_exact(h).zip(rows) {
                *row = add_squares(x, scale, &mut columns) / h as f32;
            }
            [columns]
        })
        .collect();
    let [mut columns] = reduce_partials(h, parts);
    columns.iter_mut().for_each(|column| *column /= n.max(1) as f32);
    [rows, columns]
}

simd! {
    /// Adds the squares to the columns; gives their sum.
    fn add_squares(x: &[f32], scale: f32, columns: &mut [f32]) -> f32 {
        let mut lanes = [0.0f32; 16];
        for (i, (x, column)) in x.iter().zip(columns).enumerate() {
            let square = (x * scale) * (x * scale);
            *column += square;
            lanes[i % 16] += square;
        }
        lanes.iter().sum()
    }
}
