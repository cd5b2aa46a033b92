//! How a text is written: `decoding = { beams = 4 }`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::TaskError;

/// How texts are written, token by token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Decoding {
    /// How many texts are followed at once, of which the best is given; 1 always takes the most probable token (greedy).
    #[schemars(range(min = 1, max = 64))]
    pub beams: usize,
    /// Finished texts of a beam search are compared by their log-probability over their length to this power: 0 favours short
    /// texts, above 1 long ones.
    pub length_penalty: f32,
    /// No text has fewer tokens.
    pub min_length: usize,
    /// No text has more tokens.
    #[schemars(range(min = 1))]
    pub max_length: usize,
    /// So many tokens never stand twice in the same order; 0 allows everything.
    pub no_repeat_ngram: usize,
    /// Draw tokens instead of taking the most probable; with one beam.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sampling>,
}

/// `sample = { temperature = 0.8, top_p = 0.95 }`: tokens are drawn by their probabilities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// What scores are divided by: below 1 favours probable tokens.
    pub temperature: f32,
    /// Only so many of the most probable tokens are drawn; 0 is all.
    pub top_k: usize,
    /// Only the most probable tokens that make up this share are drawn (Holtzman et al. 2020).
    #[schemars(range(min = 0.0, max = 1.0))]
    pub top_p: f32,
    /// What decides the draws, together with the number of the row.
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
            sample: None,
        }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0, seed: 0 }
    }
}

impl Decoding {
    /// Checks the settings; `key` is that of the table.
    pub(crate) fn check(&self, key: &str) -> Result<(), TaskError> {
        let fault = |name: &str, found: String, expected: &str| {
            Err(TaskError::Setting { key: format!("{key}.{name}"), found, expected: expected.into() })
        };
        if !(1..=64).contains(&self.beams) {
            return fault("beams", self.beams.to_string(), "1 to 64");
        }
        if !self.length_penalty.is_finite() {
            return fault("length_penalty", self.length_penalty.to_string(), "a finite number");
        }
        if self.max_length == 0 || self.min_length > self.max_length {
            let expected = "1 or more, and no less than min_length";
            return fault("max_length", self.max_length.to_string(), expected);
        }
        let Some(sample) = &self.sample else { return Ok(()) };
        if self.beams != 1 {
            return fault("beams", self.beams.to_string(), "1 beside `sample`");
        }
        if !(sample.temperature > 0.0 && sample.temperature.is_finite()) {
            return fault("sample.temperature", sample.temperature.to_string(), "more than 0");
        }
        if !(sample.top_p > 0.0 && sample.top_p <= 1.0) {
            return fault("sample.top_p", sample.top_p.to_string(), "more than 0, at most 1");
        }
        Ok(())
    }
}
