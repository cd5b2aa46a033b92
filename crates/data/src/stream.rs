//! Deterministic draws from several corpora, in packs of bounded length.

mod epoch_draws;
mod plan;
mod state;

use std::sync::Arc;

pub use epoch_draws::CorpusDraws;
pub use state::StreamState;

use crate::cast::{to_u32, to_usize};
use crate::sampler::{Epoch, SamplerFeedback, SamplerState, normalized};
use crate::{Order, SamplerConfig, random};
use epoch_draws::EpochDraws;
use plan::Planned;

/// The rows of one corpus that are worth drawing, and how long they are.
#[derive(Debug, Clone)]
pub struct CorpusRows {
    /// The corpus's name: its order of rows depends on it and the seed, not on its index among the corpora.
    pub name: Arc<str>,
    /// Row numbers worth drawing, increasing, for example those with a label of any task.
    pub candidates: Vec<u32>,
    /// `[candidates]` tokens of each candidate, summed over its views.
    pub tokens: Vec<u32>,
    /// The importance of the corpus, which only the sampler `importance` uses. 1 by default.
    pub importance: f64,
    /// The order of its rows; shuffled by default.
    pub order: Order,
    /// The corpus's fixed share of all computation, above 0 to 1, whatever the sampler is; `None` by default.
    pub budget: Option<f64>,
    /// `[candidates]` the cost of each row, in any unit that all corpora share; empty for its tokens. Only budgets use it.
    pub costs: Vec<f64>,
}

impl CorpusRows {
    /// A corpus with default settings.
    pub fn new(name: impl Into<Arc<str>>, candidates: Vec<u32>, tokens: Vec<u32>) -> Self {
        let (order, costs) = (Order::Shuffled, Vec::new());
        CorpusRows { name: name.into(), candidates, tokens, importance: 1.0, order, budget: None, costs }
    }

    /// The cost of a candidate.
    pub(crate) fn cost(&self, candidate: usize) -> f64 {
        self.costs.get(candidate).copied().unwrap_or(f64::from(self.tokens[candidate]))
    }
}

/// How rows are grouped into packs.
#[derive(Debug, Clone)]
pub struct Packing {
    /// The maximum number of tokens of a pack; a longer row is a pack by itself.
    pub tokens: usize,
    /// Whether every pack has rows of one corpus only.
    pub one_corpus: bool,
}

/// One drawn row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Draw {
    /// Which corpus, in the order given to [`PackStream::new`].
    pub corpus: u32,
    /// Which of its rows (a value of [`CorpusRows::candidates`]).
    pub row: u32,
}

/// Deterministic draws, epoch after epoch.
///
/// An epoch has as many draws `N` as there are candidates in all corpora. Corpus `c` gets its share of them in this epoch
/// (`p_c N`, rounded by largest remainder, so that the counts sum to `N`), pass by pass in its own order. When a pass is over,
/// the corpus is ordered anew, so no row comes twice within one pass over its corpus (unless its order balances classes), and
/// a corpus that an epoch does not exhaust continues in the next. The epoch's draws are shuffled together and split, in that
/// order, into packs.
///
/// Where corpora have budgets, each row is drawn from the corpus whose computation so far is furthest behind its share, so that
/// at any moment each is within one row of it.
///
/// Under an adaptive sampler ([`crate::sampler::Adaptive`]), an epoch has as many packs as it takes to go through all rows once;
/// the corpus of each row is drawn by the current shares. A row that the pack has no space for begins the next one, so that corpora
/// with long rows get their share too. Where every pack is of one corpus, the corpus of a pack is drawn so that its rows come to
/// their share, unless the sampler draws packs and not rows ([`crate::sampler::Adaptive::one_corpus`]).
///
/// Everything is a function of the seed, the corpora, the sampler, the position in the stream and the feedback given
/// ([`PackStream::observe`]): restoring a [`StreamState`] continues bit for bit.
#[derive(Debug, Clone)]
pub struct PackStream {
    corpora: Arc<[CorpusRows]>,
    epoch_draws: EpochDraws,
    packing: Packing,
    seed: u64,
    fingerprint: Arc<str>,
    epoch: usize,
    /// `[corpora]` draws of all earlier epochs: where each corpus's passes continue.
    corpus_offsets: Vec<u64>,
    /// The position in this epoch: draws, or packs under an adaptive sampler.
    drawn: usize,
    /// `[corpora]` draws returned since the beginning.
    drawn_counts: Vec<u64>,
    /// `[corpora]` the state of the sampler, where it is adaptive.
    sampler_states: Vec<SamplerState>,
    /// The corpus of a row that the last pack had no space for, under an adaptive sampler.
    carried: Option<u32>,
    /// `[corpora]` the mean number of rows of a pack of this corpus alone, where packs are of one corpus and rows are drawn by an
    /// adaptive sampler; else empty.
    rows_per_pack: Vec<f64>,
    /// `[corpora]` whether a corpus is passed over.
    disabled: Vec<bool>,
    plan: Option<Arc<[Planned]>>,
    /// `[corpora]` the pass that single rows were last drawn from, and its order.
    passes: Vec<Option<(u64, Arc<[u32]>)>>,
    /// Packs of an epoch under an adaptive sampler; 0 under others.
    packs_in_epoch: usize,
}

