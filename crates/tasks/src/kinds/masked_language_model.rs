//! Prediction of masked tokens: an auxiliary task that needs no labels.
//!
//! Input: a field of text, or of words. In each row `percent` of the tokens are masked, at least one: on average 80% of them become
//! the mask token, 10% another token, and 10% stay. In training the masked tokens differ each time, by the seed of the run; in
//! validation and test they are always the same. The rows belong to this task alone: no other task sees masked rows.
//!
//! Head: for each masked token `norm(gelu(state W + b))`, as wide as the backbone's token embedding, times the token embedding, plus
//! a bias for each token of the vocabulary. So the token embedding is also the output layer (weight tying).
//!
//! Loss: the cross-entropy of the original tokens, the mean over masked tokens.
//!
//! Scores: `masked_accuracy` (default), the share of masked tokens whose most probable token is right; `perplexity`, the
//! exponential of the mean negative log-likelihood, of which lower is better.
//!
//! Cost: `[masked tokens, width] x [width, vocabulary]` a step, and the optimizer updates the whole token embedding, not only the
//! rows of the step's tokens.
//!
//! Papers: Devlin et al. 2019, "BERT: pre-training of deep bidirectional transformers for language understanding"; Press and Wolf
//! 2017, "Using the output embedding to improve language models".
//!
//! Example: `masked_language_model = { text = "text" }`
//!
//! Answer: `{"masked": [{"TOKEN": probability, ..}, ..]}`, the five most probable tokens for each mask token of the text
//! (`[MASK]` in BERT).

use burn::tensor::{Tensor, activation};
use data::{DataError, InputField, NO_WORD_ID, NOT_MASKED, Pack, Row, Split, Tokenizer, View};
use kernels::Precision;
use model::onnx::{OnnxGraph, Value};
use model::{Init, MatrixId, Parameters, VectorId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::distillation::SoftOutputs;
use crate::heads::head;
use crate::row_comparison::WordDifference;
use crate::task_head::{EncodedHead, Head};
use crate::{
    Batch, BatchRow, FoundToken, Kind, LabelReport, Loss, ModelInput, OnnxHead, Prediction, RowComparison,
    Scores, TaskError, TaskHead, TrunkHandles, input,
};

const METRICS: &[&str] = &["masked_accuracy"];

/// The number of tokens that an answer lists for each masked token.
const LISTED: usize = 5;

/// The number of masked tokens whose logits over the vocabulary are computed at once in predictions.
const AT_ONCE: usize = 256;

/// The epsilon of the layer norm, as in BERT.
const EPS: f32 = 1e-12;

/// `masked_language_model = { .. }`: the prediction of masked tokens.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaskedLanguageModelConfig {
    /// The field with the text; or give `tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The field with the words: a list, or text with single spaces between words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<String>,
    /// The percentage of masked tokens.
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
            input: input::of_row(&key, self.text.as_ref(), None, self.tokens.as_ref(), None)?,
            percent: self.percent,
            primary: TaskError::metric(task, METRICS, metric)?,
        }))
    }
}

/// A masked language model.
#[derive(Clone)]
struct MaskedLanguageModel {
    task: String,
    input: InputField,
    percent: u32,
    primary: &'static str,
}

impl Kind for MaskedLanguageModel {
    fn input(&self) -> InputField {
        self.input.clone()
    }

    fn mask_percent(&self) -> Option<u32> {
        Some(self.percent)
    }

    fn metrics(&self) -> &'static [&'static str] {
        METRICS
    }

    fn has_one_answer(&self) -> bool {
        false
    }

    fn target_fields(&self) -> Vec<String> {
        Vec::new()
    }

    fn fit_labels(&self, _rows: &[Row]) -> Result<serde_json::Value, Vec<DataError>> {
        Ok(json!({}))
    }

    fn init_head(
        &self,
        label_space: &serde_json::Value,
        trunk: &TrunkHandles<'_>,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn TaskHead>, TaskError> {
        trunk.needs_both_sides(
            "masked_language_model",
            &self.task,
            "a masked token is predicted from those after it too",
        )?;
        TaskError::no_labels(&self.task, label_space, "masked tokens")?;
        let mask = trunk.tokenizer.mask().ok_or_else(|| TaskError::Setting {
            key: format!("task.{}", self.task),
            found: "a vocabulary without a mask token".into(),
            expected: "one with [MASK] or <mask>, with which tokens can be masked".into(),
        })?;
        let (tokenizer, table) = (trunk.tokenizer.clone(), trunk.token_embedding);
        let layers = Layers::new(parameters, &self.task, trunk.hidden, table);
        let primary = self.primary;
        Ok(EncodedHead::boxed(MaskedLanguageModelHead { primary, tokenizer, mask, table, layers }))
    }
}

