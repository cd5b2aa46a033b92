//! The trunk itself writes the texts, a decoder: a row is the prompt and then the target, or a conversation. The
//! tokens that are to be written have word ids, all others none.

use burn::tensor::Tensor;
use data::{Encoded, NO_WORD_ID, Pack};
use kernels::Precision;
use model::{LanguageModel, MatrixId, Parameters};

use super::network::WritingNetwork;
use super::search::{Ends, Hypothesis, Prompt, search};
use super::{Decoding, Seq2Seq, Seq2SeqHead, Texts};
use crate::heads::head;
use crate::task_head::Head;
use crate::{Batch, BatchRow, Loss, TaskError};

/// See the module.
pub(super) struct Causal {
    /// The table `[vocabulary, hidden]` that logits are made with.
    output: MatrixId,
    eos_token_ids: Vec<u32>,
    /// What is predicted after the last token of a row.
    end_of_row: Option<u32>,
    label_smoothing: f32,
}

/// The tokens that are read of each row of a split, and after which its text is written.
#[derive(Default)]
pub(super) struct Prompts {
    ids: Vec<u32>,
    /// Row `i` has `offsets[i]..offsets[i + 1]`.
    offsets: Vec<usize>,
}

impl Prompts {
    pub fn of(encoded: &Encoded) -> Self {
        let (mut ids, mut offsets) = (Vec::new(), vec![0]);
        for row in 0..encoded.rows() {
            let tokens = encoded.row(row);
            let prompt = prompt_len(&encoded.word_ids[tokens.clone()]);
            ids.extend_from_slice(&encoded.ids[tokens.start..tokens.start + prompt]);
            offsets.push(ids.len());
        }
        Prompts { ids, offsets }
    }

    fn row(&self, row: usize) -> Option<&[u32]> {
        Some(&self.ids[*self.offsets.get(row)?..*self.offsets.get(row + 1)?])
    }
}

/// The tokens of a row before the last text that is predicted: those of its first turns are part of the prompt of the last.
fn prompt_len(word_ids: &[u32]) -> usize {
    let last = word_ids.iter().rev().find(|word_id| **word_id != NO_WORD_ID);
    let begins = |word_id: &u32| last == Some(word_id);
    word_ids.iter().position(begins).unwrap_or(word_ids.len())
}

impl Causal {
    /// Errors: a network without a table for logits; a setting that only an encoder-decoder has.
    pub fn new(kind: &Seq2Seq, language_model: &LanguageModel) -> Result<Self, TaskError> {
        if kind.start_vector {
            return Err(TaskError::Setting {
                key: format!("{}.start_vector", kind.key),
                found: "true on a decoder, where a text begins after the row that is read".into(),
                expected: "false; a `prefix` tells tasks apart there".into(),
            });
        }
        let Some(output) = language_model.output else {
            return Err(TaskError::Setting {
                key: kind.key.clone(),
                found:
                    "a checkpoint of a decoder without `lm_head.weight`, and `tie_word_embeddings` is false"
                        .into(),
                expected: "one that predicts tokens, saved as a model for causal language modelling".into(),
            });
        };
        Ok(Causal {
            output,
            eos_token_ids: language_model.eos_token_ids.clone(),
            // A chat template ends turns itself.
            end_of_row: language_model.eos_token_ids.first().copied().filter(|_| kind.chat.is_none()),
            label_smoothing: kind.label_smoothing.unwrap_or(0.0),
        })
    }

    /// Tokens of the pack whose states predict a token of a row, and these tokens: a token with a word id is predicted by the one before it,
    /// and, of a row that does not end its text itself, the end of the text by its last token.
    fn predicted(&self, pack: &Pack, at: BatchRow) -> (Vec<u32>, Vec<u32>) {
        let tokens = at.tokens(pack);
        let is_text = |token: &usize| pack.word_ids[*token] != NO_WORD_ID;
        let texts = || tokens.clone().skip(1).filter(is_text);
        let mut states: Vec<u32> = texts().map(|token| token as u32 - 1).collect();
        let mut targets: Vec<u32> = texts().map(|token| pack.ids[token]).collect();
        if let (Some(eos), false) = (self.end_of_row, targets.is_empty()) {
            states.push(tokens.end as u32 - 1);
            targets.push(eos);
        }
        (states, targets)
    }

    fn states_and_targets(&self, batch: &Batch<'_>) -> (Tensor<2>, Vec<u32>, Vec<usize>) {
        states_and_targets(batch, |at| self.predicted(batch.pack, at))
    }
}

