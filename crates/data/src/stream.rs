//! Deterministic draws from several corpora, in packs of bounded length.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{CorpusDraws, DataError, Sampling, quotas::Quotas, random};

/// The rows of one corpus that are worth drawing, and how long they are.
#[derive(Debug, Clone)]
pub struct CorpusRows {
    /// The corpus's name: its order of rows depends on it and the seed, not on its place among the corpora.
    pub name: Arc<str>,
    /// Row numbers worth drawing, for example those with a label of any task.
    pub candidates: Vec<u32>,
    /// `[candidates]` tokens of each candidate, summed over its views.
    pub tokens: Vec<u32>,
    /// How much the corpus counts beside others; only the sampler `importance` looks at it.
    pub importance: f64,
}

/// One drawn row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Draw {
    /// Which corpus, in the order given to [`Stream::new`].
    pub corpus: u32,
    /// Which of its rows (a value of [`CorpusRows::candidates`]).
    pub row: u32,
}

/// A place in a stream: everything that a checkpoint needs of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamState {
    /// The epoch, from 0 on.
    pub epoch: u64,
    /// Draws of this epoch that were handed out.
    pub drawn: u64,
    /// What the draws are made from (seed, corpora, shares, tokens per step), as a hash.
    pub fingerprint: String,
}

/// Deterministic draws, epoch after epoch.
///
/// An epoch has as many draws `N` as there are candidates in all corpora. Corpus `c` gets its share of them in this epoch
/// (`p_c N`, rounded by largest remainder, so that the counts sum to `N`), taken from its own shuffled order; when that is
/// exhausted the corpus is shuffled anew, so no row comes twice within one pass over its corpus, and a corpus that an epoch
/// does not exhaust goes on in the next. The epoch's draws are shuffled together and cut, in that order, into packs of at most
/// `tokens_per_step` tokens; a longer row is a pack of its own.
///
/// Everything is a function of the seed, the corpora, the sampler and the place: restoring a [`StreamState`] continues bit
/// by bit.
#[derive(Debug, Clone)]
pub struct Stream {
    corpora: Vec<CorpusRows>,
    quotas: Quotas,
    tokens_per_step: usize,
    seed: u64,
    fingerprint: String,
    epoch: usize,
    /// `[corpora]` draws of the epochs before: where each corpus's passes go on.
    before: Vec<u64>,
    drawn: usize,
    plan: Option<Vec<Planned>>,
}

/// A draw and its tokens.
#[derive(Debug, Clone, Copy)]
struct Planned {
    draw: Draw,
    tokens: u32,
}

impl Stream {
    /// The stream at its beginning, for a run of so many epochs. Panics when a corpus's `tokens` are not as many as its
    /// `candidates`.
    pub fn new(
        corpora: Vec<CorpusRows>,
        sampling: &Sampling,
        epochs: usize,
        tokens_per_step: usize,
        seed: u64,
    ) -> Stream {
        for corpus in &corpora {
            assert_eq!(
                corpus.candidates.len(),
                corpus.tokens.len(),
                "tokens of each candidate of {}",
                corpus.name
            );
        }
        let quotas = Quotas::new(&corpora, sampling, epochs);
        let fingerprint = fingerprint(&corpora, &quotas, tokens_per_step, seed);
        let before = quotas.before(0);
        Stream { corpora, quotas, tokens_per_step, seed, fingerprint, epoch: 0, before, drawn: 0, plan: None }
    }

    /// The rows of the next pack of this epoch. `None` at the epoch's end: the following call starts the next epoch. A
    /// stream without any candidate has epochs without packs.
    #[allow(clippy::should_implement_trait)] // An iterator ends once; this goes on after None.
    pub fn next(&mut self) -> Option<Vec<Draw>> {
        let plan = self.plan.take().unwrap_or_else(|| self.plan(self.epoch, &self.before));
        let end = pack_end(&plan, self.drawn, self.tokens_per_step);
        if end == self.drawn {
            self.before = self.quotas.after(self.epoch, &self.before);
            self.epoch += 1;
            self.drawn = 0;
            return None;
        }
        let draws = plan[self.drawn..end].iter().map(|planned| planned.draw).collect();
        self.drawn = end;
        self.plan = Some(plan);
        Some(draws)
    }

    /// The epoch that the next call of [`Stream::next`] draws from (or ends), from 0 on.
    pub fn epoch(&self) -> usize {
        self.epoch
    }

    /// Draws of one epoch: as many as there are candidates, or none where no corpus has a share.
    pub fn draws_in_epoch(&self) -> usize {
        self.quotas.of(0).iter().sum::<u64>() as usize
    }

