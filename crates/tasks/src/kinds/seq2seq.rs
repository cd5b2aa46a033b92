//! What all kinds that generate text have in common: encoding of target texts, teacher forcing, decoding. The kinds are
//! `translation.rs` and `generation.rs`.

mod causal;
mod decoding;
mod encoder_decoder;
mod network;
mod search;
#[cfg(test)]
mod tests;
mod text_metrics;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use causal::{Causal, Prompts};
pub(crate) use causal::{continuations, states_and_targets, token_logits};
use data::{
    ChatSource, ChatTemplate, DataError, ErrorList, InputField, Pack, Row, SentencePiece, Split, Tokenizer,
    Value, View, is_blank,
};
pub use decoding::{Decoding, Sampling};
use encoder_decoder::EncoderDecoder;
use model::Parameters;
use network::WritingNetwork;
use rayon::prelude::*;
pub(crate) use search::{Hypothesis, Prompt};
use serde_json::json;
pub use text_metrics::{SmoothingMethod, TextMetrics, Tokenization};
pub(crate) use text_metrics::{TextScores, texts};

use crate::distillation::{self, SoftLoss, SoftOutputs, TaughtRow};
use crate::heads::head::to_host_vec;
use crate::losses::soft;
use crate::task_head::{EncodedHead, Head};
use crate::{
    Batch, BatchRow, Kind, LabelReport, Loss, ModelInput, Prediction, RowComparison, Scores, TaskError,
    TaskHead, TextAnswer, TrunkHandles,
};

/// What stands between the input and the target on a decoder, where the config says nothing.
const SEPARATOR: &str = "\n";

/// A task that generates text.
#[derive(Clone)]
pub(crate) struct Seq2Seq {
    /// `task.NAME.KIND`, for messages.
    pub key: String,
    pub task: String,
    /// The input text.
    pub input: InputField,
    /// The field with the target text, or with several references.
    pub target: String,
    pub max_target_length: usize,
    /// What stands between the input and the target on a decoder.
    pub separator: Option<String>,
    pub label_smoothing: Option<f32>,
    pub start_vector: bool,
    /// Whether the trunk is a decoder, so that both texts are one row.
    pub causal: bool,
    /// Rows are conversations.
    pub chat: Option<Chat>,
    pub decoding: Decoding,
    pub metrics: &'static [&'static str],
    pub primary: &'static str,
    pub text_metrics: TextMetrics,
    /// Computes the scores of the kind alone, beside those of `text_metrics`.
    pub score: Arc<Score>,
}

/// How conversations are read.
#[derive(Debug, Clone)]
pub(crate) struct Chat {
    /// Where a row has them.
    pub source: ChatSource,
    /// That of the config, else the model's.
    pub template: Option<ChatTemplate>,
    /// Whether the assistant's last turn alone is learned.
    pub last_turn: bool,
}

