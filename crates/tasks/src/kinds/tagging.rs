//! One tag per word: named entities, slots, parts of speech.
//!
//! Input: a field of words. Tags: a field with one tag for each word (a list, or text with single spaces between tags). A
//! row without the field is masked, and so is a word whose tag is null or empty. Or: a field of plain `text`, which is split into
//! words as in predictions, and a field of `spans` in characters, as annotation tools export them: a list of `[start, end, label]`,
//! or of objects with `start` and `end` (or `start_offset` and `end_offset`) and `label`.
//! A text that exceeds `[data] max_length` is truncated; with `windows = { overlap = 32, most = 8 }` (or `{}`) its row has a sequence,
//! with special tokens, for each window of it instead, up to `most`, each sharing `overlap` tokens with the one before it. Each word
//! is tagged once, in the window in which its first token has the most tokens on its nearer side.
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
//! Schemes: by default (`auto`) the one that the training rows follow: `bio` (IOB2), `iob1`, `io`, `ioe1`, `ioe2`, `bioes`, `bilou`,
//! `bmes` or `bare` (types without letters); `none` for any tags without spans. The head learns `bio` or `bioes`, to which the others
//! are converted; `polytask check` says so. Rows that break their scheme are counted there, too.
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

use data::{DataError, InputField, Pack, Row, Split, TextWindows, View};
use model::Parameters;
use model::onnx::{OnnxGraph, Value};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::decode::answer::{self, OUTSIDE};
use crate::decode::tag_decoder::TagDecoder;
use crate::distillation::{self, SoftLoss, SoftOutputs, TaughtRow};
use crate::heads::crf_head::CrfHead;
use crate::heads::head::{self, LinearHead};
use crate::input;
use crate::onnx::FIRST_TOKENS;
use crate::row_comparison::WordDifference;
use crate::targets::labels::{self, IGNORE_INDEX, Labels};
use crate::targets::tag_scheme::{self, Scheme};
use crate::targets::text_spans;
use crate::targets::words::{self, WordTargets, first_tokens};
use crate::task_head::{EncodedHead, Head};
use crate::{
    Batch, BatchRow, GoldIssue, Kind, LabelReport, Loss, ModelInput, OnnxHead, Prediction, RowComparison,
    Scores, TaskError, TaskHead, TrunkHandles, WordTag,
};

const SPAN_METRICS: &[&str] =
    &["span_f1", "span_precision", "span_recall", "span_macro_f1", "token_accuracy"];
const WORD_METRICS: &[&str] = &["token_accuracy", "macro_f1"];

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
    /// The field with plain text, in the place of `tokens`; with `spans`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The field with labelled spans of `text` in characters, in the place of `tags`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spans: Option<String>,
    /// Reads a text longer than `[data] max_length` in several sequences, `{ overlap = 32, most = 8 }` by default with `windows = {}`;
    /// without it such a text is truncated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<TextWindows>,
    /// The scheme that encodes spans as tags: by default the one that the training rows follow.
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
        input::check_windows(&format!("task.{task}.tagging"), self.windows)?;
        if self.crf && self.label_smoothing > 0.0 {
            return setting("label_smoothing", self.label_smoothing.to_string(), "0 with crf = true");
        }
        match (&self.text, &self.spans) {
            (Some(text), Some(spans)) if text == spans => {
                let found = format!("{spans:?}, the same field as `text`");
                return setting("spans", found, "the field with the labelled spans");
            }
            (Some(_), Some(_)) if self.scheme != Scheme::Auto => {
                let found = format!("{:?} beside `spans`", self.scheme.name());
                return setting("scheme", found, "none: spans are no tags");
            }
            (Some(_), Some(_)) if self.tokens != tokens() || self.tags != tags() => {
                let found = "`text` and `spans` beside `tokens` or `tags`".into();
                return setting("text", found, "words with tags, or text with spans");
            }
            (Some(_), None) => return setting("text", "no `spans` beside it".into(), "both, or neither"),
            (None, Some(_)) => return setting("spans", "no `text` beside it".into(), "both, or neither"),
            _ => {}
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

/// What may be the matter with spans in characters, and whether no tags can say them.
const SPAN_ISSUES: [(&str, bool); 3] = [
    ("have spans that overlap, of which tags can hold one; the first and longer one is kept", true),
    ("have spans that lie outside of their text, or cover no word; they are left out", true),
    ("have spans that begin or end inside of a word; the whole word is tagged", false),
];

/// A tagging task.
#[derive(Clone)]
struct Tagging {
    task: String,
    config: TaggingConfig,
    metrics: &'static [&'static str],
    primary: &'static str,
}

