//! Why a command failed, and the exit code that reports it.

use std::fmt::Display;

/// Exit code: something went wrong while the command ran.
pub const FAILED: u8 = 1;
/// Exit code: config, data, model or command line are not right; nothing was done.
pub const REFUSED: u8 = 2;
/// Exit code: `predict` answered some lines with an error object.
pub const SOME_LINES: u8 = 3;
/// Exit code: interrupted; the run's state is saved.
pub const INTERRUPTED: u8 = 130;

/// Messages for the user, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// What to print on standard error, one after the other.
    pub messages: Vec<String>,
    /// The exit code.
    pub code: u8,
}

impl Failure {
    /// Something is not right with what the user gave.
    pub fn refused(messages: impl IntoIterator<Item = impl Display>) -> Failure {
        Failure { messages: messages.into_iter().map(|m| format!("error: {m}")).collect(), code: REFUSED }
    }

    /// Something went wrong on the way.
    pub fn failed(message: impl Display) -> Failure {
        Failure { messages: vec![format!("error: {message}")], code: FAILED }
    }

    /// Reading or writing `path` failed.
    pub fn io(doing: &str, path: &std::path::Path, error: std::io::Error) -> Failure {
        Failure::failed(format!("{doing} {}: {error}", path.display()))
    }
}
