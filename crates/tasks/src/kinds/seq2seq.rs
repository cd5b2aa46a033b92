//! What all kinds that generate text have in common: encoding of target texts, teacher forcing, decoding. The kinds are
//! `translation.rs` and `generation.rs`.

mod decoding;
mod search;
#[cfg(test)]
mod tests;
mod text_metrics;

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Tensor;
use data::{
    DataError, ErrorList, InputField, Pack, Row, SentencePiece, Split, Tokenizer, Value, View, is_blank,
};
pub use decoding::{Decoding, Sampling};
use model::{Generator, Init, MatrixId, Parameters};
use rayon::prelude::*;
use search::{Hypothesis, search};
use serde_json::json;
pub use text_metrics::{SmoothingMethod, TextMetrics, Tokenization};
pub(crate) use text_metrics::{TextScores, texts};

use crate::heads::head;
use crate::task_head::{EncodedHead, Head};
use crate::{
    Batch, BatchRow, Kind, LabelReport, Loss, ModelInput, Prediction, RowComparison, Scores, TaskError,
    TaskHead, TextAnswer, TrunkHandles,
};

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
    pub label_smoothing: f32,
    pub start_vector: bool,
    pub decoding: Decoding,
    pub metrics: &'static [&'static str],
    pub primary: &'static str,
    pub text_metrics: TextMetrics,
    /// Computes the scores of the kind alone, beside those of `text_metrics`.
    pub score: Arc<Score>,
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
        TaskError::fraction(|| key("label_smoothing"), self.label_smoothing.into())?;
        self.decoding.check(&key("decoding"))?;
        self.text_metrics.check(&key("metrics"))?;
        if self.max_target_length == 0 {
            let expected = "1 or more".into();
            return Err(TaskError::Setting { key: key("max_target_length"), found: "0".into(), expected });
        }
        if self.input.fields().contains(&self.target.as_str()) {
            let found = format!("{:?}, the same field as the source", self.target);
            let expected = "the field with the text to be generated".into();
            return Err(TaskError::Setting { key: key("target"), found, expected });
        }
        Ok(Box::new(self))
    }

    /// The references of a row, without empty ones; none for a row that has no target.
    fn references(&self, row: &Row) -> Result<Vec<String>, DataError> {
        let field = &self.target;
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
    /// The model of `metrics.sentencepiece`.
    pieces: Option<Arc<SentencePiece>>,
}

impl Texts {
    fn row(&self, row: usize) -> &[u32] {
        &self.ids[self.offsets[row]..self.offsets[row + 1]]
    }
}

/// Decoder inputs and targets, texts end to end: the target of a token is the token after it.
struct TeacherForcing {
    inputs: Vec<u32>,
    targets: Vec<u32>,
    rows: kernels::RowOffsets,
}

impl Kind for Seq2Seq {
    fn input(&self) -> InputField {
        self.input.clone()
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
        let Some(generator) = trunk.decoder.cloned() else {
            let expected = "a model that writes: `decoder = { layers = 3 }` in [model], or a T5".into();
            let found = "a backbone without a decoder".into();
            return Err(TaskError::Setting { key: self.key.clone(), found, expected });
        };
        let mut head = parameters.head(&self.task);
        let make = || head.matrix("start", [1, trunk.hidden], Init::Normal(0.02));
        let start = self.start_vector.then(make);
        let (kind, tokenizer) = (self.clone(), trunk.tokenizer.clone());
        Ok(EncodedHead::boxed(Seq2SeqHead { kind, generator, tokenizer, start }))
    }
}

/// The head of a task that generates text: the decoder does the work.
struct Seq2SeqHead {
    kind: Seq2Seq,
    generator: Arc<dyn Generator>,
    tokenizer: Tokenizer,
    /// The embedding `[1, hidden]` of the task's own start token, where it has one.
    start: Option<MatrixId>,
}

impl Seq2SeqHead {
    /// The encoder states `[n, hidden]` of a batch's rows, and the rows' offsets.
    fn encoder_states(batch: &Batch<'_>) -> (Tensor<2>, kernels::RowOffsets) {
        let ranges: Vec<Range<usize>> = batch.rows.iter().map(|at| at.tokens(batch.pack)).collect();
        let rows = kernels::offsets_from_lengths(ranges.iter().map(Range::len));
        if rows == batch.pack.offsets {
            return (batch.states.clone(), rows);
        }
        let tokens: Vec<u32> = ranges.into_iter().flatten().map(|token| token as u32).collect();
        (kernels::gather_rows(batch.states.clone(), &tokens), rows)
    }