impl PackStream {
    /// The stream at its beginning, for a run of `epochs` epochs. Panics when a corpus's `tokens` are not as many as its
    /// `candidates`.
    pub fn new(
        corpora: Vec<CorpusRows>,
        sampler: &SamplerConfig,
        epochs: usize,
        packing: Packing,
        seed: u64,
    ) -> PackStream {
        for corpus in &corpora {
            assert_eq!(
                corpus.candidates.len(),
                corpus.tokens.len(),
                "tokens of each candidate of {}",
                corpus.name
            );
        }
        let epoch_draws = EpochDraws::new(&corpora, sampler, epochs);
        let zeros = vec![0; corpora.len()];
        let mut stream = PackStream {
            fingerprint: state::fingerprint(&corpora, &epoch_draws, &packing, seed).into(),
            sampler_states: vec![SamplerState::default(); corpora.len()],
            carried: None,
            rows_per_pack: Vec::new(),
            disabled: vec![false; corpora.len()],
            passes: vec![None; corpora.len()],
            corpora: corpora.into(),
            epoch_draws,
            packing,
            seed,
            epoch: 0,
            corpus_offsets: zeros.clone(),
            drawn: 0,
            drawn_counts: zeros,
            plan: None,
            packs_in_epoch: 0,
        };
        if let Some(adaptive) = sampler.adaptive() {
            stream.packs_in_epoch = stream.packs_of_all_rows();
            if stream.packing.one_corpus && !adaptive.one_corpus() {
                let rows = |corpus| plan::rows_per_pack(corpus, stream.packing.tokens);
                stream.rows_per_pack = stream.corpora.iter().map(rows).collect();
            }
        }
        stream
    }

    /// The same stream, whose passes over the corpora continue after `drawn_counts` draws of each.
    pub fn continuing(mut self, drawn_counts: &[u64]) -> PackStream {
        self.corpus_offsets = drawn_counts.to_vec();
        self.drawn_counts = drawn_counts.to_vec();
        self
    }

    /// The rows of the next pack of this epoch. `None` at the epoch's end: the following call starts the next epoch. A
    /// stream without any candidate has epochs without packs.
    #[allow(clippy::should_implement_trait)] // An iterator ends once; this goes on after None.
    pub fn next(&mut self) -> Option<Vec<Draw>> {
        let draws = if self.packs_in_epoch > 0 { self.draw() } else { self.take_planned() };
        if draws.is_empty() {
            if self.packs_in_epoch == 0 {
                let (plan, offsets) = (self.planned(), &self.corpus_offsets);
                self.corpus_offsets = plan::offsets_after(&plan, offsets);
            }
            self.plan = None;
            self.epoch += 1;
            self.drawn = 0;
            return None;
        }
        draws.iter().for_each(|draw| self.drawn_counts[draw.corpus as usize] += 1);
        Some(draws)
    }

    /// Whether this epoch is over: the next call of [`PackStream::next`] returns `None`.
    pub fn at_end(&mut self) -> bool {
        if self.packs_in_epoch > 0 {
            return self.drawn >= self.packs_in_epoch || !self.shares_now().iter().any(|share| *share > 0.0);
        }
        let (plan, drawn) = (self.planned(), self.drawn);
        plan[drawn.min(plan.len())..].iter().all(|planned| self.disabled[planned.draw.corpus as usize])
    }

    /// Excludes a corpus from the draws, or includes it again. Its draws that were planned for this epoch are skipped.
    pub fn set_disabled(&mut self, corpus: usize, disabled: bool) {
        self.disabled[corpus] = disabled;
    }

    /// Gives feedback of training to the sampler. Only adaptive samplers use it.
    pub fn observe(&mut self, feedback: &SamplerFeedback) {
        let shares = self.shares_now();
        if let Some(sampler) = self.epoch_draws.sampler().adaptive() {
            sampler.observe(&mut self.sampler_states, feedback, &shares);
        }
    }

    /// `[corpora]` the shares by which an adaptive sampler draws at present; under other samplers those of this epoch.
    pub fn shares_now(&self) -> Vec<f64> {
        let Some(sampler) = self.epoch_draws.sampler().adaptive() else {
            return self.epoch_draws.shares(self.epoch);
        };
        let rows: Vec<usize> = self
            .corpora
            .iter()
            .zip(&self.disabled)
            .map(|(corpus, disabled)| if *disabled { 0 } else { corpus.candidates.len() })
            .collect();
        let (index, epochs) = (self.epoch, self.epoch_draws.epochs());
        let epoch = Epoch { index, epochs, rows: &rows, importance: self.epoch_draws.importance() };
        sampler.shares(&epoch, &self.sampler_states)
    }

    /// The epoch that the next call of [`PackStream::next`] draws from (or ends), from 0 on.
    pub fn epoch(&self) -> usize {
        self.epoch
    }

