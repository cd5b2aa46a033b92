//! Buffers that are not cleared before they are written.

use std::mem::MaybeUninit;

/// A vector of `len` numbers that `write` fills.
///
/// Clearing a step's buffers first would cost several per cent of the step.
///
/// # Safety
/// `write` must initialise every element.
pub(crate) unsafe fn fresh<T>(len: usize, write: impl FnOnce(&mut [MaybeUninit<f32>]) -> T) -> (Vec<f32>, T) {
    let mut values = Vec::with_capacity(len);
    let result = write(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is at least `len`, and the caller vouches that `write` has initialised it all.
    unsafe { values.set_len(len) };
    (values, result)
}
