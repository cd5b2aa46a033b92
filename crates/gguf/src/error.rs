//! What can be wrong with a GGUF file.

use std::path::PathBuf;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The operating system refused to read.
    #[error("{}: cannot read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The bytes are not those of a GGUF file that this crate reads.
    #[error("{}: {reason}. Try: {remedy}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What was found, and what was expected.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// A folder of several files.
    #[error("{}: holds {} GGUF files: {}; name the one that is meant", folder.display(), files.len(), names(files))]
    Several {
        /// The folder.
        folder: PathBuf,
        /// The files.
        files: Vec<PathBuf>,
    },
    /// A tensor that the file does not have.
    #[error("{}: {name}: no such tensor", path.display())]
    NoTensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
    },
    /// Numbers of a type that is not dequantized here.
    #[error("{}: {name}: found numbers of type {found}, expected one of {expected}", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// Its type.
        found: &'static str,
        /// The types that are read.
        expected: String,
    },
}

/// The names of the first files.
fn names(files: &[PathBuf]) -> String {
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let shown: Vec<String> = files.iter().take(4).map(name).collect();
    let more = if files.len() > shown.len() { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// What a reader of bytes fails with, before the file's name is known.
#[derive(Debug)]
pub(crate) enum Cause {
    Io(std::io::Error),
    Wrong(String),
    /// A reason with a remedy of its own.
    With(String, &'static str),
}

impl From<std::io::Error> for Cause {
    fn from(error: std::io::Error) -> Self {
        Cause::Io(error)
    }
}

impl Cause {
    pub fn at(self, path: &std::path::Path) -> GgufError {
        let path = path.to_owned();
        match self {
            Cause::Io(source) => GgufError::Io { path, source },
            Cause::Wrong(reason) => GgufError::Broken {
                path,
                reason,
                remedy: "downloading or copying the file again: it is not a whole GGUF file".into(),
            },
            Cause::With(reason, remedy) => GgufError::Broken { path, reason, remedy: remedy.into() },
        }
    }
}
