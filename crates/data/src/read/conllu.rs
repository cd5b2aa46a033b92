//! CoNLL-U, the format of Universal Dependencies: ten columns, an empty line after each sentence.
//!
//! Each sentence is a row with the lists `tokens` (FORM), `lemma`, `upos`, `xpos`, `feats`, `head` (numbers: 0 is the root,
//! else the word counted from 1; null where there is `_`), `deprel`, `deps` and `misc`, the text of its `# text =` comment
//! (or else the words joined by spaces) in `text`, and `sent_id` if it has one. Underscores stay as they stand. Lines of
//! multiword tokens (`1-2`) and empty nodes (`1.1`) are passed over: words are the syntactic words.

use std::path::Path;
use std::sync::Arc;

use super::conll::joined;
use super::text::lines;
use crate::{DataError, ErrorList, Place, Row, Value};

/// The columns that become fields, and where they stand.
const FIELDS: [(&str, usize); 9] = [
    ("tokens", 1),
    ("lemma", 2),
    ("upos", 3),
    ("xpos", 4),
    ("feats", 5),
    ("head", 6),
    ("deprel", 7),
    ("deps", 8),
    ("misc", 9),
];
const COLUMNS: usize = 10;
const HEAD: usize = 6;

/// The rows (sentences) of a CoNLL-U file.
pub fn rows(file: &Arc<Path>, text: &str) -> Result<Vec<Row>, Vec<DataError>> {
    let names = FIELDS.map(|(name, _)| Arc::<str>::from(name));
    let mut errors = ErrorList::new();
    let mut rows = Vec::new();
    let mut sentence = Sentence::default();
    for (line, text) in lines(text) {
        if text.trim_ascii().is_empty() {
            std::mem::take(&mut sentence).end(file, &names, &mut rows, &mut errors);
        } else if let Some(comment) = text.strip_prefix('#') {
            sentence.comment(comment);
        } else if let Err(reason) = sentence.word(line, text) {
            errors.push(Place { file: file.clone(), line }.error(reason));
        }
    }
    sentence.end(file, &names, &mut rows, &mut errors);
    errors.finish(rows)
}

/// The sentence that is being read.
#[derive(Default)]
struct Sentence {
    text: Option<String>,
    id: Option<String>,
    /// Line of each word.
    lines: Vec<usize>,
    columns: [Vec<Value>; FIELDS.len()],
    broken: bool,
}

impl Sentence {
    fn comment(&mut self, comment: &str) {
        let Some((name, value)) = comment.split_once('=') else { return };
        match name.trim() {
            "text" => self.text = Some(value.trim().to_owned()),
            "sent_id" => self.id = Some(value.trim().to_owned()),
            _ => {}
        }
    }

    fn word(&mut self, line: usize, text: &str) -> Result<(), String> {
        let cells: Vec<&str> = text.split('\t').map(|cell| cell.trim_matches(' ')).collect();
        let place = self.lines.len() + 1;
        let whole = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
        if cells[0].split_once(['-', '.']).is_some_and(|(a, b)| whole(a) && whole(b)) {
            return Ok(());
        }
        self.lines.push(line);
        let reject = |sentence: &mut Self, reason: String| {
            sentence.broken = true;
            Err(reason)
        };
        if cells.len() != COLUMNS {
            let hint = if cells.len() == 1 { " (CoNLL-U separates columns by tabs)" } else { "" };
            return reject(self, format!("found {} columns, expected {COLUMNS}{hint}", cells.len()));
        }
        if cells[0].parse() != Ok(place) {
            return reject(self, format!("found word number {:?}, expected {place}", cells[0]));
        }
        if let Some(empty) = cells.iter().position(|cell| cell.is_empty()) {
            return reject(self, format!("found nothing in column {}, expected a value or _", empty + 1));
        }
        let head = match cells[HEAD] {
            "_" => Value::Null,
            head => match head.parse::<u32>() {
                Ok(head) => Value::Number(head.into()),
                Err(_) => {
                    return reject(self, format!("found head {head:?}, expected a word's number, 0 or _"));
                }
            },
        };
        for (column, (_, at)) in self.columns.iter_mut().zip(FIELDS) {
            column.push(if at == HEAD { head.clone() } else { Value::Text(cells[at].to_owned()) });
        }
        Ok(())
    }

