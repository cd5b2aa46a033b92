//! Hidden tokens of a text, found again: an auxiliary task that needs no labels.
//!
//! Input: a field of text, or of words. Of each row `percent` of a hundred tokens are hidden, at least one: of ten on average
//! eight become the mask token, one another token, one stays. In training other tokens are hidden each time, by the seed of the
//! run; in validation and test always the same. The rows of this task are its own: no other task sees them changed.
//!
//! Head: of each hidden token `norm(gelu(state W + b))`, as wide as the backbone's token vectors, times every one of these, and a
//! bias for each. So the table of token vectors is trained at both of its ends (weight tying).
//!
//! Loss: the cross-entropy of what each hidden token was, the mean over hidden tokens.
//!
//! Scores: `masked_accuracy` (default), the share of hidden tokens whose most probable token is right; `perplexity`, the
//! exponential of the mean negative log-likelihood, of which lower is better.
//!
//! Cost: `[hidden tokens, width] x [width, vocabulary]` a step, and the optimizer moves the whole table of token vectors, not only
//! the rows of the step.
//!
//! Papers: Devlin et al. 2019, "BERT: pre-training of deep bidirectional transformers for language understanding"; Press and Wolf
//! 2017, "Using the output embedding to improve language models".
//!
//! Example: `masked_language_model = { text = "text" }`
//!
//! Answer: `{"masked": [{"TOKEN": probability, ..}, ..]}`, the five most probable tokens for each mask token of the text
//! (`[MASK]` in BERT).

use std::collections::HashMap;

use burn::tensor::{Tensor, activation};
use data::{DataError, InputField, NO_WORD, Pack, Row, SHOWN, Split, Tokenizer, View};
use kernels::Precision;
use model::{Group, Init, Matrix, Parameters, Vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Batch, BatchRow, FoundToken, Kind, LabelReport, Loss, Prediction, Scores, Source, TaskError, Trunk, head,
    input,
};

const METRICS: &[&str] = &["masked_accuracy"];

/// How many tokens an answer lists for each hidden one.
const LISTED: usize = 5;

/// Hidden tokens that are looked at together in predictions: their scores are as many as the vocabulary has tokens.
const AT_ONCE: usize = 256;

/// BERT's.
const EPS: f32 = 1e-12;

/// `masked_language_model = { .. }`: hidden tokens of a text, found again.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaskedLanguageModelConfig {
    /// The field with the text; or give `tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The field with the words: a list, or text with single spaces between words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<String>,
    /// How many of a hundred tokens are hidden.
    #[serde(default = "fifteen")]
    #[schemars(range(min = 1, max = 100))]
    pub percent: u32,
}

fn fifteen() -> u32 {
    15
}

impl MaskedLanguageModelConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = format!("task.{task}.masked_language_model");
        if !(1..=100).contains(&self.percent) {
            let (found, expected) = (self.percent.to_string(), "1 to 100".into());
            return Err(TaskError::Setting { key: format!("{key}.percent"), found, expected });
        }
        Ok(Box::new(MaskedLanguageModel {
            task: task.to_owned(),
            input: input::of_row(&key, self.text.as_ref(), None, self.tokens.as_ref())?,
            percent: self.percent,
            main: TaskError::metric(task, METRICS, metric)?,
            vocabulary: None,
            head: None,
            labelled: HashMap::new(),
        }))
    }
}

/// A masked language model.
struct MaskedLanguageModel {
    task: String,
    input: InputField,
    percent: u32,
    main: &'static str,
    vocabulary: Option<Vocabulary>,
    head: Option<Layers>,
    /// Per split, which rows have a token that can be hidden.
    labelled: HashMap<Split, Vec<bool>>,
}

/// What there is to choose from.
struct Vocabulary {
    tokenizer: Tokenizer,
    mask: u32,
    table: Matrix,
}

/// The layers between states and token vectors.
#[derive(Debug, Clone, Copy)]
struct Layers {
    dense: (Matrix, Vector),
    norm: (Vector, Vector),
    bias: Vector,
}

impl MaskedLanguageModel {
    fn vocabulary(&self) -> &Vocabulary {
        self.vocabulary.as_ref().expect("the trunk is connected before the first batch")
    }

