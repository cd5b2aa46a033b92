//! Deterministic draws from several corpora, in packs of bounded length.

mod plan;
mod state;

use std::sync::Arc;

pub use state::StreamState;

use crate::sampler::{Account, Epoch, Seen};
use crate::{CorpusDraws, Order, Sampling, quotas::Quotas, random};
use plan::Planned;

/// The rows of one corpus that are worth drawing, and how long they are.
#[derive(Debug, Clone)]
pub struct CorpusRows {
    /// The corpus's name: its order of rows depends on it and the seed, not on its place among the corpora.
    pub name: Arc<str>,
    /// Row numbers worth drawing, rising, for example those with a label of any task.
    pub candidates: Vec<u32>,
    /// `[candidates]` tokens of each candidate, summed over its views.
    pub tokens: Vec<u32>,
    /// How much the corpus counts beside others; only the sampler `importance` looks at it. 1 by default.
    pub importance: f64,
    /// The order of its rows; shuffled by default.
    pub order: Order,
    /// The share of all computation that is its own, above 0 to 1, whatever the sampler says; `None` by default.
    pub budget: Option<f64>,
    /// `[candidates]` what a row costs, in any unit that is the same for all corpora; empty for its tokens. Only budgets look
    /// at it.
    pub costs: Vec<f64>,
}

impl CorpusRows {
    /// A corpus that counts as any other.
    pub fn new(name: impl Into<Arc<str>>, candidates: Vec<u32>, tokens: Vec<u32>) -> Self {
        let (order, costs) = (Order::Shuffled, Vec::new());
        CorpusRows { name: name.into(), candidates, tokens, importance: 1.0, order, budget: None, costs }
    }

    /// What a candidate costs.
    pub(crate) fn cost(&self, candidate: usize) -> f64 {
        self.costs.get(candidate).copied().unwrap_or(f64::from(self.tokens[candidate]))
    }
}

/// How rows become packs.
#[derive(Debug, Clone)]
pub struct Packing {
    /// Tokens of a pack at most; a longer row is a pack of its own.
    pub tokens: usize,
    /// Whether every pack has rows of one corpus alone.
    pub one_corpus: bool,
}

/// One drawn row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Draw {
    /// Which corpus, in the order given to [`Stream::new`].
    pub corpus: u32,
    /// Which of its rows (a value of [`CorpusRows::candidates`]).
    pub row: u32,
}

/// Deterministic draws, epoch after epoch.
///
/// An epoch has as many draws `N` as there are candidates in all corpora. Corpus `c` gets its share of them in this epoch
/// (`p_c N`, rounded by largest remainder, so that the counts sum to `N`), taken pass by pass in its own order; when a pass is
/// over the corpus is ordered anew, so no row comes twice within one pass over its corpus (unless its order balances classes),
/// and a corpus that an epoch does not exhaust goes on in the next. The epoch's draws are shuffled together and cut, in that
/// order, into packs.
///
/// Where corpora have budgets, rows are drawn one by one from where the computation so far is furthest behind its share, so that
/// at any moment each is within one row of it.
///
/// Under a sampler that looks at how training goes ([`crate::sampler::Adaptive`]), an epoch has as many packs as it takes to go
/// through all rows once; the corpus of each row is drawn by the shares of the moment.
///
/// Everything is a function of the seed, the corpora, the sampler, the place and what was told ([`Stream::observe`]): restoring
/// a [`StreamState`] continues bit by bit.
#[derive(Debug, Clone)]
pub struct Stream {
    corpora: Arc<[CorpusRows]>,
    quotas: Quotas,
    packing: Packing,
    seed: u64,
    fingerprint: Arc<str>,
    epoch: usize,
    /// `[corpora]` draws of the epochs before: where each corpus's passes go on.
    before: Vec<u64>,
    /// How far this epoch is: draws, or packs under an adaptive sampler.
    drawn: usize,
    /// `[corpora]` draws handed out since the beginning.
    taken: Vec<u64>,
    /// `[corpora]` what the sampler remembers, where it is adaptive.
    accounts: Vec<Account>,
    /// `[corpora]` those that are not drawn any more.
    left: Vec<bool>,
    plan: Option<Arc<[Planned]>>,
    /// `[corpora]` the pass that rows were last drawn from one by one, and its order.
    passes: Vec<Option<(u64, Arc<[u32]>)>>,
    /// Packs of an epoch under an adaptive sampler; 0 under others.
    packs_in_epoch: usize,
}

impl Stream {
    /// The stream at its beginning, for a run of so many epochs. Panics when a corpus's `tokens` are not as many as its
    /// `candidates`.
    pub fn new(
        corpora: Vec<CorpusRows>,
        sampling: &Sampling,
        epochs: usize,
        packing: Packing,
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
        let none = vec![0; corpora.len()];
        let mut stream = Stream {
            fingerprint: state::fingerprint(&corpora, &quotas, &packing, seed).into(),
            accounts: vec![Account::default(); corpora.len()],
            left: vec![false; corpora.len()],
            passes: vec![None; corpora.len()],
            corpora: corpora.into(),
            quotas,
            packing,
            seed,
            epoch: 0,
            before: none.clone(),
            drawn: 0,
            taken: none,
            plan: None,
            packs_in_epoch: 0,
        };
        if sampling.adaptive().is_some() {
            stream.packs_in_epoch = stream.packs_of_all_rows();
        }
        stream
    }

    /// The same stream, whose passes over the corpora go on where so many draws of each have been taken.
    pub fn continuing(mut self, taken: &[u64]) -> Stream {
        self.before = taken.to_vec();
        self.taken = taken.to_vec();
        self
    }