    fn end(self, file: &Arc<Path>, names: &[Arc<str>], rows: &mut Vec<Row>, errors: &mut ErrorList) {
        let Some(&first) = self.lines.first() else { return };
        if self.broken {
            return;
        }
        let at = |line| Place { file: file.clone(), line };
        let words = self.lines.len();
        for ((name, column), _) in
            names.iter().zip(&self.columns).zip(FIELDS).filter(|(_, (_, i))| *i == HEAD)
        {
            for (value, &line) in column.iter().zip(&self.lines) {
                if let Value::Number(head) = value
                    && *head > words as f64
                {
                    errors.push(
                        at(line)
                            .error(format!("found {name} {head}, expected at most {words}, the last word")),
                    );
                }
            }
        }
        let text = self.text.unwrap_or_else(|| joined(&self.columns[0]));
        let mut fields: Vec<_> =
            names.iter().cloned().zip(self.columns.into_iter().map(Value::List)).collect();
        fields.push(("text".into(), Value::Text(text)));
        if let Some(id) = self.id {
            fields.push(("sent_id".into(), Value::Text(id)));
        }
        rows.push(Row { place: at(first), fields });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Vec<Row>, Vec<String>> {
        rows(&Path::new("a.conllu").into(), text).map_err(|e| e.iter().map(ToString::to_string).collect())
    }

    const SENTENCE: &str = "# sent_id = s1\n# text = I don't\n1\tI\tI\tPRON\tPRP\tCase=Nom\t3\tnsubj\t3:nsubj\t_\n\
        2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_\n2\tdo\tdo\tAUX\tVBP\t_\t3\taux\t_\t_\n3\tn't\tnot\tPART\tRB\t_\t0\troot\t_\t_\n\
        3.1\tgo\tgo\tVERB\t_\t_\t_\t_\t0:root\t_\n";

    #[test]
    fn words_are_the_syntactic_ones() {
        let rows = check(&format!("{SENTENCE}\n1\t_\t_\tX\t_\t_\t_\t_\t_\t_")).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].words("tokens").unwrap().unwrap(), ["I", "do", "n't"]);
        assert_eq!(rows[0].words("feats").unwrap().unwrap(), ["Case=Nom", "_", "_"]);
        let heads = [3.0, 3.0, 0.0].map(Value::Number).to_vec();
        assert_eq!(rows[0].get("head"), Some(&Value::List(heads)));
        assert_eq!(rows[0].text("text").unwrap().as_deref(), Some("I don't"));
        assert_eq!(rows[0].text("sent_id").unwrap().as_deref(), Some("s1"));
        assert_eq!(rows[0].place.line, 3);
        assert_eq!(rows[1].text("text").unwrap().as_deref(), Some("_"));
        assert_eq!(rows[1].get("head"), Some(&Value::List(vec![Value::Null])));
    }

    #[test]
    fn errors_name_their_lines() {
        let text = "1\ta\t_\t_\t_\t_\t9\t_\t_\t_\n3\tb\t_\t_\t_\t_\t0\t_\t_\t_\nx y\n\n1\tc\t_\t_\t_\t_\tq\t_\t_\t_\n\n\
            1\td\t_\t_\t_\t_\t2\t_\t_\t_\n\n1\t\t_\t_\t_\t_\t0\t_\t_\t_\n";
        let found = check(text).unwrap_err();
        assert_eq!(
            found,
            [
                "a.conllu:2: found word number \"3\", expected 2",
                "a.conllu:3: found 1 columns, expected 10 (CoNLL-U separates columns by tabs)",
                "a.conllu:5: found head \"q\", expected a word's number, 0 or _",
                "a.conllu:7: found head 2, expected at most 1, the last word",
                "a.conllu:9: found nothing in column 2, expected a value or _",
            ]
        );
    }
}
