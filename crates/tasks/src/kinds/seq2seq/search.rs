//! Decodes texts token by token: greedy search, beam search, or sampling.
//!
//! Beam search is that of transformers (`early_stopping = False`): of each step's `2 beams` best candidates those among the
//! first `beams` that end are finished hypotheses, and the best `beams` others stay in the beam. A row is done when its best
//! unfinished text, at its present length, would not be among the best `beams` finished ones.

use data::random;
use rayon::prelude::*;

use super::decoding::{Decoding, Sampling};

/// A finished text.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Hypothesis {
    /// Its tokens without the start token and the end token.
    pub tokens: Vec<u32>,
    /// The sum of the tokens' log-probabilities, that of the end token included.
    pub log_probability: f32,
    /// The number of summands of that sum.
    pub steps: usize,
}

/// An unfinished text.
#[derive(Debug, Clone)]
struct Beam {
    tokens: Vec<u32>,
    log_probability: f32,
    /// Its index among the texts of the step before.
    index: u32,
}

/// The texts of one row.
struct Row {
    /// The index of the row, which seeds its sampling.
    index: u64,
    beams: Vec<Beam>,
    /// Hypotheses with their scores, the best first.
    finished: Vec<(f32, Hypothesis)>,
    done: bool,
}

/// An unfinished text extended by one token.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    log_probability: f32,
    /// The index of the text in [`Row::beams`].
    beam: usize,
    token: u32,
}

/// The best text of each row; `rows` are the rows' indices. `next(from, ids)` gives the logits `[texts, vocabulary]` of the next
/// token when text `i` extends text `from[i]` of the call before (in the first call: begins row `from[i]`) by token `ids[i]`.
pub(crate) fn search(
    rows: &[u64],
    settings: &Decoding,
    [start, end]: [u32; 2],
    mut next: impl FnMut(&[u32], &[u32]) -> Vec<f32>,
) -> Vec<Hypothesis> {
    let begin = |index| Beam { tokens: vec![start], log_probability: 0.0, index };
    let row = |(beam, index): (u32, &u64)| Row {
        index: *index,
        beams: vec![begin(beam)],
        finished: Vec::new(),
        done: false,
    };
    let mut rows: Vec<Row> = (0..).zip(rows).map(row).collect();
    while rows.iter().any(|row| !row.done) {
        let beams = || rows.iter().filter(|row| !row.done).flat_map(|row| &row.beams);
        let from: Vec<u32> = beams().map(|beam| beam.index).collect();
        let ids: Vec<u32> = beams().map(|beam| beam.tokens[beam.tokens.len() - 1]).collect();
        let logits = next(&from, &ids);
        let width = logits.len() / ids.len();
        let mut texts = 0;
        let mut parts = Vec::new();
        for row in rows.iter_mut().filter(|row| !row.done) {
            let begin = texts;
            texts += row.beams.len();
            parts.push((begin, row));
        }
        parts.into_par_iter().for_each(|(begin, row)| {
            let logits = &logits[begin * width..][..row.beams.len() * width];
            (0..).zip(&mut row.beams).for_each(|(i, beam)| beam.index = begin as u32 + i);
            match &settings.sample {
                Some(sampling) => row.sample(logits, settings, sampling, end),
                None => row.expand(logits, settings, end),
            }
        });
    }
    let best = |row: Row| row.finished.into_iter().next().map(|(_, text)| text).unwrap_or_default();
    rows.into_iter().map(best).collect()
}

impl Row {
    /// One step of beam search: keeps the best candidates.
    fn expand(&mut self, logits: &[f32], settings: &Decoding, end: u32) {
        let width = logits.len() / self.beams.len();
        let length = self.beams[0].tokens.len();
        let mut best: Vec<Candidate> = Vec::new();
        for (beam, (text, logits)) in self.beams.iter().zip(logits.chunks_exact(width)).enumerate() {
            let mut scores = logits.to_vec();
            log_softmax(&mut scores);
            forbid(&mut scores, &text.tokens, settings, end);
            let of = |(token, score): (u32, &f32)| Candidate {
                log_probability: text.log_probability + score,
                beam,
                token,
            };
            best.extend((0..).zip(&scores).map(of));
            keep_best(&mut best, 2 * settings.beams);
        }
        let last = length == settings.max_length;
        let mut beams = Vec::new();
        for (rank, candidate) in best.into_iter().enumerate() {
            let ends = last || candidate.token == end;
            let text = &self.beams[candidate.beam];
            if ends && rank < settings.beams {
                self.finish(text.clone(), candidate, end, settings);
            } else if !ends && beams.len() < settings.beams {
                let mut text = text.clone();
                text.tokens.push(candidate.token);
                text.log_probability = candidate.log_probability;
                beams.push(text);
            }
        }
        self.beams = beams;
        let full = self.finished.len() == settings.beams;
        let score_now = |text: &Beam| text.log_probability / penalty(length, settings);
        self.done = match (self.beams.first(), self.finished.last()) {
            (None, _) => true,
            // With one beam the search stops at the first end token.
            (Some(_), Some(_)) if settings.beams == 1 => true,
            (Some(best), Some((worst, _))) => full && score_now(best) <= *worst,
            (Some(_), None) => false,
        };
    }

