//! The answers of an assistant in a conversation. Only on a decoder.
//!
//! Input: a field of messages, `[{"role": "user", "content": ".."}, {"role": "assistant", "content": ".."}]`, written as the model's chat
//! template says: `template`, or else that of the model's folder (`chat_template.jinja`, `tokenizer_config.json`) or of its GGUF file. Of a
//! conversation longer than `[data] max_length` the beginning is cut.
//!
//! Head: none; the decoder's own logits over the vocabulary.
//!
//! Loss: the cross-entropy of the tokens of the assistant's turns, their end tokens included, the mean over all of them; of the last turn
//! alone with `loss = "last"`. What the assistant says is what the template marks with `{% generation %}`, or what its turn adds to the text.
//! A row whose last message is not the assistant's has no label.
//!
//! Scores: the assistant's last turn, written after all that comes before it, beside the one of the row: `rouge_l` (default), `bleu`,
//! `chrf`, `exact_text`, and `perplexity` over all turns that are learned.
//!
//! Cost: one pass over all tokens of the conversation, and `[learned tokens, hidden] x [hidden, vocabulary]` in parts; in evaluation the
//! trunk once for each written token.
//!
//! Example: `chat = { messages = "messages", decoding = { max_length = 64 } }`, or of a question and its answer `chat = { system = "Name
//! the intent.", user = "text", assistant = "intent" }`
//!
//! Answer: `{"text", "probability"}`, to a line `{"messages": [{"role": "user", "content": ".."}]}`.
//!
//! References: Ouyang et al. 2022, "Training language models to follow instructions with human feedback"; the documentation of
//! transformers, "Chat templates".

use std::sync::Arc;

use data::{ChatSource, ChatTemplate, InputField};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::seq2seq::{Chat, Decoding, Seq2Seq, TextMetrics, texts};
use crate::{Kind, TaskError};

const METRICS: &[&str] = &["rouge_l", "bleu", "chrf", "exact_text"];

/// `chat = { .. }`: the answers of an assistant.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatConfig {
    /// The field with the messages: a list of objects with `role` and `content`. Give this, or `user` and `assistant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<String>,
    /// The field with a question, where a row is one question and its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The field with its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assistant: Option<String>,
    /// What the model is told before the question, the same for every row. Beside `user` and `assistant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Whose turns are learned.
    #[serde(default)]
    pub loss: LearnedTurns,
    /// A Jinja template of `messages` in place of the model's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The token that ends a turn in `template`; the rest of the turn is not learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_of_turn: Option<String>,
    /// How answers are decoded.
    #[serde(default)]
    pub decoding: Decoding,
    /// How answers are scored.
    #[serde(default, skip_serializing_if = "TextMetrics::is_default")]
    pub metrics: TextMetrics,
}

/// Which of the assistant's turns are learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LearnedTurns {
    /// All of them.
    #[default]
    All,
    /// The last.
    Last,
}

impl ChatConfig {
    fn source(&self, key: &str) -> Result<ChatSource, TaskError> {
        let system = self.system.clone();
        match (&self.messages, &self.user, &self.assistant) {
            (Some(messages), None, None) if system.is_none() => Ok(ChatSource::Messages(messages.clone())),
            (None, Some(user), Some(assistant)) if user != assistant => {
                Ok(ChatSource::Turn { system, user: user.clone(), assistant: assistant.clone() })
            }
            _ => Err(TaskError::Setting {
                key: key.to_owned(),
                found: "neither a whole conversation nor a question and its answer".into(),
                expected: "`messages`, or two fields `user` and `assistant`, with a text `system` or without"
                    .into(),
            }),
        }
    }

    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = format!("task.{task}.chat");
        if let (None, Some(end)) = (&self.template, &self.end_of_turn) {
            return Err(TaskError::Setting {
                key: format!("{key}.end_of_turn"),
                found: format!("{end:?} without `template`"),
                expected: "none: the model's own template comes with its end token".into(),
            });
        }
        let template = self.template.as_ref().map(|source| ChatTemplate {
            source: source.clone(),
            bos_token: String::new(),
            eos_token: self.end_of_turn.clone().unwrap_or_default(),
        });
        if let Some(template) = &template {
            template.check().map_err(|reason| TaskError::Setting {
                key: format!("{key}.template"),
                found: reason,
                expected: "a Jinja template".into(),
            })?;
        }
        let (source, stemmer) = (self.source(&key)?, self.metrics.stemmer);
        Seq2Seq {
            key,
            task: task.to_owned(),
            // Without a decoder nothing is read.
            input: InputField::Text(source.field().to_owned()),
            target: source.target().to_owned(),
            max_target_length: usize::MAX,
            separator: None,
            causal: false,
            chat: Some(Chat { source, template, last_turn: self.loss == LearnedTurns::Last }),
            label_smoothing: None,
            start_vector: false,
            decoding: self.decoding.clone(),
            metrics: METRICS,
            primary: TaskError::metric(task, METRICS, metric)?,
            text_metrics: self.metrics.clone(),
            score: Arc::new(move |generated| {
                let (texts, references) = texts(generated);
                vec![("rouge_l".into(), metrics::rouge(&texts, &references, stemmer).rouge_l.f1)]
            }),
        }
        .build()
    }
}
