//! Rows and their values, as the readers deliver them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::DataError;

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing: JSON `null`, an empty CSV cell, a Parquet null.
    Null,
    /// True or false.
    Bool(bool),
    /// Any number.
    Number(f64),
    /// UTF-8 text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// Named values, in the file's order.
    Record(Vec<(Arc<str>, Value)>),
}

impl Value {
    /// An integer as a number where a 64-bit float holds it exactly, else as text of its digits: identifiers keep them.
    #[allow(clippy::cast_possible_truncation)] // What is lost is noticed.
    pub(crate) fn integer(value: i128) -> Value {
        let number = value as f64;
        if number as i128 == value { Value::Number(number) } else { Value::Text(value.to_string()) }
    }

    /// What sort of value this is, in words for a message: `"text"`, `"a number"`, ...
    pub fn describe(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Record(_) => "an object",
        }
    }

    /// The value, short enough for a message; long text and lists are cut.
    pub fn preview(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        if out.chars().count() > 60 {
            out = out.chars().take(57).collect::<String>() + "...";
        }
        out
    }

    fn write(&self, out: &mut String, depth: usize) {
        if out.len() > 400 {
            return;
        }
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Value::Number(n) => out.push_str(&n.to_string()),
            Value::Text(t) => {
                out.push('"');
                out.extend(t.chars().take(80));
                out.push('"');
            }
            Value::List(_) | Value::Record(_) if depth > 3 => out.push_str("..."),
            Value::List(items) => {
                out.push('[');
                for (i, item) in items.iter().take(20).enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    item.write(out, depth + 1);
                }
                out.push(']');
            }
            Value::Record(fields) => {
                out.push('{');
                for (i, (name, value)) in fields.iter().take(20).enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    out.push_str(name);
                    out.push_str(": ");
                    value.write(out, depth + 1);
                }
                out.push('}');
            }
        }
    }
}

impl From<&serde_json::Value> for Value {
    fn from(json: &serde_json::Value) -> Value {
        use serde_json::Value as Json;
        match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => {
                let whole = number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
                whole.map_or_else(|| Value::Number(number.as_f64().unwrap_or(f64::NAN)), Value::integer)
            }
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(items) => Value::List(items.iter().map(Value::from).collect()),
            Json::Object(fields) => {
                Value::Record(fields.iter().map(|(name, v)| (name.as_str().into(), v.into())).collect())
            }
        }
    }
}

/// The location of a row, shown as `file:line`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The line, from 1 on, where the row begins; in a Parquet file the number of the row, from 1 on.
    pub line: usize,
}