    /// The rows of the next pack of this epoch. `None` at the epoch's end: the following call starts the next epoch. A
    /// stream without any candidate has epochs without packs.
    #[allow(clippy::should_implement_trait)] // An iterator ends once; this goes on after None.
    pub fn next(&mut self) -> Option<Vec<Draw>> {
        let draws = if self.packs_in_epoch > 0 { self.draw() } else { self.take_planned() };
        if draws.is_empty() {
            if self.packs_in_epoch == 0 {
                let (plan, before) = (self.planned(), &self.before);
                self.before = plan::after(&plan, before);
            }
            self.plan = None;
            self.epoch += 1;
            self.drawn = 0;
            return None;
        }
        draws.iter().for_each(|draw| self.taken[draw.corpus as usize] += 1);
        Some(draws)
    }

    /// Whether nothing is left of this epoch: the next call of [`Stream::next`] gives `None`.
    pub fn at_end(&mut self) -> bool {
        if self.packs_in_epoch > 0 {
            return self.drawn >= self.packs_in_epoch || !self.shares_now().iter().any(|share| *share > 0.0);
        }
        let (plan, drawn) = (self.planned(), self.drawn);
        plan[drawn.min(plan.len())..].iter().all(|planned| self.left[planned.draw.corpus as usize])
    }

    /// Draws a corpus no more, or again. What was planned of it in this epoch is passed over.
    pub fn leave(&mut self, corpus: usize, left: bool) {
        self.left[corpus] = left;
    }

    /// Tells the sampler how training goes. Only adaptive ones listen.
    pub fn observe(&mut self, seen: &Seen) {
        let shares = self.shares_now();
        if let Some(sampler) = self.quotas.sampling().adaptive() {
            sampler.observe(&mut self.accounts, seen, &shares);
        }
    }

    /// `[corpora]` the shares by which an adaptive sampler draws now; else those of this epoch.
    pub fn shares_now(&self) -> Vec<f64> {
        let Some(sampler) = self.quotas.sampling().adaptive() else { return self.quotas.shares(self.epoch) };
        let rows: Vec<usize> = self
            .corpora
            .iter()
            .zip(&self.left)
            .map(|(corpus, left)| if *left { 0 } else { corpus.candidates.len() })
            .collect();
        let (index, epochs) = (self.epoch, self.quotas.epochs());
        let epoch = Epoch { index, epochs, rows: &rows, importance: self.quotas.importance() };
        sampler.shares(&epoch, &self.accounts)
    }

    /// The epoch that the next call of [`Stream::next`] draws from (or ends), from 0 on.
    pub fn epoch(&self) -> usize {
        self.epoch
    }

    /// `[corpora]` rows that were handed out since the beginning, repeated ones each time.
    pub fn taken(&self) -> &[u64] {
        &self.taken
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
        self.quotas.of(0).iter().sum::<u64>() as usize
    }

    /// `[corpora]` what an epoch draws from each corpus. Under an adaptive sampler, as many as if its first shares stayed; with
    /// budgets, what the sampler says of those that have none.
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

    /// The packs of each epoch, exactly, from the first on and without end: they are drawn (time linear in the draws). Under an
    /// adaptive sampler their number is exact, and their rows are those of its first shares.
    pub fn ahead(&self) -> impl Iterator<Item = Vec<Vec<Draw>>> + use<> {
        let mut stream = self.clone();
        (0..).map(move |_| std::iter::from_fn(|| stream.next()).collect())
    }

    /// How many packs each epoch has ([`Stream::ahead`]).
    pub fn packs_by_epoch(&self) -> impl Iterator<Item = usize> + use<> {
        self.ahead().map(|packs| packs.len())
    }

    /// The next pack by the shares of the moment; empty at the end of the epoch.
    fn draw(&mut self) -> Vec<Draw> {
        let mut draws = Vec::new();
        let shares = self.shares_now();
        if self.drawn >= self.packs_in_epoch || !shares.iter().any(|share| *share > 0.0) {
            return draws;
        }
        let number = (self.epoch * self.packs_in_epoch + self.drawn) as u64;
        let mut rng = random::stream(self.seed, "corpora of a pack", number);
        let mut at = self.before.clone();
        let (mut tokens, mut corpus) = (0, pick(&shares, random::unit(&mut rng)));
        loop {
            let candidate = self.candidate(corpus, at[corpus]);
            tokens += self.corpora[corpus].tokens[candidate] as usize;
            if tokens > self.packing.tokens && !draws.is_empty() {
                break;
            }
            at[corpus] += 1;
            let row = self.corpora[corpus].candidates[candidate];
            draws.push(Draw { corpus: corpus as u32, row });
            if !self.packing.one_corpus {
                corpus = pick(&shares, random::unit(&mut rng));
            }
        }
        self.before = at;
        self.drawn += 1;
        draws
    }

    /// The candidate that comes as draw number `at` of its corpus.
    fn candidate(&mut self, corpus: usize, at: u64) -> usize {
        let rows = self.corpora[corpus].candidates.len() as u64;
        let (number, place) = (at / rows, (at % rows) as usize);
        let order = match self.passes[corpus].take().filter(|(of, _)| *of == number) {
            Some((_, order)) => order,
            None => self.order_of(corpus, number).into(),
        };
        let candidate = order[place] as usize;
        self.passes[corpus] = Some((number, order));
        candidate
    }
}

/// The corpus of a number drawn evenly from 0 to 1: one that has a share.
fn pick(shares: &[f64], u: f64) -> usize {
    let mut sum = 0.0;
    let with_share = || (0..shares.len()).filter(|c| shares[*c] > 0.0);
    let found = with_share().find(|c| {
        sum += shares[*c];
        u < sum
    });
    found.or_else(|| with_share().next_back()).unwrap_or(0)
}
