//! What all kinds that write text have in common: targets as tokens, teacher forcing, writing. The kinds are
//! `translation.rs` and `generation.rs`.

mod decoding;
mod search;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use data::{DataError, Faults, InputField, Pack, Row, Split, Tokenizer, Value, View};
pub use decoding::{Decoding, Sampling};
use model::{Decoder, Group, Init, Matrix, Parameters};
use rayon::prelude::*;
use search::search;
use serde_json::json;

use crate::head;
use crate::{
    Batch, BatchRow, Kind, LabelReport, Loss, Prediction, Scores, Source, TaskError, TextAnswer, Trunk,
};

/// What a kind's config says about writing.
pub(crate) struct Writing {
    /// `task.NAME.KIND`, for messages.
    pub key: String,
    pub task: String,
    /// What is read.
    pub input: InputField,
    /// The field with the text, or with several that are all right.
    pub target: String,
    pub max_target_length: usize,
    pub label_smoothing: f32,
    pub start_vector: bool,
    pub decoding: Decoding,
    pub metrics: &'static [&'static str],
    pub main: &'static str,
    /// The scores of written texts.
    pub score: Box<Score>,
}

/// Scores of written texts, by name.
type Score = dyn Fn(&[Written<'_>]) -> Vec<(String, f64)> + Send + Sync;

/// All right texts of a row, and the tokens of the first.
type Target = (Vec<String>, Vec<u32>);

/// A text that was written, and what would have been right.
pub(crate) struct Written<'a> {
    pub row: &'a Row,
    pub text: &'a str,
    pub references: Vec<&'a str>,
}

impl Writing {
    /// Checks the settings and makes the task.
    pub fn build(self) -> Result<Box<dyn Kind>, TaskError> {
        let key = |name: &str| format!("{}.{name}", self.key);
        TaskError::fraction(|| key("label_smoothing"), self.label_smoothing.into())?;
        self.decoding.check(&key("decoding"))?;
        if self.max_target_length == 0 {
            let expected = "1 or more".into();
            return Err(TaskError::Setting { key: key("max_target_length"), found: "0".into(), expected });
        }
        if self.input.fields().contains(&self.target.as_str()) {
            let found = format!("{:?}, the same field as the source", self.target);
            let expected = "the field with the text to be written".into();
            return Err(TaskError::Setting { key: key("target"), found, expected });
        }
        Ok(Box::new(Writer {
            writing: self,
            decoder: None,
            tokenizer: None,
            start: None,
            targets: HashMap::new(),
        }))
    }
}

/// A task that writes text.
struct Writer {
    writing: Writing,
    decoder: Option<Arc<Decoder>>,
    tokenizer: Option<Tokenizer>,
    /// The vector that the task's texts begin after, `[1, hidden]`, in place of that of the start token.
    start: Option<Matrix>,
    targets: HashMap<Split, Texts>,
}

/// The texts of a split.
struct Texts {
    rows: Arc<[Row]>,
    /// Per row all texts that are right; none for a row that is not labelled.
    references: Vec<Vec<String>>,
    /// The tokens of the first, without those that begin and end it; row `i` has `offsets[i]..offsets[i + 1]`.
    ids: Vec<u32>,
    offsets: Vec<usize>,
}

impl Texts {
    fn row(&self, row: usize) -> &[u32] {
        &self.ids[self.offsets[row]..self.offsets[row + 1]]
    }
}

/// Texts end to end, as the decoder is given them and as it should go on.
struct Teaching {
    inputs: Vec<u32>,
    right: Vec<u32>,
    rows: kernels::Rows,
}

impl Writer {
    fn decoder(&self) -> &Decoder {
        self.decoder.as_ref().expect("the task is connected before the first batch")
    }

    fn tokenizer(&self) -> &Tokenizer {
        self.tokenizer.as_ref().expect("the task is connected before rows are attached")
    }

    /// The right texts of a row, without empty ones; none for a row that has no target.
    fn references(&self, row: &Row) -> Result<Vec<String>, DataError> {
        let field = &self.writing.target;
        let texts = match row.get(field) {
            Some(Value::List(items)) => items
                .iter()
                .map(|item| match item {
                    Value::Text(text) => Ok(text.clone()),
                    other => Err(row.error(field, other.preview(), "a text, or a list of texts")),
                })
                .collect::<Result<_, _>>()?,
            _ => row.text(field)?.map(str::to_owned).into_iter().collect::<Vec<String>>(),
        };
        Ok(texts.into_iter().filter(|text| !text.trim().is_empty()).collect())
    }

    /// The states of a batch's rows `[n, hidden]`, and where each begins.
    fn read(batch: &Batch<'_>) -> (Tensor<2>, kernels::Rows) {
        let ranges: Vec<Range<usize>> = batch.rows.iter().map(|at| at.tokens(batch.pack)).collect();
        let rows = kernels::rows_of(ranges.iter().map(Range::len));
        if rows == batch.pack.offsets {
            return (batch.states.clone(), rows);
        }
        let tokens: Vec<u32> = ranges.into_iter().flatten().map(|token| token as u32).collect();
        (kernels::pick(batch.states.clone(), &tokens), rows)
    }

    fn teaching(&self, texts: &Texts, rows: &[BatchRow]) -> Teaching {
        let (mut inputs, mut right, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        for at in rows {
            let ids = texts.row(at.row as usize);
            inputs.push(self.decoder().start());
            inputs.extend_from_slice(ids);
            right.extend_from_slice(ids);
            right.push(self.decoder().end());
            lengths.push(ids.len() + 1);
        }
        Teaching { inputs, right, rows: kernels::rows_of(lengths) }
    }

    /// Scores of what follows each token of some texts.
    fn scores(
        &self,
        parameters: &Parameters,
        teaching: &Teaching,
        (states, rows): (Tensor<2>, &kernels::Rows),
        noise_seed: Option<u64>,
    ) -> Tensor<2> {
        let seed = noise_seed.map(|seed| data::random::seed_of(seed, "decoder", 0));
        let texts = (&teaching.inputs[..], &teaching.rows);
        self.decoder().scores(parameters, texts, (states, rows), self.start_vector(parameters), seed)
    }

    fn start_vector(&self, parameters: &Parameters) -> Option<Tensor<2>> {
        self.start.map(|start| parameters.get(start))
    }

    /// The negative log-likelihood of each row's right text, and its tokens; `None` for rows without one.
    fn likelihoods(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        (states, rows): (&Tensor<2>, &kernels::Rows),
    ) -> Vec<Option<(f64, usize)>> {
        let Some(texts) = self.targets.get(&batch.split) else { return vec![None; batch.rows.len()] };
        let labelled = |at: &BatchRow| !texts.references[at.row as usize].is_empty();
        if !batch.rows.iter().any(labelled) {
            return vec![None; batch.rows.len()];
        }
        let teaching = self.teaching(texts, batch.rows);
        let scores = head::on_host(self.scores(parameters, &teaching, (states.clone(), rows), None));
        let width = scores.len() / teaching.right.len();
        let of_token = |token: usize| {
            let scores = &scores[token * width..][..width];
            let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = scores.iter().map(|score| f64::from(score - most).exp()).sum();
            sum.ln() - f64::from(scores[teaching.right[token] as usize] - most)
        };
        let of_row = |(i, at): (usize, &BatchRow)| {
            let tokens = teaching.rows[i]..teaching.rows[i + 1];
            labelled(at).then(|| (tokens.clone().map(of_token).sum(), tokens.len()))
        };
        batch.rows.par_iter().enumerate().map(of_row).collect()
    }
}

impl Kind for Writer {
    fn input(&self) -> InputField {
        self.writing.input.clone()
    }

    /// There are no labels to learn, but there must be texts.
    fn learn(&mut self, rows: &[Row]) -> Result<(), Vec<DataError>> {
        let mut faults = Faults::new();
        let mut found = rows.is_empty();
        for row in rows {
            match self.references(row) {
                Ok(texts) => found |= !texts.is_empty(),
                Err(fault) => faults.push(fault),
            }
        }
        if let (false, Some(row)) = (found, rows.first()) {
            faults.push(row.error(&self.writing.target, "no text in any row", "the texts to be written"));
        }
        faults.finish(())
    }

    fn writes(&self, row: &Row) -> Vec<String> {
        self.references(row).unwrap_or_default()
    }

    fn space(&self) -> serde_json::Value {
        json!({})
    }

    fn restore_space(&mut self, space: &serde_json::Value) -> Result<(), TaskError> {
        if space.is_object() {
            return Ok(());
        }
        let reason = "expected an empty table".into();
        Err(TaskError::Space { task: self.writing.task.clone(), reason })
    }

    fn labels(&self) -> &[String] {
        &[]
    }

    fn connect(&mut self, trunk: &Trunk<'_>) -> Result<(), TaskError> {
        let Some(decoder) = trunk.decoder else {
            let expected = "a model that writes: `decoder = { layers = 3 }` in [model], or a T5";
            let found = "a backbone without a decoder".into();
            return Err(TaskError::Setting {
                key: self.writing.key.clone(),
                found,
                expected: expected.into(),
            });
        };
        self.decoder = Some(decoder.clone());
        self.tokenizer = Some(trunk.tokenizer.clone());
        Ok(())
    }

    fn reads_vocabulary(&self) -> bool {
        // Tokens are looked up that are not in the pack, and all are scored.
        true
    }

    fn build(&mut self, parameters: &mut Parameters, hidden: usize) {
        let group = Group::Task(self.writing.task.clone());
        let name = format!("head.{}.start", self.writing.task);
        let make = || parameters.matrix(&group, &name, [1, hidden], Init::Normal(0.02));
        self.start = self.writing.start_vector.then(make);
    }

    fn attach(&mut self, split: Split, view: &View) -> Result<LabelReport, Vec<DataError>> {
        let mut faults = Faults::new();
        let mut report = LabelReport { rows: view.rows.len(), ..Default::default() };
        let read = |row: &Row| {
            let references = self.references(row)?;
            let ids = match references.first() {
                Some(text) => self.tokenizer().ids(text)?,
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
                    report.truncated += usize::from(tokens.len() > self.writing.max_target_length);
                    references.push(texts);
                    ids.extend(tokens.into_iter().take(self.writing.max_target_length));
                    offsets.push(ids.len());
                }
                Err(fault) => faults.push(fault),
            }
        }
        faults.finish(())?;
        report.missing = report.rows - report.labelled;
        self.targets.insert(split, Texts { rows: view.rows.clone(), references, ids, offsets });
        Ok(report)
    }

    fn labelled(&self, split: Split, row: usize) -> bool {
        self.targets.get(&split).is_some_and(|texts| texts.references.get(row).is_some_and(|t| !t.is_empty()))
    }

    fn reads(&self, pack: &Pack, rows: &[BatchRow], read: &mut [bool]) {
        rows.iter().flat_map(|at| at.tokens(pack)).for_each(|token| read[token] = true);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>) -> Option<Loss> {
        let texts = self.targets.get(&batch.split)?;
        let teaching = self.teaching(texts, batch.rows);
        if teaching.right.is_empty() {
            return None;
        }
        let (states, rows) = Self::read(batch);
        let scores = self.scores(parameters, &teaching, (states, &rows), batch.noise_seed);
        let mean = kernels::cross_entropy(scores, &teaching.right, None, self.writing.label_smoothing);
        Some(Loss { mean, items: teaching.right.len() })
    }

    fn predict(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Prediction> {
        if batch.rows.is_empty() {
            return Vec::new();
        }
        let (states, rows) = Self::read(batch);
        let likelihoods = self.likelihoods(parameters, batch, (&states, &rows));
        let decoder = self.decoder();
        let mut cache = decoder.begin(parameters, &states, &rows);
        let numbers: Vec<u64> = batch.rows.iter().map(|at| at.row.into()).collect();
        let ends = [decoder.start(), decoder.end()];
        let written = search(&numbers, &self.writing.decoding, ends, |from, ids| {
            head::on_host(decoder.next(parameters, &mut cache, from, ids, self.start_vector(parameters)))
        });
        let answer = |(text, likelihood): (search::Written, Option<(f64, usize)>)| {
            let mean = text.log_probability / text.steps.max(1) as f32;
            let (text, probability) = (self.tokenizer().decode(&text.tokens), mean.exp());
            Prediction::Text(TextAnswer { text, probability, likelihood })
        };
        written.into_iter().zip(likelihoods).map(answer).collect()
    }

    fn score(&self, split: Split, predictions: &[(u32, Prediction)]) -> Scores {
        let Some(texts) = self.targets.get(&split) else { return Scores::default() };
        let (mut written, mut total, mut tokens) = (Vec::new(), 0.0, 0);
        for (row, prediction) in predictions {
            let (row, references) = (&texts.rows[*row as usize], &texts.references[*row as usize]);
            let Prediction::Text(answer) = prediction else { continue };
            if references.is_empty() {
                continue;
            }
            let (loss, count) = answer.likelihood.unwrap_or_default();
            total += loss;
            tokens += count;
            let references = references.iter().map(String::as_str).collect();
            written.push(Written { row, text: &answer.text, references });
        }
        let mut values = (self.writing.score)(&written);
        values.push(("perplexity".into(), metrics::perplexity(total, tokens)));
        Scores::with_main(self.writing.main, values)
    }

    fn explain(&self, prediction: &Prediction, _: Source<'_>) -> serde_json::Value {
        match prediction {
            Prediction::Text(answer) => json!({ "text": answer.text, "probability": answer.probability }),
            _ => serde_json::Value::Null,
        }
    }

    fn metrics(&self) -> &'static [&'static str] {
        self.writing.metrics
    }
}