/// A row's tags, `None` for words without one, with what breaks rules in them.
struct RowTags {
    tags: Vec<Option<String>>,
    /// Of spans in characters: whether some overlap, lie outside of the text, end inside of words.
    spans: [bool; 3],
}

impl Tagging {
    fn key(&self, name: &str) -> String {
        format!("task.{}.tagging.{name}", self.task)
    }

    /// The field with the tags or spans.
    fn target(&self) -> &String {
        self.config.spans.as_ref().unwrap_or(&self.config.tags)
    }

    /// A row's tags as they are written; `None` for a row without tags.
    ///
    /// Errors: a number of tags other than the number of words; a field with something else.
    fn written(&self, row: &Row) -> Result<Option<RowTags>, DataError> {
        if let (Some(text), Some(spans)) = (&self.config.text, &self.config.spans) {
            let found = text_spans::tags(row, text, spans)?;
            let with_issues = |found: text_spans::SpanTags| RowTags {
                tags: found.tags,
                spans: [found.overlapping, found.outside, found.misaligned],
            };
            return Ok(found.map(with_issues));
        }
        let tags = words::labels(&self.config.tokens, &self.config.tags, row, "tag")?;
        Ok(tags.map(|tags| RowTags { tags, spans: [false; 3] }))
    }

    /// A row's tags in the scheme that the head learns.
    ///
    /// Errors: as [`Tagging::written`]; a tag that `scheme` does not have.
    fn tags(&self, row: &Row, scheme: Scheme) -> Result<Option<RowTags>, DataError> {
        let Some(found) = self.written(row)? else { return Ok(None) };
        let unknown =
            |(_, tag): &(usize, &Option<String>)| tag.as_ref().is_some_and(|tag| !scheme.knows(tag));
        if let Some((word, Some(tag))) = found.tags.iter().enumerate().find(unknown) {
            let found = format!("tag {tag:?} at word {}", word + 1);
            return Err(row.error(&self.config.tags, found, scheme.allowed()));
        }
        Ok(Some(RowTags { tags: scheme.converted(&found.tags), ..found }))
    }

    /// The scheme of the tags: that of the config, or the one that the rows follow.
    fn scheme(&self, rows: &[Row]) -> Result<Scheme, Vec<DataError>> {
        if self.config.scheme != Scheme::Auto {
            return Ok(self.config.scheme);
        }
        if self.config.spans.is_some() {
            return Ok(Scheme::Bio);
        }
        // Rows that cannot be read are reported where their tags are counted.
        let written = |row: &Row| self.written(row).ok().flatten().map(|found| found.tags);
        let found: Vec<Vec<Option<String>>> = rows.iter().filter_map(written).collect();
        Scheme::recognise(found.iter().map(Vec::as_slice)).map_err(|found| {
            let expected = "tags of one scheme of spans, such as O, B-PER and I-PER. Tags without spans, such as parts of speech, want scheme = \"none\"; for numbers of classes give their `names` in the corpus".into();
            vec![DataError::Setting { key: self.key("scheme"), found, expected }]
        })
    }

    /// The scheme in a label space.
    fn scheme_of(&self, space: &serde_json::Value) -> Result<Scheme, TaskError> {
        match &space["scheme"] {
            // Labels of spans that were stored before there were other schemes.
            serde_json::Value::Null if self.config.scheme == Scheme::Auto => Ok(Scheme::Bio),
            serde_json::Value::Null => Ok(self.config.scheme),
            written => serde_json::from_value(written.clone()).map_err(|_| TaskError::Space {
                task: self.task.clone(),
                reason: format!("found the scheme {written}"),
            }),
        }
    }

    fn is_constrained(&self) -> bool {
        self.config.constrained.unwrap_or(self.config.crf)
    }
}

impl Kind for Tagging {
    fn input(&self) -> InputField {
        let input = match &self.config.text {
            Some(text) => InputField::SplitText(text.clone()),
            None => InputField::Words(self.config.tokens.clone()),
        };
        input.in_windows(self.config.windows)
    }

