//! The plan of an epoch: all its draws, in order.

use std::sync::Arc;

use super::{CorpusRows, Draw, PackStream};
use crate::cast::{to_u32, to_usize};
use crate::{
    SamplerConfig, random,
    sampler::{Proportional, normalized},
};

/// A draw and its tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planned {
    pub(super) draw: Draw,
    pub(super) tokens: u32,
}

/// The mean number of rows of a pack of one corpus, at least 1.
pub(super) fn rows_per_pack(corpus: &CorpusRows, tokens: usize) -> f64 {
    let (mut packs, mut open) = (0_usize, usize::MAX);
    for row in &corpus.tokens {
        open = open.saturating_add(*row as usize);
        if open > tokens {
            (packs, open) = (packs + 1, *row as usize);
        }
    }
    corpus.tokens.len().max(1) as f64 / packs.max(1) as f64
}

/// `[corpora]` draws up to the end of an epoch, from those of all earlier epochs.
pub(super) fn offsets_after(plan: &[Planned], offsets: &[u64]) -> Vec<u64> {
    let mut after = offsets.to_vec();
    plan.iter().for_each(|planned| after[planned.draw.corpus as usize] += 1);
    after
}

impl PackStream {
    /// The draws of this epoch.
    pub(super) fn planned(&mut self) -> Arc<[Planned]> {
        let plan = self.plan.take().unwrap_or_else(|| self.plan(self.epoch, &self.corpus_offsets).into());
        self.plan = Some(plan.clone());
        plan
    }

    /// The next pack of the plan, without disabled corpora; empty at its end.
    pub(super) fn take_planned(&mut self) -> Vec<Draw> {
        let plan = self.planned();
        let (mut draws, mut tokens): (Vec<Draw>, usize) = (Vec::new(), 0);
        while let Some(planned) = plan.get(self.drawn) {
            if !self.disabled[planned.draw.corpus as usize] {
                tokens += planned.tokens as usize;
                let other = |last: &Draw| self.packing.one_corpus && last.corpus != planned.draw.corpus;
                if !draws.is_empty() && (tokens > self.packing.tokens || draws.last().is_some_and(other)) {
                    break;
                }
                draws.push(planned.draw);
            }
            self.drawn += 1;
        }
        draws
    }

    /// All draws of an epoch, in order, from each corpus's draws in all earlier epochs.
    fn plan(&self, epoch: usize, offsets: &[u64]) -> Vec<Planned> {
        let budgeted = self.corpora.iter().any(|corpus| corpus.budget.is_some());
        let plan = if budgeted { self.by_budget(epoch, offsets) } else { self.by_sampler(epoch, offsets) };
        if self.packing.one_corpus { self.one_corpus_each(plan, epoch) } else { plan }
    }

    /// Every corpus as often as the sampler says, shuffled together.
    fn by_sampler(&self, epoch: usize, offsets: &[u64]) -> Vec<Planned> {
        let counts = self.epoch_draws.counts(epoch);
        let mut plan = Vec::with_capacity(self.draws_in_epoch());
        for (corpus, draws) in counts.iter().enumerate() {
            plan.extend(self.run_of(corpus, offsets[corpus], *draws));
        }
        random::shuffle(&mut random::stream(self.seed, "draws", epoch as u64), &mut plan);
        for (corpus, draws) in counts.iter().enumerate() {
            if self.corpora[corpus].order.matters() {
                let mut ordered = self.run_of(corpus, offsets[corpus], *draws);
                let slots = plan.iter_mut().filter(|planned| planned.draw.corpus as usize == corpus);
                slots.for_each(|slot| *slot = ordered.next().unwrap_or(*slot));
            }
        }
        plan
    }

