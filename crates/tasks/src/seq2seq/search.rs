//! Writing texts token by token: the most probable token each time, several texts at once (beam search), or drawn ones.
//!
//! Beam search is that of transformers (`early_stopping = False`): of each step's `2 beams` best continuations those among the
//! first `beams` that end are finished, the best `beams` others go on; a text is done when its best open one, at its present
//! length, would not be among the best `beams` finished.

use data::random;
use rayon::prelude::*;

use super::decoding::{Decoding, Sampling};

/// A text as it was written.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Written {
    /// Without the tokens that begin and end it.
    pub tokens: Vec<u32>,
    /// The sum of the tokens' log-probabilities, that of the end among them.
    pub log_probability: f32,
    /// How many tokens that is the sum of.
    pub steps: usize,
}

/// A text that goes on.
#[derive(Debug, Clone)]
struct Open {
    tokens: Vec<u32>,
    log_probability: f32,
    /// Its place in the step before.
    place: u32,
}

/// The texts of one row.
struct Row {
    /// What decides its draws.
    number: u64,
    open: Vec<Open>,
    /// With their scores, the best first.
    finished: Vec<(f32, Written)>,
    done: bool,
}

/// How a token goes on with a text.
#[derive(Debug, Clone, Copy)]
struct Continuation {
    log_probability: f32,
    open: usize,
    token: u32,
}

/// Writes a text for each of the rows `numbers`. `next(from, ids)` gives the scores `[texts, vocabulary]` of what follows when
/// text `i` goes on from text `from[i]` of its last call (at first: of row `from[i]`) with token `ids[i]`.
pub(crate) fn search(
    numbers: &[u64],
    rules: &Decoding,
    [start, end]: [u32; 2],
    mut next: impl FnMut(&[u32], &[u32]) -> Vec<f32>,
) -> Vec<Written> {
    let begin = |place| Open { tokens: vec![start], log_probability: 0.0, place };
    let row = |(place, number): (u32, &u64)| Row {
        number: *number,
        open: vec![begin(place)],
        finished: Vec::new(),
        done: false,
    };
    let mut rows: Vec<Row> = (0..).zip(numbers).map(row).collect();
    while rows.iter().any(|row| !row.done) {
        let open = || rows.iter().filter(|row| !row.done).flat_map(|row| &row.open);
        let from: Vec<u32> = open().map(|text| text.place).collect();
        let ids: Vec<u32> = open().map(|text| text.tokens[text.tokens.len() - 1]).collect();
        let scores = next(&from, &ids);
        let width = scores.len() / ids.len();
        let mut place = 0;
        let mut parts = Vec::new();
        for row in rows.iter_mut().filter(|row| !row.done) {
            let begin = place;
            place += row.open.len();
            parts.push((begin, row));
        }
        parts.into_par_iter().for_each(|(begin, row)| {
            let scores = &scores[begin * width..][..row.open.len() * width];
            (0..).zip(&mut row.open).for_each(|(i, text)| text.place = begin as u32 + i);
            match &rules.sample {
                Some(sampling) => row.draw(scores, rules, sampling, end),
                None => row.follow(scores, rules, end),
            }
        });
    }
    let best = |row: Row| row.finished.into_iter().next().map(|(_, text)| text).unwrap_or_default();
    rows.into_iter().map(best).collect()
}

impl Row {
    /// Goes on with the best continuations.
    fn follow(&mut self, scores: &[f32], rules: &Decoding, end: u32) {
        let width = scores.len() / self.open.len();
        let length = self.open[0].tokens.len();
        let mut best: Vec<Continuation> = Vec::new();
        for (open, (text, scores)) in self.open.iter().zip(scores.chunks_exact(width)).enumerate() {
            let mut scores = scores.to_vec();
            log_softmax(&mut scores);
            forbid(&mut scores, &text.tokens, rules, end);
            let of = |(token, score): (u32, &f32)| Continuation {
                log_probability: text.log_probability + score,
                open,
                token,
            };
            best.extend((0..).zip(&scores).map(of));
            keep_best(&mut best, 2 * rules.beams);
        }
        let last = length == rules.max_length;
        let mut open = Vec::new();
        for (rank, continuation) in best.into_iter().enumerate() {
            let ends = last || continuation.token == end;
            let text = &self.open[continuation.open];
            if ends && rank < rules.beams {
                self.finish(text.clone(), continuation, end, rules);
            } else if !ends && open.len() < rules.beams {
                let mut text = text.clone();
                text.tokens.push(continuation.token);
                text.log_probability = continuation.log_probability;
                open.push(text);
            }
        }
        self.open = open;
        let full = self.finished.len() == rules.beams;
        let score_now = |text: &Open| text.log_probability / penalty(length, rules);
        self.done = match (self.open.first(), self.finished.last()) {
            (None, _) => true,
            // With one beam the first end is the end: nothing else is followed.
            (Some(_), Some(_)) if rules.beams == 1 => true,
            (Some(best), Some((worst, _))) => full && score_now(best) <= *worst,
            (Some(_), None) => false,
        };
    }

