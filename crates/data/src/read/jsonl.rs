//! JSON Lines: one JSON object a line. Empty lines are passed over. Integers that a 64-bit float cannot hold exactly
//! become text of their digits, so that no identifier changes.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::text::lines;
use crate::{DataError, ErrorList, Place, Row, Value};

/// The rows of a JSON Lines file.
pub fn rows(file: &Arc<Path>, text: &str) -> Result<Vec<Row>, Vec<DataError>> {
    let filled: Vec<(usize, &str)> = lines(text).filter(|(_, line)| !line.trim_ascii().is_empty()).collect();
    let parts: Vec<Vec<Result<Row, DataError>>> = filled
        .par_chunks(1024)
        .map(|chunk| {
            let mut names = Names::default();
            chunk
                .iter()
                .map(|&(line, text)| row(Place { file: file.clone(), line }, text, &mut names))
                .collect()
        })
        .collect();
    let mut errors = ErrorList::new();
    let mut rows = Vec::with_capacity(filled.len());
    for result in parts.into_iter().flatten() {
        match result {
            Ok(row) => rows.push(row),
            Err(error) => errors.push(error),
        }
    }
    errors.finish(rows)
}

/// Field names that were seen, so that rows share them.
type Names = HashMap<Arc<str>, Arc<str>>;

fn row(place: Place, text: &str, names: &mut Names) -> Result<Row, DataError> {
    match serde_json::from_str::<Json>(text) {
        Ok(Json(Value::Record(mut fields))) => {
            for (name, _) in &mut fields {
                *name = names.entry(name.clone()).or_insert_with(|| name.clone()).clone();
            }
            Ok(Row { place, fields })
        }
        Ok(Json(other)) => {
            let (found, hint) = (other.describe(), " (JSON Lines: one object in braces a line)");
            Err(place.error(format!("found {found}, expected a JSON object{hint}")))
        }
        Err(error) => {
            // "... at line 1 column 7": the line is 1 of 1 here, only the column says something.
            let said = error.to_string();
            let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(said, _)| said);
            let hint = match text.trim_ascii() {
                "[" | "{" => {
                    "; JSON Lines wants each object on one line, convert with: jq -c '.[]' or jq -c ."
                }
                _ => "",
            };
            Err(place.error(format!("is not JSON at column {}: {said}{hint}", error.column())))
        }
    }
}

/// So many names of an object are compared one by one.
const FEW_NAMES: usize = 32;

/// Reads a [`Value`] out of JSON and refuses a name that stands twice in one object.
struct Json(Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor).map(Json)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Json(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut fields: Vec<(Arc<str>, Value)> = Vec::new();
        let mut names = HashSet::new();
        while let Some((name, Json(value))) = access.next_entry::<String, Json>()? {
            let name: Arc<str> = name.into();
            // Objects of few names, which nearly all are, need no set.
            if fields.len() == FEW_NAMES {
                names.extend(fields.iter().map(|(name, _)| name.clone()));
            }
            let twice = match fields.len() < FEW_NAMES {
                true => fields.iter().any(|(other, _)| *other == name),
                false => !names.insert(name.clone()),
            };
            if twice {
                return Err(A::Error::custom(format!("the name {name:?} stands twice in one object")));
            }
            fields.push((name, value));
        }
        Ok(Value::Record(fields))
    }
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
        assert_eq!(rows[0].text("d").unwrap(), Some("é\u{301}😀"));
        let list = vec![Value::Number(1.0), Value::Text("x".into())];
        assert_eq!(rows[0].get("e"), Some(&Value::List(list)));
        assert_eq!(rows[0].get("f"), Some(&Value::Record(vec![("g".into(), Value::Number(2.0))])));
    }

    #[test]
    fn integers_lose_no_digit() {
        let row = &check("{\"id\": 9007199254740993, \"n\": 9007199254740992}").unwrap()[0];
        assert_eq!(row.text("id").unwrap(), Some("9007199254740993"));
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
        assert!(check("[\n{\"a\": 1}\n]").unwrap_err()[0].contains("jq -c"));
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