    fn teacher_forcing(&self, texts: &Texts, rows: &[BatchRow]) -> TeacherForcing {
        let (mut inputs, mut targets, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        for at in rows {
            let ids = texts.row(at.row as usize);
            inputs.push(self.generator.decoder_start_token_id());
            inputs.extend_from_slice(ids);
            targets.extend_from_slice(ids);
            targets.push(self.generator.eos_token_id());
            lengths.push(ids.len() + 1);
        }
        TeacherForcing { inputs, targets, rows: kernels::offsets_from_lengths(lengths) }
    }

    /// Logits `[tokens, vocabulary]` of the token after each decoder input.
    fn logits(
        &self,
        parameters: &Parameters,
        teacher_forcing: &TeacherForcing,
        (states, rows): (Tensor<2>, &kernels::RowOffsets),
        dropout_seed: Option<u64>,
    ) -> Tensor<2> {
        let seed = dropout_seed.map(|seed| data::random::derive_seed(seed, "decoder", 0));
        let texts = (&teacher_forcing.inputs[..], &teacher_forcing.rows);
        self.generator.logits(parameters, texts, (states, rows), self.start_vector(parameters), seed)
    }

    fn start_vector(&self, parameters: &Parameters) -> Option<Tensor<2>> {
        self.start.map(|start| parameters.matrix(start))
    }

    /// The negative log-likelihood of each row's first reference, and its number of tokens; `None` for rows without one.
    fn likelihoods(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        texts: &Texts,
        (states, rows): (&Tensor<2>, &kernels::RowOffsets),
    ) -> Vec<Option<(f64, usize)>> {
        let labelled = |at: &BatchRow| Self::labelled(texts, at.row as usize);
        if !batch.rows.iter().any(labelled) {
            return vec![None; batch.rows.len()];
        }
        let teacher_forcing = self.teacher_forcing(texts, batch.rows);
        let logits = self.logits(parameters, &teacher_forcing, (states.clone(), rows), None);
        let logits = head::to_host_vec(logits);
        let width = logits.len() / teacher_forcing.targets.len();
        let of_token = |token: usize| {
            let logits = &logits[token * width..][..width];
            let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = logits.iter().map(|logit| f64::from(logit - max).exp()).sum();
            sum.ln() - f64::from(logits[teacher_forcing.targets[token] as usize] - max)
        };
        let of_row = |(i, at): (usize, &BatchRow)| {
            let tokens = teacher_forcing.rows[i]..teacher_forcing.rows[i + 1];
            labelled(at).then(|| (tokens.clone().map(of_token).sum(), tokens.len()))
        };
        batch.rows.par_iter().enumerate().map(of_row).collect()
    }
}

impl Head for Seq2SeqHead {
    type Targets = Texts;

    fn needs_full_embedding(&self) -> bool {
        // The decoder embeds tokens that are not in the pack, and its logits are over the whole vocabulary.
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
        Ok((Texts { rows: view.rows.clone(), references, ids, offsets, pieces }, report))
    }

    fn labelled(targets: &Self::Targets, row: usize) -> bool {
        targets.references.get(row).is_some_and(|texts| !texts.is_empty())
    }

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        rows.iter().flat_map(|at| at.tokens(pack)).for_each(|token| used[token] = true);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, targets: &Self::Targets) -> Option<Loss> {
        if targets.rows.is_empty() {
            return None;
        }
        let teacher_forcing = self.teacher_forcing(targets, batch.rows);
        if teacher_forcing.targets.is_empty() {
            return None;
        }
        let (states, rows) = Self::encoder_states(batch);
        let logits = self.logits(parameters, &teacher_forcing, (states, &rows), batch.dropout_seed);
        let gold = &teacher_forcing.targets;
        let mean = kernels::cross_entropy(logits, gold, None, self.kind.label_smoothing);
        Some(Loss { mean, num_targets: gold.len() })
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
        let (states, rows) = Self::encoder_states(batch);
        let likelihoods = self.likelihoods(parameters, batch, targets, (&states, &rows));
        let generator = &self.generator;
        let mut cache = generator.start(parameters, &states, &rows);
        let indices: Vec<u64> = batch.rows.iter().map(|at| at.row.into()).collect();
        let special_tokens = [generator.decoder_start_token_id(), generator.eos_token_id()];
        let found = search(&indices, &self.kind.decoding, special_tokens, |from, ids| {
            let start = self.start_vector(parameters);
            head::to_host_vec(generator.step(parameters, &mut cache, from, ids, start))
        });
        let answer = |(hypothesis, likelihood): (Hypothesis, Option<(f64, usize)>)| {
            let mean = hypothesis.log_probability / hypothesis.steps.max(1) as f32;
            let (text, probability) = (self.tokenizer.decode(&hypothesis.tokens), mean.exp());
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