    fn metrics(&self) -> &'static [&'static str] {
        self.metrics
    }

    fn target_fields(&self) -> Vec<String> {
        vec![self.target().clone()]
    }

    fn fit_labels(&self, rows: &[Row]) -> Result<serde_json::Value, Vec<DataError>> {
        let scheme = self.scheme(rows)?;
        let tags = |row: &Row| {
            Ok(self.tags(row, scheme)?.into_iter().flat_map(|found| found.tags).flatten().collect::<Vec<_>>())
        };
        let labels = Labels::new(labels::count(rows, tags)?);
        labels.check(rows, self.target(), self.config.max_labels, |name| self.key(name), "tags")?;
        let mut space = labels.to_json();
        space["scheme"] = scheme.name().into();
        Ok(space)
    }

    fn remarks(&self, label_space: &serde_json::Value) -> Vec<String> {
        match label_space["scheme"].as_str() {
            Some(found) if self.config.scheme == Scheme::Auto && !matches!(found, "bio" | "bioes") => {
                let learned = if matches!(found, "bilou" | "bmes") { "bioes" } else { "bio" };
                vec![format!("its tags are {found}, read as {learned}; `scheme` in its table fixes that")]
            }
            _ => Vec::new(),
        }
    }

    fn init_head(
        &self,
        label_space: &serde_json::Value,
        trunk: &TrunkHandles<'_>,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn TaskHead>, TaskError> {
        let labels = Labels::from_json(&self.task, label_space)?;
        let scheme = self.scheme_of(label_space)?;
        let linear = LinearHead::new(parameters, &self.task, trunk.hidden, labels.len());
        let crf = self.config.crf.then(|| CrfHead::new(parameters, &self.task, labels.len()));
        Ok(EncodedHead::boxed(TaggingHead { kind: self.clone(), labels, scheme, linear, crf }))
    }
}

/// The head of a tagging task.
struct TaggingHead {
    kind: Tagging,
    labels: Labels,
    /// The scheme in which tags are written.
    scheme: Scheme,
    linear: LinearHead,
    /// The CRF over the logits, where the task has one.
    crf: Option<CrfHead>,
}

