//! TSV: one row a line, a tab between columns, quotes mean nothing. Empty lines are passed over; spaces around a cell are dropped;
//! an empty cell is [`Value::Null`], everything else text.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::faults::{Fault, report};
use super::text::lines;
use crate::{CorpusConfig, DataError, ErrorList, Place, Row, Value};

/// The rows of a TSV file.
pub fn rows(file: &Arc<Path>, text: &str, corpus: &CorpusConfig) -> Result<Vec<Row>, Vec<DataError>> {
    let delimiter = corpus.delimiter.unwrap_or('\t');
    check_delimiter(file, text, delimiter, corpus)?;
    let mut table = Table::new(file, corpus);
    for (line, text) in lines(text).filter(|(_, text)| !text.is_empty()) {
        table.push(line, text.split(delimiter).map(|cell| cell.trim().to_owned()).collect());
    }
    table.finish()
}

/// Rows of cells under named columns, as CSV and TSV have them.
pub struct Table {
    file: Arc<Path>,
    names: Option<Vec<Arc<str>>>,
    skip_header: bool,
    header: bool,
    /// Whether cells beyond the named columns are left out.
    ignore_extra: bool,
    rows: Vec<Row>,
    /// Errors of settings.
    errors: ErrorList,
    faults: Vec<Fault>,
}

impl Table {
    /// An empty table; `corpus` says where its column names come from.
    pub fn new(file: &Arc<Path>, corpus: &CorpusConfig) -> Self {
        let names: Option<Vec<Arc<str>>> =
            corpus.columns.as_ref().map(|names| names.iter().map(|name| name.as_str().into()).collect());
        let header = corpus.header.unwrap_or(names.is_none());
        let mut errors = ErrorList::new();
        if let Some(name) = names.as_deref().and_then(twice) {
            let expected = "names that differ".into();
            errors.push(DataError::Setting {
                key: "columns".into(),
                found: format!("{name:?} twice"),
                expected,
            });
        }
        Self {
            file: file.clone(),
            skip_header: header && names.is_some(),
            header,
            ignore_extra: corpus.ignore_extra_columns,
            names,
            rows: Vec::new(),
            faults: Vec::new(),
            errors,
        }
    }

    /// Adds an error of a line; `common` says whether many lines may have it alike.
    pub fn add_error(&mut self, line: usize, reason: String, common: bool) {
        self.faults.push(Fault { place: Place { file: self.file.clone(), line }, reason, common });
    }

    /// Takes one record: the header, if that is still to come, or a row.
    pub fn push(&mut self, line: usize, cells: Vec<String>) {
        if std::mem::take(&mut self.skip_header) {
            return;
        }
        let number = |i: usize| Arc::from(format!("column{}", i + 1));
        let Some(names) = &self.names else {
            let named = |(i, cell): (usize, &String)| match cell.trim() {
                name if self.header && !name.is_empty() => name.into(),
                _ => number(i),
            };
            let names: Vec<Arc<str>> = cells.iter().enumerate().map(named).collect();
            if let Some(name) = twice(&names) {
                self.add_error(
                    line,
                    format!("the column name {name:?} stands twice; give names with `columns`"),
                    false,
                );
            }
            self.names = Some(names);
            if !self.header {
                self.push(line, cells);
            }
            return;
        };
        let extra = cells.len() > names.len();
        if cells.len() < names.len() || (extra && !self.ignore_extra) {
            let (found, columns) = (cells.len(), if cells.len() == 1 { "column" } else { "columns" });
            let listed = names.join(", ");
            let expected = names.len();
            let hint = if extra { "; `ignore_extra_columns = true` leaves the others out" } else { "" };
            return self.add_error(
                line,
                format!("found {found} {columns}, expected {expected} ({listed}){hint}"),
                true,
            );
        }
        let value = |cell: String| if cell.is_empty() { Value::Null } else { Value::Text(cell) };
        let fields = names.iter().cloned().zip(cells.into_iter().map(value)).collect();
        self.rows.push(Row { place: Place { file: self.file.clone(), line }, fields });
    }

    /// The rows, or all errors.
    pub fn finish(mut self) -> Result<Vec<Row>, Vec<DataError>> {
        self.errors.extend(report(&self.faults).finish(()).err().into_iter().flatten());
        self.errors.finish(self.rows)
    }
}

/// The delimiter that the first line has where it has none of the expected ones.
pub fn other_delimiter(text: &str, delimiter: char) -> Option<char> {
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    // What stands in quotes is no delimiter: every second part.
    let outside = || line.split('"').step_by(2);
    let count = |delimiter: char| outside().map(|part| part.matches(delimiter).count()).sum::<usize>();
    let candidates = ['\t', ';', '|', ','].into_iter().filter(|c| *c != delimiter && count(*c) > 0);
    candidates.max_by_key(|c| count(*c)).filter(|_| count(delimiter) == 0)
}

/// Checks that the first line of a file has its delimiter, unless there is one column alone.
pub fn check_delimiter(
    file: &Arc<Path>,
    text: &str,
    expected: char,
    corpus: &CorpusConfig,
) -> Result<(), Vec<DataError>> {
    let is_table = corpus.columns.as_ref().is_none_or(|columns| columns.len() > 1);
    let Some(found) = other_delimiter(text, expected).filter(|_| is_table) else { return Ok(()) };
    let first: String =
        text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().chars().take(60).collect();
    let reason = format!(
        "the first line is one column {first:?}: no {expected:?}, but {found:?} separates its columns; set delimiter = {:?} in the corpus",
        found.to_string()
    );
    Err(vec![DataError::Format { path: file.to_path_buf(), reason }])
}

/// A name that stands twice.
pub fn twice(names: &[Arc<str>]) -> Option<&str> {
    let mut seen = HashSet::new();
    names.iter().find(|name| !seen.insert(*name)).map(|name| &**name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_mean_nothing() {
        let text = "text\tlabel\nsay \"hi\t1\n\n\"x\t\n";
        let rows = rows(&Path::new("a.tsv").into(), text, &CorpusConfig::of("a.tsv")).unwrap();
        assert_eq!(rows[0].text("text").unwrap().as_deref(), Some("say \"hi"));
        assert_eq!(rows[1].text("text").unwrap().as_deref(), Some("\"x"));
        assert_eq!((rows[1].get("label"), rows[1].place.line), (None, 4));
    }

    #[test]
    fn a_row_of_another_width_is_an_error() {
        let errors = rows(&Path::new("a.tsv").into(), "a\tb\n1\n", &CorpusConfig::of("a.tsv")).unwrap_err();
        assert_eq!(errors[0].to_string(), "a.tsv:2: found 1 column, expected 2 (a, b)");
    }
}
