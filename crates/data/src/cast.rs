//! Changes of a number's type that lose nothing, and the one that drops a fraction.

/// An index of 32 bits, as rows, tokens, words, labels and bytes of a text have.
///
/// # Panics
/// From 2^32 on: more rows or tokens than a memory holds.
pub(crate) fn to_u32(index: usize) -> u32 {
    u32::try_from(index).expect("an index below 2^32")
}

/// A count that fits the memory.
///
/// # Panics
/// On a 32-bit machine, beyond its memory.
pub(crate) fn to_usize(count: u64) -> usize {
    usize::try_from(count).expect("a count that fits the memory")
}

/// The whole part of a number that is not negative; beyond the range of `usize` its largest value, and 0 for NaN.
#[allow(clippy::cast_possible_truncation)]
pub(crate) fn whole_part(number: f64) -> usize {
    number as usize
}
