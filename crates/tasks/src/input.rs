//! Which field of a row a task reads, where its config leaves a choice.

use data::InputField;

use crate::TaskError;

/// The input of a task on whole rows: a field of text, or a field of words.
///
/// Errors: both or neither given; `key` is that of the task's kind.
pub(crate) fn of_row(
    key: &str,
    text: Option<&String>,
    tokens: Option<&String>,
) -> Result<InputField, TaskError> {
    let found = match (text, tokens) {
        (Some(field), None) => return Ok(InputField::Text(field.clone())),
        (None, Some(field)) => return Ok(InputField::Words(field.clone())),
        (Some(_), Some(_)) => "both `text` and `tokens`",
        (None, None) => "neither `text` nor `tokens`",
    };
    Err(TaskError::Setting {
        key: key.into(),
        found: found.into(),
        expected: "exactly one of them: the field that the task reads".into(),
    })
}
