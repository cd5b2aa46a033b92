//! One tag per word: named entities, slots, parts of speech.
//!
//! Input: a field of words. Tags: a field with one tag for each word (a list, or text with single spaces between tags). A
//! row without the field is masked, and so is a word whose tag is null or empty.
//!
//! Head: each word is represented by the state of its first token; dropout, then a linear layer `[hidden] -> [tags]`.
//! Loss: cross-entropy, the mean over tagged words; with `crf = true` the negative log-likelihood of the tag sequences under a
//! linear-chain conditional random field (with the exact partition function), divided by the number of tagged words, so that both
//! losses are nats per word. The CRF's transition, start and end scores are initialized uniformly in `+-0.1`.
//!
//! Decoding: the most probable tag of each word, or with a CRF the most probable tag sequence (Viterbi). `constrained`
//! forbids sequences that the scheme does not allow (`I-PER` after `O`); by default it is on with a CRF and off without.
//! Constraints apply only to decoding, so gold tags that violate the scheme are still trained on.
//!
//! Schemes: `bio` (`B-`, `I-`, `O`), `bioes` (also `E-`, `S-`), `none` (any tags, no spans).
//!
//! Scores: `span_f1` (default), `span_precision`, `span_recall`, `span_macro_f1` as seqeval counts them, invalid tag sequences
//! included (`span_matching = "strict"`: without them, as its strict mode), and `token_accuracy` over words. Words lost to truncation count as tagged `O`; the gold tags cover the whole row.
//! With `scheme = "none"`: `token_accuracy` (default) and `macro_f1`.
//!
//! Cost: `[words, hidden] x [hidden, tags]` a step; a CRF adds about `6 tags^2` multiply-adds a word on the host.
//!
//! Example: `tagging = { tokens = "tokens", tags = "tags", scheme = "bio", crf = true }`
//!
//! Answer: `{"entities": [{"text", "label", "start", "end", "probability"}], "tags": [..]}`. `start` and `end` (exclusive)
//! count Unicode characters (scalar values, as Python's strings do) in the text, or in the words joined by single spaces.
//! The probability of an entity is that of its least probable word; with a CRF words have their marginal probability.
//! For plain text there is also `"words"`: the words that the tags belong to.

use data::{DataError, InputField, Pack, Row, Split, View};
use model::Parameters;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decode::answer;
use crate::decode::tag_decoder::TagDecoder;
use crate::heads::crf_head::CrfHead;
use crate::heads::head::{self, LinearHead};
use crate::targets::labels::{self, IGNORE_INDEX, Labels};
use crate::targets::words::{self, WordTargets, first_tokens};
use crate::task_head::{EncodedHead, Head};
use crate::{
    Batch, BatchRow, Kind, LabelReport, Loss, ModelInput, Prediction, Scores, TaskError, TaskHead,
    TrunkHandles, WordTag,
};

const SPAN_METRICS: &[&str] =
    &["span_f1", "span_precision", "span_recall", "span_macro_f1", "token_accuracy"];
const WORD_METRICS: &[&str] = &["token_accuracy", "macro_f1"];

/// The tag of a word outside of all spans.
pub(crate) const OUTSIDE: &str = "O";

/// `tagging = { .. }`: one tag per word.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaggingConfig {
    /// The field with the words: a list, or text with single spaces between words.
    #[serde(default = "tokens")]
    pub tokens: String,
    /// The field with the tags, one for each word.
    #[serde(default = "tags")]
    pub tags: String,
    /// The scheme that encodes spans as tags.
    #[serde(default)]
    pub scheme: Scheme,
    /// Whether a conditional random field scores whole tag sequences: better on entities of several words, slower with many
    /// different tags.
    #[serde(default)]
    pub crf: bool,
    /// Whether only tag sequences are decoded that the scheme allows; by default the value of `crf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constrained: Option<bool>,
    /// Which spans a tag sequence has that the scheme does not allow, such as `I-PER` after `O`.
    #[serde(default, skip_serializing_if = "SpanMatching::is_default")]
    pub span_matching: SpanMatching,
    /// The share of the target that is distributed over all tags, 0 to below 1; not with a CRF.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub label_smoothing: f32,
    /// Dropout before the last layer, 0 to below 1.
    #[serde(default = "head::default_dropout")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f32,
    /// The maximum number of different tags. More are an error, since the field probably holds words.
    #[serde(default = "labels::default_max_labels")]
    #[schemars(range(min = 2))]
    pub max_labels: usize,
}

/// Which spans are scored where tag sequences are not as the scheme says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpanMatching {
    /// Those of `conlleval`, seqeval's default: `O I-PER` has a span.
    #[default]
    Conlleval,
    /// Only spans that are written as the scheme says, as seqeval's `mode="strict"` has it.
    Strict,
}

impl SpanMatching {
    fn is_default(&self) -> bool {
        *self == SpanMatching::default()
    }
}

/// The scheme that encodes spans as tags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// `B-` begins a span, `I-` continues it, `O` is outside.
    #[default]
    Bio,
    /// `B-` begins, `I-` continues and `E-` ends a span of several words, `S-` is a span of one word, `O` is outside.
    Bioes,
    /// Tags without spans, such as parts of speech.
    None,
}

