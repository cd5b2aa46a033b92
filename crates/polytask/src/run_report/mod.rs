//! The report of a run, or of several beside each other: what is read of their directories, and the pages, tables and CSV files made of it.

mod affinity;
mod charts;
mod comparison;
mod csv;
pub mod environment;
pub mod held_out;
mod origin;
mod outcome;
mod page;
mod run_files;

pub use comparison::page as comparison_page;
pub use csv::{HEADER as CSV_HEADER, lines as csv_lines};
pub use origin::origin;
pub use outcome::{Scored, TaskOutcome, outcomes, table as outcome_table};
pub use page::page as run_page;
pub use run_files::RunFiles;

use serde::de::DeserializeOwned;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use train::RunDir;

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

/// Where the page of a run lies.
pub fn page_path(run: &RunDir) -> PathBuf {
    run.root().join("report.html")
}
