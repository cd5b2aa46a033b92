//! Gold answers to a question, as a row gives them.

use std::ops::Range;

use data::{DataError, Row, Value};

/// An answer and its byte range in the context.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GoldAnswer {
    pub text: String,
    pub bytes: Range<usize>,
}

/// The formats of the field, for a message.
const EXPECTED: &str =
    "{text: [..], answer_start: [..]}, or a list of {text, answer_start}, with starts in characters";

/// The answers in a field; `None` for a row without the field, an empty list if the context does not answer the question.
///
/// Errors: another format; an answer that is not at its start in the context.
pub(crate) fn answers(row: &Row, field: &str, context: &str) -> Result<Option<Vec<GoldAnswer>>, DataError> {
    let Some(value) = row.get(field) else { return Ok(None) };
    let answers = read(value).ok_or_else(|| row.error(field, value.preview(), EXPECTED))?;
    let located = |(text, start): (&str, f64)| {
        let begin = (start >= 0.0 && start.fract() == 0.0).then(|| byte(context, start as usize)).flatten();
        match begin.filter(|begin| context[*begin..].starts_with(text)) {
            Some(begin) => Ok(GoldAnswer { text: text.to_owned(), bytes: begin..begin + text.len() }),
            None => {
                let found = format!("the answer {} at character {start}", Value::Text(text.into()).preview());
                Err(row.error(field, found, "an answer that stands there in the context"))
            }
        }
    };
    answers.into_iter().filter(|(text, _)| !text.is_empty()).map(located).collect::<Result<_, _>>().map(Some)
}

/// Texts and starts, in either of the two formats.
fn read(value: &Value) -> Option<Vec<(&str, f64)>> {
    match value {
        Value::Record(_) => match (part(value, "text")?, part(value, "answer_start")?) {
            (Value::List(texts), Value::List(starts)) if texts.len() == starts.len() => {
                texts.iter().zip(starts).map(pair).collect()
            }
            one => Some(vec![pair(one)?]),
        },
        Value::List(items) => {
            items.iter().map(|item| pair((part(item, "text")?, part(item, "answer_start")?))).collect()
        }
        _ => None,
    }
}

/// A text and a number.
fn pair<'a>((text, start): (&'a Value, &'a Value)) -> Option<(&'a str, f64)> {
    match (text, start) {
        (Value::Text(text), Value::Number(start)) => Some((text, *start)),
        _ => None,
    }
}

/// A field of a record.
fn part<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let Value::Record(fields) = value else { return None };
    fields.iter().find(|(field, _)| &**field == name).map(|(_, value)| value)
}

/// The byte offset of a character, or of the end of the text.
fn byte(text: &str, character: usize) -> Option<usize> {
    text.char_indices().map(|(byte, _)| byte).chain([text.len()]).nth(character)
}
