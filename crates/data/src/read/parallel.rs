//! Parallel texts: files with one text a line, in which the same line number is the same row. Each file is a column.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::text::{self, lines};
use crate::{CorpusConfig, DataError, Place, Row, Value};

/// The rows of some files, of which each holds one column. An empty line is an empty value.
pub fn rows(files: &[PathBuf], corpus: &CorpusConfig) -> Result<Vec<Row>, Vec<DataError>> {
    let names: Vec<Arc<str>> = corpus.columns.iter().flatten().map(|name| name.as_str().into()).collect();
    if names.len() != files.len() || names.len() < 2 {
        return Err(vec![DataError::Setting {
            key: "columns".into(),
            found: format!("{} names for {} files", names.len(), files.len()),
            expected: "with format = \"parallel\" a name for each file, two or more: train = [\"a.en\", \"a.de\"], columns = [\"en\", \"de\"]".into(),
        }]);
    }
    if let Some(name) = super::tsv::twice(&names) {
        let (key, found) = ("columns".into(), format!("{name:?} twice"));
        return Err(vec![DataError::Setting { key, found, expected: "names that differ".into() }]);
    }
    let first: Arc<Path> = files[0].as_path().into();
    let mut columns: Vec<Vec<Value>> = Vec::new();
    for file in files {
        let read = text::read(&file.as_path().into())?;
        let column: Vec<Value> =
            lines(read.strip_suffix('\n').unwrap_or(&read)).map(|(_, text)| value(text)).collect();
        if let Some(known) = columns.first().filter(|known| known.len() != column.len()) {
            let reason = format!(
                "found {} lines, expected {}, as many as {} has: line N of all files is one row",
                column.len(),
                known.len(),
                first.display()
            );
            return Err(vec![DataError::Format { path: file.clone(), reason }]);
        }
        columns.push(column);
    }
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    let mut rows = Vec::with_capacity(columns[0].len());
    for line in 1..=columns[0].len() {
        let cells = columns.iter_mut().map(|column| column.next().unwrap_or(Value::Null));
        let fields = names.iter().cloned().zip(cells).collect();
        rows.push(Row { place: Place { file: first.clone(), line }, fields });
    }
    Ok(rows)
}

fn value(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { Value::Text(text.to_owned()) }
}
