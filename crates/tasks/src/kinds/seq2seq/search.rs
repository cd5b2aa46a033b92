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
    /// Its tokens without the prompt and the end token.
    pub tokens: Vec<u32>,
    /// The sum of the tokens' log-probabilities, that of the end token included.
    pub log_probability: f32,
    /// The number of summands of that sum.
    pub steps: usize,
}

/// What a text is written after.
#[derive(Debug, Clone)]
pub(crate) struct Prompt {
    /// The index of the row, which seeds its sampling.
    pub row: u64,
    /// At least one token: of an encoder-decoder the start token, else the tokens that are read.
    pub tokens: Vec<u32>,
}

/// The tokens that end a text, and whether what is written does.
pub(crate) type Ends<'a> = (&'a [u32], &'a (dyn Fn(&[u32]) -> bool + Sync));

/// An unfinished text.
#[derive(Debug, Clone)]
struct Beam {
    /// Those of the prompt, and what was written.
    tokens: Vec<u32>,
    log_probability: f32,
    /// Its index among the texts of the step before.
    index: u32,
}

/// The texts of one row.
struct Row {
    /// The index of the row, which seeds its sampling.
    index: u64,
    /// Tokens of the prompt.
    prompt: usize,
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

/// The best text of each prompt. `next(from, ids)` gives the logits `[texts, vocabulary]` of the next token when text `i` extends text
/// `from[i]` of the call before (in the first call: prompt `from[i]`, whose last token comes with it) by token `ids[i]`. Each of `ends` ends
/// a text, and so does a token after which `stops` is true of what was written.
pub(crate) fn search(
    prompts: Vec<Prompt>,
    settings: &Decoding,
    ends: &[u32],
    stops: &(dyn Fn(&[u32]) -> bool + Sync),
    mut next: impl FnMut(&[u32], &[u32]) -> Vec<f32>,
) -> Vec<Hypothesis> {
    let row = |(index, Prompt { row, tokens }): (u32, Prompt)| Row {
        index: row,
        prompt: tokens.len(),
        beams: vec![Beam { tokens, log_probability: 0.0, index }],
        finished: Vec::new(),
        done: false,
    };
    let mut rows: Vec<Row> = (0..).zip(prompts).map(row).collect();
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
                Some(sampling) => row.sample(logits, settings, sampling, (ends, stops)),
                None => row.expand(logits, settings, (ends, stops)),
            }
        });
    }
    let best = |row: Row| row.finished.into_iter().next().map(|(_, text)| text).unwrap_or_default();
    rows.into_iter().map(best).collect()
}

impl Row {
    /// One step of beam search: keeps the best candidates.
    fn expand(&mut self, logits: &[f32], settings: &Decoding, (ends, stops): Ends<'_>) {
        let width = logits.len() / self.beams.len();
        let length = self.next_length(&self.beams[0]);
        let mut best: Vec<Candidate> = Vec::new();
        for (beam, (text, logits)) in self.beams.iter().zip(logits.chunks_exact(width)).enumerate() {
            let mut scores = logits.to_vec();
            log_softmax(&mut scores);
            forbid(&mut scores, &text.tokens, self.next_length(text), settings, ends);
            let of = |(token, score): (u32, &f32)| Candidate {
                log_probability: text.log_probability + score,
                beam,
                token,
            };
            best.extend((0..).zip(&scores).map(of));
            keep_best(&mut best, (1 + ends.len()).max(2) * settings.beams);
        }
        let last = length == settings.max_length;
        let mut beams = Vec::new();
        for (rank, candidate) in best.into_iter().enumerate() {
            let text = &self.beams[candidate.beam];
            let is_end =
                last || ends.contains(&candidate.token) || stops(&self.written(text, candidate.token));
            if is_end && rank < settings.beams {
                self.finish(text.clone(), candidate, ends, settings);
            } else if !is_end && beams.len() < settings.beams {
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

    /// What is written of a text with one more token.
    fn written(&self, text: &Beam, token: u32) -> Vec<u32> {
        text.tokens[self.prompt..].iter().copied().chain([token]).collect()
    }

    /// The tokens that a text will have beside the prompt when one more is written.
    fn next_length(&self, text: &Beam) -> usize {
        text.tokens.len() - self.prompt + 1
    }

    /// Adds a text that ends with a candidate to the finished hypotheses.
    fn finish(&mut self, text: Beam, by: Candidate, ends: &[u32], settings: &Decoding) {
        let steps = self.next_length(&text);
        let score = by.log_probability / penalty(steps, settings);
        let mut tokens = text.tokens[self.prompt..].to_vec();
        tokens.extend((!ends.contains(&by.token)).then_some(by.token));
        let hypothesis = Hypothesis { tokens, log_probability: by.log_probability, steps };
        let rank = self.finished.partition_point(|(other, _)| *other >= score);
        self.finished.insert(rank, (score, hypothesis));
        self.finished.truncate(settings.beams);
    }

    /// Extends the text by a sampled token.
    fn sample(&mut self, logits: &[f32], settings: &Decoding, sampling: &Sampling, (ends, stops): Ends<'_>) {
        let mut text = self.beams.remove(0);
        let length = self.next_length(&text);
        let mut scores = logits.to_vec();
        log_softmax(&mut scores);
        forbid(&mut scores, &text.tokens, length, settings, ends);
        let token = sampled_token(&scores, sampling, self.index, length);
        let log_probability = text.log_probability + scores[token as usize];
        if ends.contains(&token) || length == settings.max_length || stops(&self.written(&text, token)) {
            self.finish(text, Candidate { log_probability, beam: 0, token }, ends, settings);
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

/// Gives probability 0 to the end tokens of a text that would be too short with `length` tokens, and to tokens that would repeat an
/// n-gram, of the prompt too.
fn forbid(scores: &mut [f32], tokens: &[u32], length: usize, settings: &Decoding, ends: &[u32]) {
    if length <= settings.min_length {
        ends.iter().for_each(|end| scores[*end as usize] = f32::NEG_INFINITY);
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