impl Place {
    /// An error at this place.
    pub fn error(&self, reason: impl Into<String>) -> DataError {
        DataError::BadRow { place: self.clone(), reason: reason.into() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// One row of a corpus: its location and its fields in the file's order. Names are unique within a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// File and line.
    pub place: Place,
    /// Field names and values.
    pub fields: Vec<(Arc<str>, Value)>,
}

impl Row {
    /// The value of a field; `None` when the row lacks it or it is [`Value::Null`].
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields
            .iter()
            .find(|(name, _)| &**name == field)
            .map(|(_, value)| value)
            .filter(|v| **v != Value::Null)
    }

    /// The text of a field; `None` when absent.
    ///
    /// # Errors
    /// When the field holds something else than text.
    pub fn text(&self, field: &str) -> Result<Option<&str>, DataError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(self.error(field, other.preview(), "text")),
        }
    }

    /// The words of a field: a list of text as it stands, or text split at single spaces (so that empty words keep
    /// their place beside labels); `None` when absent. Text without any character has no words.
    ///
    /// # Errors
    /// When the field holds something else, or a list holds something else than text.
    pub fn words(&self, field: &str) -> Result<Option<Vec<String>>, DataError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Text(text)) if text.is_empty() => Ok(Some(Vec::new())),
            Some(Value::Text(text)) => Ok(Some(text.split(' ').map(str::to_owned).collect())),
            Some(Value::List(items)) => {
                let word = |(i, item): (usize, &Value)| match item {
                    Value::Text(word) => Ok(word.clone()),
                    other => {
                        let found = format!("{} at position {}", other.preview(), i + 1);
                        Err(self.error(field, found, "a list of text"))
                    }
                };
                items.iter().enumerate().map(word).collect::<Result<_, _>>().map(Some)
            }
            Some(other) => {
                Err(self.error(field, other.preview(), "a list of words, or text with spaces between words"))
            }
        }
    }

    /// A list of two or more texts, of which one is to be chosen; `None` when absent.
    ///
    /// # Errors
    /// When the field holds something else.
    pub fn choices(&self, field: &str) -> Result<Option<Vec<String>>, DataError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let items = if let Value::List(items) = value { items.as_slice() } else { &[] };
        let texts =
            items.iter().map(|item| if let Value::Text(text) = item { Some(text.clone()) } else { None });
        match texts.collect::<Option<Vec<String>>>() {
            Some(texts) if texts.len() > 1 => Ok(Some(texts)),
            _ => Err(self.error(field, value.preview(), "a list of two or more texts")),
        }
    }

    /// The number in a field, also when it is written as text (CSV has no types); `None` when absent.
    ///
    /// # Errors
    /// When the field holds something else, or a number that is not finite.
    pub fn number(&self, field: &str) -> Result<Option<f64>, DataError> {
        let number = match self.get(field) {
            None => return Ok(None),
            Some(Value::Number(number)) => Some(*number),
            Some(Value::Text(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        match (number, self.get(field)) {
            (Some(number), _) if number.is_finite() => Ok(Some(number)),
            (_, found) => {
                Err(self.error(field, found.map(Value::preview).unwrap_or_default(), "a finite number"))
            }
        }
    }

    /// An error of one field of this row: where, which field, what was found, what was expected.
    pub fn error(&self, field: &str, found: impl fmt::Display, expected: impl fmt::Display) -> DataError {
        self.place.error(format!("field {field:?}: found {found}, expected {expected}"))
    }

    /// The error that a field is absent; names the fields that the row does have.
    pub fn missing(&self, field: &str) -> DataError {
        self.place.error(format!("no field {field:?}; the row has {}", self.names()))
    }

    /// The error that a field is absent from all of `rows` rows, of which this is the first.
    pub(crate) fn missing_everywhere(&self, field: &str, rows: usize) -> DataError {
        self.place.error(format!("no field {field:?} in any of {rows} rows; the first has {}", self.names()))
    }

    fn names(&self) -> String {
        let name = |(name, value): &(Arc<str>, Value)| match value {
            Value::Null => format!("{name} (null)"),
            _ => name.to_string(),
        };
        let names: Vec<String> = self.fields.iter().map(name).collect();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: Value) -> Row {
        let place = Place { file: Arc::from(Path::new("dir/a.jsonl")), line: 7 };
        Row { place, fields: vec![("x".into(), value), ("none".into(), Value::Null)] }
    }

    #[test]
    fn absent_and_null_are_none() {
        let row = row(Value::Number(1.0));
        assert_eq!(row.get("none"), None);
        assert_eq!(row.text("other").unwrap(), None);
        assert_eq!(row.number("x").unwrap(), Some(1.0));
        assert_eq!(row.missing("y").to_string(), "dir/a.jsonl:7: no field \"y\"; the row has x, none (null)");
    }

    #[test]
    fn words_of_text_keep_empty_ones() {
        assert_eq!(row(Value::Text("a  b".into())).words("x").unwrap().unwrap(), ["a", "", "b"]);
        assert!(row(Value::Text(String::new())).words("x").unwrap().unwrap().is_empty());
    }

    #[test]
    fn errors_say_where_and_what() {
        let list = Value::List(vec![Value::Text("a".into()), Value::Number(2.0)]);
        let error = row(list.clone()).words("x").unwrap_err().to_string();
        assert_eq!(error, "dir/a.jsonl:7: field \"x\": found 2 at position 2, expected a list of text");
        let error = row(list).text("x").unwrap_err().to_string();
        assert_eq!(error, "dir/a.jsonl:7: field \"x\": found [\"a\", 2], expected text");
        assert!(row(Value::Text("1e999".into())).number("x").is_err());
        assert_eq!(row(Value::Text(" -2.5 ".into())).number("x").unwrap(), Some(-2.5));
    }
}
