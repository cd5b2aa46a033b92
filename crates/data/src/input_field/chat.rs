//! Conversations: messages of a row, and the text that a template makes of them.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::{ChatTemplate, DataError, RenderedChat, Row, Value, is_blank};

/// What a row's messages have to be, for messages of ours.
const EXPECTED: &str = "a list of messages, each an object with `role` and `content`, both text";

/// Where a row has its conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatSource {
    /// A field with a list of objects with `role` and `content`.
    Messages(String),
    /// A question and its answer.
    Turn {
        /// What the model is told before; the same for every row.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        system: Option<String>,
        /// The field with the question.
        user: String,
        /// The field with the answer.
        assistant: String,
    },
}

impl ChatSource {
    /// The field that is read.
    pub fn field(&self) -> &str {
        match self {
            ChatSource::Messages(field) | ChatSource::Turn { user: field, .. } => field,
        }
    }

    /// The field with what is to be written.
    pub fn target(&self) -> &str {
        match self {
            ChatSource::Messages(field) | ChatSource::Turn { assistant: field, .. } => field,
        }
    }

    /// The messages of a row, as a template gets them.
    ///
    /// # Errors
    /// A field that holds something else.
    pub(crate) fn messages(&self, row: &Row) -> Result<Vec<Json>, DataError> {
        let (system, user, assistant) = match self {
            ChatSource::Messages(field) => return messages(row, field),
            ChatSource::Turn { system, user, assistant } => (system, user, assistant),
        };
        let message = |role: &str, content: &str| json!({"role": role, "content": content});
        let text = |field: &str| Ok::<_, DataError>(row.text(field)?.filter(|text| !is_blank(text)));
        let mut all: Vec<Json> = system.iter().map(|system| message("system", system)).collect();
        all.extend(text(user)?.map(|text| message("user", &text)));
        all.extend(text(assistant)?.map(|text| message("assistant", &text)));
        Ok(all)
    }

    /// The last message of a row, where the assistant wrote it.
    ///
    /// # Errors
    /// A field that holds something else than messages.
    pub fn last_answer(&self, row: &Row) -> Result<Option<String>, DataError> {
        Ok(last_answer(&self.messages(row)?).map(str::to_owned))
    }
}

fn messages(row: &Row, field: &str) -> Result<Vec<Json>, DataError> {
    let error = |value: &Value| row.error(field, value.preview(), EXPECTED);
    let Some(value) = row.get(field) else { return Ok(Vec::new()) };
    let Value::List(items) = value else { return Err(error(value)) };
    for item in items {
        let has_text = |key: &str| matches!(item.field(key), Some(Value::Text(_)));
        if !(has_text("role") && has_text("content")) {
            return Err(error(item));
        }
    }
    Ok(items.iter().map(json_of).collect())
}

/// The last message, where the assistant wrote it.
fn last_answer(messages: &[Json]) -> Option<&str> {
    let last = messages.last().filter(|message| message["role"] == "assistant")?;
    last["content"].as_str()
}

/// The text of a row's messages, and what of it is to be learned. Where the assistant does not speak last, the text ends where it would
/// begin.
///
/// # Errors
/// A field that holds something else; messages that the template does not allow.
pub(super) fn read(
    row: &Row,
    source: &ChatSource,
    template: &ChatTemplate,
    last_turn: bool,
) -> Result<RenderedChat, DataError> {
    let messages = source.messages(row)?;
    let failed = |reason: String| row.place.error(format!("field `{}`: {reason}", source.field()));
    if last_answer(&messages).is_none() {
        let text = template.render(&messages, true).map_err(failed)?;
        return Ok(RenderedChat { text, assistant: Vec::new() });
    }
    let mut chat = template.render_turns(&messages).map_err(failed)?;
    if last_turn {
        let others = chat.assistant.len().saturating_sub(1);
        chat.assistant.drain(..others);
    }
    Ok(chat)
}

/// A value as JSON.
fn json_of(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Number(number) => json!(number),
        Value::Integer(digits) => json!(&**digits),
        Value::Text(text) => json!(text),
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Record(fields) => {
            fields.iter().map(|(name, value)| (name.to_string(), json_of(value))).collect()
        }
    }
}