/// Scores of generated texts, by name.
type Score = dyn Fn(&[GeneratedText<'_>]) -> Vec<(String, f64)> + Send + Sync;

/// The references of a row, and the token ids of the first.
type Target = (Vec<String>, Vec<u32>);

/// A generated text and its references.
pub(crate) struct GeneratedText<'a> {
    pub row: &'a Row,
    pub text: &'a str,
    pub references: Vec<&'a str>,
}

impl Seq2Seq {
    /// Checks the settings and makes the task.
    pub fn build(self) -> Result<Box<dyn Kind>, TaskError> {
        let key = |name: &str| format!("{}.{name}", self.key);
        TaskError::fraction(|| key("label_smoothing"), self.label_smoothing.unwrap_or_default().into())?;
        self.decoding.check(&key("decoding"))?;
        self.text_metrics.check(&key("metrics"))?;
        if self.max_target_length == 0 {
            let expected = "1 or more".into();
            return Err(TaskError::Setting { key: key("max_target_length"), found: "0".into(), expected });
        }
        if self.chat.is_none() && self.input.fields().contains(&self.target.as_str()) {
            let found = format!("{:?}, the same field as the source", self.target);
            let expected = "the field with the text to be generated".into();
            return Err(TaskError::Setting { key: key("target"), found, expected });
        }
        Ok(Box::new(self))
    }

    /// The references of a row, without empty ones; none for a row that has no target.
    fn references(&self, row: &Row) -> Result<Vec<String>, DataError> {
        let field = &self.target;
        if let Some(chat) = &self.chat {
            return Ok(chat.source.last_answer(row)?.filter(|text| !is_blank(text)).into_iter().collect());
        }
        let texts = match row.get(field) {
            Some(Value::List(items)) => items
                .iter()
                .map(|item| {
                    let error = || row.error(field, item.preview(), "a text, or a list of texts");
                    item.as_text().map(Cow::into_owned).ok_or_else(error)
                })
                .collect::<Result<_, _>>()?,
            _ => row.text(field)?.map(Cow::into_owned).into_iter().collect::<Vec<String>>(),
        };
        Ok(texts.into_iter().filter(|text| !is_blank(text)).collect())
    }
}

/// The target texts of a split.
#[derive(Default)]
struct Texts {
    rows: Arc<[Row]>,
    /// The references of each row; empty for a row that is not labelled.
    references: Vec<Vec<String>>,
    /// The tokens of the first reference, without start and end token; row `i` has `offsets[i]..offsets[i + 1]`.
    ids: Vec<u32>,
    offsets: Vec<usize>,
    /// On a decoder the tokens that are read of each row.
    prompts: Prompts,
    /// The model of `metrics.sentencepiece`.
    pieces: Option<Arc<SentencePiece>>,
}

impl Texts {
    fn row(&self, row: usize) -> &[u32] {
        &self.ids[self.offsets[row]..self.offsets[row + 1]]
    }
}

impl Kind for Seq2Seq {
    fn set_causal(&mut self, chat_template: Option<&ChatTemplate>) -> Result<(), TaskError> {
        self.causal = true;
        if let Some(chat) = &mut self.chat
            && chat.template.is_none()
        {
            let found = || TaskError::Setting {
                key: format!("{}.template", self.key),
                found: "none, and the model's tokenizer has no chat template".into(),
                expected: "a Jinja template of `messages`, as in tokenizer_config.json of a chat model"
                    .into(),
            };
            chat.template = Some(chat_template.ok_or_else(found)?.clone());
        }
        Ok(())
    }

    fn needs_causal(&self) -> bool {
        self.chat.is_some()
    }

    fn input(&self) -> InputField {
        if let Some(Chat { source, template: Some(template), last_turn }) = &self.chat {
            let (source, template, last_turn) = (source.clone(), template.clone(), *last_turn);
            return InputField::Chat { source, template, last_turn };
        }
        if !self.causal {
            return self.input.clone();
        }
        InputField::Completion {
            prompt: Box::new(self.input.clone()),
            separator: self.separator.clone().unwrap_or_else(|| SEPARATOR.to_owned()),
            target: self.target.clone(),
            max_target_length: self.max_target_length,
        }
    }

    fn metrics(&self) -> &'static [&'static str] {
        self.metrics
    }

    fn target_texts(&self, row: &Row) -> Vec<String> {
        self.references(row).unwrap_or_default()
    }

    fn has_one_answer(&self) -> bool {
        false
    }

    fn target_fields(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    /// There is no label space, but there must be target texts.
    fn fit_labels(&self, rows: &[Row]) -> Result<serde_json::Value, Vec<DataError>> {
        let mut errors = ErrorList::new();
        let mut found = rows.is_empty();
        for row in rows {
            match self.references(row) {
                Ok(texts) => found |= !texts.is_empty(),
                Err(error) => errors.push(error),
            }
        }
        if let (false, Some(row)) = (found, rows.first()) {
            errors.push(row.error(&self.target, "no text in any row", "the texts to be generated"));
        }
        errors.finish(json!({}))
    }

    fn init_head(
        &self,
        label_space: &serde_json::Value,
        trunk: &TrunkHandles<'_>,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn TaskHead>, TaskError> {
        if !label_space.is_object() {
            let reason = "expected an empty table".into();
            return Err(TaskError::Space { task: self.task.clone(), reason });
        }
        let network: Box<dyn WritingNetwork> = match (trunk.language_model, trunk.decoder) {
            (Some(language_model), _) => Box::new(Causal::new(self, language_model)?),
            (None, Some(generator)) => {
                Box::new(EncoderDecoder::new(self, generator.clone(), trunk.hidden, parameters)?)
            }
            (None, None) => {
                let expected = "a model that writes: a Llama or another decoder, a T5, or `decoder = { layers = 3 }` in [model]";
                let found = "a backbone without a decoder".into();
                return Err(TaskError::Setting { key: self.key.clone(), found, expected: expected.into() });
            }
        };
        let (kind, tokenizer) = (self.clone(), trunk.tokenizer.clone());
        Ok(EncodedHead::boxed(Seq2SeqHead { kind, network, tokenizer }))
    }
}

/// The head of a task that generates text: the network does the work.
struct Seq2SeqHead {
    kind: Seq2Seq,
    network: Box<dyn WritingNetwork>,
    tokenizer: Tokenizer,
}

impl Head for Seq2SeqHead {
    type Targets = Texts;

    fn needs_full_embedding(&self) -> bool {
        // Logits are over the whole vocabulary.
        true
    }

    fn encode_targets(&self, view: &View) -> Result<(Self::Targets, LabelReport), Vec<DataError>> {
        let mut errors = ErrorList::new();
        let mut report = LabelReport { rows: view.rows.len(), ..Default::default() };
        let read = |row: &Row| {
            let references = self.kind.references(row)?;
            let ids = match references.first() {
                Some(text) => self.tokenizer.ids(text)?,
                None => Vec::new(),
            };
            Ok((references, ids))
        };
        let found: Vec<Result<Target, DataError>> = view.rows.par_iter().map(read).collect();
        let (mut references, mut ids, mut offsets) = (Vec::new(), Vec::new(), vec![0]);
        for found in found {
            match found {
                Ok((texts, tokens)) => {
                    report.labelled += usize::from(!texts.is_empty());
                    report.truncated += usize::from(tokens.len() > self.kind.max_target_length);
                    references.push(texts);
                    ids.extend(tokens.into_iter().take(self.kind.max_target_length));
                    offsets.push(ids.len());
                }
                Err(error) => errors.push(error),
            }
        }
        // Opened where there are texts to score: a model answers without the file.
        let file = self.kind.text_metrics.sentencepiece.as_ref().filter(|_| report.labelled > 0);
        let pieces = match file.map(|file| SentencePiece::open(Path::new(file))).transpose() {
            Ok(pieces) => pieces.map(Arc::new),
            Err(error) => {
                errors.push(error);
                None
            }
        };
        errors.finish(())?;
        report.missing = report.rows - report.labelled;
        let prompts = match self.kind.causal {
            true => Prompts::of(&view.encoded),
            false => Prompts::default(),
        };
        Ok((Texts { rows: view.rows.clone(), references, ids, offsets, prompts, pieces }, report))
    }

    fn labelled(targets: &Self::Targets, row: usize) -> bool {
        targets.references.get(row).is_some_and(|texts| !texts.is_empty())
    }

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        self.network.mark_used_tokens(pack, rows, used);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, targets: &Self::Targets) -> Option<Loss> {
        if targets.rows.is_empty() {
            return None;
        }
        self.network.loss(parameters, batch, targets)
    }

    /// Of the vocabulary, which teacher and student have in common.
    fn soft_outputs(&self) -> Result<SoftOutputs, String> {
        Ok(SoftOutputs { columns: Vec::new(), by_token: true, needs_label: true })
    }

    fn reorder(&self, _answer: &mut [f32], _order: &[usize]) {}

    /// The most probable tokens at each token of the reference; none for a row without one.
    fn teacher_answers(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        targets: &Self::Targets,
    ) -> Vec<Vec<f32>> {
        let is_labelled = |at: &&BatchRow| Self::labelled(targets, at.row as usize);
        let rows: Vec<BatchRow> = batch.rows.iter().filter(is_labelled).copied().collect();
        let found = self.network.target_logits(parameters, &Batch { rows: &rows, ..*batch }, targets);
        let Some((logits, lengths)) = found else { return vec![Vec::new(); batch.rows.len()] };
        let vocabulary = logits.dims()[1];
        let answers = soft::most_probable_tokens(&to_host_vec(logits), vocabulary);
        let (mut left, mut lengths) = (answers.as_slice(), lengths.into_iter());
        let of_row = |at: &BatchRow| {
            let length = if Self::labelled(targets, at.row as usize) { lengths.next() } else { None };
            let (own, rest) = left.split_at(length.unwrap_or(0) * soft::TOKEN_ANSWER);
            left = rest;
            own.to_vec()
        };
        batch.rows.iter().map(of_row).collect()
    }

    fn soft_loss(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        targets: &Self::Targets,
        taught: &[TaughtRow<'_>],
        temperature: f32,
    ) -> Option<SoftLoss> {
        let rows: Vec<BatchRow> = taught.iter().map(|row| row.at).collect();
        let batch = Batch { rows: &rows, ..*batch };
        let (logits, lengths) = self.network.target_logits(parameters, &batch, targets)?;
        distillation::loss_of_texts(logits, &lengths, taught, temperature)
    }

    fn predict(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        targets: &Self::Targets,
    ) -> Vec<Prediction> {
        if batch.rows.is_empty() {
            return Vec::new();
        }
        let likelihoods = self.network.likelihoods(parameters, batch, targets);
        let decoding = &self.kind.decoding;
        let stops = decoding.stops(&self.tokenizer);
        let found = self.network.write(parameters, batch, targets, decoding, &stops);
        let answer = |(hypothesis, likelihood): (Hypothesis, Option<(f64, usize)>)| {
            let mean = hypothesis.log_probability / hypothesis.steps.max(1) as f32;
            let (text, probability) = (decoding.text_of(&self.tokenizer, &hypothesis.tokens), mean.exp());
            Prediction::Text(TextAnswer { text, probability, likelihood })
        };
        found.into_iter().zip(likelihoods).map(answer).collect()
    }

    fn score(&self, _split: Split, targets: &Self::Targets, predictions: &[(u32, Prediction)]) -> Scores {
        if targets.rows.is_empty() {
            return Scores::default();
        }
        let Generated { texts: generated, loss, tokens } = generated(targets, predictions);
        let mut values = (self.kind.score)(&generated);
        let TextScores { values: common, signatures } =
            self.kind.text_metrics.scores(&generated, targets.pieces.as_deref());
        values.extend(common);
        values.push(("perplexity".into(), metrics::perplexity(loss, tokens)));
        Scores { signatures, ..Scores::with_primary(self.kind.primary, values) }
    }

    /// The rate of edits and the ROUGE scores take long, and are seldom the primary one.
    fn primary_score(&self, split: Split, targets: &Self::Targets, predictions: &[(u32, Prediction)]) -> f64 {
        let primary = self.kind.primary;
        if targets.rows.is_empty() {
            return 0.0;
        }
        let texts = generated(targets, predictions).texts;
        if let Some(value) = self.kind.text_metrics.value(primary, &texts, targets.pieces.as_deref()) {
            return value;
        }
        let of_kind = (self.kind.score)(&texts);
        let found = of_kind.iter().find(|(name, _)| name == primary).map(|(_, value)| *value);
        found.unwrap_or_else(|| {
            let scores = self.score(split, targets, predictions);
            scores.get(&scores.primary).unwrap_or(0.0)
        })
    }

    fn label_space(&self) -> serde_json::Value {
        json!({})
    }

    fn to_json(&self, prediction: &Prediction, _input: ModelInput<'_>) -> serde_json::Value {
        match prediction {
            Prediction::Text(answer) => json!({ "text": answer.text, "probability": answer.probability }),
            _ => serde_json::Value::Null,
        }
    }

    fn compare(
        &self,
        targets: &Self::Targets,
        row: usize,
        _source: &Row,
        prediction: &Prediction,
    ) -> Option<RowComparison> {
        let (Prediction::Text(answer), Some(references)) = (prediction, targets.references.get(row)) else {
            return None;
        };
        let is_correct = references.contains(&answer.text);
        let (nats, tokens) = answer.likelihood.unwrap_or_default();
        let error = nats / tokens.max(1) as f64;
        Some(RowComparison::of_text(references.first()?.clone(), answer.text.clone(), is_correct, error))
    }

    fn error_measure(&self) -> &'static str {
        "negative log-likelihood of the reference, nats per token"
    }
}

/// Generated texts of labelled rows, with the loss of their references in nats and its tokens.
struct Generated<'a> {
    texts: Vec<GeneratedText<'a>>,
    loss: f64,
    tokens: usize,
}

fn generated<'a>(targets: &'a Texts, predictions: &'a [(u32, Prediction)]) -> Generated<'a> {
    let mut found = Generated { texts: Vec::new(), loss: 0.0, tokens: 0 };
    for (row, prediction) in predictions {
        let (row, references) = (&targets.rows[*row as usize], &targets.references[*row as usize]);
        let Prediction::Text(answer) = prediction else { continue };
        if references.is_empty() {
            continue;
        }
        let (loss, count) = answer.likelihood.unwrap_or_default();
        found.loss += loss;
        found.tokens += count;
        let references = references.iter().map(String::as_str).collect();
        found.texts.push(GeneratedText { row, text: &answer.text, references });
    }
    found
}
