//! One tag per word: named entities, slots, parts of speech.
//!
//! Input: a field of words. Tags: a field with one tag for each word (a list, or text with single spaces between tags). A
//! row without the field is masked, and so is a word whose tag is null or empty.
//!
//! Head: each word is represented by the state of its first token; dropout, then a linear map `[hidden] -> [tags]`.
//! Loss: cross-entropy, the mean over tagged words; with `crf = true` the negative log-likelihood of whole rows under a
//! linear-chain conditional random field (exact partition function; see `crf.rs`), divided by the number of tagged words,
//! so that both losses are nats per word. The CRF's transitions, start and end scores begin uniform in `+-0.1`.
//!
//! Decoding: the most probable tag of each word, or with a CRF the most probable row of tags (Viterbi). `constrained`
//! forbids rows that the scheme does not allow (`I-PER` after `O`); it is on with a CRF and off without, unless set.
//! Constraints act on decoding alone, so gold tags that break the scheme still train.
//!
//! Schemes: `bio` (`B-`, `I-`, `O`), `bioes` (also `E-`, `S-`), `none` (any tags, no spans).
//!
//! Scores: `span_f1` (default), `span_precision`, `span_recall`, `span_macro_f1` as seqeval counts them, invalid rows of
//! tags included, and `token_accuracy` over words. Words lost to truncation count as tagged `O`; gold keeps the whole row.
//! With `scheme = "none"`: `token_accuracy` (default) and `macro_f1`.
//!
//! Cost: `[words, hidden] x [hidden, tags]` a step; a CRF adds about `6 tags^2` multiply-adds a word on the host.
//!
//! Example: `tagging = { tokens = "tokens", tags = "tags", scheme = "bio", crf = true }`
//!
//! Answer: `{"entities": [{"text", "label", "start", "end", "probability"}], "tags": [..]}`. `start` and `end` (exclusive)
//! count Unicode characters (scalar values, as Python's strings do) in the text, or in the words joined by single spaces.
//! The probability of an entity is that of its least probable word; with a CRF words have their marginal probability.
//! For plain text there is `"words"`, too: what the tags belong to.

use std::collections::HashMap;

use data::{DataError, InputField, Pack, Row, Split, View};
use model::Parameters;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer;
use crate::chain_head::ChainHead;
use crate::decoder::Decoder;
use crate::head::{self, Head};
use crate::labels::{self, Labels, MASKED};
use crate::words::{self, WordTargets, first_tokens};
use crate::{Batch, BatchRow, Kind, LabelReport, Loss, Prediction, Scores, Source, TaskError, WordTag};

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
    /// How spans are written as tags.
    #[serde(default)]
    pub scheme: Scheme,
    /// Score whole rows of tags by a conditional random field: better on entities of several words, slower with many
    /// different tags.
    #[serde(default)]
    pub crf: bool,
    /// Decode only rows of tags that the scheme allows; without it as `crf` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constrained: Option<bool>,
    /// Share of the target that is spread over all tags, 0 to below 1; not with a CRF.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub label_smoothing: f32,
    /// Dropout before the last layer, 0 to below 1.
    #[serde(default = "head::usual_dropout")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f32,
    /// More different tags than this are taken for a mistake, such as a field of words.
    #[serde(default = "labels::usual_most")]
    #[schemars(range(min = 2))]
    pub max_labels: usize,
}

/// How spans are written as tags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// `B-` begins a span, `I-` continues it, `O` is outside.
    #[default]
    Bio,
    /// `B-` begins, `I-` continues and `E-` ends a span of several words, `S-` is a span of one word, `O` is outside.
    Bioes,
    /// Tags stand for themselves: parts of speech.
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

    /// The tags that there may be, for a message.
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
        let metrics = if self.scheme == Scheme::None { WORD_METRICS } else { SPAN_METRICS };
        Ok(Box::new(Tagging {
            task: task.to_owned(),
            config: self.clone(),
            metrics,
            main: TaskError::metric(task, metrics, metric)?,
            labels: Labels::default(),
            head: None,
            chain: None,
            targets: HashMap::new(),
        }))
    }
}

/// A tagging task.
struct Tagging {
    task: String,
    config: TaggingConfig,
    metrics: &'static [&'static str],
    main: &'static str,
    labels: Labels,
    head: Option<Head>,
    chain: Option<ChainHead>,
    targets: HashMap<Split, WordTargets>,
}

impl Tagging {
    fn key(&self, name: &str) -> String {
        format!("task.{}.tagging.{name}", self.task)
    }

    fn head(&self) -> Head {
        self.head.expect("the head is built before the first batch")
    }

    /// How tags are decoded with the weights as they stand.
    fn decoder(&self, parameters: &Parameters) -> Decoder {
        let constrained = self.config.constrained.unwrap_or(self.config.crf);
        let scheme = self.config.scheme.spans().filter(|_| constrained);
        Decoder::new(self.chain.map(|chain| chain.chain(parameters)), scheme, self.labels.names())
    }

    /// The name of a predicted tag; a word that was lost counts as outside.
    fn name(&self, tag: Option<WordTag>) -> &str {
        tag.and_then(|tag| self.labels.name(tag.label)).unwrap_or(OUTSIDE)
    }

    /// The tags that were predicted for a row, by name, as many as there are words.
    fn names(&self, prediction: &Prediction, words: usize) -> Vec<(&str, Option<f32>)> {
        let Prediction::Tags(tags) = prediction else { return vec![(OUTSIDE, None); words] };
        let tag = |word: usize| tags.get(word).copied().flatten();
        (0..words).map(|word| (self.name(tag(word)), tag(word).map(|t| t.probability))).collect()
    }
}

