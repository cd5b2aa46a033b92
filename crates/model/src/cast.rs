//! Changes of a number's type: of indexes, where nothing may be lost, and of what is computed in f64 to f32.

/// An index of 32 bits, as tokens, rows and labels have.
///
/// # Panics
/// From 2^32 on: more than a memory holds.
pub(crate) fn to_u32(index: usize) -> u32 {
    u32::try_from(index).expect("an index below 2^32")
}

/// The nearest f32.
#[allow(clippy::cast_possible_truncation)]
pub(crate) fn to_f32(number: f64) -> f32 {
    number as f32
}

/// The whole part of a number from 0 on; the nearest that there is of any other.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn to_u64(number: f64) -> u64 {
    number as u64
}

/// The whole part of a number from 0 on; the nearest that there is of any other.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn to_usize(number: f64) -> usize {
    number as usize
}
