//! The parts of the trunk that a head may use in addition to the token states.

use std::sync::Arc;

use data::Tokenizer;
use model::{Generator, LanguageModel, MatrixId};

use crate::TaskError;

/// The parts of the trunk that are the same for every batch ([`crate::Kind::init_head`]).
#[derive(Debug, Clone, Copy)]
pub struct TrunkHandles<'a> {
    /// The width of the token states.
    pub hidden: usize,
    /// The tokenizer of the model.
    pub tokenizer: &'a Tokenizer,
    /// The backbone's token embedding, `[vocabulary, width]`.
    pub token_embedding: MatrixId,
    /// The network that generates texts from the states, where the model has one.
    pub decoder: Option<&'a Arc<dyn Generator>>,
    /// What predicts the next token from a state, where a token sees none after it; `None` on an encoder.
    pub language_model: Option<&'a LanguageModel>,
}

impl TrunkHandles<'_> {
    /// Whether a token sees none after it.
    pub fn is_causal(&self) -> bool {
        self.language_model.is_some()
    }

    /// Refuses a task of a kind that needs tokens to see those after them.
    pub(crate) fn needs_both_sides(&self, kind: &str, task: &str, why: &str) -> Result<(), TaskError> {
        match self.is_causal() {
            true => Err(TaskError::Setting {
                key: format!("task.{task}.{kind}"),
                found: format!("a decoder, in which a token sees none after it: {why}"),
                expected: "an encoder, such as BERT or ModernBERT".into(),
            }),
            false => Ok(()),
        }
    }
}