impl Scheme {
    /// The scheme of spans, if any.
    pub(crate) fn spans(self) -> Option<metrics::Scheme> {
        match self {
            Scheme::Bio => Some(metrics::Scheme::Bio),
            Scheme::Bioes => Some(metrics::Scheme::Bioes),
            Scheme::None => None,
        }
    }

    /// The allowed tags, for a message.
    pub(crate) fn allowed(self) -> &'static str {
        match self {
            Scheme::Bio => "O, B-TYPE or I-TYPE (scheme = \"bio\"; there are \"bioes\" and \"none\", too)",
            Scheme::Bioes => {
                "O, B-TYPE, I-TYPE, E-TYPE or S-TYPE (scheme = \"bioes\"; there are \"bio\" and \"none\", too)"
            }
            Scheme::None => "any text",
        }
    }
}

fn tokens() -> String {
    "tokens".into()
}

fn tags() -> String {
    "tags".into()
}

impl TaggingConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = |name: &str| format!("task.{task}.tagging.{name}");
        let setting = |name: &str, found: String, expected: &str| {
            Err(TaskError::Setting { key: key(name), found, expected: expected.into() })
        };
        TaskError::fraction(|| key("dropout"), self.dropout.into())?;
        TaskError::fraction(|| key("label_smoothing"), self.label_smoothing.into())?;
        if self.crf && self.label_smoothing > 0.0 {
            return setting("label_smoothing", self.label_smoothing.to_string(), "0 with crf = true");
        }
        if self.tokens == self.tags {
            return setting(
                "tags",
                format!("{:?}, the same field as `tokens`", self.tags),
                "the field with the tags",
            );
        }
        if self.scheme == Scheme::None && self.constrained == Some(true) {
            return setting(
                "constrained",
                "true".into(),
                "false with scheme = \"none\", which has no constraints",
            );
        }
        if self.scheme == Scheme::None && self.span_matching == SpanMatching::Strict {
            return setting(
                "span_matching",
                "\"strict\"".into(),
                "a scheme with spans, \"bio\" or \"bioes\"",
            );
        }
        let metrics = if self.scheme == Scheme::None { WORD_METRICS } else { SPAN_METRICS };
        Ok(Box::new(Tagging {
            task: task.to_owned(),
            config: self.clone(),
            metrics,
            primary: TaskError::metric(task, metrics, metric)?,
        }))
    }
}

/// A tagging task.
#[derive(Clone)]
struct Tagging {
    task: String,
    config: TaggingConfig,
    metrics: &'static [&'static str],
    primary: &'static str,
}

impl Kind for Tagging {
    fn input(&self) -> InputField {
        InputField::Words(self.config.tokens.clone())
    }

    fn metrics(&self) -> &'static [&'static str] {
        self.metrics
    }

    fn fit_labels(&self, rows: &[Row]) -> Result<serde_json::Value, Vec<DataError>> {
        let tags = |row: &Row| Ok(words::tags(&self.config, row)?.into_iter().flatten().flatten());
        let labels = Labels::new(labels::count(rows, tags)?);
        let key = |name: &str| format!("task.{}.tagging.{name}", self.task);
        labels.check(rows, &self.config.tags, self.config.max_labels, key, "tags")?;
        Ok(labels.to_json())
    }

    fn init_head(
        &self,
        label_space: &serde_json::Value,
        trunk: &TrunkHandles<'_>,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn TaskHead>, TaskError> {
        let labels = Labels::from_json(&self.task, label_space)?;
        let linear = LinearHead::new(parameters, &self.task, trunk.hidden, labels.len());
        let crf = self.config.crf.then(|| CrfHead::new(parameters, &self.task, labels.len()));
        Ok(EncodedHead::boxed(TaggingHead { kind: self.clone(), labels, linear, crf }))
    }
}

/// The head of a tagging task.
struct TaggingHead {
    kind: Tagging,
    labels: Labels,
    linear: LinearHead,
    /// The CRF over the logits, where the task has one.
    crf: Option<CrfHead>,
}

impl TaggingHead {
    /// The decoder of tags with the current weights.
    fn decoder(&self, parameters: &Parameters) -> TagDecoder {
        let constrained = self.kind.config.constrained.unwrap_or(self.kind.config.crf);
        let scheme = self.kind.config.scheme.spans().filter(|_| constrained);
        TagDecoder::new(self.crf.map(|crf| crf.chain(parameters)), scheme, self.labels.names())
    }

    /// The name of a predicted tag; a word without a prediction counts as outside.
    fn name(&self, tag: Option<WordTag>) -> &str {
        tag.and_then(|tag| self.labels.name(tag.label)).unwrap_or(OUTSIDE)
    }

    /// The names and probabilities of the tags predicted for a row of `words` words.
    fn names(&self, prediction: &Prediction, words: usize) -> Vec<(&str, Option<f32>)> {
        let Prediction::Tags(tags) = prediction else { return vec![(OUTSIDE, None); words] };
        let tag = |word: usize| tags.get(word).copied().flatten();
        (0..words).map(|word| (self.name(tag(word)), tag(word).map(|t| t.probability))).collect()
    }
}

