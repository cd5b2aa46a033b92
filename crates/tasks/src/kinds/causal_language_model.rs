//! Prediction of the next token: pretraining and adaptation on plain text, without labels. Only on a decoder.
//!
//! Input: a field of text. Rows lie in packs end to end, but no token sees another row, and positions begin anew. A text longer than
//! `[data] max_length` is cut, or read in several sequences with `windows`; there the tokens that windows share are learned twice.
//!
//! Head: none; the decoder's own logits over the vocabulary.
//!
//! Loss: the cross-entropy of every token after the first of its sequence, and of the end of the text after the last one where the model has
//! an end token and the text was not cut; the mean over them.
//!
//! Scores: `next_token_accuracy` (default), the share of these tokens that had the greatest logit, and `perplexity`, the exponential of the
//! mean negative log-likelihood, of which lower is better.
//!
//! Cost: `[tokens, hidden] x [hidden, vocabulary]` in parts, so that no logits of all tokens are held.
//!
//! Example: `causal_language_model = { text = "text" }`
//!
//! Answer: `{"text", "probability"}`, how the text goes on, by `decoding`.
//!
//! Paper: Radford et al. 2018, "Improving language understanding by generative pre-training".

use burn::tensor::Tensor;
use data::{DataError, InputField, Pack, Row, Split, TextWindows, Tokenizer, View};
use model::{LanguageModel, MatrixId, Parameters};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::seq2seq::{Decoding, Hypothesis, Prompt, continuations, states_and_targets, token_logits};
use crate::distillation::{self, SoftLoss, SoftOutputs, TaughtRow};
use crate::heads::head::to_host_vec;
use crate::losses::soft;
use crate::task_head::{EncodedHead, Head};
use crate::{
    Batch, BatchRow, Kind, LabelReport, Loss, ModelInput, Prediction, RowComparison, Scores, TaskError,
    TaskHead, TextAnswer, TrunkHandles, input,
};

const METRICS: &[&str] = &["next_token_accuracy"];

/// `causal_language_model = { .. }`: the prediction of the next token.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CausalLanguageModelConfig {
    /// The field with the text.
    pub text: String,
    /// Reads a text longer than `[data] max_length` in several sequences, `{ overlap = 32, most = 8 }` by default with `windows = {}`;
    /// without it such a text is truncated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<TextWindows>,
    /// How answers go on.
    #[serde(default)]
    pub decoding: Decoding,
}

impl CausalLanguageModelConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = format!("task.{task}.causal_language_model");
        self.decoding.check(&format!("{key}.decoding"))?;
        Ok(Box::new(CausalLanguageModel {
            task: task.to_owned(),
            input: input::of_row(&key, Some(&self.text), None, None, self.windows)?,
            decoding: self.decoding.clone(),
            primary: TaskError::metric(task, METRICS, metric)?,
        }))
    }
}

/// A causal language model.
#[derive(Clone)]
struct CausalLanguageModel {
    task: String,
    input: InputField,
    decoding: Decoding,
    primary: &'static str,
}

impl Kind for CausalLanguageModel {
    fn needs_causal(&self) -> bool {
        true
    }

    fn input(&self) -> InputField {
        self.input.clone()
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
        _parameters: &mut Parameters,
    ) -> Result<Box<dyn TaskHead>, TaskError> {
        TaskError::no_labels(&self.task, label_space, "next tokens")?;
        let Some(LanguageModel { output: Some(output), eos_token_ids }) = trunk.language_model else {
            return Err(TaskError::Setting {
                key: format!("task.{}.causal_language_model", self.task),
                found: "a network that predicts no tokens".into(),
                expected: "a decoder, saved as a model for causal language modelling".into(),
            });
        };
        let (tokenizer, eos) = (trunk.tokenizer.clone(), eos_token_ids.clone());
        Ok(EncodedHead::boxed(CausalLanguageModelHead {
            kind: self.clone(),
            tokenizer,
            output: *output,
            eos,
        }))
    }
}