impl TaggingHead {
    /// The decoder of tags with the current weights.
    fn decoder(&self, parameters: &Parameters) -> TagDecoder {
        let scheme = self.scheme.learned().filter(|_| self.kind.is_constrained());
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
        let (learned, constrained) = (self.scheme.learned(), self.kind.is_constrained());
        let rule = match constrained {
            true => "have tags that their scheme forbids, which the decoder never gives",
            false => "have tags that their scheme forbids",
        };
        let mut forbidden = GoldIssue::new(format!("{rule} ({:?})", self.scheme.name()), constrained);
        let mut spans = SPAN_ISSUES.map(|(what, unpredictable)| GoldIssue::new(what, unpredictable));
        let read = |row: &Row| {
            let Some(found) = self.kind.tags(row, self.scheme)? else { return Ok(None) };
            if let Some(learned) = learned.filter(|_| found.tags.iter().flatten().any(|tag| tag != OUTSIDE)) {
                forbidden.count(&row.place, !tag_scheme::follows(learned, &found.tags));
            }
            spans.iter_mut().zip(found.spans).for_each(|(issue, broken)| issue.count(&row.place, broken));
            Ok(Some(found.tags))
        };
        let (targets, mut report) = WordTargets::encode(view, &self.labels, read)?;
        [forbidden].into_iter().chain(spans).for_each(|issue| report.add_issue(issue));
        Ok((targets, report))
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

    fn soft_outputs(&self) -> Result<SoftOutputs, String> {
        Ok(SoftOutputs::of(self.labels.names()))
    }

    fn learnable_outputs(&self) -> Result<SoftOutputs, String> {
        match self.crf {
            Some(_) => Err(
                "a CRF learns from whole sequences of tags, and a teacher answers word by word; leave out \
                            `crf` (a teacher may have one)"
                    .into(),
            ),
            None => self.soft_outputs(),
        }
    }

    /// Logits; with a CRF the logarithms of the marginal probabilities, whose softmax these are.
    fn teacher_answers(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Vec<f32>> {
        let firsts: Vec<Vec<(u32, u32)>> =
            batch.rows.iter().map(|at| first_tokens(batch.pack, *at).collect()).collect();
        let tokens: Vec<u32> = firsts.iter().flatten().map(|(token, _)| *token).collect();
        if tokens.is_empty() {
            return vec![Vec::new(); batch.rows.len()];
        }
        let states = kernels::gather_rows(batch.states.clone(), &tokens);
        let mut logits = head::to_host_vec(self.linear.logits(parameters, states, None));
        if let Some(chain) = self.crf.map(|crf| crf.chain(parameters)) {
            let mut left = logits.as_mut_slice();
            for words in &firsts {
                let (own, rest) = left.split_at_mut(words.len() * self.labels.len());
                left = rest;
                let emissions: Vec<f64> = own.iter().map(|logit| f64::from(*logit)).collect();
                for (logit, p) in own.iter_mut().zip(chain.marginals(&emissions).unwrap_or_default()) {
                    *logit = p.max(f64::from(f32::MIN_POSITIVE)).ln() as f32;
                }
            }
        }
        distillation::answers_of_words(&logits, &firsts, self.labels.len())
    }

    fn soft_loss(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
        taught: &[TaughtRow<'_>],
        temperature: f32,
    ) -> Option<SoftLoss> {
        let dropout = head::dropout(self.kind.config.dropout, &self.kind.task, batch.dropout_seed);
        let logits = |states| self.linear.logits(parameters, states, dropout);
        distillation::loss_of_words(batch, taught, self.labels.len(), temperature, logits)
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
        let values = match self.scheme.learned() {
            None => answer::word_scores(&gold, &predicted),
            Some(scheme) => answer::span_scores(&gold, &predicted, strict.then_some(scheme)),
        };
        Scores::with_primary(self.kind.primary, values)
    }

    fn onnx(&self, graph: &mut OnnxGraph, states: &Value) -> Option<OnnxHead> {
        let logits = self.linear.onnx(graph, states);
        let activation = if self.crf.is_some() { "crf" } else { "softmax" };
        let head =
            OnnxHead::of_tokens(logits, self.labels.len(), activation).with("word", json!(FIRST_TOKENS));
        let head = head.with("constrained", json!(self.kind.is_constrained()));
        Some(match &self.crf {
            Some(crf) => head.with("crf", crf.scores(graph)),
            None => head,
        })
    }

    fn label_space(&self) -> serde_json::Value {
        let mut space = self.labels.to_json();
        space["scheme"] = self.scheme.name().into();
        space
    }

    fn to_json(&self, prediction: &Prediction, input: ModelInput<'_>) -> serde_json::Value {
        answer::tagged(&self.names(prediction, input.words().len()), input, self.scheme != Scheme::None)
    }

    fn compare(
        &self,
        targets: &Self::Targets,
        row: usize,
        source: &Row,
        prediction: &Prediction,
    ) -> Option<RowComparison> {
        let ids = targets.row(row);
        let forms: Vec<String> = match &self.kind.config.text {
            Some(field) => {
                let text = source.text(field).ok().flatten().unwrap_or_default();
                data::split_words(&text).into_iter().map(|word| text[word].to_owned()).collect()
            }
            None => source.words(&self.kind.config.tokens).ok().flatten().unwrap_or_default(),
        };
        let has_spans = self.scheme.learned().is_some();
        // Of spans the type counts, not the place in the span.
        let label = |tag: &str| match has_spans {
            true if tag == OUTSIDE => tag.to_owned(),
            true => metrics::split_tag(tag).1.to_owned(),
            false => tag.to_owned(),
        };
        let (mut differences, mut labels) = (Vec::new(), Vec::new());
        for (word, (id, (answer, probability))) in
            ids.iter().zip(self.names(prediction, ids.len())).enumerate()
        {
            if *id == IGNORE_INDEX {
                continue;
            }
            let gold = targets.words.name(&self.labels, *id).unwrap_or(OUTSIDE);
            labels.push((label(gold), label(answer)));
            if gold != answer {
                let word = forms.get(word).cloned().unwrap_or_default();
                let probability = probability.map_or(0.0, f64::from);
                differences.push(WordDifference {
                    word,
                    gold: gold.into(),
                    answer: answer.into(),
                    probability,
                });
            }
        }
        Some(RowComparison::of_words(differences, labels))
    }

    fn error_measure(&self) -> &'static str {
        "greatest probability of a wrong tag"
    }
}