impl Kind for Tagging {
    fn input(&self) -> InputField {
        InputField::Words(self.config.tokens.clone())
    }

    fn learn(&mut self, rows: &[Row]) -> Result<(), Vec<DataError>> {
        let tags = |row: &Row| Ok(words::tags(&self.config, row)?.into_iter().flatten().flatten());
        let counted = labels::count(rows, tags)?;
        let labels = Labels::new(counted);
        labels.check(rows, &self.config.tags, self.config.max_labels, |name| self.key(name), "tags")?;
        self.labels = labels;
        Ok(())
    }

    fn space(&self) -> serde_json::Value {
        self.labels.to_json()
    }

    fn restore_space(&mut self, space: &serde_json::Value) -> Result<(), TaskError> {
        self.labels = Labels::from_json(&self.task, space)?;
        Ok(())
    }

    fn labels(&self) -> &[String] {
        self.labels.names()
    }

    fn build(&mut self, parameters: &mut Parameters, hidden: usize) {
        self.head = Some(Head::new(parameters, &self.task, hidden, self.labels.len()));
        self.chain = self.config.crf.then(|| ChainHead::new(parameters, &self.task, self.labels.len()));
    }

    fn attach(&mut self, split: Split, view: &View) -> Result<LabelReport, Vec<DataError>> {
        let read = |row: &Row| words::tags(&self.config, row);
        let (targets, report) = WordTargets::attach(view, &self.labels, read)?;
        self.targets.insert(split, targets);
        Ok(report)
    }

    fn labelled(&self, split: Split, row: usize) -> bool {
        self.targets.get(&split).is_some_and(|targets| targets.row(row).iter().any(|id| *id != MASKED))
    }

    fn reads(&self, pack: &Pack, rows: &[BatchRow], read: &mut [bool]) {
        words::mark_first_tokens(pack, rows, read);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>) -> Option<Loss> {
        let targets = self.targets.get(&batch.split)?;
        let known = |id: u32| (id as usize) < self.labels.len();
        let (mut tokens, mut gold, mut rows) = (Vec::new(), Vec::new(), vec![0]);
        for at in batch.rows {
            let tags = targets.row(at.row as usize);
            let begin = tokens.len();
            for (token, word) in first_tokens(batch.pack, *at) {
                let tag = tags.get(word as usize).copied().filter(|tag| known(*tag));
                // A chain runs through words without a tag; by itself such a word has no loss.
                if tag.is_some() || self.chain.is_some() {
                    tokens.push(token);
                    gold.push(tag.unwrap_or(MASKED));
                }
            }
            if gold[begin..].iter().all(|tag| *tag == MASKED) {
                tokens.truncate(begin);
                gold.truncate(begin);
            } else {
                rows.push(tokens.len());
            }
        }
        let items = gold.iter().filter(|tag| **tag != MASKED).count();
        if items == 0 {
            return None;
        }
        let noise = head::noise(self.config.dropout, &self.task, batch.noise_seed);
        let logits = self.head().logits(parameters, kernels::pick(batch.states.clone(), &tokens), noise);
        let mean = match &self.chain {
            Some(chain) => chain.loss(parameters, logits, &rows, &gold, items),
            None => kernels::cross_entropy(logits, &gold, None, self.config.label_smoothing),
        };
        Some(Loss { mean, items })
    }

    fn predict(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Prediction> {
        let firsts: Vec<Vec<(u32, u32)>> =
            batch.rows.iter().map(|at| first_tokens(batch.pack, *at).collect()).collect();
        let tokens: Vec<u32> = firsts.iter().flatten().map(|(token, _)| *token).collect();
        if tokens.is_empty() {
            return vec![Prediction::Tags(Vec::new()); batch.rows.len()];
        }
        let states = kernels::pick(batch.states.clone(), &tokens);
        let logits = head::on_host(self.head().logits(parameters, states, None));
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

    fn score(&self, split: Split, predictions: &[(u32, Prediction)]) -> Scores {
        let empty = WordTargets::default();
        let targets = self.targets.get(&split).unwrap_or(&empty);
        let (mut gold, mut predicted) = (Vec::new(), Vec::new());
        for (row, prediction) in predictions {
            let ids = targets.row(*row as usize);
            if ids.iter().all(|id| *id == MASKED) {
                continue;
            }
            let names = self.names(prediction, ids.len());
            let kept = ids.iter().zip(names).filter(|(id, _)| **id != MASKED);
            let (row_gold, row_predicted): (Vec<&str>, Vec<&str>) = kept
                .map(|(id, (name, _))| (targets.words.name(&self.labels, *id).unwrap_or(OUTSIDE), name))
                .unzip();
            gold.push(row_gold);
            predicted.push(row_predicted);
        }
        let values = match self.config.scheme {
            Scheme::None => answer::word_scores(&gold, &predicted),
            Scheme::Bio | Scheme::Bioes => answer::span_scores(&gold, &predicted),
        };
        Scores::with_main(self.main, values)
    }

    fn explain(&self, prediction: &Prediction, source: Source<'_>) -> serde_json::Value {
        answer::tagged(
            &self.names(prediction, source.words().len()),
            source,
            self.config.scheme != Scheme::None,
        )
    }

    fn metrics(&self) -> &'static [&'static str] {
        self.metrics
    }
}
