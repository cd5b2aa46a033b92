//! Linear-chain conditional random field: scores whole tag sequences.
//!
//! With emissions `e` `[words, tags]`, transitions `T` `[tags, tags]` (from, to), start `s` and end `f` `[tags]`:
//!
//! `score(y) = s[y_1] + sum_t e[t, y_t] + sum_t T[y_t, y_t+1] + f[y_n]`, `p(y) = exp(score(y)) / Z`.
//!
//! `log Z` is exact (forward algorithm in log space); its gradient is the marginal probabilities (forward-backward);
//! the best tag sequence is found by Viterbi. Words without a gold tag are marginalized (Tsuboi et al. 2008, "Training
//! conditional random fields using incomplete annotations"): the loss is `log Z - log Z(sequences that agree with gold)`.
//!
//! Everything runs on the host in f64, rows in parallel, in a fixed order of summation. Cost: `2 tags^2` multiply-adds a
//! word for the loss, three times that with gradients.
//!
//! Paper: Lafferty, McCallum and Pereira 2001, "Conditional random fields".

use rayon::prelude::*;

use crate::targets::labels::IGNORE_INDEX;

/// Rows a parallel task takes at once; fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 8;

/// Start, transition and end scores, with precomputed factors.
#[derive(Debug, Clone)]
pub(crate) struct LinearChainCrf {
    tags: usize,
    start: Vec<f64>,
    end: Vec<f64>,
    transitions: Vec<f64>,
    /// `exp(transitions - shift)`: the products below run outside of log space, one `exp` and one `log` a tag.
    factors: Vec<f64>,
    shift: f64,
}

/// A loss summed over rows, with its gradients.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChainLoss {
    /// Negative log-likelihood, summed over the rows.
    pub sum: f64,
    /// `[words, tags]`
    pub emissions: Vec<f64>,
    /// `[tags]`
    pub start: Vec<f64>,
    /// `[tags, tags]`
    pub transitions: Vec<f64>,
    /// `[tags]`
    pub end: Vec<f64>,
}

/// Forward and backward scores of one row, `[words, tags]` each, in log space.
struct Tables {
    forward: Vec<f64>,
    backward: Vec<f64>,
    log_z: f64,
}

impl LinearChainCrf {
    /// A chain of `start.len()` tags; `transitions` is `[tags, tags]`, from row to column. Minus infinity forbids.
    pub fn new(start: Vec<f64>, transitions: Vec<f64>, end: Vec<f64>) -> Self {
        let tags = start.len();
        assert!(tags > 0 && end.len() == tags && transitions.len() == tags * tags, "shapes of one chain");
        let shift = maximum(&transitions);
        let shift = if shift.is_finite() { shift } else { 0.0 };
        let factors = transitions.iter().map(|t| (t - shift).exp()).collect();
        LinearChainCrf { tags, start, end, transitions, factors, shift }
    }

    /// A chain with all scores 0.
    pub fn neutral(tags: usize) -> Self {
        LinearChainCrf::new(vec![0.0; tags], vec![0.0; tags * tags], vec![0.0; tags])
    }

    /// The same chain, in which transitions are forbidden that `allowed(from, to)` refuses; `None` is the edge of the row.
    pub fn constrained(mut self, allowed: impl Fn(Option<usize>, Option<usize>) -> bool) -> Self {
        for i in 0..self.tags {
            if !allowed(None, Some(i)) {
                self.start[i] = f64::NEG_INFINITY;
            }
            if !allowed(Some(i), None) {
                self.end[i] = f64::NEG_INFINITY;
            }
            for j in 0..self.tags {
                if !allowed(Some(i), Some(j)) {
                    self.transitions[i * self.tags + j] = f64::NEG_INFINITY;
                }
            }
        }
        LinearChainCrf::new(self.start, self.transitions, self.end)
    }

    /// The logarithm of the sum over all tag sequences of `exp(score)`; 0 for no words. Only for tests: the loss and the
    /// marginals compute it themselves.
    #[cfg(test)]
    pub fn log_partition(&self, emissions: &[f64]) -> f64 {
        if emissions.is_empty() { 0.0 } else { self.tables(emissions).log_z }
    }

    /// The score of one tag sequence; 0 for no words.
    pub fn score(&self, emissions: &[f64], path: &[u32]) -> f64 {
        let (Some(first), Some(last)) = (path.first(), path.last()) else { return 0.0 };
        let words: f64 =
            path.iter().enumerate().map(|(t, tag)| emissions[t * self.tags + *tag as usize]).sum();
        let steps: f64 =
            path.windows(2).map(|w| self.transitions[w[0] as usize * self.tags + w[1] as usize]).sum();
        self.start[*first as usize] + words + steps + self.end[*last as usize]
    }

