//! Reads `metrics.jsonl`, and later what was appended to it.

use super::History;
use crate::failure::Failure;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use train::Event;

/// Bytes before the place that was read to, by which a file is known again.
const KNOWN: usize = 256;

/// Reads the history of a run bit by bit.
#[derive(Debug)]
pub struct HistoryReader {
    path: PathBuf,
    /// Where the first line begins that was not read.
    offset: u64,
    /// The bytes before it: a resumed run cuts the file, and other lines come to stand there.
    before: Vec<u8>,
    lines: usize,
    history: History,
}

impl HistoryReader {
    /// A reader of a file, of which nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> HistoryReader {
        HistoryReader {
            path: path.into(),
            offset: 0,
            before: Vec::new(),
            lines: 0,
            history: History::default(),
        }
    }

    /// What was read so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What was read so far, and no more is.
    pub fn into_history(self) -> History {
        self.history
    }

    /// Reads what was appended, and all again where the file was cut. Returns whether the history changed. A last line without an end
    /// is left for the next time.
    ///
    /// # Errors
    /// The file is not there or cannot be read.
    pub fn read_more(&mut self) -> Result<bool, Failure> {
        let found = self.appended().map_err(|error| match error.kind() {
            ErrorKind::NotFound => Failure::refused([format!(
                "{} has no metrics.jsonl: it is no run, or its training has not begun",
                self.path.parent().unwrap_or(Path::new(".")).display()
            )]),
            _ => Failure::io("reading", &self.path, error),
        })?;
        let (bytes, again) = found;
        if again {
            *self = HistoryReader::new(std::mem::take(&mut self.path));
        }
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        let (read, torn) = bytes.split_at(whole);
        for line in read.split_inclusive(|b| *b == b'\n') {
            self.lines += 1;
            self.take_line(line.strip_suffix(b"\n").unwrap_or(line));
        }
        self.history.is_torn = !torn.is_empty();
        self.offset += whole as u64;
        self.before.extend_from_slice(read);
        let known = self.before.len().saturating_sub(KNOWN);
        self.before.drain(..known);
        Ok(again || whole > 0)
    }

    /// The bytes behind what was read; or all, and true, if what was read is no longer there.
    fn appended(&self) -> io::Result<(Vec<u8>, bool)> {
        let mut file = File::open(&self.path)?;
        let known = self.offset - self.before.len() as u64;
        file.seek(SeekFrom::Start(known))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        if bytes.starts_with(&self.before) {
            bytes.drain(..self.before.len());
            return Ok((bytes, false));
        }
        file.seek(SeekFrom::Start(0))?;
        bytes.clear();
        file.read_to_end(&mut bytes)?;
        Ok((bytes, true))
    }

    fn take_line(&mut self, line: &[u8]) {
        // After a disk that was full for a moment an empty line may stand there.
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        match serde_json::from_slice::<Event>(line) {
            Ok(event) => self.history.add(&event),
            Err(error) => match unknown_event(line, &error) {
                Some(name) => *self.history.unknown.entry(name).or_insert(0) += 1,
                None => self.history.damaged.push(self.lines),
            },
        }
    }
}

/// The name of an event that another version wrote.
fn unknown_event(line: &[u8], error: &serde_json::Error) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    value.get("step")?.as_u64()?;
    let name = value.get("event")?.as_str()?;
    error.to_string().contains(&format!("unknown variant `{name}`")).then(|| name.to_owned())
}
