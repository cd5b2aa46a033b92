//! A text in another language, written by the model's decoder.
//!
//! Input: a field of text, with `prefix` before it where several tasks share the model ("translate English to Spanish: "). Target: a
//! field with the text to be written, or a list of texts that are all right: the first is trained on, all count in the scores. A
//! row without one is masked; a text of more than `max_target_length` tokens is cut, and counted.
//!
//! Model: the decoder (`polytask explain t5`, or `[model] decoder` on another backbone) reads the states of all tokens of the
//! source. With `start_vector` the task has a vector of its own that its texts begin after, in place of the start token's: a
//! learned task token.
//!
//! Loss: teacher forcing. The mean cross-entropy of each token given the right ones before it, the end among them, with
//! `label_smoothing`, over all tokens.
//!
//! Writing: `decoding = { beams = 4, length_penalty = 1.0, min_length, max_length, no_repeat_ngram, sample = {..} }`. One beam, the
//! default, takes the most probable token each time. Beam search is that of transformers, with keys and values kept.
//!
//! Scores: `bleu` (default) and `chrf` as sacrebleu counts them, `exact_text`, and `perplexity` of the right texts (lower is better; only
//! of the same vocabulary can it be compared). Cost: the decoder's, and one product `[target tokens, hidden] x [hidden, vocabulary]`.
//!
//! Papers: Vaswani et al. 2017, "Attention is all you need"; Sutskever et al. 2014, "Sequence to sequence learning with neural
//! networks"; Szegedy et al. 2016 (label smoothing).
//!
//! Example: `translation = { source = "en", target = "es", decoding = { beams = 4 } }`
//!
//! Answer: `{"text", "probability"}`; the probability is the geometric mean of its tokens'.

use data::InputField;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::seq2seq::{Decoding, Writing, Written};
use crate::{Kind, TaskError};

const METRICS: &[&str] = &["bleu", "chrf", "exact_text"];

/// `translation = { .. }`: a text in another language.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TranslationConfig {
    /// The field with the text to be translated.
    pub source: String,
    /// The field with its translation, or with several.
    pub target: String,
    /// Stands before every source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Whether the task has a start token of its own.
    #[serde(default)]
    pub start_vector: bool,
    /// The most tokens of a text that are trained on.
    #[serde(default = "max_target_length")]
    #[schemars(range(min = 1))]
    pub max_target_length: usize,
    /// Share of the target that is spread over all tokens, 0 to below 1.
    #[serde(default = "label_smoothing")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub label_smoothing: f32,
    /// How texts are written.
    #[serde(default)]
    pub decoding: Decoding,
}

pub(crate) fn max_target_length() -> usize {
    128
}

pub(crate) fn label_smoothing() -> f32 {
    0.1
}

impl TranslationConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        Writing {
            key: format!("task.{task}.translation"),
            task: task.to_owned(),
            input: InputField::text(&self.source, self.prefix.as_deref()),
            target: self.target.clone(),
            max_target_length: self.max_target_length,
            label_smoothing: self.label_smoothing,
            start_vector: self.start_vector,
            decoding: self.decoding.clone(),
            metrics: METRICS,
            main: TaskError::metric(task, METRICS, metric)?,
            score: Box::new(scores),
        }
        .build()
    }
}

fn scores(written: &[Written<'_>]) -> Vec<(String, f64)> {
    let texts: Vec<&str> = written.iter().map(|w| w.text).collect();
    let references: Vec<Vec<&str>> = written.iter().map(|w| w.references.clone()).collect();
    vec![
        ("bleu".into(), metrics::bleu(&texts, &references).score),
        ("chrf".into(), metrics::chrf(&texts, &references, 0)),
        ("exact_text".into(), metrics::exact_text(&texts, &references)),
    ]
}
