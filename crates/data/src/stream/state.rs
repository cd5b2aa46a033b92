//! A place in a stream: everything that a checkpoint needs of it.

use serde::{Deserialize, Serialize};

use super::{CorpusRows, Packing, Stream};
use crate::{DataError, quotas::Quotas, sampler::Account};

/// A place in a stream: everything that a checkpoint needs of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamState {
    /// The epoch, from 0 on.
    pub epoch: u64,
    /// How far it is: draws that were handed out or passed over; packs under an adaptive sampler.
    pub drawn: u64,
    /// `[corpora]` where each corpus's passes go on.
    pub before: Vec<u64>,
    /// `[corpora]` rows that were handed out since the beginning.
    pub taken: Vec<u64>,
    /// `[corpora]` what the sampler remembers, where it looks at how training goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<Account>,
    /// What the draws are made from (seed, corpora, shares, tokens per step), as a hash.
    pub fingerprint: String,
}

impl Stream {
    /// The present place.
    pub fn state(&self) -> StreamState {
        let adaptive = self.quotas.sampling().adaptive().is_some();
        StreamState {
            epoch: self.epoch as u64,
            drawn: self.drawn as u64,
            before: self.before.clone(),
            taken: self.taken.clone(),
            accounts: if adaptive { self.accounts.clone() } else { Vec::new() },
            fingerprint: self.fingerprint.to_string(),
        }
    }

    /// Goes to a place that [`Stream::state`] told. Which corpora have left ([`Stream::leave`]) is no part of it.
    ///
    /// # Errors
    /// When the state is of another stream (other data, seed, sampler or tokens per step) or lies outside an epoch.
    pub fn restore(&mut self, state: StreamState) -> Result<(), DataError> {
        let wrong = |reason: String| Err(DataError::StreamState { reason });
        if *state.fingerprint != *self.fingerprint {
            return wrong(
                "it was made with another seed, other rows, another sampler or other tokens_per_step".into(),
            );
        }
        let corpora = self.corpora.len();
        let adaptive = self.quotas.sampling().adaptive().is_some();
        let accounts = if adaptive { corpora } else { 0 };
        let lengths = [state.before.len(), state.taken.len(), state.accounts.len()];
        if lengths != [corpora, corpora, accounts] {
            return wrong(format!("it tells of {lengths:?} corpora, of which there are {corpora}"));
        }
        if state.drawn > self.draws_in_epoch() as u64 {
            return wrong(format!(
                "{} rows drawn of an epoch that has {}",
                state.drawn,
                self.draws_in_epoch()
            ));
        }
        let epochs = self.quotas.epochs();
        if state.epoch > epochs as u64 {
            return wrong(format!("epoch {}, counted from 0, of a run that has {epochs}", state.epoch));
        }
        self.epoch = state.epoch as usize;
        self.before = state.before;
        self.taken = state.taken;
        if adaptive {
            self.accounts = state.accounts;
        }
        self.drawn = state.drawn as usize;
        self.plan = None;
        Ok(())
    }
}

pub(super) fn fingerprint(corpora: &[CorpusRows], quotas: &Quotas, packing: &Packing, seed: u64) -> String {
    let (first, last) = (quotas.of(0), quotas.of(quotas.epochs().saturating_sub(1)));
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
    // Where every epoch draws alike, the number of epochs changes nothing.
    if first != last {
        for number in last.iter().chain(&[quotas.epochs() as u64]) {
            hasher.update(&number.to_le_bytes());
        }
    }
    if quotas.sampling().adaptive().is_some() {
        hasher.update(quotas.sampling().name().as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