    /// Row by row from the account whose computation is furthest behind its share: each corpus with a budget has an account, and
    /// all others have one together, which the sampler divides.
    fn by_budget(&self, epoch: usize, offsets: &[u64]) -> Vec<Planned> {
        let budget = |corpus: &CorpusRows| corpus.budget.filter(|_| !corpus.candidates.is_empty());
        let draws = self.draws_in_epoch();
        let mut rest: Vec<f64> = self.epoch_draws.shares(epoch);
        let budgeted: Vec<usize> =
            (0..self.corpora.len()).filter(|c| budget(&self.corpora[*c]).is_some()).collect();
        budgeted.iter().for_each(|c| rest[*c] = 0.0);
        let rest = self.epoch_draws.divide(draws as u64, &rest);
        let mut unbudgeted: Vec<Planned> =
            rest.iter().enumerate().flat_map(|(c, draws)| self.run_of(c, offsets[c], *draws)).collect();
        random::shuffle(&mut random::stream(self.seed, "draws", epoch as u64), &mut unbudgeted);

        // The accounts: one a corpus with a budget, the last for all others.
        let shares: Vec<f64> = budgeted.iter().filter_map(|c| budget(&self.corpora[*c])).collect();
        let left = if unbudgeted.is_empty() { 0.0 } else { (1.0 - shares.iter().sum::<f64>()).max(0.0) };
        let mut sources: Vec<Box<dyn Iterator<Item = Planned> + '_>> = Vec::new();
        for c in &budgeted {
            sources.push(Box::new(self.run_of(*c, offsets[*c], draws as u64)));
        }
        sources.push(Box::new(unbudgeted.into_iter()));
        let shares = normalized(shares.into_iter().chain([left]).collect());
        let mut spent = vec![0.0; shares.len()];
        let mut plan = Vec::with_capacity(draws);
        while plan.len() < draws {
            let total: f64 = spent.iter().sum();
            let behind = |account: &usize| shares[*account] * total - spent[*account];
            let owed = (0..shares.len()).filter(|a| shares[*a] > 0.0);
            let Some(account) = owed.max_by(|a, b| behind(a).total_cmp(&behind(b)).then(b.cmp(a))) else {
                break;
            };
            // Only the rest can be at its end: it has fewer draws where there are no rows without a budget.
            let Some(planned) = sources[account].next() else { break };
            spent[account] += self.cost_of(planned.draw);
            plan.push(planned);
        }
        plan
    }

    /// `draws` draws of a corpus from number `begin` on, in the order of its passes.
    fn run_of(&self, corpus: usize, begin: u64, draws: u64) -> impl Iterator<Item = Planned> + '_ {
        let CorpusRows { candidates, tokens, .. } = &self.corpora[corpus];
        let size = candidates.len() as u64;
        let mut pass: Option<(u64, Vec<u32>)> = None;
        (begin..begin + if size == 0 { 0 } else { draws }).map(move |at| {
            let number = at / size;
            let (_, order) = match pass.take().filter(|(of, _)| *of == number) {
                Some(order) => pass.insert(order),
                None => pass.insert((number, self.order_of(corpus, number))),
            };
            let candidate = order[to_usize(at % size)] as usize;
            let draw = Draw { corpus: to_u32(corpus), row: candidates[candidate] };
            Planned { draw, tokens: tokens[candidate] }
        })
    }

    /// The order of one pass over a corpus.
    pub(super) fn order_of(&self, corpus: usize, pass: u64) -> Vec<u32> {
        let CorpusRows { name, candidates, order, .. } = &self.corpora[corpus];
        order.of_pass(candidates.len(), self.seed, name, pass)
    }

    /// The plan regrouped into packs of one corpus each, in random order.
    fn one_corpus_each(&self, plan: Vec<Planned>, epoch: usize) -> Vec<Planned> {
        let mut packs: Vec<Vec<Planned>> = Vec::new();
        let mut open: Vec<Option<(usize, usize)>> = vec![None; self.corpora.len()];
        for planned in plan {
            let corpus = planned.draw.corpus as usize;
            match &mut open[corpus] {
                Some((pack, tokens)) if *tokens + planned.tokens as usize <= self.packing.tokens => {
                    packs[*pack].push(planned);
                    *tokens += planned.tokens as usize;
                }
                slot => {
                    *slot = Some((packs.len(), planned.tokens as usize));
                    packs.push(vec![planned]);
                }
            }
        }
        let ordered = self.corpora.iter().any(|corpus| corpus.order.matters() || corpus.budget.is_some());
        if !ordered {
            random::shuffle(&mut random::stream(self.seed, "packs of one corpus", epoch as u64), &mut packs);
        }
        packs.concat()
    }

    /// How many packs it takes to go through all rows once.
    pub(super) fn packs_of_all_rows(&self) -> usize {
        let proportional = SamplerConfig::Proportional(Proportional {});
        let corpora = self.corpora.to_vec();
        let stream = PackStream::new(corpora, &proportional, 1, self.packing.clone(), self.seed);
        stream.packs_by_epoch().next().unwrap_or(0)
    }

    fn cost_of(&self, draw: Draw) -> f64 {
        let corpus = &self.corpora[draw.corpus as usize];
        corpus.candidates.binary_search(&draw.row).map_or(0.0, |candidate| corpus.cost(candidate))
    }
}
