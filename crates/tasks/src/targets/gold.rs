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

/// The gold answers of a row.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct GoldAnswers {
    /// The answers that stand where they are said to; none if the context does not answer the question.
    pub answers: Vec<GoldAnswer>,
    /// What is wrong with the others, if there are others.
    pub misplaced: Option<Misplaced>,
}

/// Where an answer that is not at its start stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misplaced {
    /// At the start in bytes of UTF-8.
    Bytes,
    /// Somewhere else in the context.
    Elsewhere,
    /// Nowhere in the context.
    Nowhere,
}

impl Misplaced {
    /// What is the matter, said of an answer.
    pub fn reason(self) -> &'static str {
        match self {
            Misplaced::Bytes => "its start counts bytes of UTF-8, expected characters",
            Misplaced::Elsewhere => "it stands elsewhere in the context",
            Misplaced::Nowhere => "it stands nowhere in the context",
        }
    }
}

/// The answers in a field; `None` for a row without the field.
///
/// Errors: another format.
pub(crate) fn answers(row: &Row, field: &str, context: &str) -> Result<Option<GoldAnswers>, DataError> {
    let Some(value) = row.get(field) else { return Ok(None) };
    let answers = read(value).ok_or_else(|| row.error(field, value.preview(), EXPECTED))?;
    let mut gold = GoldAnswers::default();
    for (text, start) in answers.into_iter().filter(|(text, _)| !text.is_empty()) {
        let whole = (start >= 0.0 && start.fract() == 0.0).then_some(start as usize);
        let stands_at = |byte: &usize| context.get(*byte..).is_some_and(|rest| rest.starts_with(text));
        match whole.and_then(|start| byte(context, start)).filter(stands_at) {
            Some(begin) => {
                gold.answers.push(GoldAnswer { text: text.to_owned(), bytes: begin..begin + text.len() });
            }
            None if whole.as_ref().is_some_and(stands_at) => gold.misplaced = Some(Misplaced::Bytes),
            None if context.contains(text) => gold.misplaced = Some(Misplaced::Elsewhere),
            None => gold.misplaced = Some(Misplaced::Nowhere),
        }
    }
    Ok(Some(gold))
}

/// Texts and starts, in either of the two formats.
fn read(value: &Value) -> Option<Vec<(&str, f64)>> {
    match value {
        Value::Record(_) => match (value.field("text")?, value.field("answer_start")?) {
            (Value::List(texts), Value::List(starts)) if texts.len() == starts.len() => {
                texts.iter().zip(starts).map(pair).collect()
            }
            one => Some(vec![pair(one)?]),
        },
        Value::List(items) => {
            items.iter().map(|item| pair((item.field("text")?, item.field("answer_start")?))).collect()
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

/// The byte offset of a character, or of the end of the text.
fn byte(text: &str, character: usize) -> Option<usize> {
    text.char_indices().map(|(byte, _)| byte).chain([text.len()]).nth(character)
}
