//! CSV (RFC 4180): a field in double quotes may hold delimiters, line ends and, doubled, quotes. Empty lines are passed
//! over; spaces around a cell without quotes are dropped; an empty cell is [`Value::Null`], everything else text.

use std::path::Path;
use std::sync::Arc;

use super::tsv::{Table, check_delimiter};
use crate::{CorpusConfig, DataError, Row};

/// The rows of a CSV file.
pub fn rows(file: &Arc<Path>, text: &str, corpus: &CorpusConfig) -> Result<Vec<Row>, Vec<DataError>> {
    let delimiter = corpus.delimiter.unwrap_or(',');
    if matches!(delimiter, '"' | '\r' | '\n') {
        let expected = "any other character, usually , or ; or a tab".into();
        return Err(vec![DataError::Setting {
            key: "delimiter".into(),
            found: format!("{delimiter:?}"),
            expected,
        }]);
    }
    check_delimiter(file, text, delimiter, corpus)?;
    let mut table = Table::new(file, corpus);
    let mut records = Records { text, at: 0, line: 1, delimiter };
    while let Some((line, record)) = records.next() {
        match record {
            Ok(cells) => table.push(line, cells),
            Err(reason) => table.add_error(line, reason, true),
        }
    }
    table.finish()
}

/// Walks over the records of a CSV text, counting lines.
struct Records<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    delimiter: char,
}

impl Records<'_> {
    /// The next record with the line that it begins on, or what is wrong with it; after an error it continues at the next
    /// line.
    fn next(&mut self) -> Option<(usize, Result<Vec<String>, String>)> {
        while self.line_end() {}
        if self.at == self.text.len() {
            return None;
        }
        let begin = self.line;
        let mut cells = Vec::new();
        loop {
            match self.cell() {
                Ok(cell) => cells.push(cell),
                Err((line, reason)) => return Some((line, Err(reason))),
            }
            if self.at == self.text.len() || self.line_end() {
                return Some((begin, Ok(cells)));
            }
            self.at += self.delimiter.len_utf8();
        }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// Passes a line end, if one stands here.
    fn line_end(&mut self) -> bool {
        let length =
            if self.rest().starts_with("\r\n") { 2 } else { usize::from(self.rest().starts_with('\n')) };
        self.at += length;
        self.line += usize::from(length > 0);
        length > 0
    }

    /// Reads one cell up to a delimiter, a line end or the end.
    fn cell(&mut self) -> Result<String, (usize, String)> {
        if self.rest().starts_with('"') {
            return self.quoted();
        }
        let rest = self.rest();
        let end = rest.find([self.delimiter, '\n']).unwrap_or(rest.len());
        // Of a CRLF the CR belongs to the line end.
        let end = if rest[end..].starts_with('\n') && rest[..end].ends_with('\r') { end - 1 } else { end };
        let cell = &rest[..end];
        let bare = cell.trim_matches(' ');
        if bare.len() < cell.len() && bare.starts_with('"') && bare.len() > 1 && bare.ends_with('"') {
            let error = "a blank stands between a delimiter and a quote; remove the blank, or the quotes (in CSV a quote is the first sign of its cell)";
            let line = self.line;
            self.at += rest.find('\n').unwrap_or(rest.len());
            return Err((line, error.to_owned()));
        }
        let cell = cell.trim().to_owned();
        self.at += end;
        Ok(cell)
    }

    fn quoted(&mut self) -> Result<String, (usize, String)> {
        let opened = self.line;
        self.at += 1;
        let mut cell = String::new();
        loop {
            let rest = self.rest();
            let Some(end) = rest.find('"') else {
                self.at = self.text.len();
                return Err((opened, "a quote opens here and is never closed".into()));
            };
            cell.push_str(&rest[..end]);
            let lines = rest[..end].matches('\n').count();
            self.line += lines;
            self.at += end + 1;
            if !self.rest().starts_with('"') {
                break;
            }
            cell.push('"');
            self.at += 1;
        }
        let rest = self.rest();
        if rest.is_empty() || rest.starts_with([self.delimiter, '\n']) || rest.starts_with("\r\n") {
            return Ok(cell);
        }
        let found: String = rest.chars().take_while(|c| *c != '\n').take(20).collect();
        let error = (
            self.line,
            format!(
                "after a closing quote: found {found:?}, expected a delimiter or the line's end (a quote inside a quoted field is written twice)"
            ),
        );
        self.at += rest.find('\n').unwrap_or(rest.len());
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, change: impl FnOnce(&mut CorpusConfig)) -> Result<Vec<Row>, Vec<String>> {
        let mut corpus = CorpusConfig::of("a.csv");
        change(&mut corpus);
        rows(&Path::new("a.csv").into(), text, &corpus)
            .map_err(|e| e.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn quotes_hold_delimiters_line_ends_and_quotes() {
        let rows = check("text,label\r\n\"a, \"\"b\"\"\r\nc\",x\r\n\r\nd \"e\",\n", |_| {}).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].text("text").unwrap().as_deref(), Some("a, \"b\"\r\nc"));
        assert_eq!(rows[0].place.line, 2);
        assert_eq!(rows[1].text("text").unwrap().as_deref(), Some("d \"e\""));
        assert_eq!(rows[1].text("label").unwrap(), None);
        assert_eq!(rows[1].place.line, 5);
    }

    #[test]
    fn errors_name_the_line_they_begin_on() {
        let found = check("a,b\n\"x\ny\",1\n1,2,3\n\"x\"y,2\n4,5\n7\n6,\"oh\nno\n", |_| {}).unwrap_err();
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].starts_with("a.csv:4: found 3 columns, expected 2"), "{}", found[0]);
        assert!(found[1].starts_with("a.csv:5: after a closing quote: found \"y,2\""), "{}", found[1]);
        assert!(found[2].starts_with("a.csv:7: found 1 column, expected 2"), "{}", found[2]);
        assert_eq!(found[3], "a.csv:8: a quote opens here and is never closed");
    }

    #[test]
    fn delimiter_header_and_columns_are_options() {
        let names = || Some(vec!["x".to_owned(), "y".to_owned()]);
        let rows = check("1;2\n3;4", |c| (c.delimiter, c.columns) = (Some(';'), names())).unwrap();
        assert_eq!((rows.len(), rows[1].number("y").unwrap()), (2, Some(4.0)));
        let rows = check("a,b\n3,4", |c| (c.header, c.columns) = (Some(true), names())).unwrap();
        assert_eq!((rows.len(), rows[0].number("x").unwrap()), (1, Some(3.0)));
        let rows = check("1,2", |c| c.header = Some(false)).unwrap();
        assert_eq!(rows[0].number("column2").unwrap(), Some(2.0));
        assert!(
            check("1,2", |c| c.delimiter = Some('"')).unwrap_err()[0].starts_with("delimiter: found '\"'")
        );
        assert!(check("a,a\n1,2", |_| {}).unwrap_err()[0].contains("stands twice"));
    }
}
