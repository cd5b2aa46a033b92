//! Buffers that are not cleared before they are written.

use rayon::prelude::*;
use std::mem::MaybeUninit;

/// A vector of `len` numbers that `write` fills.
///
/// Clearing a step's buffers first would cost several per cent of the step.
///
/// # Safety
/// `write` must initialise every element.
pub(crate) unsafe fn alloc_uninit<T>(
    len: usize,
    write: impl FnOnce(&mut [MaybeUninit<f32>]) -> T,
) -> (Vec<f32>, T) {
    let mut values = Vec::with_capacity(len);
    let result = write(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is at least `len`, and the caller vouches that `write` has initialised it all.
    unsafe { values.set_len(len) };
    (values, result)
}

/// Zeros, written by all threads: the gradient of an embedding table is tens of megabytes of them.
pub(crate) fn zeros(len: usize) -> Vec<f32> {
    const CHUNK: usize = 1 << 16;
    let clear = |chunk: &mut [MaybeUninit<f32>]| chunk.iter_mut().for_each(|x| *x = MaybeUninit::new(0.0));
    // SAFETY: the chunks cover the whole buffer.
    unsafe { alloc_uninit(len, |values| values.par_chunks_mut(CHUNK).for_each(clear)).0 }
}
