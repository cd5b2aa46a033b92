//! CoNLL columns: one word a line with its columns, an empty line (or one of spaces and tabs only) after each sentence.
//!
//! Columns are separated by the corpus's `delimiter`; by default by tabs where the file has any, else by runs of spaces.
//! Spaces around a cell are dropped. The first column is `tokens`, the last `tags`, those between `column2`, ...; each
//! becomes a list. With `header = true` the first line names the columns. A field `text` holds the words joined by spaces. `-DOCSTART-` lines are passed over, and so are comment
//! lines (`# id ...`, `# name = ...`) before a sentence.

use std::path::Path;
use std::sync::Arc;

use super::text::lines;
use super::tsv::twice;
use crate::{CorpusConfig, DataError, ErrorList, Place, Row, Value};

/// The rows (sentences) of a file in CoNLL columns.
pub fn rows(file: &Arc<Path>, text: &str, corpus: &CorpusConfig) -> Result<Vec<Row>, Vec<DataError>> {
    let delimiter = corpus.delimiter.or_else(|| tabbed(text).then_some('\t'));
    let mut names: Option<Vec<Arc<str>>> =
        corpus.columns.as_ref().map(|names| names.iter().map(|name| name.as_str().into()).collect());
    if let Some(name) = names.as_deref().and_then(twice) {
        let (key, found) = ("columns".into(), format!("{name:?} twice"));
        return Err(vec![DataError::Setting { key, found, expected: "names that differ".into() }]);
    }
    let mut errors = ErrorList::new();
    let mut rows = Vec::new();
    let mut sentence = Sentence::default();
    let mut header = corpus.header == Some(true);
    for (line, text) in lines(text) {
        let mut cells = cells(text, delimiter);
        if cells.iter().all(|cell| cell.is_empty()) {
            sentence.end(file, names.as_deref(), &mut rows);
            continue;
        }
        if cells[0] == "-DOCSTART-" || (sentence.columns.is_empty() && is_comment(text)) {
            continue;
        }
        if std::mem::take(&mut header) {
            // `columns` goes before the names of the file.
            let named: Vec<Arc<str>> = cells.iter().map(|cell| Arc::from(*cell)).collect();
            if let Some(name) = twice(&named).filter(|_| names.is_none()) {
                let reason = format!("the column name {name:?} stands twice; give names with `columns`");
                errors.push(Place { file: file.clone(), line }.error(reason));
            }
            names.get_or_insert(named);
            continue;
        }
        let mut report = |reason: String| errors.push(Place { file: file.clone(), line }.error(reason));
        let expected = names.get_or_insert_with(|| default_names(cells.len())).len();
        if corpus.skip_empty_words && cells[0].is_empty() {
            continue;
        }
        if corpus.ignore_extra_columns {
            cells.truncate(expected);
        }
        if cells.len() != expected {
            let columns = if cells.len() == 1 { "column" } else { "columns" };
            let (found, shown) = (cells.len(), text.chars().take(40).collect::<String>());
            let hint =
                if found > expected { "; `ignore_extra_columns = true` leaves the others out" } else { "" };
            report(format!("found {found} {columns} ({shown:?}), expected {expected}{hint}"));
        } else if cells[0].is_empty() {
            report("found no word, expected one in the first column (an empty line ends a sentence; `skip_empty_words = true` leaves such lines out)".into());
        }
        sentence.push(line, &cells);
    }
    sentence.end(file, names.as_deref(), &mut rows);
    errors.finish(rows)
}

/// Whether columns are separated by tabs: whether the first line with a word has one.
fn tabbed(text: &str) -> bool {
    lines(text)
        .map(|(_, line)| line)
        .find(|line| !line.trim().is_empty() && !is_comment(line))
        .is_some_and(|line| line.trim_matches(' ').contains('\t'))
}

fn is_comment(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("# ") else { return false };
    let mut words = rest.split_whitespace();
    matches!((words.next(), words.next()), (Some("id"), Some(_)) | (Some(_), Some("=")))
}

fn cells(line: &str, delimiter: Option<char>) -> Vec<&str> {
    match delimiter {
        Some(delimiter) => line.split(delimiter).map(|cell| cell.trim_matches([' ', '\t'])).collect(),
        None => line.split([' ', '\t']).filter(|cell| !cell.is_empty()).collect(),
    }
}

