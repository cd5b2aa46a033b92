//! Readers: from files to rows. One file per format.

use std::path::PathBuf;

use crate::{CorpusConfig, DataError, Paths, Row};

/// Reads the rows of all files, in order.
///
/// # Errors
/// All bad rows (the first twenty in full, the rest counted), files that cannot be read, patterns that match nothing,
/// files without rows.
pub fn read(paths: &Paths, _corpus: &CorpusConfig) -> Result<Vec<Row>, Vec<DataError>> {
    Err(vec![DataError::NoRows { files: paths.to_string() }])
}

/// The files that paths and globs name: paths in the order given, a glob's files sorted.
///
/// # Errors
/// Every path or pattern that names no file.
pub fn files(_paths: &Paths) -> Result<Vec<PathBuf>, Vec<DataError>> {
    Ok(Vec::new())
}

/// BLAKE3 over the bytes of all files, as 64 hexadecimal digits: changes whenever the data does.
///
/// # Errors
/// As [`files`], and files that cannot be read.
pub fn content_hash(_paths: &Paths) -> Result<String, Vec<DataError>> {
    Ok(String::new())
}
