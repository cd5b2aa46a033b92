//! The task as a teacher: its scores of all spans of a row, and of the relations between the entities that it finds; and the loss of a
//! student at them, whose relations are between the teacher's entities.
//!
//! The answer to a row: the number `s` of spans and `a` of entities; for each span its words (the end exclusive) and the logits of its
//! `t` types and of "no entity"; for each entity its words and its type; for each ordered pair of different entities the logits of its
//! `r` relations, in the order of [`pairs`].

use std::ops::Range;

use burn::tensor::Tensor;
use model::Parameters;

use super::EntitiesRelationsHead;
use super::scored_spans;
use super::span_batch::{CandidateSpan, Pair, RelationArguments, RowSpans, SpanBatch, pairs};
use crate::Batch;
use crate::distillation::{SoftLoss, TaughtRow};
use crate::heads::head::{argmax, to_host_vec};
use crate::losses::soft;

/// The maximum number of words between the spans of the pairs that are scored at once.
const WORDS_AT_ONCE: usize = 1 << 15;

/// The numbers of an answer, in its parts.
pub(super) struct Parts {
    spans: Range<usize>,
    entities: Range<usize>,
    relations: Range<usize>,
}

impl Parts {
    /// Where the parts of an answer lie, for so many types and relations; `None` of none.
    pub fn of(answer: &[f32], types: usize, relations: usize) -> Option<Parts> {
        let (spans, entities) = (*answer.first()? as usize, *answer.get(1)? as usize);
        let first = 2 + spans * (3 + types);
        let second = first + 3 * entities;
        let end = second + entities * entities.saturating_sub(1) * relations;
        Some(Parts { spans: 2..first, entities: first..second, relations: second..end })
            .filter(|_| end == answer.len())
    }
}

/// Puts an answer into the order of the student's types and relations, which have their places in the teacher's in `order`, one after the
/// other.
pub(super) fn reorder(answer: &mut [f32], types: usize, relations: usize, order: &[usize]) {
    let Some(parts) = Parts::of(answer, types, relations) else { return };
    let (of_types, of_relations) = order.split_at(types);
    let mut before = Vec::new();
    for span in answer[parts.spans].chunks_exact_mut(3 + types) {
        before.clear();
        before.extend_from_slice(&span[2..2 + types]);
        span[2..].iter_mut().zip(of_types).for_each(|(value, from)| *value = before[*from]);
    }
    for entity in answer[parts.entities].chunks_exact_mut(3) {
        let place = of_types.iter().position(|from| *from == entity[2] as usize);
        entity[2] = place.unwrap_or_default() as f32;
    }
    for pair in answer[parts.relations].chunks_exact_mut(relations.max(1)) {
        before.clear();
        before.extend_from_slice(pair);
        pair.iter_mut().zip(of_relations).for_each(|(value, from)| *value = before[*from - types]);
    }
}

/// What a student learns of some rows.
#[derive(Default)]
struct Lessons {
    span_batch: SpanBatch,
    /// Of the spans whose types are learned, which come first in their rows: index, logits, weight.
    typed: Vec<u32>,
    type_answers: Vec<f32>,
    type_weights: Vec<f32>,
    ends: RelationArguments,
    /// Pairs of [`Lessons::ends`] whose relations are learned.
    pairs: Vec<Pair>,
    relation_answers: Vec<f32>,
    relation_weights: Vec<f32>,
}