    /// `[corpora]` rows drawn since the beginning, repetitions included.
    pub fn drawn_counts(&self) -> &[u64] {
        &self.drawn_counts
    }

    /// The tokens of a drawn row; 0 for one that this stream does not draw.
    pub fn tokens_of(&self, draw: Draw) -> usize {
        let Some(corpus) = self.corpora.get(draw.corpus as usize) else { return 0 };
        corpus.candidates.binary_search(&draw.row).map_or(0, |candidate| corpus.tokens[candidate] as usize)
    }

    /// The corpora.
    pub fn corpora(&self) -> &[CorpusRows] {
        &self.corpora
    }

    /// Draws of one epoch: as many as there are candidates, or none where no corpus has a share.
    pub fn draws_in_epoch(&self) -> usize {
        to_usize(self.epoch_draws.counts(0).iter().sum())
    }

    /// `[corpora]` the draws of an epoch from each corpus. Under an adaptive sampler they are those of its initial shares; with
    /// budgets, those of corpora without a budget are what the sampler gives.
    pub fn draws_by_corpus(&self, epoch: usize) -> Vec<CorpusDraws> {
        let (shares, counts) = (self.epoch_draws.shares(epoch), self.epoch_draws.counts(epoch));
        let corpora = self.corpora.iter().zip(shares).zip(counts);
        corpora
            .map(|((corpus, share), draws)| CorpusDraws {
                corpus: corpus.name.clone(),
                rows: corpus.candidates.len(),
                share,
                draws,
            })
            .collect()
    }

    /// The packs of each epoch, exactly, from the current position on and without end, by drawing from a copy of the stream
    /// (time linear in the draws). Under an adaptive sampler their number is exact, and their rows are those of its current
    /// shares.
    pub fn lookahead(&self) -> impl Iterator<Item = Vec<Vec<Draw>>> + use<> {
        let mut stream = self.clone();
        (0..).map(move |_| std::iter::from_fn(|| stream.next()).collect())
    }

    /// How many packs each epoch has ([`PackStream::lookahead`]).
    pub fn packs_by_epoch(&self) -> impl Iterator<Item = usize> + use<> {
        self.lookahead().map(|packs| packs.len())
    }

    /// The next pack by the current shares; empty at the end of the epoch.
    fn draw(&mut self) -> Vec<Draw> {
        let mut draws = Vec::new();
        let shares = self.shares_now();
        if self.drawn >= self.packs_in_epoch || !shares.iter().any(|share| *share > 0.0) {
            return draws;
        }
        let number = (self.epoch * self.packs_in_epoch + self.drawn) as u64;
        let mut rng = random::stream(self.seed, "corpora of a pack", number);
        let mut at = self.corpus_offsets.clone();
        let carried =
            self.carried.take().map(|corpus| corpus as usize).filter(|corpus| shares[*corpus] > 0.0);
        let mut corpus = match carried {
            Some(corpus) => corpus,
            None => choose(&self.of_packs(&shares), random::uniform01(&mut rng)),
        };
        let mut tokens = 0;
        loop {
            let candidate = self.candidate(corpus, at[corpus]);
            tokens += self.corpora[corpus].tokens[candidate] as usize;
            if tokens > self.packing.tokens && !draws.is_empty() {
                // It is that corpus's turn: thrown away, long rows would come less often than short ones.
                self.carried = (!self.packing.one_corpus).then_some(to_u32(corpus));
                break;
            }
            at[corpus] += 1;
            let row = self.corpora[corpus].candidates[candidate];
            draws.push(Draw { corpus: to_u32(corpus), row });
            if !self.packing.one_corpus {
                corpus = choose(&shares, random::uniform01(&mut rng));
            }
        }
        self.corpus_offsets = at;
        self.drawn += 1;
        draws
    }

    /// The shares by which the first corpus of a pack is drawn: where all its rows are of it, less for corpora of which many rows fit.
    fn of_packs(&self, shares: &[f64]) -> Vec<f64> {
        if self.rows_per_pack.is_empty() {
            return shares.to_vec();
        }
        normalized(shares.iter().zip(&self.rows_per_pack).map(|(share, rows)| share / rows).collect())
    }

    /// The candidate that is draw number `at` of its corpus.
    fn candidate(&mut self, corpus: usize, at: u64) -> usize {
        let rows = self.corpora[corpus].candidates.len() as u64;
        let (number, index) = (at / rows, to_usize(at % rows));
        let order = match self.passes[corpus].take().filter(|(of, _)| *of == number) {
            Some((_, order)) => order,
            None => self.order_of(corpus, number).into(),
        };
        let candidate = order[index] as usize;
        self.passes[corpus] = Some((number, order));
        candidate
    }
}

/// The corpus that a uniform number from 0 to 1 selects by the cumulative shares; never one without a share.
fn choose(shares: &[f64], u: f64) -> usize {
    let mut sum = 0.0;
    let with_share = || (0..shares.len()).filter(|c| shares[*c] > 0.0);
    let found = with_share().find(|c| {
        sum += shares[*c];
        u < sum
    });
    found.or_else(|| with_share().next_back()).unwrap_or(0)
}
