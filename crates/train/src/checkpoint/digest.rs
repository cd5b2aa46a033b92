//! The length and the blake3 hash of a file.

use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a file is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// Its length.
    pub bytes: u64,
    /// Its hash, in hexadecimal digits.
    pub blake3: String,
}

impl FileDigest {
    /// Reads a file for its digest.
    ///
    /// # Errors
    /// It cannot be read, or is no regular file.
    pub(crate) fn of(path: &Path) -> std::io::Result<Self> {
        let file = files::open(path)?;
        let bytes = file.metadata()?.len();
        let blake3 = blake3::Hasher::new().update_reader(file)?.finalize().to_hex().to_string();
        Ok(FileDigest { bytes, blake3 })
    }
}
