//! Products of a matrix and a vector for each of many rows.

use crate::simd::{dot, simd};
use rayon::prelude::*;

/// `y[i] = a[i] x[i]`: of each row a matrix of `x`'s width `w`, `a` `[n, k w]`, and a vector, `x` `[n, w]`; `y` `[n, k]`.
pub fn forward(a: &[f32], x: &[f32], [k, w]: [usize; 2]) -> Vec<f32> {
    let n = rows(a, x, [k, w]);
    let mut y = vec![0.0; n * k];
    if w > 0 && k > 0 {
        let rows = y.par_chunks_mut(k).zip(a.par_chunks(k * w).zip(x.par_chunks(w)));
        rows.for_each(|(y, (a, x))| products(a, x, y));
    }
    y
}

/// The gradients of `a` and `x` from that of `y`.
pub fn backward(d: &[f32], a: &[f32], x: &[f32], [k, w]: [usize; 2]) -> [Vec<f32>; 2] {
    assert_eq!(d.len(), rows(a, x, [k, w]) * k, "matvec: a gradient for each product");
    let (mut da, mut dx) = (vec![0.0; a.len()], vec![0.0; x.len()]);
    if w > 0 && k > 0 {
        let gradients = da.par_chunks_mut(k * w).zip(dx.par_chunks_mut(w)).zip(d.par_chunks(k));
        let inputs = a.par_chunks(k * w).zip(x.par_chunks(w));
        gradients.zip(inputs).for_each(|(((da, dx), d), (a, x))| differentiate(d, a, x, da, dx));
    }
    [da, dx]
}

/// The number of rows.
fn rows(a: &[f32], x: &[f32], [k, w]: [usize; 2]) -> usize {
    let n = x.len().checked_div(w).unwrap_or(0);
    assert!(a.len() == n * k * w && x.len() == n * w, "matvec: a matrix for each vector");
    n
}

simd! {
    fn products(a: &[f32], x: &[f32], y: &mut [f32]) {
        for (a, y) in a.chunks_exact(x.len()).zip(y) {
            *y = dot(a, x);
        }
    }

    fn differentiate(d: &[f32], a: &[f32], x: &[f32], da: &mut [f32], dx: &mut [f32]) {
        let w = x.len();
        for ((d, a), da) in d.iter().zip(a.chunks_exact(w)).zip(da.chunks_exact_mut(w)) {
            for i in 0..w {
                da[i] = d * x[i];
                dx[i] += d * a[i];
            }
        }
    }
}