    /// The probability of each tag at each word, `[words, tags]`; `None` if every tag sequence is forbidden.
    pub fn marginals(&self, emissions: &[f64]) -> Option<Vec<f64>> {
        if emissions.is_empty() {
            return Some(Vec::new());
        }
        let tables = self.tables(emissions);
        tables.log_z.is_finite().then(|| tables.marginals())
    }

    /// The best tag sequence and its score; the lower tag if two are equal. `None` if every sequence is forbidden.
    pub fn viterbi(&self, emissions: &[f64]) -> Option<(Vec<u32>, f64)> {
        let k = self.tags;
        let words = emissions.len() / k;
        if words == 0 {
            return Some((Vec::new(), 0.0));
        }
        let mut best: Vec<f64> = (0..k).map(|j| self.start[j] + emissions[j]).collect();
        let mut from = vec![0u32; words * k];
        for t in 1..words {
            let mut next = vec![f64::NEG_INFINITY; k];
            for (i, score) in best.iter().enumerate() {
                for j in 0..k {
                    let candidate = score + self.transitions[i * k + j];
                    if candidate > next[j] {
                        next[j] = candidate;
                        from[t * k + j] = i as u32;
                    }
                }
            }
            for j in 0..k {
                next[j] += emissions[t * k + j];
            }
            best = next;
        }
        let mut tag = 0;
        let mut score = f64::NEG_INFINITY;
        for (j, value) in best.iter().enumerate() {
            if value + self.end[j] > score {
                (tag, score) = (j, value + self.end[j]);
            }
        }
        if score == f64::NEG_INFINITY {
            return None;
        }
        let mut path = vec![tag as u32; words];
        for t in (1..words).rev() {
            path[t - 1] = from[t * k + path[t] as usize];
        }
        Some((path, score))
    }

    /// The negative log-likelihood of gold tags ([`IGNORE_INDEX`] where unknown), summed over rows, with gradients.
    ///
    /// `rows` are word offsets (rows + 1 of them) into `emissions` `[words, tags]` and `gold` `[words]`.
    pub fn loss(&self, emissions: &[f64], rows: &[usize], gold: &[u32]) -> ChainLoss {
        let k = self.tags;
        let parts: Vec<ChainLoss> = rows[..rows.len() - 1]
            .par_chunks(CHUNK)
            .enumerate()
            .map(|(chunk, starts)| {
                let first = chunk * CHUNK;
                let ends = &rows[first + 1..first + 1 + starts.len()];
                let mut part = ChainLoss::zeros(0, k);
                for (start, end) in starts.iter().zip(ends) {
                    self.row_loss(&emissions[start * k..end * k], &gold[*start..*end], &mut part);
                }
                part
            })
            .collect();
        let mut total = ChainLoss::zeros(emissions.len(), k);
        total.emissions.clear();
        for part in parts {
            total.sum += part.sum;
            total.emissions.extend(part.emissions);
            add(&mut total.start, &part.start);
            add(&mut total.transitions, &part.transitions);
            add(&mut total.end, &part.end);
        }
        total
    }

    /// Adds the loss of one row, and appends its emission gradients.
    fn row_loss(&self, emissions: &[f64], gold: &[u32], out: &mut ChainLoss) {
        let k = self.tags;
        if gold.is_empty() {
            return;
        }
        let begin = out.emissions.len();
        out.emissions.resize(begin + emissions.len(), 0.0);
        let free = self.tables(emissions);
        self.count(emissions, &free, 1.0, begin, out);
        if gold.contains(&IGNORE_INDEX) {
            let known: Vec<f64> = emissions
                .iter()
                .enumerate()
                .map(|(i, e)| match gold[i / k] {
                    IGNORE_INDEX => *e,
                    tag if tag as usize == i % k => *e,
                    _ => f64::NEG_INFINITY,
                })
                .collect();
            let agreeing = self.tables(&known);
            out.sum += free.log_z - agreeing.log_z;
            self.count(&known, &agreeing, -1.0, begin, out);
        } else {
            out.sum += free.log_z - self.score(emissions, gold);
            for (t, tag) in gold.iter().enumerate() {
                out.emissions[begin + t * k + *tag as usize] -= 1.0;
            }
            for w in gold.windows(2) {
                out.transitions[w[0] as usize * k + w[1] as usize] -= 1.0;
            }
            out.start[gold[0] as usize] -= 1.0;
            out.end[gold[gold.len() - 1] as usize] -= 1.0;
        }
    }

