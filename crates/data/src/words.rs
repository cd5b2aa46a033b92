//! Splits plain text into words for tagging.

use std::ops::Range;

/// The words of a text as byte ranges, in order.
pub fn split_words(text: &str) -> Vec<Range<usize>> {
    text.split_whitespace()
        .map(|word| {
            let start = word.as_ptr() as usize - text.as_ptr() as usize;
            start..start + word.len()
        })
        .collect()
}
