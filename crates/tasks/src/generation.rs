//! A text written by the model's decoder from another text or a record: summaries, answers, dialogue acts in words.
//!
//! Input, target, model, loss and writing are those of `translation` (`polytask explain translation`).
//!
//! Scores: `rouge_l` (default), `rouge1`, `rouge2` (F1, as rouge-score counts them), `bleu`, `chrf`, `exact_text`, and `perplexity` (lower is
//! better). With `slots`, the field of a dialogue act such as `inform(name=eros 94;type=television)`: `slot_accuracy`, one less the slot
//! error rate, at least 0 (default then), and `slot_error_rate` (lower is better).
//!
//! Papers: Raffel et al. 2020, "Exploring the limits of transfer learning with a unified text-to-text transformer"; Wen et al. 2015,
//! "Semantically conditioned LSTM-based natural language generation for spoken dialogue systems" (slot errors).
//!
//! Example: `generation = { source = "act", target = "text", slots = "act" }`
//!
//! Answer: `{"text", "probability"}`; the probability is the geometric mean of its tokens'.

use data::InputField;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::seq2seq::{Decoding, Writing, Written};
use crate::translation::{label_smoothing, max_target_length};
use crate::{Kind, TaskError};

const METRICS: &[&str] = &["rouge_l", "rouge1", "rouge2", "bleu", "chrf", "exact_text"];
const SLOT_METRICS: &[&str] = &["slot_accuracy", "bleu", "chrf", "rouge_l", "rouge1", "rouge2", "exact_text"];

/// `generation = { .. }`: a text from another text.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerationConfig {
    /// The field with what is read.
    pub source: String,
    /// The field with the text to be written, or with several that are all right.
    pub target: String,
    /// The field with a dialogue act whose values the text should say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<String>,
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

impl GenerationConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let (slots, metrics) =
            (self.slots.clone(), if self.slots.is_some() { SLOT_METRICS } else { METRICS });
        Writing {
            key: format!("task.{task}.generation"),
            task: task.to_owned(),
            input: InputField::text(&self.source, self.prefix.as_deref()),
            target: self.target.clone(),
            max_target_length: self.max_target_length,
            label_smoothing: self.label_smoothing,
            start_vector: self.start_vector,
            decoding: self.decoding.clone(),
            metrics,
            main: TaskError::metric(task, metrics, metric)?,
            score: Box::new(move |written| scores(written, slots.as_deref())),
        }
        .build()
    }
}

fn scores(written: &[Written<'_>], slots: Option<&str>) -> Vec<(String, f64)> {
    let texts: Vec<&str> = written.iter().map(|w| w.text).collect();
    let references: Vec<Vec<&str>> = written.iter().map(|w| w.references.clone()).collect();
    let rouge = metrics::rouge(&texts, &references);
    let mut values = vec![
        ("rouge_l".into(), rouge.rouge_l.f1),
        ("rouge1".into(), rouge.rouge1.f1),
        ("rouge2".into(), rouge.rouge2.f1),
        ("bleu".into(), metrics::bleu(&texts, &references).score),
        ("chrf".into(), metrics::chrf(&texts, &references, 0)),
        ("exact_text".into(), metrics::exact_text(&texts, &references)),
    ];
    if let Some(slots) = slots {
        // A row without an act, or with something else there, asks for nothing.
        let acts: Vec<&str> =
            written.iter().map(|w| w.row.text(slots).ok().flatten().unwrap_or_default()).collect();
        let rate = metrics::slot_errors(&acts, &texts).rate();
        values.push(("slot_accuracy".into(), (1.0 - rate).max(0.0)));
        values.push(("slot_error_rate".into(), rate));
    }
    values
}
