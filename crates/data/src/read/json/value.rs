//! From JSON text to values. Numbers are read from their characters, so that integers keep all their digits.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::Value;

/// How deep lists and objects may lie in each other.
const MAX_DEPTH: usize = 128;

/// What is wrong with a JSON text.
#[derive(Debug)]
pub struct Problem {
    /// The byte of the text, from 0 on.
    pub at: usize,
    /// The parser's words.
    pub reason: String,
}

/// The value that a text is.
pub fn parse(text: &str) -> Result<Value, Problem> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| problem(text, text, &error))?;
    value(raw, text, 0)
}

/// The values of an array, each with the byte of the text at which it begins.
pub type Elements = Vec<(usize, Value)>;

/// The values of a JSON array, each with the byte of the text at which it begins; `None` if the text is no array.
pub fn elements(text: &str) -> Option<Result<Elements, Problem>> {
    let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(items.into_iter().map(|item| Ok((offset(item.get(), text), value(item, text, 0)?))).collect())
}

fn value(raw: &RawValue, whole: &str, depth: usize) -> Result<Value, Problem> {
    let text = raw.get();
    let failed = |error: serde_json::Error| problem(text, whole, &error);
    if depth > MAX_DEPTH {
        let reason = format!("more than {MAX_DEPTH} lists and objects in each other (recursion limit)");
        return Err(Problem { at: offset(text, whole), reason });
    }
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let Fields(fields) = serde_json::from_str(text).map_err(failed)?;
            let field = |(name, raw): (String, &RawValue)| Ok((name.into(), value(raw, whole, depth + 1)?));
            Value::Record(fields.into_iter().map(field).collect::<Result<Vec<(Arc<str>, Value)>, _>>()?)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(failed)?;
            Value::List(items.into_iter().map(|raw| value(raw, whole, depth + 1)).collect::<Result<_, _>>()?)
        }
        Some(b'"') => Value::Text(serde_json::from_str(text).map_err(failed)?),
        Some(b't' | b'f') => Value::Bool(text == "true"),
        Some(b'n') => Value::Null,
        _ if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => Value::digits(text),
        _ => Value::Number(serde_json::from_str(text).map_err(failed)?),
    })
}

/// The byte of `whole` at which a part of it begins.
fn offset(part: &str, whole: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

fn problem(part: &str, whole: &str, error: &serde_json::Error) -> Problem {
    let before: usize = part.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = offset(part, whole) + before + error.column().saturating_sub(1);
    // "... at line 1 column 7": the place is said otherwise.
    let said = error.to_string();
    let reason = said.rsplit_once(" at line ").map_or(said.as_str(), |(said, _)| said).to_owned();
    Problem { at, reason }
}

/// The fields of an object, in order. A name that stands twice is refused.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Vec::new();
        let mut seen = HashSet::new();
        while let Some((name, value)) = access.next_entry::<String, &RawValue>()? {
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format!("the name {name:?} stands twice in one object")));
            }
            fields.push((name, value));
        }
        Ok(Fields(fields))
    }
}
