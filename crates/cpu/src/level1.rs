//! Operations of vectors alone, BLAS level 1, on whole tensors.

use crate::{CHUNK, simd};
use rayon::prelude::*;

/// `total += part`
pub fn add(total: &mut [f32], part: &[f32]) {
    assert_eq!(total.len(), part.len(), "add: tensors of one size");
    total.par_chunks_mut(CHUNK).zip(part.par_chunks(CHUNK)).for_each(|(total, part)| simd::add(total, part));
}

/// `x *= factor`
pub fn scale(x: &mut [f32], factor: f32) {
    x.par_chunks_mut(CHUNK).for_each(|x| simd::scale(x, factor));
}
