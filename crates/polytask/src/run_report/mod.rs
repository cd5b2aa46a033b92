//! The report of a run, or of several beside each other: what is read of their directories, and the pages, tables and CSV files made of it.

pub mod environment;
pub mod held_out;

use serde::de::DeserializeOwned;
use std::io::ErrorKind;
use std::path::Path;

/// Reads a JSON file of a run; `None` where there is none.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, String> {
    match files::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("reading {}: {error}", path.display())),
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| format!("{} is damaged: {e}", path.display())),
    }
}
