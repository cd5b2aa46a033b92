//! fastText's lines: `__label__NAME` once or several times, then the text. A row has `text`, `labels` (the list of its labels), and
//! `label` where it has exactly one. A line of spaces is passed over.

use std::path::Path;
use std::sync::Arc;

use super::text::lines;
use crate::{DataError, ErrorList, Place, Row, Value};

/// What begins a label.
const PREFIX: &str = "__label__";

/// The rows of a file in fastText's format.
pub fn rows(file: &Arc<Path>, text: &str) -> Result<Vec<Row>, Vec<DataError>> {
    let [text_name, label_name, labels_name] = ["text", "label", "labels"].map(Arc::<str>::from);
    let mut errors = ErrorList::new();
    let mut rows = Vec::new();
    for (line, text) in lines(text).filter(|(_, line)| !line.trim().is_empty()) {
        let place = Place { file: file.clone(), line };
        let (mut rest, mut labels) = (text.trim(), Vec::new());
        while let Some(tail) = rest.strip_prefix(PREFIX) {
            let (label, tail) = tail.split_once(char::is_whitespace).unwrap_or((tail, ""));
            if label.is_empty() {
                errors
                    .push(place.error(format!("found {PREFIX} without a name, expected a label behind it")));
            }
            labels.push(Value::Text(label.to_owned()));
            rest = tail.trim_start();
        }
        let label = if let [only] = &labels[..] { only.clone() } else { Value::Null };
        let fields = [
            (&text_name, Value::Text(rest.to_owned())),
            (&label_name, label),
            (&labels_name, Value::List(labels)),
        ];
        rows.push(Row { place, fields: fields.map(|(name, value)| (name.clone(), value)).to_vec() });
    }
    errors.finish(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_before_the_text() {
        let text = "__label__a __label__b  some words\n\n__label__c one\nnone\n";
        let rows = rows(&Path::new("a.ft").into(), text).unwrap();
        assert_eq!(rows[0].text("text").unwrap().unwrap(), "some words");
        assert_eq!(
            (rows[0].get("label"), rows[0].words("labels").unwrap().unwrap()),
            (None, vec!["a".into(), "b".into()])
        );
        assert_eq!((rows[1].text("label").unwrap().unwrap(), rows[1].place.line), ("c".into(), 3));
        assert!(rows[2].words("labels").unwrap().unwrap().is_empty());
    }
}