/// The head of a masked language model.
struct MaskedLanguageModelHead {
    primary: &'static str,
    tokenizer: Tokenizer,
    /// The id of the mask token.
    mask: u32,
    /// The token embedding, from which tokens are predicted.
    table: MatrixId,
    layers: Layers,
}

/// The layers between the states and the token embedding.
#[derive(Debug, Clone, Copy)]
struct Layers {
    dense: (MatrixId, VectorId),
    norm: (VectorId, VectorId),
    bias: VectorId,
}

impl Layers {
    fn new(parameters: &mut Parameters, task: &str, hidden: usize, table: MatrixId) -> Self {
        let shape = parameters.shape(table.index());
        let [vocabulary, width] = shape[..] else { unreachable!("a table is a matrix") };
        let mut head = parameters.head(task);
        Layers {
            dense: (
                head.matrix("dense.weight", [width, hidden], Init::Normal(0.02)),
                head.vector("dense.bias", width, Init::Zeros),
            ),
            norm: (
                head.vector("norm.weight", width, Init::Ones),
                head.vector("norm.bias", width, Init::Zeros),
            ),
            bias: head.vector("bias", vocabulary, Init::Zeros),
        }
    }
}

impl MaskedLanguageModelHead {
    /// The indices in the pack of the masked tokens of a row, or of its mask tokens where the originals are not known.
    fn masked<'a>(&'a self, pack: &'a Pack, at: BatchRow) -> impl Iterator<Item = u32> + 'a {
        let mask = self.mask;
        let is_masked = move |token: &usize| match pack.masked_labels.get(*token) {
            Some(original) => *original != NOT_MASKED,
            None => pack.ids[*token] == mask,
        };
        at.tokens(pack).filter(is_masked).map(|token| token as u32)
    }

    /// The logits over the vocabulary for some tokens of the batch, `[tokens, vocabulary]`.
    fn logits(&self, parameters: &Parameters, batch: &Batch<'_>, tokens: &[u32]) -> Tensor<2> {
        let Layers { dense, norm, bias } = self.layers;
        let states = kernels::gather_rows(batch.states.clone(), tokens);
        let (weight, shift) = (parameters.matrix(dense.0), parameters.vector(dense.1));
        let x = kernels::linear_gelu(states, weight, shift, Precision::F32);
        let x = kernels::norm(x, parameters.vector(norm.0), parameters.vector(norm.1), EPS);
        let table = parameters.matrix(self.table);
        kernels::linear(x, table, parameters.vector(bias), Precision::F32)
    }
}

/// The prediction for a masked token, from the log-probabilities of all tokens; `original` is the token that was masked, where it is
/// known.
fn found(scores: &[f32], original: Option<u32>) -> FoundToken {
    let mut best: Vec<u32> = (0..scores.len() as u32).collect();
    let by_score = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
    let listed = LISTED.min(best.len());
    if listed < best.len() {
        best.select_nth_unstable_by(listed, by_score);
    }
    best.truncate(listed);
    best.sort_by(by_score);
    let best = best.into_iter().map(|id| (id, scores[id as usize].exp())).collect();
    FoundToken { best, original: original.and_then(|id| Some((id, *scores.get(id as usize)?))) }
}

impl Head for MaskedLanguageModelHead {
    /// Which rows have a token that can be masked.
    type Targets = Vec<bool>;

    fn needs_full_embedding(&self) -> bool {
        true
    }

    fn encode_targets(&self, view: &View) -> Result<(Self::Targets, LabelReport), Vec<DataError>> {
        let encoded = &view.encoded;
        let is_word = |word_id: &u32| *word_id != NO_WORD_ID;
        let has_token = |row: usize| encoded.word_ids[encoded.row(row)].iter().any(is_word);
        let labelled: Vec<bool> = (0..encoded.rows()).map(has_token).collect();
        let with_token = labelled.iter().filter(|labelled| **labelled).count();
        let rows = encoded.rows();
        let missing = rows - with_token;
        Ok((labelled, LabelReport { rows, labelled: with_token, missing, ..Default::default() }))
    }

