//! Answers: entities and relations from the states of a batch.

use std::ops::Range;

use burn::tensor::Tensor;
use model::Parameters;

use super::EntitiesRelations;
use super::annotation::Annotation;
use super::found::{self, Found};
use super::sheet::{Ends, Pair, RowSpans, Sheet, SheetSpan, pairs};
use crate::{Batch, EntityAnswer, EntityGraph, RelationAnswer, head};

/// So many words between pairs are looked at together.
const WORDS_AT_ONCE: usize = 1 << 15;

impl EntitiesRelations {
    /// What is found in each row of a batch.
    pub(crate) fn graphs(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<EntityGraph> {
        let (mut sheet, mut rows) = (Sheet::default(), Vec::new());
        for at in batch.rows {
            let words = sheet.add_words(batch.pack, *at, self.config.max_width);
            let gold = self.gold(batch.split, at.row);
            let begin = sheet.spans.len();
            sheet.spans.extend(self.looked_at(gold, &words));
            rows.push((gold, begin..sheet.spans.len()));
        }
        if sheet.spans.is_empty() {
            return vec![EntityGraph::default(); rows.len()];
        }
        let words = kernels::pick(batch.states.clone(), &sheet.tokens);
        let states = self.network().spans(parameters, &words, &sheet.spans);
        let scores = self.network().types(parameters, states.clone(), None);
        let probabilities = scores.map(head::probabilities);
        let entities = rows.into_iter().map(|(gold, spans)| {
            let begin = spans.start;
            let mut found = self.entities_of(gold, &sheet, spans, probabilities.as_deref());
            found.iter_mut().for_each(|found| found.span += begin);
            found
        });
        let entities: Vec<Vec<Found>> = entities.collect();
        let relations = self.relations_of(parameters, (&words, states), &sheet, &entities);
        let graph = |(entities, relations): (&Vec<Found>, Vec<RelationAnswer>)| EntityGraph {
            entities: entities.iter().map(|found| answer(found, &sheet)).collect(),
            relations,
        };
        entities.iter().zip(relations).map(graph).collect()
    }

    /// The spans of a row that are looked at: all of them, or if no entities are learned the gold ones.
    fn looked_at(&self, gold: Option<&Annotation>, words: &RowSpans) -> Vec<SheetSpan> {
        if self.config.learn.entities() {
            return words.all().collect();
        }
        gold.into_iter().flat_map(|gold| gold.entities.keys()).filter_map(|own| words.of(*own)).collect()
    }

    /// The entities of a row, as places among its spans: found, or if none are learned the gold ones.
    fn entities_of(
        &self,
        gold: Option<&Annotation>,
        sheet: &Sheet,
        spans: Range<usize>,
        probabilities: Option<&[f32]>,
    ) -> Vec<Found> {
        let own = &sheet.spans[spans.clone()];
        if let Some(probabilities) = probabilities {
            return self.found(own, &probabilities[self.of_spans(spans)]);
        }
        let found = |(span, own): (usize, &SheetSpan)| {
            let label = self.type_id(gold?.entities.get(&own.words)?);
            Some(Found { span, label, probability: 1.0 })
        };
        own.iter().enumerate().filter_map(found).collect()
    }

    /// Where the scores of some spans stand among those of all.
    pub(crate) fn of_spans(&self, spans: Range<usize>) -> Range<usize> {
        let scores = self.types.len() + 1;
        spans.start * scores..spans.end * scores
    }

    /// The entities among the spans of a row, as places among these.
    pub(crate) fn found(&self, spans: &[SheetSpan], probabilities: &[f32]) -> Vec<Found> {
        found::entities(spans, probabilities, self.types.len(), self.config.nested)
    }

    /// The relations between the entities of each row, of which `words` and `states` are those of the sheet's words and spans.
    fn relations_of(
        &self,
        parameters: &Parameters,
        (words, states): (&Tensor<2>, Tensor<2>),
        sheet: &Sheet,
        entities: &[Vec<Found>],
    ) -> Vec<Vec<RelationAnswer>> {
        let mut answers: Vec<Vec<RelationAnswer>> = entities.iter().map(|_| Vec::new()).collect();
        if !self.config.learn.relations() {
            return answers;
        }
        let mut ends = Ends::default();
        // Of each end the place among the entities of its row, and the row.
        let mut places = Vec::new();
        for (row, found) in entities.iter().enumerate() {
            let surest = found::surest(found, self.config.max_entities);
            let place =
                |end: &Found| found.iter().position(|found| found.span == end.span).unwrap_or_default();
            places.extend(surest.iter().map(|end| (place(end) as u32, row)));
            ends.push_row(surest.iter().map(|end| (end.span, end.label)));
        }
        let all: Vec<Pair> = ends.rows.iter().flat_map(|row| pairs(row.clone())).collect();
        if all.is_empty() {
            return answers;
        }
        let (spans, states) = (ends.of(sheet), kernels::pick(states, &ends.spans));
        for part in found::parts(&all, &spans, WORDS_AT_ONCE) {
            let of_ends = (spans.as_slice(), ends.types.as_slice(), states.clone());
            let Some(scores) = self.network().relations(parameters, words, of_ends, part, None) else {
                break;
            };
            for (pair, scores) in part.iter().zip(head::sigmoids(scores).chunks(self.relations.len())) {
                let ((head, row), (tail, _)) = (places[pair.head as usize], places[pair.tail as usize]);
                let holds = (0..).zip(scores).filter(|(_, score)| **score >= self.kept_from());
                let answer =
                    |(label, score): (u32, &f32)| RelationAnswer { head, tail, label, probability: *score };
                answers[row].extend(holds.map(answer));
            }
        }
        answers
    }
}

/// An entity of an answer.
fn answer(found: &Found, sheet: &Sheet) -> EntityAnswer {
    EntityAnswer { words: sheet.spans[found.span].words, label: found.label, probability: found.probability }
}
