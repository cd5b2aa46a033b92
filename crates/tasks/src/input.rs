//! The input field of a row-level task, where its config leaves a choice.

use data::{InputField, TextWindows};

use crate::TaskError;

/// The input of a row-level task: a field of text, two of them, or a field of words; one of them in windows, if there are some.
///
/// Errors: windows of two texts; `text` and `tokens` both or neither given, the second text without a first or the same; `key` is that of the
/// task's kind.
pub(crate) fn of_row(
    key: &str,
    text: Option<&String>,
    pair: Option<&String>,
    tokens: Option<&String>,
    windows: Option<TextWindows>,
) -> Result<InputField, TaskError> {
    let error = |key: String, found: String, expected: &str| {
        Err(TaskError::Setting { key, found, expected: expected.into() })
    };
    let one = "exactly one of them: the field that the task reads";
    if let (Some(pair), Some(_)) = (pair, windows) {
        let expected = "one text to read in windows; two are truncated, or the kind is extractive_qa";
        return error(format!("{key}.windows"), format!("windows beside pair = {pair:?}"), expected);
    }
    check_windows(key, windows)?;
    let input = match (text, pair, tokens) {
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
    };
    input.map(|input| input.in_windows(windows))
}

/// Refuses windows of which there are none.
pub(crate) fn check_windows(key: &str, windows: Option<TextWindows>) -> Result<(), TaskError> {
    match windows {
        Some(TextWindows { most: 0, .. }) => Err(TaskError::Setting {
            key: format!("{key}.windows.most"),
            found: "0".into(),
            expected: "at least 1".into(),
        }),
        _ => Ok(()),
    }
}
