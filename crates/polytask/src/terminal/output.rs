//! The one place that writes to standard output and standard error.
//!
//! A pipe whose reader has gone, a terminal that was closed or a full disk end no command here: the first failure is
//! kept for [`failure`], and nothing more is written. What it means depends on the command: a training goes on, for its
//! result lies in files; other commands have failed, unless it is a reader that has seen enough.

use super::escape;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Mutex;

/// The first failure in writing standard output.
static FAILURE: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes a text to standard output, as it is but for what would command a terminal.
pub fn text(text: impl Display) {
    write_to(&mut io::stdout().lock(), &text.to_string(), &FAILURE);
}

/// [`text`] and a line break.
pub fn line(line: impl Display) {
    text(format_args!("{line}\n"));
}

/// Writes a line to standard error. Where that fails there is nobody to tell.
pub fn error(line: impl Display) {
    let line = format!("{line}\n");
    let _ = io::stderr().lock().write_all(escape::commands(&line).as_bytes());
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
}
