//! Ranges of settings.

use crate::error::ModelError;

/// `value` if it lies in `min..=max`, else an error about `key`.
pub(crate) fn size(key: &'static str, value: usize, min: usize, max: usize) -> Result<usize, ModelError> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(ModelError::Size { key, found: value.to_string(), expected: format!("a number from {min} to {max}") })
}

/// A dropout rate in `0..=0.95`, else an error about `key`.
pub(crate) fn rate(key: &'static str, value: f32) -> Result<f32, ModelError> {
    if (0.0..=0.95).contains(&value) {
        return Ok(value);
    }
    Err(ModelError::Size { key, found: value.to_string(), expected: "a rate from 0 to 0.95".into() })
}
