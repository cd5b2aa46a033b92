//! The one place that writes to standard output and standard error.
//!
//! A pipe whose reader has gone, a terminal that was closed or a full disk end no command here: the first failure is
//! kept for [`failure`], and nothing more is written. What it means depends on the command: a training goes on, for its
//! result lies in files; other commands have failed, unless it is a reader that has seen enough.

use super::escape;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard};

/// The first failure in writing standard output.
static FAILURE: Mutex<Option<io::Error>> = Mutex::new(None);

/// What was written while a display has the whole screen, in its order; `None` while there is no such display.
static HELD: Mutex<Option<Vec<Held>>> = Mutex::new(None);

/// A text that waits for the terminal.
enum Held {
    Out(String),
    Error(String),
}

/// Holds everything back from now on, until [`release`].
pub fn hold() {
    held().get_or_insert_default();
}

/// Whether everything is held back.
pub fn is_held() -> bool {
    held().is_some()
}

/// Writes what was held back, and nothing is any more.
pub fn release() {
    // Taken in a statement of its own: what is written below looks whether it is to be held.
    let texts = held().take();
    for text in texts.into_iter().flatten() {
        match text {
            Held::Out(text) => write_to(&mut io::stdout().lock(), &text, &FAILURE),
            Held::Error(text) => write_error(&text),
        }
    }
}

/// The last `most` lines that are held back and say something; of standard error alone, or of both.
pub fn held_lines(most: usize, errors_alone: bool) -> Vec<String> {
    let held = held();
    let texts = held.iter().flatten().rev().filter_map(|text| match text {
        Held::Out(_) if errors_alone => None,
        Held::Out(text) | Held::Error(text) => Some(text),
    });
    let lines = texts.flat_map(|text| text.lines().rev()).filter(|line| !line.trim().is_empty());
    let mut lines: Vec<String> = lines.take(most).map(str::to_owned).collect();
    lines.reverse();
    lines
}

fn held() -> MutexGuard<'static, Option<Vec<Held>>> {
    HELD.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Holds a text back where that is to be; otherwise gives it back.
fn keep(text: String, make: fn(String) -> Held) -> Option<String> {
    match held().as_mut() {
        Some(held) => {
            held.push(make(text));
            None
        }
        None => Some(text),
    }
}

/// Writes a text to standard output, as it is but for what would command a terminal.
pub fn text(text: impl Display) {
    let Some(text) = keep(text.to_string(), Held::Out) else { return };
    write_to(&mut io::stdout().lock(), &text, &FAILURE);
}

/// [`text`] and a line break.
pub fn line(line: impl Display) {
    text(format_args!("{line}\n"));
}

/// Writes a line to standard error. Where that fails there is nobody to tell.
pub fn error(line: impl Display) {
    if let Some(line) = keep(format!("{line}\n"), Held::Error) {
        write_error(&line);
    }
}

fn write_error(line: &str) {
    let _ = io::stderr().lock().write_all(escape::commands(line).as_bytes());
}

/// Why standard output could not be written, if so; once.
pub fn failure() -> Option<io::Error> {
    FAILURE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
}

fn write_to(to: &mut impl Write, text: &str, failure: &Mutex<Option<io::Error>>) {
    let mut failure = failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if failure.is_none() {
        *failure = to.write_all(escape::commands(text).as_bytes()).and_then(|()| to.flush()).err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, and fails from then on.
    struct Full {
        left: usize,
        taken: Vec<u8>,
        tries: usize,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.tries += 1;
            let fits = bytes.len().min(self.left);
            if fits == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.left -= fits;
            self.taken.extend(&bytes[..fits]);
            Ok(fits)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn after_the_first_failure_nothing_more_is_written() {
        let mut full = Full { left: 5, taken: Vec::new(), tries: 0 };
        let failure = Mutex::new(None);
        for text in ["abc\n", "de\n", "f\n"] {
            write_to(&mut full, text, &failure);
        }
        assert_eq!(full.taken, b"abc\nd");
        assert_eq!(full.tries, 3, "the third text is not tried");
        assert_eq!(failure.into_inner().unwrap().unwrap().kind(), io::ErrorKind::BrokenPipe);
    }

    /// What is held back is nobody's until it is released; these texts go to this test's own streams.
    #[test]
    fn texts_are_held_back_in_their_order() {
        assert!(!is_held() && held_lines(5, false).is_empty());
        hold();
        text("one\n\ntwo\n");
        error("three");
        assert!(is_held());
        assert_eq!(held_lines(2, false), ["two", "three"]);
        assert_eq!(held_lines(9, false), ["one", "two", "three"]);
        assert_eq!(held_lines(9, true), ["three"]);
        release();
        assert!(!is_held() && held_lines(5, false).is_empty());
    }
}
