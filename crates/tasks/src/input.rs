//! The input field of a row-level task, where its config leaves a choice.

use data::InputField;

use crate::TaskError;

/// The input of a row-level task: a field of text, two of them, or a field of words.
///
/// Errors: `text` and `tokens` both or neither given, the second text without a first or the same; `key` is that of the
/// task's kind.
pub(crate) fn of_row(
    key: &str,
    text: Option<&String>,
    pair: Option<&String>,
    tokens: Option<&String>,
) -> Result<InputField, TaskError> {
    let error = |key: String, found: String, expected: &str| {
        Err(TaskError::Setting { key, found, expected: expected.into() })
    };
    let one = "exactly one of them: the field that the task reads";
    match (text, pair, tokens) {
        (Some(text), None, None) => Ok(InputField::Text(text.clone())),
        (None, None, Some(tokens)) => Ok(InputField::Words(tokens.clone())),
        (Some(text), Some(pair), None) if text != pair => Ok(InputField::Pair(text.clone(), pair.clone())),
        (Some(_), Some(pair), None) => {
            let found = format!("{pair:?}, the same field as `text`");
            error(format!("{key}.pair"), found, "the field with the second text")
        }
        (Some(_), _, Some(_)) => error(key.into(), "both `text` and `tokens`".into(), one),
        (None, _, None) => error(key.into(), "neither `text` nor `tokens`".into(), one),
        (None, Some(pair), Some(_)) => error(
            format!("{key}.pair"),
            format!("{pair:?} beside `tokens`"),
            "two fields of text: `text` and `pair`",
        ),
    }
}