    /// Adds a text that ends with a candidate to the finished hypotheses.
    fn finish(&mut self, text: Beam, by: Candidate, end: u32, settings: &Decoding) {
        let steps = text.tokens.len();
        let score = by.log_probability / penalty(steps, settings);
        let mut tokens = text.tokens;
        tokens.remove(0);
        tokens.extend((by.token != end).then_some(by.token));
        let hypothesis = Hypothesis { tokens, log_probability: by.log_probability, steps };
        let rank = self.finished.partition_point(|(other, _)| *other >= score);
        self.finished.insert(rank, (score, hypothesis));
        self.finished.truncate(settings.beams);
    }

    /// Extends the text by a sampled token.
    fn sample(&mut self, logits: &[f32], settings: &Decoding, sampling: &Sampling, end: u32) {
        let mut text = self.beams.remove(0);
        let mut scores = logits.to_vec();
        log_softmax(&mut scores);
        forbid(&mut scores, &text.tokens, settings, end);
        let token = sampled_token(&scores, sampling, self.index, text.tokens.len());
        let log_probability = text.log_probability + scores[token as usize];
        if token == end || text.tokens.len() == settings.max_length {
            self.finish(text, Candidate { log_probability, beam: 0, token }, end, settings);
            self.done = true;
        } else {
            text.tokens.push(token);
            text.log_probability = log_probability;
            self.beams.push(text);
        }
    }
}

/// The length penalty: the divisor of the log-probability of a text of `length` tokens.
fn penalty(length: usize, settings: &Decoding) -> f32 {
    (length as f32).powf(settings.length_penalty)
}

fn log_softmax(scores: &mut [f32]) {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = scores.iter().map(|score| (score - most).exp()).sum();
    let all = most + sum.ln();
    scores.iter_mut().for_each(|score| *score -= all);
}

/// Gives probability 0 to the end token of a text that is too short, and to tokens that would repeat an n-gram.
fn forbid(scores: &mut [f32], tokens: &[u32], settings: &Decoding, end: u32) {
    if tokens.len() <= settings.min_length {
        scores[end as usize] = f32::NEG_INFINITY;
    }
    let n = settings.no_repeat_ngram;
    if n > 0 && tokens.len() + 1 >= n {
        let begin = &tokens[tokens.len() + 1 - n..];
        for ngram in tokens.windows(n).filter(|ngram| ngram[..n - 1] == *begin) {
            scores[ngram[n - 1] as usize] = f32::NEG_INFINITY;
        }
    }
}

/// Keeps the best candidates, the best first; among equals the earlier text and the lower token.
fn keep_best(found: &mut Vec<Candidate>, count: usize) {
    let order = |a: &Candidate, b: &Candidate| {
        b.log_probability.total_cmp(&a.log_probability).then((a.beam, a.token).cmp(&(b.beam, b.token)))
    };
    if found.len() > count {
        found.select_nth_unstable_by(count, order);
        found.truncate(count);
    }
    found.sort_unstable_by(order);
}

/// A token sampled after temperature, `top_k` and `top_p`.
fn sampled_token(log_probabilities: &[f32], sampling: &Sampling, row: u64, step: usize) -> u32 {
    let mut tokens: Vec<(u32, f32)> = (0..).zip(log_probabilities.iter().copied()).collect();
    tokens.iter_mut().for_each(|(_, score)| *score /= sampling.temperature);
    tokens.sort_unstable_by(|(i, a), (j, b)| b.total_cmp(a).then(i.cmp(j)));
    if sampling.top_k > 0 {
        tokens.truncate(sampling.top_k);
    }
    let mut probabilities: Vec<f32> = tokens.iter().map(|(_, score)| *score).collect();
    log_softmax(&mut probabilities);
    probabilities.iter_mut().for_each(|p| *p = p.exp());
    let mut sum = 0.0;
    let enough = probabilities.iter().position(|p| {
        sum += p;
        sum >= sampling.top_p
    });
    let kept = &probabilities[..enough.map_or(probabilities.len(), |last| last + 1)];
    let seed = random::derive_seed(sampling.seed, "drawn tokens", row);
    let mut rng = random::stream(seed, "step", step as u64);
    let mut left = random::uniform01(&mut rng) as f32 * kept.iter().sum::<f32>();
    let index = kept.iter().position(|p| {
        left -= p;
        left < 0.0
    });
    tokens[index.unwrap_or(kept.len() - 1)].0
}