    fn labelled(targets: &Self::Targets, row: usize) -> bool {
        targets.get(row).copied().unwrap_or(false)
    }

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        rows.iter().flat_map(|at| self.masked(pack, *at)).for_each(|token| used[token as usize] = true);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, _targets: &Self::Targets) -> Option<Loss> {
        if batch.pack.masked_labels.is_empty() {
            return None;
        }
        let tokens: Vec<u32> = batch.rows.iter().flat_map(|at| self.masked(batch.pack, *at)).collect();
        if tokens.is_empty() {
            return None;
        }
        let gold: Vec<u32> = tokens.iter().map(|token| batch.pack.masked_labels[*token as usize]).collect();
        let logits = self.logits(parameters, batch, &tokens);
        Some(Loss { mean: kernels::cross_entropy(logits, &gold, None, 0.0), num_targets: tokens.len() })
    }

    fn soft_outputs(&self) -> Result<SoftOutputs, String> {
        Err("which tokens are masked changes from step to step, and with them the answers".into())
    }

    fn predict(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Prediction> {
        let rows: Vec<Vec<u32>> =
            batch.rows.iter().map(|at| self.masked(batch.pack, *at).collect()).collect();
        let all: Vec<u32> = rows.iter().flatten().copied().collect();
        let mut tokens = Vec::with_capacity(all.len());
        for some in all.chunks(AT_ONCE) {
            let scores = activation::log_softmax(self.logits(parameters, batch, some), 1);
            let width = scores.dims()[1];
            let original = |token: &u32| batch.pack.masked_labels.get(*token as usize).copied();
            let scores = head::to_host_vec(scores);
            let of_tokens = scores.chunks_exact(width).zip(some);
            tokens.extend(of_tokens.map(|(scores, token)| found(scores, original(token))));
        }
        let mut tokens = tokens.into_iter();
        rows.iter().map(|row| Prediction::Tokens(tokens.by_ref().take(row.len()).collect())).collect()
    }

    fn score(&self, _split: Split, targets: &Self::Targets, predictions: &[(u32, Prediction)]) -> Scores {
        let (mut right, mut loss, mut all) = (0, 0.0, 0);
        for (row, prediction) in predictions {
            let Prediction::Tokens(tokens) = prediction else { continue };
            if !Self::labelled(targets, *row as usize) {
                continue;
            }
            for token in tokens {
                let Some((original, log)) = token.original else { continue };
                right += usize::from(token.best.first().is_some_and(|(id, _)| *id == original));
                loss -= f64::from(log);
                all += 1;
            }
        }
        let mean = |sum: f64| sum / all.max(1) as f64;
        let values = vec![
            ("masked_accuracy".into(), mean(right as f64)),
            // The bound exceeds any vocabulary. Weights that are not finite would give an infinite value.
            ("perplexity".into(), mean(loss).exp().min(1e12)),
        ];
        Scores::with_primary(self.primary, values)
    }

    fn onnx(&self, graph: &mut OnnxGraph, states: &Value) -> Option<OnnxHead> {
        let Layers { dense, norm, bias } = self.layers;
        let x = graph.head_linear(states, dense.0, dense.1);
        let x = graph.gelu(&x);
        let x = graph.layer_norm(&x, norm.0, Some(norm.1), EPS);
        let logits = graph.head_linear(&x, self.table, bias);
        let vocabulary = graph.weights().shape(self.table.index())[0];
        Some(OnnxHead::of_tokens(logits, vocabulary, "softmax"))
    }

    fn label_space(&self) -> serde_json::Value {
        json!({})
    }

    fn to_json(&self, prediction: &Prediction, _input: ModelInput<'_>) -> serde_json::Value {
        let Prediction::Tokens(tokens) = prediction else { return serde_json::Value::Null };
        let answer = |token: &FoundToken| -> serde_json::Map<String, serde_json::Value> {
            let (ids, probabilities): (Vec<u32>, Vec<f32>) = token.best.iter().copied().unzip();
            let names = self.tokenizer.tokens(&ids);
            names.into_iter().zip(probabilities).map(|(name, p)| (name, json!(p))).collect()
        };
        json!({ "masked": tokens.iter().map(answer).collect::<Vec<_>>() })
    }

    fn compare(
        &self,
        _targets: &Self::Targets,
        _row: usize,
        _source: &Row,
        prediction: &Prediction,
    ) -> Option<RowComparison> {
        let Prediction::Tokens(tokens) = prediction else { return None };
        let name = |id: u32| self.tokenizer.tokens(&[id]).concat();
        let mut differences = Vec::new();
        for (token, (original, _)) in tokens.iter().filter_map(|token| Some((token, token.original?))) {
            if let Some((best, probability)) = token.best.first().filter(|(best, _)| *best != original) {
                let (word, probability) = (format!("[{}]", differences.len() + 1), f64::from(*probability));
                differences.push(WordDifference {
                    word,
                    gold: name(original),
                    answer: name(*best),
                    probability,
                });
            }
        }
        Some(RowComparison::of_words(differences, Vec::new()))
    }

    fn error_measure(&self) -> &'static str {
        "greatest probability of a wrong token"
    }
}