impl EntitiesRelationsHead {
    /// The answers to the rows of a batch.
    pub(super) fn answers(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Vec<f32>> {
        let none = || vec![Vec::new(); batch.rows.len()];
        let (mut span_batch, mut rows) = (SpanBatch::default(), Vec::new());
        for at in batch.rows {
            let words = span_batch.add_words(batch.pack, *at, self.kind.config.max_width);
            let begin = span_batch.spans.len();
            span_batch.spans.extend(words.all());
            rows.push(begin..span_batch.spans.len());
        }
        if span_batch.spans.is_empty() {
            return none();
        }
        let words = kernels::gather_rows(batch.states.clone(), &span_batch.tokens);
        let states = self.network.spans(parameters, &words, &span_batch.spans);
        let Some(logits) = self.network.types(parameters, states.clone(), None) else { return none() };
        let width = self.space.types.len() + 1;
        let logits = to_host_vec(logits);
        let probabilities: Vec<f32> =
            logits.chunks_exact(width).flat_map(|row| soft::distribution(row, 1.0)).collect();
        let mut ends = RelationArguments::default();
        for row in &rows {
            let found =
                self.found(&span_batch.spans[row.clone()], &probabilities[self.score_range(row.clone())]);
            let found = match self.kind.config.learn.relations() {
                true => scored_spans::top_k(&found, self.kind.config.max_entities),
                false => Vec::new(),
            };
            ends.push_row(found.iter().map(|found| (row.start + found.span, found.label)));
        }
        let mut relations =
            self.relation_logits(parameters, (&words, states), &span_batch, &ends).into_iter();
        let of_row = |(row, arguments): (&Range<usize>, &Range<u32>)| {
            if row.is_empty() {
                return Vec::new();
            }
            let mut answer = vec![row.len() as f32, arguments.len() as f32];
            for (span, logits) in span_batch.spans[row.clone()]
                .iter()
                .zip(logits[self.score_range(row.clone())].chunks_exact(width))
            {
                answer.extend(span.words.map(|word| word as f32));
                answer.extend(logits);
            }
            for argument in arguments.clone() {
                let span = span_batch.spans[ends.spans[argument as usize] as usize];
                answer.extend(span.words.map(|word| word as f32));
                answer.push(ends.types[argument as usize] as f32);
            }
            let count = arguments.len() * arguments.len().saturating_sub(1) * self.space.relations.len();
            answer.extend(relations.by_ref().take(count));
            answer
        };
        rows.iter().zip(&ends.rows).map(of_row).collect()
    }

    /// The logits of the relations of all pairs of each row, row after row.
    fn relation_logits(
        &self,
        parameters: &Parameters,
        (words, states): (&Tensor<2>, Tensor<2>),
        span_batch: &SpanBatch,
        ends: &RelationArguments,
    ) -> Vec<f32> {
        let all: Vec<Pair> = ends.rows.iter().flat_map(|row| pairs(row.clone())).collect();
        let mut logits = Vec::new();
        if all.is_empty() {
            return logits;
        }
        let (spans, states) = (ends.of(span_batch), kernels::gather_rows(states, &ends.spans));
        for part in scored_spans::parts(&all, &spans, WORDS_AT_ONCE) {
            let of_ends = (spans.as_slice(), ends.types.as_slice(), states.clone());
            let found = self.network.relations(parameters, words, of_ends, part, None);
            logits.extend(found.map(to_host_vec).unwrap_or_default());
        }
        logits
    }

    /// The loss at a teacher's answers; see [`crate::task_head::Head::soft_loss`].
    pub(super) fn loss_of_answers(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        taught: &[TaughtRow<'_>],
        temperature: f32,
    ) -> Option<SoftLoss> {
        let lessons = self.lessons(batch, taught);
        let of_rows: f32 = taught.iter().map(|row| row.weight).sum();
        if lessons.span_batch.spans.is_empty() || of_rows == 0.0 {
            return None;
        }
        // As of the loss at labels, a mean over what is learned in the step: spans, and pairs times relations.
        let share = |weights: &[f32], outputs: usize| {
            let all = weights.iter().sum::<f32>() * outputs as f32;
            if all > 0.0 { of_rows / all } else { 0.0 }
        };
        let (network, seed) = (&self.network, batch.dropout_seed);
        let words = kernels::gather_rows(batch.states.clone(), &lessons.span_batch.tokens);
        let words = kernels::dropout(words, self.dropout("words", seed));
        let states = network.spans(parameters, &words, &lessons.span_batch.spans);
        let types = || {
            let own = kernels::gather_rows(states.clone(), &lessons.typed);
            let logits = network.types(parameters, own, self.dropout("types", seed))?;
            let factor = share(&lessons.type_weights, 1);
            Some(
                soft::softmax(logits, &lessons.type_answers, lessons.type_weights.clone(), temperature)
                    * factor,
            )
        };
        let relations = || {
            let spans = lessons.ends.of(&lessons.span_batch);
            let own = kernels::gather_rows(states.clone(), &lessons.ends.spans);
            let of_ends = (spans.as_slice(), lessons.ends.types.as_slice(), own);
            let dropout = self.dropout("relations", seed);
            let logits = network.relations(parameters, &words, of_ends, &lessons.pairs, dropout)?;
            let sum =
                soft::sigmoid(logits, &lessons.relation_answers, &lessons.relation_weights, temperature);
            let factor = share(&lessons.relation_weights, self.space.relations.len());
            Some(sum * (self.kind.config.relation_weight * factor))
        };
        let types = if lessons.typed.is_empty() { None } else { types() };
        let relations = if lessons.pairs.is_empty() { None } else { relations() };
        let sum = types.into_iter().chain(relations).reduce(|sum, part| sum + part)?;
        Some(SoftLoss { sum, num_targets: taught.len() })
    }

    /// The spans and pairs to learn from: all that the teacher finds, and in training a sample of the others.
    fn lessons(&self, batch: &Batch<'_>, taught: &[TaughtRow<'_>]) -> Lessons {
        let (types, relations) = (self.space.types.len(), self.space.relations.len());
        let mut lessons = Lessons::default();
        for row in taught {
            let words = lessons.span_batch.add_words(batch.pack, row.at, self.kind.config.max_width);
            let Some(parts) = Parts::of(row.answer, types, relations) else { continue };
            let spans = row.answer[parts.spans]
                .chunks_exact(3 + types)
                .filter_map(|span| Some((words.of(words_of(span))?, &span[2..])));
            let is_entity = |span: &(CandidateSpan, &[f32])| argmax(span.1).0 < types;
            for (span, logits) in
                self.sampled("taught spans", batch.dropout_seed, row.at.row, spans.collect(), is_entity)
            {
                lessons.typed.push(lessons.span_batch.spans.len() as u32);
                lessons.span_batch.spans.push(span);
                lessons.type_answers.extend(logits);
                lessons.type_weights.push(row.weight);
            }
            if relations > 0 {
                self.relation_lessons(
                    batch,
                    row,
                    &words,
                    (&row.answer[parts.entities], &row.answer[parts.relations]),
                    &mut lessons,
                );
            }
        }
        lessons
    }

    /// The pairs of a row: those of the teacher's entities that the student has tokens for.
    fn relation_lessons(
        &self,
        batch: &Batch<'_>,
        row: &TaughtRow<'_>,
        words: &RowSpans,
        (entities, logits): (&[f32], &[f32]),
        lessons: &mut Lessons,
    ) {
        let relations = self.space.relations.len();
        let begin = lessons.span_batch.spans.len();
        let found: Vec<Option<(CandidateSpan, u32)>> = entities
            .chunks_exact(3)
            .map(|entity| Some((words.of(words_of(entity))?, entity[2] as u32)))
            .collect();
        // For each of the teacher's entities its place among the arguments.
        let mut places = Vec::new();
        let mut next = lessons.ends.spans.len() as u32;
        for entity in &found {
            places.push(entity.map(|_| next));
            next += u32::from(entity.is_some());
        }
        lessons.span_batch.spans.extend(found.iter().flatten().map(|(span, _)| *span));
        let arguments = (begin..).zip(found.iter().flatten()).map(|(span, (_, label))| (span, *label));
        lessons.ends.push_row(arguments);
        let answered =
            pairs(0..found.len() as u32).zip(logits.chunks_exact(relations)).filter_map(|(pair, own)| {
                let [head, tail] = [places[pair.head as usize]?, places[pair.tail as usize]?];
                Some((Pair { head, tail }, own))
            });
        let holds = |pair: &(Pair, &[f32])| pair.1.iter().any(|logit| *logit > 0.0);
        for (pair, logits) in
            self.sampled("taught pairs", batch.dropout_seed, row.at.row, answered.collect(), holds)
        {
            lessons.pairs.push(pair);
            lessons.relation_answers.extend(logits);
            lessons.relation_weights.push(row.weight);
        }
    }
}

/// The words of a span or an entity of an answer.
fn words_of(answer: &[f32]) -> [u32; 2] {
    [answer[0] as u32, answer[1] as u32]
}

#[cfg(test)]
mod tests {
    use super::reorder;

    #[test]
    fn types_and_relations_are_put_into_the_students_order() {
        // One span, two entities of types 0 and 1, two pairs; the student's types and relations are the other way round.
        let mut answer =
            vec![1.0, 2.0, 0.0, 1.0, 5.0, 6.0, 7.0, 0.0, 1.0, 0.0, 1.0, 2.0, 1.0, 1.0, 2.0, 3.0, 4.0];
        reorder(&mut answer, 2, 2, &[1, 0, 3, 2]);
        let expected = [1.0, 2.0, 0.0, 1.0, 6.0, 5.0, 7.0, 0.0, 1.0, 1.0, 1.0, 2.0, 0.0, 2.0, 1.0, 4.0, 3.0];
        assert_eq!(answer, expected);
    }
}
