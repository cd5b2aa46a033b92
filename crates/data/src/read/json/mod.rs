//! JSON Lines: one JSON object a line, empty lines passed over. Also JSON documents: an array of objects, and the documents of
//! `documents.rs`. Integers keep all their digits.

mod causes;
mod documents;
mod value;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use self::value::{Problem, parse};
use super::faults::{Fault, report};
use super::text::lines;
use crate::{DataError, Place, Row, Value};

/// The rows of a JSON Lines file or JSON document.
pub fn rows(file: &Arc<Path>, text: &str) -> Result<Vec<Row>, Vec<DataError>> {
    if let Some(rows) = document(file, text) {
        return rows;
    }
    let filled: Vec<(usize, &str)> = lines(text).filter(|(_, line)| !line.trim_ascii().is_empty()).collect();
    let parts: Vec<Vec<Result<Row, Fault>>> = filled
        .par_chunks(1024)
        .map(|chunk| {
            let mut names = Names::default();
            chunk
                .iter()
                .map(|&(line, text)| row(Place { file: file.clone(), line }, text, &mut names))
                .collect()
        })
        .collect();
    let mut faults = Vec::new();
    let mut rows = Vec::with_capacity(filled.len());
    for result in parts.into_iter().flatten() {
        match result {
            Ok(row) => rows.push(row),
            Err(fault) => faults.push(fault),
        }
    }
    report(&faults).finish(rows)
}

/// The value that a JSON text is, as the reader of JSON Lines takes it.
///
/// # Errors
/// What is wrong with it, in words without a place.
pub fn json_value(text: &str) -> Result<Value, String> {
    parse(text).map_err(|problem| {
        let at = problem.at + 1;
        let cause = causes::cause(text, &problem);
        cause.map_or_else(
            || format!("is not JSON at column {at}: {}", problem.reason),
            |cause| cause.to_owned(),
        )
    })
}

/// Field names that were seen, so that rows share them.
type Names = HashMap<Arc<str>, Arc<str>>;

fn row(place: Place, text: &str, names: &mut Names) -> Result<Row, Fault> {
    match parse(text) {
        Ok(Value::Record(mut fields)) => {
            share_names(&mut fields, names);
            Ok(Row { place, fields })
        }
        Ok(other) => {
            let found = other.describe();
            let reason =
                format!("found {found}, expected a JSON object (JSON Lines: one object in braces a line)");
            Err(Fault { place, reason, common: true })
        }
        Err(problem) => Err(match causes::cause(text, &problem) {
            Some(cause) => Fault { place, reason: cause.to_owned(), common: true },
            None => {
                let reason = format!("is not JSON at column {}: {}", problem.at + 1, problem.reason);
                Fault { place, reason, common: false }
            }
        }),
    }
}

fn share_names(fields: &mut [(Arc<str>, Value)], names: &mut Names) {
    for (name, _) in fields {
        *name = names.entry(name.clone()).or_insert_with(|| name.clone()).clone();
    }
}

/// The rows of a text that is one JSON document; `None` for JSON Lines.
fn document(file: &Arc<Path>, text: &str) -> Option<Result<Vec<Row>, Vec<DataError>>> {
    let line_at = |byte: usize| 1 + text.as_bytes()[..byte].iter().filter(|byte| **byte == b'\n').count();
    let error =
        |at: usize, reason: String| vec![Place { file: file.clone(), line: line_at(at) }.error(reason)];
    let begin = text.trim_ascii_start();
    if begin.starts_with('[') {
        return match value::elements(text) {
            Some(Ok(elements)) => Some(of_elements(file, text, elements)),
            Some(Err(Problem { at, reason })) => Some(Err(error(at, format!("is not JSON: {reason}")))),
            // Lists a line are told line by line, a broken array once.
            None if parse(begin.lines().next()?).is_ok() => None,
            None => parse(text).err().map(|Problem { at, reason }| {
                Err(error(at, format!("is no JSON array: {reason}; fix it, or write one object a line")))
            }),
        };
    }
    // One object a line needs no look at the whole.
    let lines = text.lines().filter(|line| !line.trim_ascii().is_empty()).take(2).count();
    let first = parse(begin.lines().next()?);
    if !begin.starts_with('{') || (lines > 1 && first.is_ok()) {
        return None;
    }
    let whole = parse(text).ok()?;
    let at = text.len() - begin.len();
    if let Some(rows) = documents::of_shape(&whole) {
        return Some(of_elements(file, text, rows.into_iter().map(|row| (at, row)).collect()));
    }
    if let Some(list) = documents::list_of_objects(&whole).map(str::to_owned) {
        let has_text =
            matches!(&whole, Value::Record(fields) if fields.iter().any(|(_, value)| is_text(value)));
        let is_named_json = file.extension().is_some_and(|extension| extension == "json");
        if lines > 1 || (is_named_json && !has_text) {
            let reason = format!(
                "the file is one JSON document with a list {list:?}, expected one object a line; convert it with: jq -c '.{list}[]'"
            );
            return Some(Err(error(at, reason)));
        }
    }
    Some(of_elements(file, text, vec![(at, whole)]))
}

