//! A parser as a teacher: its scores of arcs and relations for the words of a row, and the loss of a student at them.
//!
//! The answer to a row of `w` words, up to the last one that has a token, and `r` relations: for each word the `1 + w` logits of its
//! heads, the root first; then for each word its most probable head; then for each word the logits of its relation to that head, `r`.
//! What the teacher has no token for is [`MISSING`].

use std::ops::Range;

use burn::tensor::Tensor;
use model::Parameters;

use super::biaffine::{Biaffine, Words, length_groups};
use super::decoding::PresentWords;
use crate::distillation::{MISSING, SoftLoss, TaughtRow};
use crate::heads::head::{self, to_host_vec};
use crate::losses::soft;

/// How many words an answer of this length is for.
pub(super) fn words_of(len: usize, relations: usize) -> usize {
    let length = |words: usize| words * (words + 2 + relations);
    let mut words = (len as f64).sqrt() as usize;
    while words > 0 && length(words) > len {
        words -= 1;
    }
    words
}

/// The answers to the rows of a batch.
pub(super) fn of_rows(
    parser: &Biaffine,
    parameters: &Parameters,
    words: &Words,
    present: &PresentWords,
    relations: usize,
) -> Vec<Vec<f32>> {
    let mut answers: Vec<Vec<f32>> = present.rows.iter().map(|_| Vec::new()).collect();
    let mut arcs = Vec::new();
    for group in length_groups(&present.rows) {
        let rows: Vec<Range<usize>> = group.iter().map(|row| present.rows[*row].clone()).collect();
        let scores = parser.arcs(parameters, words, &rows);
        let width = scores.dims()[1];
        let scores = to_host_vec(scores);
        let mut left = scores.chunks_exact(width);
        for (row, range) in group.iter().zip(&rows) {
            let indices = &present.words[range.clone()];
            let count = indices.last().map_or(0, |last| *last as usize + 1);
            let mut answer = vec![MISSING; count * (count + 2 + relations)];
            for ((word, index), scores) in range.clone().zip(indices).zip(&mut left) {
                let of_word = &mut answer[*index as usize * (count + 1)..][..count + 1];
                of_word[0] = scores[0];
                for (head, score) in indices.iter().zip(&scores[1..]) {
                    // A word is no head of itself.
                    if head != index {
                        of_word[*head as usize + 1] = *score;
                    }
                }
                let best = head::argmax(&scores[..=indices.len()]).0;
                let head = best.checked_sub(1).map(|head| indices[head] as usize + 1);
                answer[count * (count + 1) + *index as usize] = head.unwrap_or(0) as f32;
                let in_pack = best.checked_sub(1).map(|head| (range.start + head) as u32);
                arcs.push(((*row, count, *index as usize), (word as u32, in_pack)));
            }
            answers[*row] = answer;
        }
    }
    let (places, arcs): (Vec<_>, Vec<_>) = arcs.into_iter().unzip();
    let logits = to_host_vec(parser.relations(parameters, words, &arcs));
    for ((row, count, word), logits) in places.into_iter().zip(logits.chunks_exact(relations)) {
        answers[row][count * (count + 2) + word * relations..][..relations].copy_from_slice(logits);
    }
    answers
}

/// Rows with a teacher's answers, and the words of theirs that the student has tokens for.
pub(super) struct Answered<'a> {
    pub taught: &'a [TaughtRow<'a>],
    pub present: &'a PresentWords,
    pub relations: usize,
}

/// What a student learns of a word.
struct TaughtWord<'a> {
    /// The probability of each of the student's heads: the root, and the words of the row that have a token.
    heads: Vec<f32>,
    /// The teacher's head as such an index, and the logits of the relation to it; `None` where the student has no token for it.
    relation: Option<(usize, &'a [f32])>,
}

impl Answered<'_> {
    /// The loss of arcs and of relations together.
    pub fn loss(
        &self,
        parser: &Biaffine,
        parameters: &Parameters,
        words: &Words,
        temperature: f32,
    ) -> Option<SoftLoss> {
        let mut sum: Option<Tensor<1>> = None;
        let mut add = |part: Tensor<1>| {
            sum = Some(match sum.take() {
                Some(sum) => sum + part,
                None => part,
            });
        };
        let (mut arcs, mut answers, mut weights, mut num_targets) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for group in length_groups(&self.present.rows) {
            let rows: Vec<Range<usize>> = group.iter().map(|row| self.present.rows[*row].clone()).collect();
            let width = 1 + rows.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
            let (mut own, mut target, mut factors, mut next) = (Vec::new(), Vec::new(), Vec::new(), 0);
            for (row, range) in group.iter().zip(&rows) {
                for (at, word) in range.clone().enumerate() {
                    let Some(taught) = self.word(*row, at, temperature) else { continue };
                    own.push(next + at as u32);
                    factors.push(self.taught[*row].weight);
                    target.extend(&taught.heads);
                    target.resize(target.len() + width - taught.heads.len(), 0.0);
                    if let Some((head, logits)) = taught.relation {
                        arcs.push((word as u32, head.checked_sub(1).map(|head| (range.start + head) as u32)));
                        answers.extend(logits);
                        weights.push(self.taught[*row].weight);
                    }
                }
                next += range.len() as u32;
            }
            if !own.is_empty() {
                num_targets += own.len();
                let scores = kernels::gather_rows(parser.arcs(parameters, words, &rows), &own);
                add(kernels::soft_cross_entropy(scores, target, factors, temperature));
            }
        }
        if !arcs.is_empty() {
            let scores = parser.relations(parameters, words, &arcs);
            add(soft::softmax(scores, &answers, weights, temperature));
        }
        sum.map(|sum| SoftLoss { sum, num_targets })
    }

    /// What is learned of the word at a place among those of a row that have a token; `None` where the teacher has no answer.
    fn word(&self, row: usize, at: usize, temperature: f32) -> Option<TaughtWord<'_>> {
        let answer = self.taught[row].answer;
        let count = words_of(answer.len(), self.relations);
        let indices = &self.present.words[self.present.rows[row].clone()];
        let index = indices[at] as usize;
        let logits = answer.get(index * (count + 1)..(index + 1) * (count + 1)).filter(|_| index < count)?;
        if logits[0] == MISSING {
            return None;
        }
        let of_head = |head: &u32| logits.get(*head as usize + 1).copied().filter(|logit| *logit != MISSING);
        // The softmax over the heads that both know.
        let known: Vec<Option<f32>> =
            std::iter::once(Some(logits[0])).chain(indices.iter().map(of_head)).collect();
        let finite: Vec<f32> = known.iter().flatten().copied().collect();
        let mut probabilities = soft::distribution(&finite, temperature).into_iter();
        let heads =
            known.iter().map(|logit| logit.and_then(|_| probabilities.next()).unwrap_or(0.0)).collect();
        let head = answer[count * (count + 1) + index] as usize;
        let head = match head.checked_sub(1) {
            None => Some(0),
            Some(word) => indices.binary_search(&(word as u32)).ok().map(|place| place + 1),
        };
        let relation = &answer[count * (count + 2) + index * self.relations..][..self.relations];
        Some(TaughtWord { heads, relation: head.map(|head| (head, relation)) })
    }
}

#[cfg(test)]
mod tests {
    use super::words_of;

    #[test]
    fn the_length_of_an_answer_says_how_many_words_it_is_for() {
        for relations in [2, 7, 50] {
            for words in [0, 1, 2, 9, 200] {
                assert_eq!(words_of(words * (words + 2 + relations), relations), words);
            }
        }
    }
}