fn default_names(columns: usize) -> Vec<Arc<str>> {
    let name = |i| match i {
        0 => "tokens".into(),
        i if i + 1 == columns => "tags".into(),
        i => format!("column{}", i + 1).into(),
    };
    (0..columns).map(name).collect()
}

/// The columns of the sentence that is being read.
#[derive(Default)]
struct Sentence {
    line: usize,
    columns: Vec<Vec<Value>>,
}

impl Sentence {
    fn push(&mut self, line: usize, cells: &[&str]) {
        if self.columns.is_empty() {
            self.line = line;
        }
        self.columns.resize_with(self.columns.len().max(cells.len()), Vec::new);
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(Value::Text((*cell).to_owned()));
        }
    }

    fn end(&mut self, file: &Arc<Path>, names: Option<&[Arc<str>]>, rows: &mut Vec<Row>) {
        let columns = std::mem::take(&mut self.columns);
        let (Some(names), Some(words)) = (names, columns.first()) else { return };
        let text = joined(words);
        let mut fields: Vec<_> = names.iter().cloned().zip(columns.into_iter().map(Value::List)).collect();
        if names.iter().all(|name| &**name != "text") {
            fields.push(("text".into(), Value::Text(text)));
        }
        rows.push(Row { place: Place { file: file.clone(), line: self.line }, fields });
    }
}

/// Words joined by single spaces.
pub fn joined(words: &[Value]) -> String {
    let mut text = String::new();
    for (i, word) in words.iter().enumerate() {
        text.push_str(if i > 0 { " " } else { "" });
        if let Value::Text(word) = word {
            text.push_str(word);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, change: impl FnOnce(&mut CorpusConfig)) -> Result<Vec<Row>, Vec<String>> {
        let mut corpus = CorpusConfig::of("a.conll");
        change(&mut corpus);
        rows(&Path::new("a.conll").into(), text, &corpus)
            .map_err(|e| e.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn sentences_end_at_lines_of_nothing_but_spaces_and_tabs() {
        let rows = check("\n#\tO\nA b\tB-x\n\t\n\t \nc\tO  \n   \nd\tO\r\n", |_| {}).unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0].words("tokens").unwrap().unwrap(), ["#", "A b"]);
        assert_eq!(rows[0].words("tags").unwrap().unwrap(), ["O", "B-x"]);
        assert_eq!(rows[0].text("text").unwrap().as_deref(), Some("# A b"));
        assert_eq!(rows[1].words("tags").unwrap().unwrap(), ["O"]);
        assert_eq!(rows.iter().map(|row| row.place.line).collect::<Vec<_>>(), [2, 6, 8]);
    }

    #[test]
    fn spaces_document_marks_and_comments() {
        let text = "-DOCSTART- -X- -X- O\n\n# id 12ab domain=en\nEU NNP B-NP B-ORG\n# NN I-NP O\n";
        let rows = check(text, |_| {}).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].words("tokens").unwrap().unwrap(), ["EU", "#"]);
        assert_eq!(rows[0].words("column3").unwrap().unwrap(), ["B-NP", "I-NP"]);
        assert_eq!(rows[0].words("tags").unwrap().unwrap(), ["B-ORG", "O"]);
    }

    #[test]
    fn columns_can_be_named() {
        let names = vec!["text".to_owned(), "ner".to_owned()];
        let rows = check("a\tO", |c| c.columns = Some(names)).unwrap();
        assert_eq!(rows[0].words("text").unwrap().unwrap(), ["a"]);
        assert_eq!(rows[0].words("ner").unwrap().unwrap(), ["O"]);
    }

    #[test]
    fn errors_name_their_lines() {
        let found = check("a\tO\nb\n\tO\n\nc\tO\tX\n", |_| {}).unwrap_err();
        assert_eq!(found[0], "a.conll:2: found 1 column (\"b\"), expected 2");
        assert!(found[1].starts_with("a.conll:3: found no word"));
        assert!(found[2].starts_with("a.conll:5: found 3 columns"));
    }
}
