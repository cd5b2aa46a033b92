//! How many rows each epoch draws from each corpus.

use std::sync::Arc;

use crate::cast::whole_part;
use crate::{
    CorpusRows, SamplerConfig,
    sampler::{Epoch, normalized},
};

/// The draws of an epoch from one corpus.
#[derive(Debug, Clone, PartialEq)]
pub struct CorpusDraws {
    /// The corpus.
    pub corpus: Arc<str>,
    /// The number of its rows that are worth drawing.
    pub rows: usize,
    /// Its probability under the sampler.
    pub share: f64,
    /// The epoch's draws from it: its share of all draws as a whole number.
    pub draws: u64,
}

/// The number of draws of every epoch from each corpus: a function of the corpora, the sampler and the epoch alone.
#[derive(Debug, Clone)]
pub(crate) struct EpochDraws {
    sampler: SamplerConfig,
    /// `[corpora]`
    rows: Vec<usize>,
    /// `[corpora]`
    importance: Vec<f64>,
    epochs: usize,
}

impl EpochDraws {
    /// The draws of a run of `epochs` epochs.
    pub(crate) fn new(corpora: &[CorpusRows], sampler: &SamplerConfig, epochs: usize) -> EpochDraws {
        EpochDraws {
            sampler: sampler.clone(),
            rows: corpora.iter().map(|corpus| corpus.candidates.len()).collect(),
            importance: corpora.iter().map(|corpus| corpus.importance).collect(),
            epochs,
        }
    }

    /// How many epochs the run has.
    pub(crate) fn epochs(&self) -> usize {
        self.epochs
    }

    /// `[corpora]` shares of an epoch's draws.
    pub(crate) fn shares(&self, epoch: usize) -> Vec<f64> {
        let EpochDraws { sampler, rows, importance, epochs } = self;
        sampler.shares(&Epoch { index: epoch, epochs: *epochs, rows, importance })
    }

    /// `[corpora]` draws of an epoch.
    pub(crate) fn counts(&self, epoch: usize) -> Vec<u64> {
        apportion(self.rows.iter().sum::<usize>() as u64, &self.shares(epoch))
    }

    /// `[corpora]` `total` draws divided by shares, which need not sum to 1.
    pub(crate) fn divide(&self, total: u64, shares: &[f64]) -> Vec<u64> {
        apportion(total, &normalized(shares.to_vec()))
    }

    /// The sampler.
    pub(crate) fn sampler(&self) -> &SamplerConfig {
        &self.sampler
    }

    /// `[corpora]` the importance of each.
    pub(crate) fn importance(&self) -> &[f64] {
        &self.importance
    }
}

/// Whole numbers near `total * shares` that sum to `total` (largest remainder; the first of equals). All zero when the
/// shares are.
fn apportion(total: u64, shares: &[f64]) -> Vec<u64> {
    if shares.iter().sum::<f64>() <= 0.0 {
        return vec![0; shares.len()];
    }
    let exact: Vec<f64> = shares.iter().map(|share| share * total as f64).collect();
    let mut counts: Vec<u64> = exact.iter().map(|x| whole_part(*x) as u64).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{random, sampler};

    #[test]
    fn whole_numbers_sum_to_the_total_and_lie_next_to_the_shares() {
        let mut rng = random::stream(4, "apportion", 0);
        for _ in 0..500 {
            let corpora = 1 + random::uniform_below(&mut rng, 7) as usize;
            let sizes: Vec<u64> = (0..corpora).map(|_| random::uniform_below(&mut rng, 1_000)).collect();
            let (sum, total) = (sizes.iter().sum::<u64>(), random::uniform_below(&mut rng, 10_000));
            let shares: Vec<f64> = sizes.iter().map(|&n| n as f64 / sum.max(1) as f64).collect();
            let counts = apportion(total, &shares);
            assert_eq!(counts.iter().sum::<u64>(), if sum > 0 { total } else { 0 });
            for (count, share) in counts.iter().zip(&shares) {
                assert!((*count as f64 - share * total as f64).abs() < 1.0 + 1e-9, "{counts:?} {shares:?}");
                assert!(*share > 0.0 || *count == 0);
            }
        }
    }

    #[test]
    fn an_epoch_after_the_other() {
        let corpus =
            |name: &str, rows: u32| CorpusRows::new(name, (0..rows).collect(), vec![1; rows as usize]);
        let corpora = [corpus("large", 900), corpus("none", 0), corpus("small", 100)];
        let draws = EpochDraws::new(&corpora, &SamplerConfig::Annealed(sampler::Annealed {}), 3);
        let epochs: Vec<Vec<u64>> = (0..3).map(|epoch| draws.counts(epoch)).collect();
        assert_eq!(epochs, [[900, 0, 100], [789, 0, 211], [608, 0, 392]]);
    }
}
