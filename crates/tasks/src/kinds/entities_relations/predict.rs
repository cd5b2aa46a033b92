//! Predictions: entities and relations from the states of a batch.

use std::ops::Range;

use burn::tensor::Tensor;
use model::Parameters;

use super::annotation::Annotation;
use super::scored_spans::{self, ScoredSpan};
use super::span_batch::{CandidateSpan, Pair, RelationArguments, RowSpans, SpanBatch, pairs};
use super::{EntitiesRelationsHead, gold_of};
use crate::heads::head;
use crate::{Batch, EntityAnswer, EntityGraph, RelationAnswer};

/// The maximum number of words between the spans of the pairs that are scored at once.
const WORDS_AT_ONCE: usize = 1 << 15;

impl EntitiesRelationsHead {
    /// The entities and relations of each row of a batch.
    pub(crate) fn graphs(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        targets: &[Option<Annotation>],
    ) -> Vec<EntityGraph> {
        let (mut span_batch, mut rows) = (SpanBatch::default(), Vec::new());
        for at in batch.rows {
            let words = span_batch.add_words(batch.pack, *at, self.kind.config.max_width);
            let gold = gold_of(targets, at.row);
            let begin = span_batch.spans.len();
            span_batch.spans.extend(self.candidates(gold, &words));
            rows.push((gold, begin..span_batch.spans.len()));
        }
        if span_batch.spans.is_empty() {
            return vec![EntityGraph::default(); rows.len()];
        }
        let words = kernels::gather_rows(batch.states.clone(), &span_batch.tokens);
        let states = self.network.spans(parameters, &words, &span_batch.spans);
        let scores = self.network.types(parameters, states.clone(), None);
        let probabilities = scores.map(head::probabilities);
        let mut nonfinite = Vec::with_capacity(rows.len());
        let entities = rows.into_iter().map(|(gold, spans)| {
            let begin = spans.start;
            let own = probabilities.as_deref().map(|all| &all[self.score_range(spans.clone())]);
            nonfinite.push(own.is_some_and(has_nonfinite));
            let mut found = self.entities_of(gold, &span_batch, spans, probabilities.as_deref());
            found.iter_mut().for_each(|found| found.span += begin);
            found
        });
        let entities: Vec<Vec<ScoredSpan>> = entities.collect();
        let of_words = (&words, states);
        let relations = self.relations_of(parameters, of_words, &span_batch, &entities, &mut nonfinite);
        let graph = |((entities, relations), nonfinite): ((&Vec<ScoredSpan>, _), bool)| EntityGraph {
            entities: entities.iter().map(|found| answer(found, &span_batch)).collect(),
            relations,
            nonfinite,
        };
        entities.iter().zip(relations).zip(nonfinite).map(graph).collect()
    }

    /// The candidate spans of a row: all of them, or if no entities are learned the gold entities.
    fn candidates(&self, gold: Option<&Annotation>, words: &RowSpans) -> Vec<CandidateSpan> {
        if self.kind.config.learn.entities() {
            return words.all().collect();
        }
        gold.into_iter().flat_map(|gold| gold.entities.keys()).filter_map(|own| words.of(*own)).collect()
    }

    /// The entities of a row, as indices among its spans: predicted, or if no entities are learned the gold entities.
    fn entities_of(
        &self,
        gold: Option<&Annotation>,
        span_batch: &SpanBatch,
        spans: Range<usize>,
        probabilities: Option<&[f32]>,
    ) -> Vec<ScoredSpan> {
        let own = &span_batch.spans[spans.clone()];
        if let Some(probabilities) = probabilities {
            return self.found(own, &probabilities[self.score_range(spans)]);
        }
        let found = |(span, own): (usize, &CandidateSpan)| {
            let label = self.type_id(gold?.entities.get(&own.words)?);
            Some(ScoredSpan { span, label, probability: 1.0 })
        };
        own.iter().enumerate().filter_map(found).collect()
    }

    /// The range of some spans' scores among those of all spans.
    pub(crate) fn score_range(&self, spans: Range<usize>) -> Range<usize> {
        let scores = self.space.types.len() + 1;
        spans.start * scores..spans.end * scores
    }

    /// The predicted entities among the spans of a row, as indices among these.
    pub(crate) fn found(&self, spans: &[CandidateSpan], probabilities: &[f32]) -> Vec<ScoredSpan> {
        scored_spans::entities(spans, probabilities, self.space.types.len(), self.kind.config.nested)
    }

    /// The relations between the entities of each row; `words` and `states` are the states of the words and of the spans. Marks the
    /// rows in which a score is not finite.
    fn relations_of(
        &self,
        parameters: &Parameters,
        (words, states): (&Tensor<2>, Tensor<2>),
        span_batch: &SpanBatch,
        entities: &[Vec<ScoredSpan>],
        nonfinite: &mut [bool],
    ) -> Vec<Vec<RelationAnswer>> {
        let mut answers: Vec<Vec<RelationAnswer>> = entities.iter().map(|_| Vec::new()).collect();
        if !self.kind.config.learn.relations() {
            return answers;
        }
        let mut ends = RelationArguments::default();
        // For each argument its index among the entities of its row, and the row.
        let mut indices = Vec::new();
        for (row, found) in entities.iter().enumerate() {
            let top_k = scored_spans::top_k(found, self.kind.config.max_entities);
            let index =
                |end: &ScoredSpan| found.iter().position(|found| found.span == end.span).unwrap_or_default();
            indices.extend(top_k.iter().map(|end| (index(end) as u32, row)));
            ends.push_row(top_k.iter().map(|end| (end.span, end.label)));
        }
        let all: Vec<Pair> = ends.rows.iter().flat_map(|row| pairs(row.clone())).collect();
        if all.is_empty() {
            return answers;
        }
        let (spans, states) = (ends.of(span_batch), kernels::gather_rows(states, &ends.spans));
        for part in scored_spans::parts(&all, &spans, WORDS_AT_ONCE) {
            let of_ends = (spans.as_slice(), ends.types.as_slice(), states.clone());
            let Some(scores) = self.network.relations(parameters, words, of_ends, part, None) else {
                break;
            };
            for (pair, scores) in part.iter().zip(head::sigmoids(scores).chunks(self.space.relations.len())) {
                let ((head, row), (tail, _)) = (indices[pair.head as usize], indices[pair.tail as usize]);
                nonfinite[row] |= has_nonfinite(scores);
                let holds = (0..).zip(scores).filter(|(_, score)| **score >= self.min_probability());
                let answer =
                    |(label, score): (u32, &f32)| RelationAnswer { head, tail, label, probability: *score };
                answers[row].extend(holds.map(answer));
            }
        }
        answers
    }
}

fn has_nonfinite(scores: &[f32]) -> bool {
    scores.iter().any(|score| !score.is_finite())
}

/// An entity of a prediction.
fn answer(found: &ScoredSpan, span_batch: &SpanBatch) -> EntityAnswer {
    let words = span_batch.spans[found.span].words;
    EntityAnswer { words, label: found.label, probability: found.probability }
}