    /// The hidden tokens of a row, or its mask tokens, as places in the pack.
    fn hidden<'a>(&'a self, pack: &'a Pack, at: BatchRow) -> impl Iterator<Item = u32> + 'a {
        let mask = self.vocabulary().mask;
        let is_hidden = move |token: &usize| match pack.hidden.get(*token) {
            Some(was) => *was != SHOWN,
            None => pack.ids[*token] == mask,
        };
        at.tokens(pack).filter(is_hidden).map(|token| token as u32)
    }

    /// The score of every token of the vocabulary for some tokens of the batch, `[tokens, vocabulary]`.
    fn scores(&self, parameters: &Parameters, batch: &Batch<'_>, tokens: &[u32]) -> Tensor<2> {
        let Layers { dense, norm, bias } = self.head.expect("the head is built before the first batch");
        let states = kernels::pick(batch.states.clone(), tokens);
        let (weight, shift) = (parameters.get(dense.0), parameters.at(dense.1));
        let x = kernels::linear_gelu(states, weight, shift, Precision::F32);
        let x = kernels::norm(x, parameters.at(norm.0), parameters.at(norm.1), EPS);
        kernels::linear(x, parameters.get(self.vocabulary().table), parameters.at(bias), Precision::F32)
    }
}

/// What is found for a token, from the logarithms of all probabilities; `was` is what it was, where that is known.
fn found(scores: &[f32], was: Option<u32>) -> FoundToken {
    let mut best: Vec<u32> = (0..scores.len() as u32).collect();
    let by_score = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
    let listed = LISTED.min(best.len());
    if listed < best.len() {
        best.select_nth_unstable_by(listed, by_score);
    }
    best.truncate(listed);
    best.sort_by(by_score);
    let best = best.into_iter().map(|id| (id, scores[id as usize].exp())).collect();
    FoundToken { best, was: was.and_then(|id| Some((id, *scores.get(id as usize)?))) }
}

impl Kind for MaskedLanguageModel {
    fn input(&self) -> InputField {
        self.input.clone()
    }

    fn hides(&self) -> Option<u32> {
        Some(self.percent)
    }

    fn learn(&mut self, _rows: &[Row]) -> Result<(), Vec<DataError>> {
        Ok(())
    }

    fn space(&self) -> serde_json::Value {
        json!({})
    }

