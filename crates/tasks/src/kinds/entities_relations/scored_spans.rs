//! From probabilities to entities and relations, and from these to scores and answers.

use std::ops::Range;

use metrics::{Relation, Span};
use serde_json::{Value as Json, json};

use super::annotation::span_of;
use super::span_batch::{CandidateSpan, Pair, between};
use crate::decode::answer;
use crate::heads::head::argmax;
use crate::targets::labels::Labels;
use crate::{EntityGraph, ModelInput};

/// A span that is predicted to be an entity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ScoredSpan {
    /// Its index among the candidate spans.
    pub span: usize,
    pub label: u32,
    pub probability: f32,
}

/// The entities among the spans of a row, in their order, from the probabilities of `types` types and "no entity" of each.
/// Unless `nested`, no two overlap: the more probable one stays, of equals the first.
pub(crate) fn entities(
    spans: &[CandidateSpan],
    probabilities: &[f32],
    types: usize,
    nested: bool,
) -> Vec<ScoredSpan> {
    let best = |(span, row): (usize, &[f32])| {
        let (label, probability) = argmax(row);
        let found = ScoredSpan { span, label: label as u32, probability };
        (label < types && probability > 0.0).then_some(found)
    };
    let mut found: Vec<ScoredSpan> = probabilities.chunks(types + 1).enumerate().filter_map(best).collect();
    found.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    if !nested {
        let words = spans.iter().map(|span| span.words[1] as usize).max().unwrap_or(0);
        let mut taken = vec![false; words];
        found.retain(|found| {
            let own = &mut taken[words_of(spans[found.span])];
            let free = own.iter().all(|taken| !taken);
            if free {
                own.fill(true);
            }
            free
        });
    }
    found.sort_by_key(|found| found.span);
    found
}

fn words_of(span: CandidateSpan) -> Range<usize> {
    span.words[0] as usize..span.words[1] as usize
}

/// The `most` most probable of some entities, in their original order.
pub(crate) fn top_k(found: &[ScoredSpan], most: usize) -> Vec<ScoredSpan> {
    let mut kept = found.to_vec();
    kept.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    kept.truncate(most);
    kept.sort_by_key(|found| found.span);
    kept
}

/// Splits pairs into parts with at most about `most` words between the spans of all pairs, which bounds the size of tensors.
pub(crate) fn parts<'a>(
    pairs: &'a [Pair],
    ends: &'a [CandidateSpan],
    most: usize,
) -> impl Iterator<Item = &'a [Pair]> {
    let mut left = pairs;
    std::iter::from_fn(move || {
        let mut size = 0;
        let end = left.iter().position(|pair| {
            size += 1 + between(ends[pair.head as usize], ends[pair.tail as usize]).len();
            size > most
        });
        let (part, rest) = left.split_at(end.unwrap_or(left.len()).max(1).min(left.len()));
        left = rest;
        (!part.is_empty()).then_some(part)
    })
}

/// The entities of a prediction, for the scores.
pub(crate) fn spans(graph: &EntityGraph, types: &Labels) -> Vec<Span> {
    let span = |e: &crate::EntityAnswer| span_of(e.words, types.name(e.label).unwrap_or_default());
    graph.entities.iter().map(span).collect()
}

/// The relations of a prediction, for the scores.
pub(crate) fn triples(graph: &EntityGraph, types: &Labels, relations: &Labels) -> Vec<Relation> {
    let ends = spans(graph, types);
    let triple = |relation: &crate::RelationAnswer| Relation {
        head: ends[relation.head as usize].clone(),
        tail: ends[relation.tail as usize].clone(),
        label: relations.name(relation.label).unwrap_or_default().to_owned(),
    };
    graph.relations.iter().map(triple).collect()
}

/// The answer to one row.
pub(crate) fn to_json(
    graph: &EntityGraph,
    input: ModelInput<'_>,
    types: &Labels,
    relations: &Labels,
) -> Json {
    let offsets = answer::character_offsets(input);
    if graph.entities.iter().any(|entity| entity.words[1] as usize > offsets.len()) {
        return Json::Null;
    }
    let entity = |entity: &crate::EntityAnswer| {
        let words = entity.words[0] as usize..entity.words[1] as usize;
        json!({
            "start": offsets[words.start].start,
            "end": offsets[words.end - 1].end,
            "text": answer::text(input, words),
            "label": types.name(entity.label),
            "probability": entity.probability,
        })
    };
    let relation = |relation: &crate::RelationAnswer| {
        json!({
            "head": relation.head,
            "tail": relation.tail,
            "label": relations.name(relation.label),
            "probability": relation.probability,
        })
    };
    json!({
        "entities": graph.entities.iter().map(entity).collect::<Vec<_>>(),
        "relations": graph.relations.iter().map(relation).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u32, end: u32) -> CandidateSpan {
        CandidateSpan { at: [first, end - 1], words: [first, end] }
    }

    #[test]
    fn the_more_probable_of_overlapping_entities_stays() {
        let spans = [span(0, 1), span(0, 2), span(1, 2), span(2, 3), span(3, 4)];
        let probabilities = [
            [0.5, 0.1, 0.4], // an entity, but less probable than the next
            [0.1, 0.8, 0.1],
            [0.3, 0.3, 0.4], // none
            [0.6, 0.3, 0.1],
            [f32::NAN, f32::NAN, f32::NAN],
        ];
        let of = |nested| -> Vec<(usize, u32)> {
            let found = entities(&spans, &probabilities.concat(), 2, nested);
            found.iter().map(|found| (found.span, found.label)).collect()
        };
        assert_eq!(of(false), [(1, 1), (3, 0)]);
        assert_eq!(of(true), [(0, 0), (1, 1), (3, 0)]);
        let found = entities(&spans, &probabilities.concat(), 2, true);
        assert_eq!(top_k(&found, 2).iter().map(|found| found.span).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn parts_hold_every_pair_once() {
        let ends = [span(0, 1), span(5, 6), span(20, 21)];
        let pairs: Vec<Pair> = super::super::span_batch::pairs(0..3).collect();
        for most in [0, 1, 20, 40, 1000] {
            let parts: Vec<&[Pair]> = parts(&pairs, &ends, most).collect();
            assert_eq!(parts.concat(), pairs);
            assert_eq!(parts.len() == 1, most == 1000, "{most}");
        }
        assert_eq!(parts(&[], &ends, 5).count(), 0);
    }
}