    /// Adds `sign` times the expected counts (the gradient of `log Z`) of one row; its emissions begin at `begin`.
    fn count(&self, emissions: &[f64], tables: &Tables, sign: f64, begin: usize, out: &mut ChainLoss) {
        let k = self.tags;
        let marginals = tables.marginals();
        let words = marginals.len() / k;
        out.emissions[begin..].iter_mut().zip(&marginals).for_each(|(o, m)| *o += sign * m);
        out.start.iter_mut().zip(&marginals).for_each(|(o, m)| *o += sign * m);
        out.end.iter_mut().zip(&marginals[(words - 1) * k..]).for_each(|(o, m)| *o += sign * m);
        // p(i at t-1, j at t) = exp(forward + T + e + backward - log Z), factored into a column times a row.
        let mut after = vec![0.0; k];
        for t in 1..words {
            let before = &tables.forward[(t - 1) * k..t * k];
            let shift_before = maximum(before);
            for (j, a) in after.iter_mut().enumerate() {
                *a = emissions[t * k + j] + tables.backward[t * k + j];
            }
            let shift_after = maximum(&after);
            after.iter_mut().for_each(|a| *a = exp_from(*a, shift_after));
            let scale = sign * (shift_before + shift_after + self.shift - tables.log_z).exp();
            for (i, b) in before.iter().enumerate() {
                let weight = scale * exp_from(*b, shift_before);
                if weight != 0.0 {
                    let factors = &self.factors[i * k..(i + 1) * k];
                    let sums = &mut out.transitions[i * k..(i + 1) * k];
                    for ((sum, factor), a) in sums.iter_mut().zip(factors).zip(&after) {
                        *sum += weight * factor * a;
                    }
                }
            }
        }
    }

    /// Forward and backward scores of one row of at least one word.
    fn tables(&self, emissions: &[f64]) -> Tables {
        let k = self.tags;
        let words = emissions.len() / k;
        let mut forward = vec![0.0; words * k];
        let mut backward = vec![0.0; words * k];
        let mut weights = vec![0.0; k];
        for j in 0..k {
            forward[j] = self.start[j] + emissions[j];
        }
        for t in 1..words {
            let (done, rest) = forward.split_at_mut(t * k);
            let (before, now) = (&done[(t - 1) * k..], &mut rest[..k]);
            let shift = maximum(before);
            now.fill(0.0);
            for (i, b) in before.iter().enumerate() {
                let weight = exp_from(*b, shift);
                if weight != 0.0 {
                    let factors = &self.factors[i * k..(i + 1) * k];
                    now.iter_mut().zip(factors).for_each(|(n, f)| *n += weight * f);
                }
            }
            for (j, n) in now.iter_mut().enumerate() {
                *n = n.ln() + shift + self.shift + emissions[t * k + j];
            }
        }
        backward[(words - 1) * k..].copy_from_slice(&self.end);
        for t in (0..words - 1).rev() {
            let (head, tail) = backward.split_at_mut((t + 1) * k);
            for (j, w) in weights.iter_mut().enumerate() {
                *w = emissions[(t + 1) * k + j] + tail[j];
            }
            let shift = maximum(&weights);
            weights.iter_mut().for_each(|w| *w = exp_from(*w, shift));
            for (i, b) in head[t * k..].iter_mut().enumerate() {
                let factors = &self.factors[i * k..(i + 1) * k];
                let sum: f64 = factors.iter().zip(&weights).map(|(f, w)| f * w).sum();
                *b = sum.ln() + shift + self.shift;
            }
        }
        let last: Vec<f64> = forward[(words - 1) * k..].iter().zip(&self.end).map(|(a, e)| a + e).collect();
        Tables { log_z: log_sum_exp(&last), forward, backward }
    }
}

impl Tables {
    /// `p(tag at word)`, `[words, tags]`.
    fn marginals(&self) -> Vec<f64> {
        self.forward.iter().zip(&self.backward).map(|(a, b)| (a + b - self.log_z).exp()).collect()
    }
}

impl ChainLoss {
    fn zeros(emissions: usize, tags: usize) -> Self {
        ChainLoss {
            sum: 0.0,
            emissions: vec![0.0; emissions],
            start: vec![0.0; tags],
            transitions: vec![0.0; tags * tags],
            end: vec![0.0; tags],
        }
    }
}

fn add(to: &mut [f64], from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
}

fn maximum(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// `exp(value - shift)`, 0 where all values are minus infinity.
fn exp_from(value: f64, shift: f64) -> f64 {
    if shift == f64::NEG_INFINITY { 0.0 } else { (value - shift).exp() }
}

fn log_sum_exp(values: &[f64]) -> f64 {
    let shift = maximum(values);
    if shift == f64::NEG_INFINITY {
        return values.iter().sum(); // minus infinity, or NaN if one is: that must not get lost
    }
    shift + values.iter().map(|v| (v - shift).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests;
