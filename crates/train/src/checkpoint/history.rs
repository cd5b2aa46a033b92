//! `metrics.jsonl` when a run goes on: what happened after its checkpoint is cut away, so that no step is there
//! twice.

use crate::error::TrainError;
use std::{
    fs::{self, OpenOptions},
    path::Path,
};

/// Where a run goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumption {
    /// Steps done in its checkpoint.
    pub step: usize,
    /// Whether the evaluation at that step is still to come.
    pub evaluation_due: bool,
    /// Whether what each task has used was reported after that step.
    pub usage_reported: bool,
}

/// Cuts `metrics.jsonl` before the first event that the resumed run will bring again: any event of a later step,
/// an evaluation of the very step if it is still due, or a line that a crash left half-written. The file is
/// shortened in place, so a writer that has it open in append mode goes on at the new end. No file is no error.
pub fn truncate(path: &Path, from: Resumption) -> Result<(), TrainError> {
    let bytes = match fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|e| TrainError::io("reading", path, e))?,
    };
    let mut keep = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        if !line.ends_with(b"\n") || !stays(line, from) {
            break;
        }
        keep += line.len();
    }
    if keep < bytes.len() {
        let cut = || {
            let file = OpenOptions::new().write(true).open(path)?;
            file.set_len(keep as u64)?;
            file.sync_all()
        };
        cut().map_err(|e| TrainError::io("shortening", path, e))?;
    }
    Ok(())
}

fn stays(line: &[u8], from: Resumption) -> bool {
    let Ok(event) = serde_json::from_slice::<serde_json::Value>(line) else { return false };
    let step = event.get("step").and_then(|s| s.as_u64()).unwrap_or(0);
    let repeated = match event.get("event").and_then(|e| e.as_str()) {
        Some("evaluated" | "learning_rate_reduced" | "saved") => from.evaluation_due,
        Some("usage_report") => !from.usage_reported,
        Some("stopped_early" | "finished") => true,
        _ => false,
    };
    step < from.step as u64 || (step == from.step as u64 && !repeated)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"event":"started","step":0}
{"event":"step","step":1}
{"event":"step","step":2}
{"event":"evaluated","step":2}
{"event":"usage_report","step":2}
{"event":"step","step":3}
{"event":"st"#;

    fn cut(step: usize, evaluation_due: bool) -> usize {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), LINES).unwrap();
        truncate(file.path(), Resumption { step, evaluation_due, usage_reported: !evaluation_due }).unwrap();
        fs::read_to_string(file.path()).unwrap().lines().count()
    }

    #[test]
    fn nothing_is_there_twice() {
        assert_eq!(cut(0, false), 1);
        assert_eq!(cut(2, false), 5);
        assert_eq!(cut(2, true), 3);
        assert_eq!(cut(3, false), 6);
        assert_eq!(cut(9, false), 6, "a half-written line never stays");
    }

    #[test]
    fn no_file_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        truncate(
            &dir.path().join("none"),
            Resumption { step: 3, evaluation_due: false, usage_reported: false },
        )
        .unwrap();
    }
}
