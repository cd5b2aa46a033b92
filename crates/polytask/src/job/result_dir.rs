//! The directory of a model that a command makes of another one. A marker says that the command is at work in it, so that one that was killed
//! can be started again with the same arguments; what is complete, or is another's, is never written over.

use super::run_lock::RunLock;
use crate::commands::train::write;
use crate::failure::Failure;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use train::RunDir;

/// The marker of commands that keep nothing of what they have done.
const MARKER: &str = "unfinished.json";

/// The directory, locked.
pub struct ResultDir {
    run: RunDir,
    marker: PathBuf,
    _lock: RunLock,
}

impl ResultDir {
    /// A directory that is empty, not there, or left by the same sort of command before it wrote `record`, its last file.
    ///
    /// # Errors
    /// It holds something else, another process has it, or it cannot be written.
    pub fn begin(out: &Path, record: &str) -> Result<ResultDir, Failure> {
        let found = ResultDir::with_marker(out, MARKER, record)?;
        write(&found.marker, format!("{{\"result\": \"{record}\"}}\n").as_bytes())?;
        Ok(found)
    }

    /// As [`ResultDir::begin`], with a file of the command's own as the marker, which it writes itself.
    ///
    /// # Errors
    /// As [`ResultDir::begin`].
    pub fn with_marker(out: &Path, marker: &str, record: &str) -> Result<ResultDir, Failure> {
        let run = RunDir::new(out);
        let marker = out.join(marker);
        let lock = match is_unfinished(&run, &marker, record) {
            true => RunLock::existing(&run)?,
            false => RunLock::create_for(&run, "--out")?,
        };
        Ok(ResultDir { run, marker, _lock: lock })
    }

    /// The directory.
    pub fn run(&self) -> &RunDir {
        &self.run
    }

    /// The result is complete.
    ///
    /// # Errors
    /// The marker cannot be removed.
    pub fn finish(self) -> Result<(), Failure> {
        match fs::remove_file(&self.marker) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Failure::io("removing", &self.marker, e)),
            _ => Ok(()),
        }
    }
}

impl Drop for ResultDir {
    /// A command that failed before it wrote anything leaves no directory: the lock takes back one that is empty.
    fn drop(&mut self) {
        let is_begun = self.run.model().exists() || self.run.config().exists();
        if !is_begun && self.marker.ends_with(MARKER) {
            let _ = fs::remove_file(&self.marker);
        }
    }
}

/// Whether a directory has a marker, what a result consists of, and no more.
fn is_unfinished(out: &RunDir, marker: &Path, record: &str) -> bool {
    let known = [out.config(), out.model(), out.lock(), marker.to_owned()];
    let is_known = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default();
        known.contains(&path) || files::is_temporary(name)
    };
    let Ok(entries) = fs::read_dir(out.root()) else { return false };
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    marker.is_file() && !out.root().join(record).exists() && paths.all(is_known)
}
