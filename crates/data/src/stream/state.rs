//! The position of a stream, as a checkpoint saves it.

use serde::{Deserialize, Serialize};

use super::epoch_draws::EpochDraws;
use super::{CorpusRows, PackStream, Packing};
use crate::cast::to_usize;
use crate::{DataError, sampler::SamplerState};

/// The position of a stream: everything that a checkpoint saves of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamState {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The position in the epoch: draws that were returned or skipped; packs under an adaptive sampler.
    pub drawn: u64,
    /// `[corpora]` where each corpus's passes continue.
    pub corpus_offsets: Vec<u64>,
    /// `[corpora]` rows drawn since the beginning.
    pub drawn_counts: Vec<u64>,
    /// `[corpora]` the state of an adaptive sampler.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sampler_states: Vec<SamplerState>,
    /// The corpus of a row that the last pack had no space for, under an adaptive sampler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<u32>,
    /// A hash of what determines the draws (seed, corpora, shares, tokens per pack).
    pub fingerprint: String,
}

impl PackStream {
    /// The current position.
    pub fn state(&self) -> StreamState {
        let adaptive = self.epoch_draws.sampler().adaptive().is_some();
        StreamState {
            epoch: self.epoch as u64,
            drawn: self.drawn as u64,
            corpus_offsets: self.corpus_offsets.clone(),
            drawn_counts: self.drawn_counts.clone(),
            sampler_states: if adaptive { self.sampler_states.clone() } else { Vec::new() },
            carried: self.carried,
            fingerprint: self.fingerprint.to_string(),
        }
    }

    /// Goes to a position that [`PackStream::state`] returned. Which corpora are disabled ([`PackStream::set_disabled`]) is not
    /// part of it.
    ///
    /// # Errors
    /// When the state is of another stream (other data, seed, sampler or tokens per pack) or lies outside an epoch.
    pub fn restore(&mut self, state: StreamState) -> Result<(), DataError> {
        let wrong = |reason: String| Err(DataError::StreamState { reason });
        if *state.fingerprint != *self.fingerprint {
            return wrong(
                "it was made with another seed, other rows, another sampler or other tokens_per_batch".into(),
            );
        }
        let corpora = self.corpora.len();
        let adaptive = self.epoch_draws.sampler().adaptive().is_some();
        let sampler_states = if adaptive { corpora } else { 0 };
        let lengths = [state.corpus_offsets.len(), state.drawn_counts.len(), state.sampler_states.len()];
        if lengths != [corpora, corpora, sampler_states] {
            return wrong(format!("it has {lengths:?} entries for {corpora} corpora"));
        }
        if let Some(corpus) = state.carried.filter(|corpus| *corpus as usize >= corpora) {
            return wrong(format!("a row of corpus {corpus}, counted from 0, of {corpora}"));
        }
        if state.drawn > self.draws_in_epoch() as u64 {
            return wrong(format!(
                "{} rows drawn of an epoch that has {}",
                state.drawn,
                self.draws_in_epoch()
            ));
        }
        let epochs = self.epoch_draws.epochs();
        if state.epoch > epochs as u64 {
            return wrong(format!("epoch {}, counted from 0, of a run that has {epochs}", state.epoch));
        }
        self.epoch = to_usize(state.epoch);
        self.corpus_offsets = state.corpus_offsets;
        self.drawn_counts = state.drawn_counts;
        if adaptive {
            self.sampler_states = state.sampler_states;
        }
        self.carried = state.carried;
        self.drawn = to_usize(state.drawn);
        self.plan = None;
        Ok(())
    }
}

pub(super) fn fingerprint(
    corpora: &[CorpusRows],
    epoch_draws: &EpochDraws,
    packing: &Packing,
    seed: u64,
) -> String {
    let epochs = epoch_draws.epochs();
    let (first, last) = (epoch_draws.counts(0), epoch_draws.counts(epochs.saturating_sub(1)));
    let mut hasher = blake3::Hasher::new_derive_key("polytask 2026 stream of draws, version 1");
    for number in [seed, packing.tokens as u64, corpora.len() as u64] {
        hasher.update(&number.to_le_bytes());
    }
    for (corpus, count) in corpora.iter().zip(&first) {
        for number in [corpus.name.len() as u64, corpus.candidates.len() as u64, *count] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(corpus.name.as_bytes());
        for number in corpus.candidates.iter().chain(&corpus.tokens) {
            hasher.update(&number.to_le_bytes());
        }
        corpus.order.describe(&mut hasher);
        for number in corpus.budget.iter().chain(corpus.costs.iter().filter(|_| corpus.budget.is_some())) {
            hasher.update(&number.to_bits().to_le_bytes());
        }
    }
    if packing.one_corpus {
        hasher.update(b"packs of one corpus");
    }
    // Where the draws of all epochs are the same, the number of epochs changes nothing.
    if first != last {
        for number in last.iter().chain(&[epochs as u64]) {
            hasher.update(&number.to_le_bytes());
        }
    }
    if epoch_draws.sampler().adaptive().is_some() {
        hasher.update(epoch_draws.sampler().name().as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
