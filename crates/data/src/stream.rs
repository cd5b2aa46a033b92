//! Deterministic draws from several corpora, in packs of bounded length.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{DataError, Sampler, random};

/// The rows of one corpus that are worth drawing, and how long they are.
#[derive(Debug, Clone)]
pub struct CorpusRows {
    /// The corpus's name: its order of rows depends on it and the seed, not on its place among the corpora.
    pub name: Arc<str>,
    /// Row numbers worth drawing, for example those with a label of any task.
    pub candidates: Vec<u32>,
    /// `[candidates]` tokens of each candidate, summed over its views.
    pub tokens: Vec<u32>,
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
/// An epoch has as many draws `N` as there are candidates in all corpora. Corpus `c` gets its share of them (`p_c N`,
/// rounded by largest remainder, so that the counts sum to `N`), taken from its own shuffled order; when that is exhausted
/// the corpus is shuffled anew, so no row comes twice within one pass over its corpus, and a corpus that an epoch does not
/// exhaust goes on in the next. The epoch's draws are shuffled together and cut, in that order, into packs of at most
/// `tokens_per_step` tokens; a longer row is a pack of its own.
///
/// Everything is a function of the seed, the corpora, the shares and the place: restoring a [`StreamState`] continues bit
/// by bit.
#[derive(Debug, Clone)]
pub struct Stream {
    corpora: Vec<CorpusRows>,
    counts: Vec<u64>,
    tokens_per_step: usize,
    seed: u64,
    fingerprint: String,
    epoch: usize,
    drawn: usize,
    plan: Option<Vec<Planned>>,
}

/// No run has more epochs; so draws of all epochs can be counted in 64 bits.
const MAX_EPOCH: u64 = u32::MAX as u64 - 1;

/// A draw and its tokens.
#[derive(Debug, Clone, Copy)]
struct Planned {
    draw: Draw,
    tokens: u32,
}

impl Stream {
    /// The stream at its beginning. Panics when a corpus's `tokens` are not as many as its `candidates`.
    pub fn new(corpora: Vec<CorpusRows>, sampler: &dyn Sampler, tokens_per_step: usize, seed: u64) -> Stream {
        for corpus in &corpora {
            assert_eq!(
                corpus.candidates.len(),
                corpus.tokens.len(),
                "tokens of each candidate of {}",
                corpus.name
            );
        }
        let rows: Vec<usize> = corpora.iter().map(|c| c.candidates.len()).collect();
        let counts = apportion(rows.iter().sum::<usize>() as u64, &sampler.shares(&rows));
        let fingerprint = fingerprint(&corpora, &counts, tokens_per_step, seed);
        Stream { corpora, counts, tokens_per_step, seed, fingerprint, epoch: 0, drawn: 0, plan: None }
    }

    /// The rows of the next pack of this epoch. `None` at the epoch's end: the following call starts the next epoch. A
    /// stream without any candidate has epochs without packs.
    #[allow(clippy::should_implement_trait)] // An iterator ends once; this goes on after None.
    pub fn next(&mut self) -> Option<Vec<Draw>> {
        let plan = self.plan.take().unwrap_or_else(|| self.plan(self.epoch));
        let end = pack_end(&plan, self.drawn, self.tokens_per_step);
        if end == self.drawn {
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

    /// Draws of one epoch: as many as there are candidates.
    pub fn draws_in_epoch(&self) -> usize {
        self.counts.iter().sum::<u64>() as usize
    }

    /// `[corpora]` draws of one epoch per corpus.
    pub fn draws_by_corpus(&self) -> &[u64] {
        &self.counts
    }

    /// How many packs an epoch has, exactly: its draws are made and cut (time linear in the draws).
    pub fn packs_in_epoch(&self, epoch: usize) -> usize {
        let plan = self.plan(epoch);
        let (mut packs, mut at) = (0, 0);
        while at < plan.len() {
            at = pack_end(&plan, at, self.tokens_per_step);
            packs += 1;
        }
        packs
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
        if state.epoch > MAX_EPOCH {
            return wrong(format!("epoch {}, expected at most {MAX_EPOCH}", state.epoch));
        }
        self.epoch = state.epoch as usize;
        self.drawn = state.drawn as usize;
        self.plan = None;
        Ok(())
    }

    /// All draws of an epoch, in order.
    fn plan(&self, epoch: usize) -> Vec<Planned> {
        let mut plan = Vec::with_capacity(self.draws_in_epoch());
        for (index, (corpus, &count)) in self.corpora.iter().zip(&self.counts).enumerate() {
            let size = corpus.candidates.len() as u64;
            if size == 0 {
                continue;
            }
            let (mut at, end) = (epoch as u64 * count, (epoch as u64 + 1) * count);
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

/// Whole numbers near `total * shares` that sum to `total` (largest remainder; the first of equals). All zero when the
/// shares are.
fn apportion(total: u64, shares: &[f64]) -> Vec<u64> {
    if shares.iter().sum::<f64>() <= 0.0 {
        return vec![0; shares.len()];
    }
    let exact: Vec<f64> = shares.iter().map(|share| share * total as f64).collect();
    let mut counts: Vec<u64> = exact.iter().map(|x| x.floor() as u64).collect();
    let mut order: Vec<usize> = (0..shares.len()).filter(|&i| shares[i] > 0.0).collect();
    order.sort_by(|&a, &b| {
        (exact[b] - exact[b].floor()).total_cmp(&(exact[a] - exact[a].floor())).then(a.cmp(&b))
    });
    let mut missing = total.saturating_sub(counts.iter().sum());
    for &i in order.iter().cycle() {
        if missing == 0 {
            break;
        }
        counts[i] += 1;
        missing -= 1;
    }
    counts
}

fn fingerprint(corpora: &[CorpusRows], counts: &[u64], tokens_per_step: usize, seed: u64) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("polytask 2026 stream of draws, version 1");
    for number in [seed, tokens_per_step as u64, corpora.len() as u64] {
        hasher.update(&number.to_le_bytes());
    }
    for (corpus, count) in corpora.iter().zip(counts) {
        for number in [corpus.name.len() as u64, corpus.candidates.len() as u64, *count] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(corpus.name.as_bytes());
        for number in corpus.candidates.iter().chain(&corpus.tokens) {
            hasher.update(&number.to_le_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}
