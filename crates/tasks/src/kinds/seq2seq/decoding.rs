//! Settings of decoding: `decoding = { beams = 4 }`.

use data::Tokenizer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::TaskError;

/// No text is longer, in tokens: whoever asks for more waits for ever.
const MAX_LENGTH: usize = 65_536;

/// How texts are decoded, token by token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Decoding {
    /// The number of beams; 1 is greedy search, which always takes the most probable token.
    #[schemars(range(min = 1, max = 64))]
    pub beams: usize,
    /// The exponent of the length by which the log-probability of a finished text is divided in beam search: 0 favours short
    /// texts, above 1 long texts.
    pub length_penalty: f32,
    /// The minimum number of tokens of a text.
    pub min_length: usize,
    /// The maximum number of tokens of a text.
    #[schemars(range(min = 1, max = 65536))]
    pub max_length: usize,
    /// The length of n-grams that may not occur twice in a text; 0 allows every repetition.
    pub no_repeat_ngram: usize,
    /// Strings that end a text, of which they are no part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Samples tokens instead of taking the most probable; only with one beam.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sampling>,
}

/// `sample = { temperature = 0.8, top_p = 0.95 }`: tokens are sampled by their probabilities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// The divisor of the logits: below 1 favours probable tokens.
    pub temperature: f32,
    /// The number of most probable tokens to sample from; 0 is all.
    pub top_k: usize,
    /// Samples only from the most probable tokens that together have this probability (Holtzman et al. 2020).
    #[schemars(range(min = 0.0, max = 1.0))]
    pub top_p: f32,
    /// The seed of the sampling, together with the index of the row.
    pub seed: u64,
}

impl Default for Decoding {
    fn default() -> Self {
        Self {
            beams: 1,
            length_penalty: 1.0,
            min_length: 0,
            max_length: 128,
            no_repeat_ngram: 0,
            stop: Vec::new(),
            sample: None,
        }
    }
}

impl Decoding {
    /// These settings with another value of one.
    ///
    /// Errors: a key or value that there is not, in words.
    pub(crate) fn with(&self, key: &str, value: &serde_json::Value) -> Result<Decoding, String> {
        let mut settings = serde_json::to_value(self).map_err(|error| error.to_string())?;
        settings[key] = value.clone();
        serde_json::from_value(settings).map_err(|error| error.to_string())
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0, seed: 0 }
    }
}

impl Decoding {
    /// Whether tokens that were written have a string that ends texts.
    pub(crate) fn stops<'a>(&'a self, tokenizer: &'a Tokenizer) -> impl Fn(&[u32]) -> bool + Sync + 'a {
        |tokens| !self.stop.is_empty() && self.stop_at(&tokenizer.decode_untrimmed(tokens)).is_some()
    }

    /// The text of tokens, up to a string that ends texts.
    pub(crate) fn text_of(&self, tokenizer: &Tokenizer, tokens: &[u32]) -> String {
        let text = tokenizer.decode_untrimmed(tokens);
        text[..self.stop_at(&text).unwrap_or(text.len())].trim().to_owned()
    }

    /// Where a text ends before a string that ends texts.
    fn stop_at(&self, text: &str) -> Option<usize> {
        self.stop.iter().filter_map(|stop| text.find(stop.as_str())).min()
    }

    /// Checks the settings; `key` is that of the table.
    pub(crate) fn check(&self, key: &str) -> Result<(), TaskError> {
        let error = |name: &str, found: String, expected: &str| {
            Err(TaskError::Setting { key: format!("{key}.{name}"), found, expected: expected.into() })
        };
        if !(1..=64).contains(&self.beams) {
            return error("beams", self.beams.to_string(), "1 to 64");
        }
        if !self.length_penalty.is_finite() {
            return error("length_penalty", self.length_penalty.to_string(), "a finite number");
        }
        if !(1..=MAX_LENGTH).contains(&self.max_length) || self.min_length > self.max_length {
            let expected = "1 to 65536, and no less than min_length";
            return error("max_length", self.max_length.to_string(), expected);
        }
        if self.stop.iter().any(String::is_empty) {
            return error("stop", "an empty string".into(), "strings that may occur in a text");
        }
        let Some(sample) = &self.sample else { return Ok(()) };
        if self.beams != 1 {
            return error("beams", self.beams.to_string(), "1 beside `sample`");
        }
        if !(sample.temperature > 0.0 && sample.temperature.is_finite()) {
            return error("sample.temperature", sample.temperature.to_string(), "more than 0");
        }
        if !(sample.top_p > 0.0 && sample.top_p <= 1.0) {
            return error("sample.top_p", sample.top_p.to_string(), "more than 0, at most 1");
        }
        Ok(())
    }
}