    fn restore_space(&mut self, space: &serde_json::Value) -> Result<(), TaskError> {
        if space.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok(());
        }
        let reason = format!("found {space}, and hidden tokens have no labels");
        Err(TaskError::Space { task: self.task.clone(), reason })
    }

    fn labels(&self) -> &[String] {
        &[]
    }

    fn connect(&mut self, trunk: &Trunk<'_>) -> Result<(), TaskError> {
        let mask = trunk.tokenizer.mask().ok_or_else(|| TaskError::Setting {
            key: format!("task.{}", self.task),
            found: "a vocabulary without a mask token".into(),
            expected: "one with [MASK] or <mask>, with which tokens can be hidden".into(),
        })?;
        let (tokenizer, table) = (trunk.tokenizer.clone(), trunk.token_table);
        self.vocabulary = Some(Vocabulary { tokenizer, mask, table });
        Ok(())
    }

    fn reads_vocabulary(&self) -> bool {
        true
    }

    fn build(&mut self, parameters: &mut Parameters, hidden: usize) {
        let shape = parameters.shape(self.vocabulary().table.index());
        let [vocabulary, width] = shape[..] else { unreachable!("a table is a matrix") };
        let group = Group::Task(self.task.clone());
        let key = |name: &str| format!("head.{}.{name}", self.task);
        self.head = Some(Layers {
            dense: (
                parameters.matrix(&group, &key("dense.weight"), [width, hidden], Init::Normal(0.02)),
                parameters.vector(&group, &key("dense.bias"), width, Init::Zeros),
            ),
            norm: (
                parameters.vector(&group, &key("norm.weight"), width, Init::Ones),
                parameters.vector(&group, &key("norm.bias"), width, Init::Zeros),
            ),
            bias: parameters.vector(&group, &key("bias"), vocabulary, Init::Zeros),
        });
    }

    fn attach(&mut self, split: Split, view: &View) -> Result<LabelReport, Vec<DataError>> {
        let encoded = &view.encoded;
        let has_token = |row: usize| encoded.words[encoded.row(row)].iter().any(|word| *word != NO_WORD);
        let labelled: Vec<bool> = (0..encoded.rows()).map(has_token).collect();
        let with_token = labelled.iter().filter(|labelled| **labelled).count();
        self.labelled.insert(split, labelled);
        let rows = encoded.rows();
        Ok(LabelReport { rows, labelled: with_token, missing: rows - with_token, ..Default::default() })
    }

    fn labelled(&self, split: Split, row: usize) -> bool {
        self.labelled.get(&split).and_then(|rows| rows.get(row)).copied().unwrap_or(false)
    }

    fn reads(&self, pack: &Pack, rows: &[BatchRow], read: &mut [bool]) {
        rows.iter().flat_map(|at| self.hidden(pack, *at)).for_each(|token| read[token as usize] = true);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>) -> Option<Loss> {
        if batch.pack.hidden.is_empty() {
            return None;
        }
        let tokens: Vec<u32> = batch.rows.iter().flat_map(|at| self.hidden(batch.pack, *at)).collect();
        if tokens.is_empty() {
            return None;
        }
        let gold: Vec<u32> = tokens.iter().map(|token| batch.pack.hidden[*token as usize]).collect();
        let scores = self.scores(parameters, batch, &tokens);
        Some(Loss { mean: kernels::cross_entropy(scores, &gold, None, 0.0), items: tokens.len() })
    }

    fn predict(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Prediction> {
        let rows: Vec<Vec<u32>> =
            batch.rows.iter().map(|at| self.hidden(batch.pack, *at).collect()).collect();
        let all: Vec<u32> = rows.iter().flatten().copied().collect();
        let mut tokens = Vec::with_capacity(all.len());
        for some in all.chunks(AT_ONCE) {
            let scores = activation::log_softmax(self.scores(parameters, batch, some), 1);
            let width = scores.dims()[1];
            let was = |token: &u32| batch.pack.hidden.get(*token as usize).copied();
            let scores = head::on_host(scores);
            tokens.extend(
                scores.chunks_exact(width).zip(some).map(|(scores, token)| found(scores, was(token))),
            );
        }
        let mut tokens = tokens.into_iter();
        rows.iter().map(|row| Prediction::Tokens(tokens.by_ref().take(row.len()).collect())).collect()
    }

    fn score(&self, split: Split, predictions: &[(u32, Prediction)]) -> Scores {
        let (mut right, mut loss, mut all) = (0, 0.0, 0);
        for (row, prediction) in predictions {
            let Prediction::Tokens(tokens) = prediction else { continue };
            if !self.labelled(split, *row as usize) {
                continue;
            }
            for token in tokens {
                let Some((was, log)) = token.was else { continue };
                right += usize::from(token.best.first().is_some_and(|(id, _)| *id == was));
                loss -= f64::from(log);
                all += 1;
            }
        }
        let mean = |sum: f64| sum / all.max(1) as f64;
        let values = vec![
            ("masked_accuracy".into(), mean(right as f64)),
            // Beyond any vocabulary; weights that are no numbers would make it infinite.
            ("perplexity".into(), mean(loss).exp().min(1e12)),
        ];
        Scores::with_main(self.main, values)
    }

    fn explain(&self, prediction: &Prediction, _source: Source<'_>) -> serde_json::Value {
        let Prediction::Tokens(tokens) = prediction else { return serde_json::Value::Null };
        let answer = |token: &FoundToken| -> serde_json::Map<String, serde_json::Value> {
            let (ids, probabilities): (Vec<u32>, Vec<f32>) = token.best.iter().copied().unzip();
            let names = self.vocabulary().tokenizer.tokens(&ids);
            names.into_iter().zip(probabilities).map(|(name, p)| (name, json!(p))).collect()
        };
        json!({ "masked": tokens.iter().map(answer).collect::<Vec<_>>() })
    }

    fn metrics(&self) -> &'static [&'static str] {
        METRICS
    }
}