/// Whether a value is text or words.
fn is_text(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.contains(' '),
        Value::List(items) => !items.is_empty() && items.iter().all(|item| matches!(item, Value::Text(_))),
        _ => false,
    }
}

/// The rows of the elements of an array, each with the byte at which it begins.
fn of_elements(
    file: &Arc<Path>,
    text: &str,
    elements: Vec<(usize, Value)>,
) -> Result<Vec<Row>, Vec<DataError>> {
    let mut names = Names::default();
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    let (mut line, mut counted) = (1, 0);
    for (at, element) in elements {
        line += text.as_bytes()[counted..at].iter().filter(|byte| **byte == b'\n').count();
        counted = at;
        let place = Place { file: file.clone(), line };
        let found = element.describe();
        let Some(values) = documents::rows(element) else {
            let reason = format!("found {found} in the array, expected a JSON object");
            faults.push(Fault { place, reason, common: true });
            continue;
        };
        for value in values {
            let Value::Record(mut fields) = value else { continue };
            share_names(&mut fields, &mut names);
            rows.push(Row { place: place.clone(), fields });
        }
    }
    report(&faults).finish(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Vec<Row>, Vec<String>> {
        rows(&Path::new("a.jsonl").into(), text)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn values_of_every_sort() {
        let text = "{\"a\": null, \"b\": true, \"c\": -1.5, \"d\": \"é\\u0301\\ud83d\\ude00\", \"e\": [1, \"x\"], \"f\": {\"g\": 2}}\r\n\n";
        let rows = check(text).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].get("a"), None);
        assert_eq!(rows[0].get("b"), Some(&Value::Bool(true)));
        assert_eq!(rows[0].number("c").unwrap(), Some(-1.5));
        assert_eq!(rows[0].text("d").unwrap().as_deref(), Some("é\u{301}😀"));
        let list = vec![Value::Number(1.0), Value::Text("x".into())];
        assert_eq!(rows[0].get("e"), Some(&Value::List(list)));
        assert_eq!(rows[0].get("f"), Some(&Value::Record(vec![("g".into(), Value::Number(2.0))])));
    }

    #[test]
    fn integers_lose_no_digit() {
        let row = &check("{\"id\": 9007199254740993, \"n\": 9007199254740992}").unwrap()[0];
        assert_eq!(row.text("id").unwrap().as_deref(), Some("9007199254740993"));
        assert_eq!(row.number("n").unwrap(), Some(9007199254740992.0));
    }

    #[test]
    fn every_bad_line_is_named() {
        let found = check("{\"a\": 1}\n{\"a\": }\n[1]\n{\"a\": 1, \"a\": 2}\n{\"a\": \"\n").unwrap_err();
        assert_eq!(
            found,
            [
                "a.jsonl:2: is not JSON at column 7: expected value",
                "a.jsonl:3: found a list, expected a JSON object (JSON Lines: one object in braces a line)",
                "a.jsonl:4: is not JSON at column 16: the name \"a\" stands twice in one object",
                "a.jsonl:5: is not JSON at column 7: EOF while parsing a string",
            ]
        );
    }

    #[test]
    fn rows_share_field_names() {
        let rows = check("{\"a\": 1}\n{\"a\": 2}").unwrap();
        assert!(Arc::ptr_eq(&rows[0].fields[0].0, &rows[1].fields[0].0));
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        let text = format!("{{\"a\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(check(&text).unwrap_err()[0].contains("recursion limit"));
    }
}
