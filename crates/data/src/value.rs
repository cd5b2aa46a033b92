//! Rows and their values, as the readers deliver them.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::DataError;

/// Up to this number, 2^53, a 64-bit float holds every integer.
const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing: JSON `null`, an empty CSV cell, a Parquet null.
    Null,
    /// True or false.
    Bool(bool),
    /// A number that a 64-bit float holds; of integers only those that it holds exactly.
    Number(f64),
    /// An integer beyond that: its digits.
    Integer(Box<str>),
    /// UTF-8 text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// Named values, in the file's order.
    Record(Vec<(Arc<str>, Value)>),
}

impl Value {
    /// An integer: a number up to 2^53, beyond that its digits, so that no identifier and no label changes.
    pub(crate) fn integer(value: i128) -> Value {
        if value.unsigned_abs() <= u128::from(EXACT) {
            Value::Number(value as f64)
        } else {
            Value::Integer(value.to_string().into())
        }
    }

    /// An integer of any length in decimal digits, with a minus sign or without.
    pub(crate) fn digits(digits: &str) -> Value {
        digits.parse().map_or_else(|_| Value::Integer(digits.into()), Value::integer)
    }

    /// The value of a field of a record; `None` where there is no such field, or no record.
    pub fn field(&self, name: &str) -> Option<&Value> {
        let Value::Record(fields) = self else { return None };
        fields.iter().find(|(field, _)| &**field == name).map(|(_, value)| value)
    }

    /// The value as text: text as it is, of an integer its digits; `None` for all other values.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Value::Text(text) => Some(text.into()),
            Value::Integer(digits) => Some((&**digits).into()),
            Value::Number(number) if number.fract() == 0.0 && number.abs() <= EXACT as f64 => {
                Some(number.to_string().into())
            }
            _ => None,
        }
    }

    /// Whether there is nothing to read in it: nothing, blank text ([`is_blank`]), a list of such values.
    pub fn is_blank(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Text(text) => is_blank(text),
            Value::List(items) => items.iter().all(Value::is_blank),
            Value::Bool(_) | Value::Number(_) | Value::Integer(_) | Value::Record(_) => false,
        }
    }

    /// What sort of value this is, in words for a message: `"text"`, `"a number"`, ...
    pub fn describe(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) | Value::Integer(_) => "a number",
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
            Value::Integer(digits) => out.push_str(digits),
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

/// Whether a text has no visible character: spaces, control characters and characters of no width alone.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c.is_control() || has_no_width(c))
}

/// Characters that are drawn as nothing: the soft hyphen, joiners, marks of direction, the byte order mark, variation selectors and
/// tags (Unicode's Default_Ignorable_Code_Point).
pub(crate) fn has_no_width(c: char) -> bool {
    matches!(u32::from(c),
        0x00AD | 0x034F | 0x061C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
        | 0x202A..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFF8
        | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF)
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
    /// The value of a field; `None` when the row lacks it or it is [`Value::Null`]. A name that no field has may be a path into
    /// objects: `meta.label` is `label` in the object of field `meta`.
    pub fn get(&self, field: &str) -> Option<&Value> {
        find(&self.fields, field).filter(|value| **value != Value::Null)
    }

    /// Whether the row has a field, be it null.
    pub fn has(&self, field: &str) -> bool {
        find(&self.fields, field).is_some()
    }

    /// The text of a field, of an integer its digits; `None` when absent.
    ///
    /// # Errors
    /// When the field holds something else.
    pub fn text(&self, field: &str) -> Result<Option<Cow<'_, str>>, DataError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        value.as_text().map(Some).ok_or_else(|| self.error(field, value.preview(), "text"))
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
                let word = |(i, item): (usize, &Value)| {
                    item.as_text().map(Cow::into_owned).ok_or_else(|| {
                        let found = format!("{} at position {}", item.preview(), i + 1);
                        self.error(field, found, "a list of text")
                    })
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
        let texts = items.iter().map(|item| item.as_text().map(Cow::into_owned));
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
            Some(Value::Text(text)) if is_blank(text) => return Ok(None),
            Some(Value::Text(text)) => text.trim().parse().ok(),
            Some(Value::Integer(digits)) => digits.parse().ok(),
            Some(_) => None,
        };
        match (number, self.get(field)) {
            (Some(number), _) if number.is_finite() => Ok(Some(number)),
            (_, found) => {
                let found = found.map(Value::preview).unwrap_or_default();
                let comma = found.contains(',')
                    && found.trim_matches('"').replacen(',', ".", 1).parse::<f64>().is_ok();
                let hint = if comma { " (a point before the decimals, no comma)" } else { "" };
                Err(self.error(field, found, format!("a finite number{hint}")))
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

    /// The names of the row's fields for a message, with paths into objects, and a remark where they look like a row of text.
    pub fn names(&self) -> String {
        let mut names = Vec::new();
        list_names("", &self.fields, &mut names);
        let listed = names.join(", ");
        let words = |name: &str| name.split_whitespace().count();
        match self.fields.iter().any(|(name, _)| words(name) > 4) {
            true => format!(
                "{listed} (if the first line is a row and no header, name the columns with `columns = [..]`)"
            ),
            false => listed,
        }
    }
}

/// The value of a field, or of a path into objects.
fn find<'a>(fields: &'a [(Arc<str>, Value)], field: &str) -> Option<&'a Value> {
    let named = |name: &str| fields.iter().find(|(other, _)| &**other == name).map(|(_, value)| value);
    named(field).or_else(|| {
        field.match_indices('.').find_map(|(dot, _)| match named(&field[..dot])? {
            Value::Record(inner) => find(inner, &field[dot + 1..]),
            _ => None,
        })
    })
}

fn list_names(prefix: &str, fields: &[(Arc<str>, Value)], names: &mut Vec<String>) {
    for (name, value) in fields {
        match value {
            Value::Null => names.push(format!("{prefix}{name} (null)")),
            Value::Record(inner) if prefix.is_empty() && !inner.is_empty() => {
                list_names(&format!("{name}."), inner, names);
            }
            _ => names.push(format!("{prefix}{name}")),
        }
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
        assert!(row.has("none") && !row.has("other"));
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
        let list = Value::List(vec![Value::Text("a".into()), Value::Number(2.5)]);
        let error = row(list.clone()).words("x").unwrap_err().to_string();
        assert_eq!(error, "dir/a.jsonl:7: field \"x\": found 2.5 at position 2, expected a list of text");
        let error = row(list).text("x").unwrap_err().to_string();
        assert_eq!(error, "dir/a.jsonl:7: field \"x\": found [\"a\", 2.5], expected text");
        assert!(row(Value::Text("1e999".into())).number("x").is_err());
        assert_eq!(row(Value::Text(" -2.5 ".into())).number("x").unwrap(), Some(-2.5));
    }
}