/// The head: see the module.
struct CausalLanguageModelHead {
    kind: CausalLanguageModel,
    tokenizer: Tokenizer,
    /// The table `[vocabulary, hidden]` that logits are made with.
    output: MatrixId,
    /// The tokens that end a text.
    eos: Vec<u32>,
}

impl CausalLanguageModelHead {
    /// Tokens of the pack whose states predict a token of a row, and these tokens.
    fn predicted(&self, pack: &Pack, at: BatchRow, is_cut: bool) -> (Vec<u32>, Vec<u32>) {
        let (mut states, mut targets) = (Vec::new(), Vec::new());
        for sequence in at.sequences(pack) {
            for token in sequence.skip(1) {
                states.push(token as u32 - 1);
                targets.push(pack.ids[token]);
            }
        }
        // A tokenizer may end rows itself.
        let last = at.tokens(pack).last().filter(|last| !self.eos.contains(&pack.ids[*last]));
        if let (Some(eos), false, Some(last)) = (self.eos.first(), is_cut, last) {
            states.push(last as u32);
            targets.push(*eos);
        }
        (states, targets)
    }

    /// The states `[n, hidden]` that predict, and what they predict, of all rows; and how many of each row.
    fn states_and_targets(
        &self,
        batch: &Batch<'_>,
        is_cut: &[Option<bool>],
    ) -> (Tensor<2>, Vec<u32>, Vec<usize>) {
        states_and_targets(batch, |at| match is_cut.get(at.row as usize).copied().flatten() {
            Some(is_cut) => self.predicted(batch.pack, at, is_cut),
            None => (Vec::new(), Vec::new()),
        })
    }
}

impl Head for CausalLanguageModelHead {
    /// Whether each row was cut; `None` for one without anything to read.
    type Targets = Vec<Option<bool>>;

    fn needs_full_embedding(&self) -> bool {
        true
    }

    fn encode_targets(&self, view: &View) -> Result<(Self::Targets, LabelReport), Vec<DataError>> {
        let mut is_cut: Vec<Option<bool>> =
            view.encoded.truncated.iter().map(|lost| Some(*lost > 0)).collect();
        view.blank_rows().for_each(|row| is_cut[row] = None);
        let (rows, missing) = (view.rows.len(), view.blank_rows().count());
        Ok((is_cut, LabelReport { rows, labelled: rows - missing, missing, ..Default::default() }))
    }

