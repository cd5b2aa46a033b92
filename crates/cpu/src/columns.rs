//! Some columns of a matrix, and matrices side by side.

use crate::uninit::alloc_uninit;
use crate::{ROWS, simd};
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// The columns of a matrix of `width`.
pub fn take(x: &[f32], width: usize, columns: Range<usize>) -> Vec<f32> {
    let (n, taken) = (x.len() / width.max(1), columns.len());
    if taken == 0 {
        return Vec::new();
    }
    let copy = |out: &mut [MaybeUninit<f32>], x: &[f32]| {
        for (out, x) in out.chunks_exact_mut(taken).zip(x.chunks_exact(width)) {
            out.write_copy_of_slice(&x[columns.clone()]);
        }
    };
    // SAFETY: the chunks cover the whole buffer, row by row, and `x` has as many rows.
    unsafe {
        alloc_uninit(n * taken, |out| {
            let chunks = out.par_chunks_mut(ROWS * taken).zip(x.par_chunks(ROWS * width));
            chunks.for_each(|(out, x)| copy(out, x));
        })
        .0
    }
}

/// Adds `part` to some columns of a matrix of `width`.
pub fn add(total: &mut [f32], width: usize, columns: Range<usize>, part: &[f32]) {
    let taken = columns.len();
    if taken == 0 {
        return;
    }
    assert_eq!(total.len() / width * taken, part.len(), "columns::add: a part as high as the matrix");
    total.par_chunks_mut(ROWS * width).zip(part.par_chunks(ROWS * taken)).for_each(|(total, part)| {
        for (total, part) in total.chunks_exact_mut(width).zip(part.chunks_exact(taken)) {
            simd::add(&mut total[columns.clone()], part);
        }
    });
}

/// Two matrices of these widths side by side.
pub fn join([a, b]: [&[f32]; 2], [of_a, of_b]: [usize; 2]) -> Vec<f32> {
    if of_a == 0 || of_b == 0 {
        return if of_a == 0 { b.to_vec() } else { a.to_vec() };
    }
    let width = of_a + of_b;
    assert_eq!(a.len() / of_a, b.len() / of_b, "columns::join: matrices of one height");
    let copy = |out: &mut [MaybeUninit<f32>], a: &[f32], b: &[f32]| {
        let rows = out.chunks_exact_mut(width).zip(a.chunks_exact(of_a).zip(b.chunks_exact(of_b)));
        for (out, (a, b)) in rows {
            out[..of_a].write_copy_of_slice(a);
            out[of_a..].write_copy_of_slice(b);
        }
    };
    // SAFETY: the chunks cover the whole buffer, row by row, and `a` and `b` have as many rows.
    unsafe {
        alloc_uninit(a.len() + b.len(), |out| {
            let parts = a.par_chunks(ROWS * of_a).zip(b.par_chunks(ROWS * of_b));
            out.par_chunks_mut(ROWS * width).zip(parts).for_each(|(out, (a, b))| copy(out, a, b));
        })
        .0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_taken_added_and_joined() {
        for n in [0, 1, 3, 200] {
            let x: Vec<f32> = (0..n * 5).map(|i| i as f32).collect();
            let (left, right) = (take(&x, 5, 0..2), take(&x, 5, 2..5));
            assert!(
                left.chunks(2).enumerate().all(|(row, l)| *l == [5.0 * row as f32, 5.0 * row as f32 + 1.0])
            );
            assert_eq!(join([&left, &right], [2, 3]), x);
            let mut total = vec![0.0; n * 5];
            add(&mut total, 5, 2..5, &right);
            add(&mut total, 5, 0..2, &left);
            assert_eq!(total, x);
        }
        assert!(take(&[1.0, 2.0], 2, 1..1).is_empty());
        assert_eq!(join([&[], &[1.0, 2.0]], [0, 2]), [1.0, 2.0]);
    }
}