impl Head for TaggingHead {
    type Targets = WordTargets;

    fn encode_targets(&self, view: &View) -> Result<(Self::Targets, LabelReport), Vec<DataError>> {
        let read = |row: &Row| words::tags(&self.kind.config, row);
        WordTargets::encode(view, &self.labels, read)
    }

    fn labelled(targets: &Self::Targets, row: usize) -> bool {
        targets.row(row).iter().any(|id| *id != IGNORE_INDEX)
    }

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        words::mark_first_tokens(pack, rows, used);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, targets: &Self::Targets) -> Option<Loss> {
        let known = |id: u32| (id as usize) < self.labels.len();
        let (mut tokens, mut gold, mut rows) = (Vec::new(), Vec::new(), vec![0]);
        for at in batch.rows {
            let tags = targets.row(at.row as usize);
            let begin = tokens.len();
            for (token, word) in first_tokens(batch.pack, *at) {
                let tag = tags.get(word as usize).copied().filter(|tag| known(*tag));
                // A CRF needs the words without a tag, too; without one such a word has no loss.
                if tag.is_some() || self.crf.is_some() {
                    tokens.push(token);
                    gold.push(tag.unwrap_or(IGNORE_INDEX));
                }
            }
            if gold[begin..].iter().all(|tag| *tag == IGNORE_INDEX) {
                tokens.truncate(begin);
                gold.truncate(begin);
            } else {
                rows.push(tokens.len());
            }
        }
        let num_targets = gold.iter().filter(|tag| **tag != IGNORE_INDEX).count();
        if num_targets == 0 {
            return None;
        }
        let dropout = head::dropout(self.kind.config.dropout, &self.kind.task, batch.dropout_seed);
        let states = kernels::gather_rows(batch.states.clone(), &tokens);
        let logits = self.linear.logits(parameters, states, dropout);
        let mean = match &self.crf {
            Some(crf) => crf.loss(parameters, logits, &rows, &gold, num_targets),
            None => kernels::cross_entropy(logits, &gold, None, self.kind.config.label_smoothing),
        };
        Some(Loss { mean, num_targets })
    }

    fn predict(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Prediction> {
        let firsts: Vec<Vec<(u32, u32)>> =
            batch.rows.iter().map(|at| first_tokens(batch.pack, *at).collect()).collect();
        let tokens: Vec<u32> = firsts.iter().flatten().map(|(token, _)| *token).collect();
        if tokens.is_empty() {
            return vec![Prediction::Tags(Vec::new()); batch.rows.len()];
        }
        let states = kernels::gather_rows(batch.states.clone(), &tokens);
        let logits = head::to_host_vec(self.linear.logits(parameters, states, None));
        let decoder = self.decoder(parameters);
        let k = self.labels.len();
        let begins =
            firsts.iter().scan(0, |next, words| Some(std::mem::replace(next, *next + words.len() * k)));
        let begins: Vec<usize> = begins.collect();
        firsts
            .par_iter()
            .zip(begins)
            .map(|(words, begin)| {
                let logits = &logits[begin..begin + words.len() * k];
                let mut tags = vec![None; words.last().map_or(0, |(_, word)| *word as usize + 1)];
                for ((_, word), tag) in words.iter().zip(decoder.decode(logits)) {
                    tags[*word as usize] = Some(tag);
                }
                Prediction::Tags(tags)
            })
            .collect()
    }

    fn score(&self, _split: Split, targets: &Self::Targets, predictions: &[(u32, Prediction)]) -> Scores {
        let (mut gold, mut predicted) = (Vec::new(), Vec::new());
        for (row, prediction) in predictions {
            let ids = targets.row(*row as usize);
            if ids.iter().all(|id| *id == IGNORE_INDEX) {
                continue;
            }
            let names = self.names(prediction, ids.len());
            let kept = ids.iter().zip(names).filter(|(id, _)| **id != IGNORE_INDEX);
            let (row_gold, row_predicted): (Vec<&str>, Vec<&str>) = kept
                .map(|(id, (name, _))| (targets.words.name(&self.labels, *id).unwrap_or(OUTSIDE), name))
                .unzip();
            gold.push(row_gold);
            predicted.push(row_predicted);
        }
        let strict = self.kind.config.span_matching == SpanMatching::Strict;
        let values = match self.kind.config.scheme.spans() {
            None => answer::word_scores(&gold, &predicted),
            Some(scheme) => answer::span_scores(&gold, &predicted, strict.then_some(scheme)),
        };
        Scores::with_primary(self.kind.primary, values)
    }

    fn label_space(&self) -> serde_json::Value {
        self.labels.to_json()
    }

    fn to_json(&self, prediction: &Prediction, input: ModelInput<'_>) -> serde_json::Value {
        answer::tagged(
            &self.names(prediction, input.words().len()),
            input,
            self.kind.config.scheme != Scheme::None,
        )
    }
}
