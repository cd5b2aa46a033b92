//! Errors of data, and a list that reports many of them at once.

use std::io;
use std::path::PathBuf;

use crate::Place;

/// An error of data, with its place, what was found and what to try.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A row that cannot be used.
    #[error("{place}: {reason}")]
    BadRow {
        /// File and line of the row.
        place: Place,
        /// What was found, what was expected.
        reason: String,
    },
    /// A path or pattern that names no file.
    #[error("no file matches {pattern:?}; check the path (a relative path is relative to the config file)")]
    NoFiles {
        /// The path or glob as given.
        pattern: String,
    },
    /// Files that hold no row at all.
    #[error("{files} holds no rows; a corpus needs at least one row per split that it names")]
    NoRows {
        /// The files, as given.
        files: String,
    },
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that as a whole is not what it should be.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found, what was expected, what to try.
        reason: String,
    },
    /// A tokenizer that cannot be read, trained or used.
    #[error("tokenizer{}: {reason}", path.as_ref().map(|p| format!(" {}", p.display())).unwrap_or_default())]
    Tokenizer {
        /// The tokenizer's file, if it came from one.
        path: Option<PathBuf>,
        /// What is wrong and what to try.
        reason: String,
    },
    /// A row that the tokenizer fails on.
    #[error("tokenizer: row {row}: {reason}")]
    RowNotTokenized {
        /// Which of the rows, from 1 on.
        row: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting out of its range.
    #[error("{key}: found {found}, expected {expected}")]
    Setting {
        /// The setting's name.
        key: String,
        /// The value given.
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// A saved stream position that does not belong to this stream.
    #[error(
        "the saved position in the training data does not fit: {reason}; resume with the config and data of the run"
    )]
    StreamState {
        /// What differs.
        reason: String,
    },
    /// A SentencePiece model that cannot be used.
    #[error("{}: {reason}", path.display())]
    SentencePiece {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The last entry of a list of errors that was shortened.
    #[error("and {count} more like these")]
    More {
        /// How many were left out.
        count: usize,
    },
}

/// Collects errors so that many are reported at once: the first [`ErrorList::MAX_ERRORS_SHOWN`] are kept, the rest counted.
#[derive(Debug, Default)]
pub struct ErrorList {
    kept: Vec<DataError>,
    more: usize,
}

impl ErrorList {
    /// How many errors are kept in full.
    pub const MAX_ERRORS_SHOWN: usize = 20;

    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an error. A [`DataError::More`] adds its count.
    pub fn push(&mut self, error: DataError) {
        match error {
            DataError::More { count } => self.more += count,
            error if self.kept.len() < Self::MAX_ERRORS_SHOWN => self.kept.push(error),
            _ => self.more += 1,
        }
    }

    /// Adds all errors of a list.
    pub fn extend(&mut self, errors: impl IntoIterator<Item = DataError>) {
        errors.into_iter().for_each(|error| self.push(error));
    }

    /// Whether there is no error so far.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// `value` if the list is empty, else all errors, with [`DataError::More`] last where some were left out.
    ///
    /// # Errors
    /// The collected errors.
    pub fn finish<T>(mut self, value: T) -> Result<T, Vec<DataError>> {
        if self.kept.is_empty() {
            return Ok(value);
        }
        if self.more > 0 {
            self.kept.push(DataError::More { count: self.more });
        }
        Err(self.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_twenty_and_counts_the_rest() {
        let mut list = ErrorList::new();
        for i in 0..25 {
            list.push(DataError::NoFiles { pattern: i.to_string() });
        }
        let errors = list.finish(()).unwrap_err();
        assert_eq!(errors.len(), 21);
        let mut again = ErrorList::new();
        again.extend(errors);
        again.push(DataError::NoFiles { pattern: "x".into() });
        let errors = again.finish(()).unwrap_err();
        assert_eq!(errors.last().unwrap().to_string(), "and 6 more like these");
    }
}