    /// `[corpora]` what an epoch draws from each corpus.
    pub fn draws_by_corpus(&self, epoch: usize) -> Vec<CorpusDraws> {
        let corpora = self.corpora.iter().zip(self.quotas.shares(epoch)).zip(self.quotas.of(epoch));
        corpora
            .map(|((corpus, share), draws)| CorpusDraws {
                corpus: corpus.name.clone(),
                rows: corpus.candidates.len(),
                share,
                draws,
            })
            .collect()
    }

    /// How many packs each epoch has, exactly, from the first on and without end: its draws are made and cut (time linear
    /// in the draws). In order, because where an epoch begins in a corpus depends on the epochs before.
    pub fn packs_by_epoch(&self) -> impl Iterator<Item = usize> {
        let mut before = self.quotas.before(0);
        (0..).map(move |epoch| {
            let plan = self.plan(epoch, &before);
            before = self.quotas.after(epoch, &before);
            let (mut packs, mut at) = (0, 0);
            while at < plan.len() {
                at = pack_end(&plan, at, self.tokens_per_step);
                packs += 1;
            }
            packs
        })
    }

    /// The present place.
    pub fn state(&self) -> StreamState {
        let fingerprint = self.fingerprint.clone();
        StreamState { epoch: self.epoch as u64, drawn: self.drawn as u64, fingerprint }
    }

    /// Goes to a place that [`Stream::state`] told.
    ///
    /// # Errors
    /// When the state is of another stream (other data, seed, sampler or tokens per step) or lies outside an epoch.
    pub fn restore(&mut self, state: StreamState) -> Result<(), DataError> {
        let wrong = |reason: String| Err(DataError::StreamState { reason });
        if state.fingerprint != self.fingerprint {
            return wrong(
                "it was made with another seed, other rows, another sampler or other tokens_per_step".into(),
            );
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
        self.before = self.quotas.before(self.epoch);
        self.drawn = state.drawn as usize;
        self.plan = None;
        Ok(())
    }

    /// All draws of an epoch, in order, from each corpus's draws in the epochs before.
    fn plan(&self, epoch: usize, before: &[u64]) -> Vec<Planned> {
        let after = self.quotas.after(epoch, before);
        let mut plan = Vec::with_capacity(self.draws_in_epoch());
        for (index, (corpus, (&begin, &end))) in
            self.corpora.iter().zip(before.iter().zip(&after)).enumerate()
        {
            let size = corpus.candidates.len() as u64;
            if size == 0 {
                continue;
            }
            let mut at = begin;
            while at < end {
                let pass = at / size;
                let stop = end.min((pass + 1) * size);
                let order = self.order(corpus, pass);
                plan.extend(order[(at - pass * size) as usize..(stop - pass * size) as usize].iter().map(
                    |&i| {
                        let draw = Draw { corpus: index as u32, row: corpus.candidates[i as usize] };
                        Planned { draw, tokens: corpus.tokens[i as usize] }
                    },
                ));
                at = stop;
            }
        }
        random::shuffle(&mut random::stream(self.seed, "draws", epoch as u64), &mut plan);
        plan
    }

    /// The order of one pass over a corpus.
    fn order(&self, corpus: &CorpusRows, pass: u64) -> Vec<u32> {
        let mut order: Vec<u32> = (0..corpus.candidates.len() as u32).collect();
        let mut rng = random::stream(self.seed, &format!("pass over corpus {}", corpus.name), pass);
        random::shuffle(&mut rng, &mut order);
        order
    }
}

/// Where the pack that begins at `start` ends: as many rows as fit, at least one.
fn pack_end(plan: &[Planned], start: usize, limit: usize) -> usize {
    let (mut end, mut tokens) = (start, 0usize);
    while let Some(planned) = plan.get(end) {
        tokens += planned.tokens as usize;
        if tokens > limit && end > start {
            break;
        }
        end += 1;
    }
    end
}

fn fingerprint(corpora: &[CorpusRows], quotas: &Quotas, tokens_per_step: usize, seed: u64) -> String {
    let (first, last) = (quotas.of(0), quotas.of(quotas.epochs().saturating_sub(1)));
    let mut hasher = blake3::Hasher::new_derive_key("polytask 2026 stream of draws, version 1");
    for number in [seed, tokens_per_step as u64, corpora.len() as u64] {
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
    }
    // Where every epoch draws alike, the number of epochs changes nothing.
    if first != last {
        for number in last.iter().chain(&[quotas.epochs() as u64]) {
            hasher.update(&number.to_le_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}