    fn labelled(targets: &Self::Targets, row: usize) -> bool {
        targets.get(row).is_some_and(Option::is_some)
    }

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        rows.iter().for_each(|at| used[at.tokens(pack)].fill(true));
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, targets: &Self::Targets) -> Option<Loss> {
        let (states, next, _) = self.states_and_targets(batch, targets);
        if next.is_empty() {
            return None;
        }
        let table = parameters.matrix(self.output);
        let mean = kernels::linear_cross_entropy(states, table, &next, 0.0);
        Some(Loss { mean, num_targets: next.len() })
    }

    /// Of the vocabulary, which teacher and student have in common.
    fn soft_outputs(&self) -> Result<SoftOutputs, String> {
        Ok(SoftOutputs { columns: Vec::new(), by_token: true, needs_label: false })
    }

    fn reorder(&self, _answer: &mut [f32], _order: &[usize]) {}

    /// The most probable tokens after each token.
    fn teacher_answers(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        targets: &Self::Targets,
    ) -> Vec<Vec<f32>> {
        let (states, predicted, lengths) = self.states_and_targets(batch, targets);
        if predicted.is_empty() {
            return vec![Vec::new(); batch.rows.len()];
        }
        let logits = token_logits(states, parameters.matrix(self.output));
        let vocabulary = logits.dims()[1];
        let answers = soft::most_probable_tokens(&to_host_vec(logits), vocabulary);
        let mut left = answers.as_slice();
        let of_row = |length: &usize| {
            let (own, rest) = left.split_at(length * soft::TOKEN_ANSWER);
            left = rest;
            own.to_vec()
        };
        lengths.iter().map(of_row).collect()
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
        let (states, predicted, lengths) = self.states_and_targets(&Batch { rows: &rows, ..*batch }, targets);
        if predicted.is_empty() {
            return None;
        }
        let logits = token_logits(states, parameters.matrix(self.output));
        distillation::loss_of_texts(logits, &lengths, taught, temperature)
    }

    fn predict(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        targets: &Self::Targets,
    ) -> Vec<Prediction> {
        // A row of a corpus is scored; any other goes on.
        if targets.is_empty() {
            return self.write(parameters, batch);
        }
        let (states, next, lengths) = self.states_and_targets(batch, targets);
        let mut found = kernels::likelihoods(states, parameters.matrix(self.output), &next).into_iter();
        let of_row = |length: usize| {
            let own: Vec<(f32, bool)> = found.by_ref().take(length).collect();
            Prediction::NextTokens {
                nats: own.iter().map(|(nats, _)| f64::from(*nats)).sum(),
                right: own.iter().filter(|(_, right)| *right).count(),
                tokens: length,
            }
        };
        lengths.into_iter().map(of_row).collect()
    }

    fn score(&self, _split: Split, _targets: &Self::Targets, predictions: &[(u32, Prediction)]) -> Scores {
        let (mut loss, mut hits, mut all) = (0.0, 0, 0);
        for (_, prediction) in predictions {
            if let Prediction::NextTokens { nats, right, tokens } = prediction {
                (loss, hits, all) = (loss + nats, hits + right, all + tokens);
            }
        }
        let values = vec![
            ("next_token_accuracy".into(), hits as f64 / all.max(1) as f64),
            ("perplexity".into(), metrics::perplexity(loss, all)),
        ];
        Scores::with_primary(self.kind.primary, values)
    }

    fn label_space(&self) -> serde_json::Value {
        json!({})
    }

    fn to_json(&self, prediction: &Prediction, _input: ModelInput<'_>) -> serde_json::Value {
        match prediction {
            Prediction::Text(answer) => json!({ "text": answer.text, "probability": answer.probability }),
            Prediction::NextTokens { nats, tokens, .. } => {
                json!({ "perplexity": metrics::perplexity(*nats, *tokens) })
            }
            _ => serde_json::Value::Null,
        }
    }

    fn compare(
        &self,
        _targets: &Self::Targets,
        _row: usize,
        _source: &Row,
        prediction: &Prediction,
    ) -> Option<RowComparison> {
        let Prediction::NextTokens { nats, right, tokens } = prediction else { return None };
        let share = format!("{right} of {tokens} tokens");
        let error = nats / (*tokens).max(1) as f64;
        Some(RowComparison::of_text("every next token".into(), share, right == tokens, error))
    }

    fn error_measure(&self) -> &'static str {
        "negative log-likelihood, nats per token"
    }
}

impl CausalLanguageModelHead {
    /// How each row goes on.
    fn write(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Prediction> {
        let prompt = |at: &BatchRow| {
            let mut tokens = batch.pack.ids[at.tokens(batch.pack)].to_vec();
            // Without what a tokenizer ends rows with.
            while tokens.len() > 1 && tokens.last().is_some_and(|last| self.eos.contains(last)) {
                tokens.pop();
            }
            Prompt { row: at.row.into(), tokens }
        };
        let prompts = batch.rows.iter().map(prompt).collect();
        let decoding = &self.kind.decoding;
        let stops = decoding.stops(&self.tokenizer);
        let found = continuations(batch, parameters, prompts, decoding, (&self.eos, &stops));
        let answer = |found: Hypothesis| {
            let mean = found.log_probability / found.steps.max(1) as f32;
            let (text, probability) = (decoding.text_of(&self.tokenizer, &found.tokens), mean.exp());
            Prediction::Text(TextAnswer { text, probability, likelihood: None })
        };
        found.into_iter().map(answer).collect()
    }
}
