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
        let messages = alike_once(messages.into_iter().map(|message| format!("error: {message}")));
        Failure { messages, code: REFUSED }
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

/// How many messages that are alike are said.
const ALIKE: usize = 3;

/// Messages, of which those that are alike are said [`ALIKE`] times and then counted.
fn alike_once(messages: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept: Vec<(String, String, usize)> = Vec::new();
    for message in messages {
        // What a list of errors that was shortened says of itself.
        if let (Some(left_out), Some((_, _, more))) = (left_out(&message), kept.last_mut()) {
            *more += left_out;
            continue;
        }
        let key = shape(&message);
        let same = kept.iter().filter(|(_, other, _)| *other == key).count();
        match kept.iter_mut().rfind(|(_, other, _)| *other == key) {
            Some((_, _, more)) if same >= ALIKE => *more += 1,
            _ => kept.push((message, key, 0)),
        }
    }
    let with_more = |(message, _, more): (String, String, usize)| match more {
        0 => message,
        more => format!("{message}\n  and {more} more like this"),
    };
    kept.into_iter().map(with_more).collect()
}

/// The count of a message `and N more like these`.
fn left_out(message: &str) -> Option<usize> {
    message.strip_suffix(" more like these")?.rsplit_once("and ")?.1.parse().ok()
}

/// A message without what differs from row to row: numbers, and what was found.
fn shape(message: &str) -> String {
    let found = message.find("found ").zip(message.rfind(", expected"));
    let message = match found {
        Some((from, to)) if from < to => [&message[..from], &message[to..]].concat(),
        _ => message.to_owned(),
    };
    let words = message.split_whitespace().filter(|word| !word.contains("0x"));
    words.map(|word| word.replace(|c: char| c.is_ascii_digit(), "")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::Failure;

    #[test]
    fn messages_that_are_alike_are_counted() {
        let row = |line| format!("a.csv:{line}: field \"x\": found {}, expected a number", "y".repeat(line));
        let messages = (1..8).map(row).chain(["and 5 more like these".into(), "something else".into()]);
        let found = Failure::refused(messages).messages;
        assert_eq!(found.len(), 4);
        assert!(found[2].ends_with("expected a number\n  and 9 more like this"), "{}", found[2]);
        assert_eq!(found[3], "error: something else");
    }
}
