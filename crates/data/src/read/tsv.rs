//! TSV: one row a line, a tab between columns, quotes mean nothing. Empty lines are passed over; an empty field is
//! [`Value::Null`], everything else text.

use std::path::Path;
use std::sync::Arc;

use super::text::lines;
use crate::{CorpusConfig, DataError, ErrorList, Place, Row, Value};

/// The rows of a TSV file.
pub fn rows(file: &Arc<Path>, text: &str, corpus: &CorpusConfig) -> Result<Vec<Row>, Vec<DataError>> {
    let delimiter = corpus.delimiter.unwrap_or('\t');
    let mut table = Table::new(file, corpus);
    for (line, text) in lines(text).filter(|(_, text)| !text.is_empty()) {
        table.push(line, text.split(delimiter).map(str::to_owned).collect());
    }
    table.finish()
}

/// Rows of cells under named columns, as CSV and TSV have them.
pub struct Table {
    file: Arc<Path>,
    names: Option<Vec<Arc<str>>>,
    skip_header: bool,
    header: bool,
    rows: Vec<Row>,
    errors: ErrorList,
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
            names,
            rows: Vec::new(),
            errors,
        }
    }

    /// Adds an error of a line.
    pub fn add_error(&mut self, line: usize, reason: String) {
        self.errors.push(Place { file: self.file.clone(), line }.error(reason));
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
                );
            }
            self.names = Some(names);
            if !self.header {
                self.push(line, cells);
            }
            return;
        };
        if cells.len() != names.len() {
            let (found, columns) = (cells.len(), if cells.len() == 1 { "column" } else { "columns" });
            let listed = names.join(", ");
            let expected = names.len();
            return self.add_error(line, format!("found {found} {columns}, expected {expected} ({listed})"));
        }
        let value = |cell: String| if cell.is_empty() { Value::Null } else { Value::Text(cell) };
        let fields = names.iter().cloned().zip(cells.into_iter().map(value)).collect();
        self.rows.push(Row { place: Place { file: self.file.clone(), line }, fields });
    }

    /// The rows, or all errors.
    pub fn finish(self) -> Result<Vec<Row>, Vec<DataError>> {
        self.errors.finish(self.rows)
    }
}

/// A name that stands twice.
pub fn twice(names: &[Arc<str>]) -> Option<&str> {
    let mut seen = std::collections::HashSet::with_capacity(names.len());
    names.iter().find(|name| !seen.insert(&***name)).map(|name| &**name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_mean_nothing() {
        let text = "text\tlabel\nsay \"hi\t1\n\n\"x\t\n";
        let rows = rows(&Path::new("a.tsv").into(), text, &CorpusConfig::of("a.tsv")).unwrap();
        assert_eq!(rows[0].text("text").unwrap(), Some("say \"hi"));
        assert_eq!(rows[1].text("text").unwrap(), Some("\"x"));
        assert_eq!((rows[1].get("label"), rows[1].place.line), (None, 4));
    }

    #[test]
    fn a_row_of_another_width_is_an_error() {
        let errors = rows(&Path::new("a.tsv").into(), "a\tb\n1\n", &CorpusConfig::of("a.tsv")).unwrap_err();
        assert_eq!(errors[0].to_string(), "a.tsv:2: found 1 column, expected 2 (a, b)");
    }
}