/// Logits `[n, vocabulary]` of the tokens that states `[n, hidden]` predict.
pub(crate) fn token_logits(states: Tensor<2>, table: Tensor<2>) -> Tensor<2> {
    let none = Tensor::zeros([table.dims()[0]], &states.device());
    kernels::linear(states, table, none, Precision::F32)
}

/// What the trunk of a batch writes after prompts.
pub(crate) fn continuations(
    batch: &Batch<'_>,
    parameters: &Parameters,
    prompts: Vec<Prompt>,
    decoding: &Decoding,
    (ends, stops): Ends<'_>,
) -> Vec<Hypothesis> {
    let writer = batch.writer.expect("outside of training a batch has the trunk");
    let tokens = prompts.iter().map(|prompt| prompt.tokens.clone()).collect();
    let mut text = writer.trunk.write(parameters, writer.task, writer.dataset, tokens);
    search(prompts, decoding, ends, stops, |from, ids| head::to_host_vec(text.step(from, ids)))
}

/// The states `[n, hidden]` that predict, and what they predict, of the rows of a batch; and how many of each row. `of_row` gives the
/// tokens of the pack with the states of a row, and what they predict.
pub(crate) fn states_and_targets(
    batch: &Batch<'_>,
    of_row: impl Fn(BatchRow) -> (Vec<u32>, Vec<u32>),
) -> (Tensor<2>, Vec<u32>, Vec<usize>) {
    let (mut tokens, mut targets, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for at in batch.rows {
        let (states, of_row) = of_row(*at);
        tokens.extend(states);
        lengths.push(of_row.len());
        targets.extend(of_row);
    }
    (kernels::gather_rows(batch.states.clone(), &tokens), targets, lengths)
}

impl WritingNetwork for Causal {
    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        for at in rows {
            let (states, targets) = self.predicted(pack, *at);
            if targets.is_empty() {
                // The row is a prompt, all of which is read again.
                used[at.tokens(pack)].fill(true);
            }
            // The tokens that are predicted stand behind the states.
            let end = at.tokens(pack).end;
            for state in states {
                used[state as usize..(state as usize + 2).min(end)].fill(true);
            }
        }
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, texts: &Texts) -> Option<Loss> {
        let labelled = |at: &&BatchRow| Seq2SeqHead::labelled(texts, at.row as usize);
        let rows: Vec<BatchRow> = batch.rows.iter().filter(labelled).copied().collect();
        let (states, targets, _) = self.states_and_targets(&Batch { rows: &rows, ..*batch });
        if targets.is_empty() {
            return None;
        }
        let table = parameters.matrix(self.output);
        let mean = kernels::linear_cross_entropy(states, table, &targets, self.label_smoothing);
        Some(Loss { mean, num_targets: targets.len() })
    }

    fn target_logits(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _texts: &Texts,
    ) -> Option<(Tensor<2>, Vec<usize>)> {
        let (states, targets, lengths) = self.states_and_targets(batch);
        let table = parameters.matrix(self.output);
        (!targets.is_empty()).then(|| (token_logits(states, table), lengths))
    }

    fn likelihoods(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        texts: &Texts,
    ) -> Vec<Option<(f64, usize)>> {
        let (states, targets, lengths) = self.states_and_targets(batch);
        let found = kernels::likelihoods(states, parameters.matrix(self.output), &targets);
        let mut found = found.into_iter();
        let of_row = |(at, length): (&BatchRow, usize)| {
            let sum = found.by_ref().take(length).map(|(nats, _)| f64::from(nats)).sum();
            let labelled = length > 0 && Seq2SeqHead::labelled(texts, at.row as usize);
            labelled.then_some((sum, length))
        };
        batch.rows.iter().zip(lengths).map(of_row).collect()
    }

    fn write(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        texts: &Texts,
        decoding: &Decoding,
        stops: &(dyn Fn(&[u32]) -> bool + Sync),
    ) -> Vec<Hypothesis> {
        let prompt = |at: &BatchRow| {
            let known = texts.prompts.row(at.row as usize).map(<[u32]>::to_vec);
            let tokens = known.unwrap_or_else(|| batch.pack.ids[at.tokens(batch.pack)].to_vec());
            Prompt { row: at.row.into(), tokens }
        };
        let prompts = batch.rows.iter().map(prompt).collect();
        continuations(batch, parameters, prompts, decoding, (&self.eos_token_ids, stops))
    }
}
