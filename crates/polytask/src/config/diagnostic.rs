//! What is wrong with a config, where, and what to try: gathered, sorted by line, and shown with the source.

use std::fmt::{self, Write};
use unicode_width::UnicodeWidthChar;

/// A text that a config was read from: the file, or one `--set` or `--define` of the command line.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// The file's path as the user gave it, or `--set`, `--define`.
    pub name: String,
    /// The text.
    pub text: String,
    /// Whether it is a file, whose lines are worth counting.
    pub is_file: bool,
}

/// A range of bytes in one of the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Which source.
    pub source: usize,
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

/// How grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The config cannot be used.
    Error,
    /// The config can be used, but probably says something else than meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How grave it is.
    pub level: Level,
    /// What was found and what was expected.
    pub message: String,
    /// Where; `None` when it is about the file as a whole.
    pub span: Option<Span>,
    /// What to try, each a line.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error.
    pub fn error(message: impl Into<String>, span: Option<Span>) -> Self {
        Diagnostic { level: Level::Error, message: message.into(), span, help: Vec::new() }
    }

    /// A warning.
    pub fn warning(message: impl Into<String>, span: Option<Span>) -> Self {
        Diagnostic { level: Level::Warning, ..Diagnostic::error(message, span) }
    }

    /// Adds what to try.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }
}

/// Everything that is wrong with one config, with the texts to show it in.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The texts; the first is the file.
    pub sources: Vec<SourceFile>,
    /// What is wrong, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl std::error::Error for Report {}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl Report {
    /// Sorts by source and position, what concerns the whole file last; equal ones stay once.
    pub fn new(sources: Vec<SourceFile>, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|d| d.span.map_or((usize::MAX, 0), |s| (s.source, s.start)));
        diagnostics.dedup();
        Report { sources, diagnostics }
    }

    /// How many are errors.
    pub fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|d| d.level == Level::Error).count()
    }

    /// How many are warnings.
    pub fn warnings(&self) -> usize {
        self.diagnostics.len() - self.errors()
    }

    /// The text for people: every diagnostic with its lines of source, then how many there are. `color` adds
    /// ANSI colours. Empty when nothing is wrong.
    pub fn render(&self, color: bool) -> String {
        let mut out = String::new();
        for diagnostic in &self.diagnostics {
            self.render_one(&mut out, diagnostic, color);
            out.push('\n');
        }
        let count = |n: usize, what: &str| match n {
            0 => None,
            1 => Some(format!("1 {what}")),
            n => Some(format!("{n} {what}s")),
        };
        let counts: Vec<String> = [count(self.errors(), "error"), count(self.warnings(), "warning")]
            .into_iter()
            .flatten()
            .collect();
        if !counts.is_empty() {
            let name = self.sources.first().map_or("the config", |s| s.name.as_str());
            out += &format!("{} in {name}\n", counts.join(", "));
        }
        out
    }

    fn render_one(&self, out: &mut String, diagnostic: &Diagnostic, color: bool) {
        let paint = |text: &str, code: &str| {
            if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
        };
        let level = match diagnostic.level {
            Level::Error => paint("error", "1;31"),
            Level::Warning => paint("warning", "1;33"),
        };
        *out += &format!("{level}: {}\n", clean(&diagnostic.message));
        let mut indent = 0;
        if let Some((source, span)) = diagnostic.span.and_then(|s| Some((self.sources.get(s.source)?, s))) {
            let shown = Excerpt::of(&source.text, span);
            let carets = paint(&"^".repeat(shown.width), "1;31");
            if source.is_file {
                let number = shown.line.to_string();
                indent = number.len();
                *out += &format!("{:indent$}--> {}:{}:{}\n", "", source.name, shown.line, shown.column);
                *out += &format!("{:indent$} |\n{number} | {}\n", "", shown.text);
                *out += &format!("{:indent$} | {}{carets}\n", "", shown.before);
            } else {
                *out += &format!(" --> {} {}\n", source.name, shown.text);
                *out += &format!("     {}{}{carets}\n", " ".repeat(source.name.len() + 1), shown.before);
            }
        }
        for help in &diagnostic.help {
            *out += &format!("{:indent$} = {}: {}\n", "", paint("help", "1"), clean(help));
        }
    }
}

/// So many bytes of a line are shown before and behind the beginning of a span.
const NEAR: usize = 400;

/// The line of a span, and where in it the span lies.
struct Excerpt {
    line: usize,
    column: usize,
    text: String,
    before: String,
    width: usize,
}

impl Excerpt {
    fn of(text: &str, span: Span) -> Self {
        let start = floor(text, span.start);
        let end = floor(text, span.end).max(start);
        let first = text[..start].rfind('\n').map_or(0, |i| i + 1);
        let last = text[start..].find('\n').map_or(text.len(), |i| start + i);
        let line = text[..start].matches('\n').count() + 1;
        let column = text[first..start].chars().filter(|c| *c != '\u{feff}').count() + 1;
        // Of a long line only what is near.
        let from = floor(text, start.saturating_sub(NEAR)).max(first);
        let to = floor(text, start + NEAR).min(last);
        let before = &text[from..start];
        let inside = text[start..end.min(to)].trim_end();
        // Tabs stay tabs, so that the carets stand where the terminal puts the text.
        let mut blank = String::new();
        for c in before.chars() {
            if c == '\t' {
                blank.push('\t');
            } else {
                blank.extend(std::iter::repeat_n(' ', width(c)));
            }
        }
        Excerpt {
            line,
            column,
            text: clean(text[from..to].trim_end()),
            before: blank,
            width: inside.chars().map(width).sum::<usize>().max(1),
        }
    }
}

/// Columns that a character takes on a terminal; the same for what [`clean`] puts in its place.
fn width(c: char) -> usize {
    match c {
        '\u{feff}' => 0,
        c => c.width().unwrap_or(1),
    }
}

/// The text without control characters, which could move the terminal's cursor.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{feff}' => {}
            c if c.is_control() && c != '\t' => out.push('\u{fffd}'),
            c => {
                let _ = out.write_char(c);
            }
        }
    }
    out
}

/// The largest boundary between characters that is not beyond `at`.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at.min(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Vec<SourceFile> {
        vec![SourceFile { name: "a.toml".into(), text: text.into(), is_file: true }]
    }

    #[test]
    fn carets_stand_below_wide_characters_and_tabs() {
        let text = "x = 1\n\t日本 = 3\n";
        let start = text.find('3').unwrap();
        let span = Span { source: 0, start, end: start + 1 };
        let report = Report::new(file(text), vec![Diagnostic::error("bad", Some(span)).help("good")]);
        let expected = "\
error: bad
 --> a.toml:2:7
  |
2 | \t日本 = 3
  | \t       ^
  = help: good

1 error in a.toml
";
        assert_eq!(report.render(false), expected);
        assert!(report.render(true).contains("\x1b[1;31merror\x1b[0m"));
    }

    #[test]
    fn any_span_in_any_text_can_be_shown() {
        for text in ["", "\n", "é\r\nü", "a\u{1b}[2Jb", "\u{feff}x=1"] {
            for start in 0..text.len() + 3 {
                for end in 0..text.len() + 3 {
                    let d = Diagnostic::error("e", Some(Span { source: 0, start, end }));
                    let shown = Report::new(file(text), vec![d]).render(false);
                    assert!(!shown.contains('\u{1b}') && shown.contains('^'));
                }
            }
        }
    }
}