    /// Puts a text that ends among the finished ones.
    fn finish(&mut self, text: Open, by: Continuation, end: u32, rules: &Decoding) {
        let steps = text.tokens.len();
        let score = by.log_probability / penalty(steps, rules);
        let mut tokens = text.tokens;
        tokens.remove(0);
        tokens.extend((by.token != end).then_some(by.token));
        let written = Written { tokens, log_probability: by.log_probability, steps };
        let place = self.finished.partition_point(|(other, _)| *other >= score);
        self.finished.insert(place, (score, written));
        self.finished.truncate(rules.beams);
    }

    /// Goes on with a token that is drawn.
    fn draw(&mut self, scores: &[f32], rules: &Decoding, sampling: &Sampling, end: u32) {
        let mut text = self.open.remove(0);
        let mut own = scores.to_vec();
        log_softmax(&mut own);
        forbid(&mut own, &text.tokens, rules, end);
        let token = drawn(&own, sampling, self.number, text.tokens.len());
        let log_probability = text.log_probability + own[token as usize];
        if token == end || text.tokens.len() == rules.max_length {
            self.finish(text, Continuation { log_probability, open: 0, token }, end, rules);
            self.done = true;
        } else {
            text.tokens.push(token);
            text.log_probability = log_probability;
            self.open.push(text);
        }
    }
}

/// What log-probabilities of texts of so many tokens are divided by.
fn penalty(length: usize, rules: &Decoding) -> f32 {
    (length as f32).powf(rules.length_penalty)
}

fn log_softmax(scores: &mut [f32]) {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = scores.iter().map(|score| (score - most).exp()).sum();
    let all = most + sum.ln();
    scores.iter_mut().for_each(|score| *score -= all);
}

/// Takes the probability from what may not follow: the end of a text that is too short, and n-grams that are there already.
fn forbid(scores: &mut [f32], tokens: &[u32], rules: &Decoding, end: u32) {
    if tokens.len() <= rules.min_length {
        scores[end as usize] = f32::NEG_INFINITY;
    }
    let n = rules.no_repeat_ngram;
    if n > 0 && tokens.len() + 1 >= n {
        let begin = &tokens[tokens.len() + 1 - n..];
        for ngram in tokens.windows(n).filter(|ngram| ngram[..n - 1] == *begin) {
            scores[ngram[n - 1] as usize] = f32::NEG_INFINITY;
        }
    }
}

/// Keeps the best continuations, best first; of equals those that came first.
fn keep_best(found: &mut Vec<Continuation>, count: usize) {
    let order = |a: &Continuation, b: &Continuation| {
        b.log_probability.total_cmp(&a.log_probability).then((a.open, a.token).cmp(&(b.open, b.token)))
    };
    if found.len() > count {
        found.select_nth_unstable_by(count, order);
        found.truncate(count);
    }
    found.sort_unstable_by(order);
}

/// A token by its probability after temperature, `top_k` and `top_p`.
fn drawn(log_probabilities: &[f32], sampling: &Sampling, row: u64, step: usize) -> u32 {
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
    let mut rng = random::stream(random::seed_of(sampling.seed, "drawn tokens", row), "step", step as u64);
    let mut left = random::unit(&mut rng) as f32 * kept.iter().sum::<f32>();
    let place = kept.iter().position(|p| {
        left -= p;
        left < 0.0
    });
    tokens[place.unwrap_or(kept.len() - 1)].0
}
