//! A decoder beside the encoder writes the texts: it attends to the states of the row.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use data::Pack;
use kernels::RowOffsets;
use model::{Generator, Init, MatrixId, Parameters};
use rayon::prelude::*;

use super::network::WritingNetwork;
use super::search::{Hypothesis, Prompt, search};
use super::{Decoding, Seq2Seq, Seq2SeqHead, Texts};
use crate::heads::head;
use crate::task_head::Head;
use crate::{Batch, BatchRow, Loss, TaskError};

/// Label smoothing where the config says nothing.
const LABEL_SMOOTHING: f32 = 0.1;

/// See the module.
pub(super) struct EncoderDecoder {
    generator: Arc<dyn Generator>,
    label_smoothing: f32,
    /// The embedding `[1, hidden]` of the task's own start token, where it has one.
    start: Option<MatrixId>,
}

/// Decoder inputs and targets, texts end to end: the target of a token is the token after it.
struct TeacherForcing {
    inputs: Vec<u32>,
    targets: Vec<u32>,
    rows: RowOffsets,
}

impl EncoderDecoder {
    /// Adds the parameters of the head.
    ///
    /// Errors: a setting that only a decoder alone has.
    pub fn new(
        kind: &Seq2Seq,
        generator: Arc<dyn Generator>,
        hidden: usize,
        parameters: &mut Parameters,
    ) -> Result<Self, TaskError> {
        if let Some(separator) = &kind.separator {
            return Err(TaskError::Setting {
                key: format!("{}.separator", kind.key),
                found: format!("{separator:?} beside an encoder and a decoder, which read and write apart"),
                expected: "none: it stands between both texts in one row of a decoder such as Llama".into(),
            });
        }
        let mut head = parameters.head(&kind.task);
        let make = || head.matrix("start", [1, hidden], Init::Normal(0.02));
        let start = kind.start_vector.then(make);
        let label_smoothing = kind.label_smoothing.unwrap_or(LABEL_SMOOTHING);
        Ok(EncoderDecoder { generator, label_smoothing, start })
    }

    /// The encoder states `[n, hidden]` of a batch's rows, and the rows' offsets.
    fn encoder_states(batch: &Batch<'_>) -> (Tensor<2>, RowOffsets) {
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
        (states, rows): (Tensor<2>, &RowOffsets),
        dropout_seed: Option<u64>,
    ) -> Tensor<2> {
        let seed = dropout_seed.map(|seed| data::random::derive_seed(seed, "decoder", 0));
        let texts = (&teacher_forcing.inputs[..], &teacher_forcing.rows);
        self.generator.logits(parameters, texts, (states, rows), self.start_vector(parameters), seed)
    }

    fn start_vector(&self, parameters: &Parameters) -> Option<Tensor<2>> {
        self.start.map(|start| parameters.matrix(start))
    }
}

impl WritingNetwork for EncoderDecoder {
    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        rows.iter().flat_map(|at| at.tokens(pack)).for_each(|token| used[token] = true);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, texts: &Texts) -> Option<Loss> {
        let teacher_forcing = self.teacher_forcing(texts, batch.rows);
        if teacher_forcing.targets.is_empty() {
            return None;
        }
        let (states, rows) = Self::encoder_states(batch);
        let logits = self.logits(parameters, &teacher_forcing, (states, &rows), batch.dropout_seed);
        let gold = &teacher_forcing.targets;
        let mean = kernels::cross_entropy(logits, gold, None, self.label_smoothing);
        Some(Loss { mean, num_targets: gold.len() })
    }

    fn target_logits(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        texts: &Texts,
    ) -> Option<(Tensor<2>, Vec<usize>)> {
        if batch.rows.is_empty() {
            return None;
        }
        let teacher_forcing = self.teacher_forcing(texts, batch.rows);
        let (states, rows) = Self::encoder_states(batch);
        let logits = self.logits(parameters, &teacher_forcing, (states, &rows), batch.dropout_seed);
        Some((logits, teacher_forcing.rows.windows(2).map(|ends| ends[1] - ends[0]).collect()))
    }

    fn likelihoods(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        texts: &Texts,
    ) -> Vec<Option<(f64, usize)>> {
        let labelled = |at: &BatchRow| Seq2SeqHead::labelled(texts, at.row as usize);
        if !batch.rows.iter().any(labelled) {
            return vec![None; batch.rows.len()];
        }
        let (states, rows) = Self::encoder_states(batch);
        let teacher_forcing = self.teacher_forcing(texts, batch.rows);
        let logits = self.logits(parameters, &teacher_forcing, (states, &rows), None);
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

    fn write(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _texts: &Texts,
        decoding: &Decoding,
        stops: &(dyn Fn(&[u32]) -> bool + Sync),
    ) -> Vec<Hypothesis> {
        let (states, rows) = Self::encoder_states(batch);
        let generator = &self.generator;
        let mut cache = generator.start(parameters, &states, &rows);
        let start = generator.decoder_start_token_id();
        let prompt = |at: &BatchRow| Prompt { row: at.row.into(), tokens: vec![start] };
        let prompts = batch.rows.iter().map(prompt).collect();
        search(prompts, decoding, &[generator.eos_token_id()], stops, |from, ids| {
            let start = self.start_vector(parameters);
            head::to_host_vec(generator.step(parameters, &mut cache, from, ids, start))
        })
    }
}
