//! The training examples of a step: spans and pairs, and their gold types.

use std::ops::Range;

use burn::tensor::Tensor;
use data::random;

use super::annotation::Annotation;
use super::scored_spans;
use super::span_batch::{CandidateSpan, Pair, RelationArguments, SpanBatch, pairs, sample};
use super::{EntitiesRelationsHead, gold_of};
use crate::heads::head;
use crate::{Batch, BatchRow};

/// A row of a step.
pub(crate) struct StepRow<'a> {
    at: BatchRow,
    gold: &'a Annotation,
    /// The range of its spans in the batch of spans.
    spans: Range<usize>,
    /// The range of its candidates for entities: all spans that are not too wide.
    searched: Range<usize>,
}

impl EntitiesRelationsHead {
    /// The words of the labelled rows, and the spans to learn from.
    pub(crate) fn step<'a>(
        &self,
        batch: &Batch<'_>,
        targets: &'a [Option<Annotation>],
    ) -> (SpanBatch, Vec<StepRow<'a>>) {
        let (mut span_batch, mut rows) = (SpanBatch::default(), Vec::new());
        for at in batch.rows {
            let Some(gold) = gold_of(targets, at.row) else { continue };
            let words = span_batch.add_words(batch.pack, *at, self.kind.config.max_width);
            let begin = span_batch.spans.len();
            if self.kind.config.learn.entities() {
                let must = |span: &CandidateSpan| gold.entities.contains_key(&span.words);
                let spans = self.sampled("spans", batch.dropout_seed, at.row, words.all().collect(), must);
                span_batch.spans.extend(spans);
            }
            let searched = begin..span_batch.spans.len();
            if gold.relations.is_some() {
                // Entities that are too wide to be candidates are arguments of relations all the same.
                let known = gold.entities.keys().filter_map(|own| words.of(*own));
                let new = known.filter(|span| !span_batch.spans[begin..].contains(span));
                let new: Vec<CandidateSpan> = new.collect();
                span_batch.spans.extend(new);
            }
            if begin < span_batch.spans.len() {
                rows.push(StepRow { at: *at, gold, spans: begin..span_batch.spans.len(), searched });
            }
        }
        (span_batch, rows)
    }

    /// All items that `must` be kept and, in a training step, a sample of the others.
    pub(crate) fn sampled<T>(
        &self,
        what: &str,
        seed: Option<u64>,
        row: u32,
        items: Vec<T>,
        must: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        let Some(seed) = seed else { return items };
        let name = format!("{}.{what}", self.kind.task);
        sample(items, must, self.kind.config.negative_samples, (seed, &name, row.into()))
    }

    /// Cross-entropy of the spans' types; `None` if no span has a known type.
    pub(crate) fn entity_loss(
        &self,
        span_batch: &SpanBatch,
        rows: &[StepRow<'_>],
        logits: Tensor<2>,
    ) -> Option<Tensor<1>> {
        let (mut index, mut ids) = (Vec::new(), Vec::new());
        for row in rows {
            for span in row.searched.clone() {
                let id = match row.gold.entities.get(&span_batch.spans[span].words) {
                    None => self.space.types.len() as u32,
                    Some(name) => match self.space.types.id(name) {
                        Some(id) => id,
                        None => continue,
                    },
                };
                index.push(span as u32);
                ids.push(id);
            }
        }
        if ids.is_empty() {
            return None;
        }
        let all = index.len() == span_batch.spans.len();
        let logits = if all { logits } else { kernels::gather_rows(logits, &index) };
        Some(kernels::cross_entropy(logits, &ids, None, 0.0))
    }

    /// The arguments of each row's relations: gold entities, or in some rows of a training step the predicted ones.
    pub(crate) fn ends(
        &self,
        span_batch: &SpanBatch,
        rows: &[StepRow<'_>],
        logits: Option<&Tensor<2>>,
        batch: &Batch<'_>,
    ) -> RelationArguments {
        let share = self.kind.config.scheduled_sampling.at(batch.progress);
        let name = format!("{}.ends", self.kind.task);
        let samples = |row: &StepRow<'_>| {
            let stream = |seed| random::stream(seed, &name, row.at.row.into());
            batch.dropout_seed.is_some_and(|seed| random::uniform01(&mut stream(seed)) < share)
        };
        let predicted: Vec<bool> = rows.iter().map(|row| logits.is_some() && samples(row)).collect();
        let logits = logits.filter(|_| predicted.contains(&true));
        let probabilities = logits.map(|logits| head::probabilities(logits.clone())).unwrap_or_default();
        let mut ends = RelationArguments::default();
        for (row, predicted) in rows.iter().zip(predicted) {
            if row.gold.relations.is_none() {
                ends.push_row([]);
            } else if predicted {
                let own = &probabilities[self.score_range(row.searched.clone())];
                let found = self.found(&span_batch.spans[row.searched.clone()], own);
                let found = scored_spans::top_k(&found, self.kind.config.max_entities);
                ends.push_row(found.iter().map(|found| (row.searched.start + found.span, found.label)));
            } else {
                let of = |span: usize| {
                    Some((span, self.type_id(row.gold.entities.get(&span_batch.spans[span].words)?)))
                };
                ends.push_row(row.spans.clone().filter_map(of));
            }
        }
        ends
    }

    /// The pairs to learn from, and which relations hold for each, row after row.
    pub(crate) fn related(
        &self,
        rows: &[StepRow<'_>],
        ends: &RelationArguments,
        spans: &[CandidateSpan],
        seed: Option<u64>,
    ) -> (Vec<Pair>, Vec<f32>) {
        let (mut all, mut yes) = (Vec::new(), Vec::new());
        for (row, range) in rows.iter().zip(&ends.rows) {
            let Some(gold) = &row.gold.relations else { continue };
            let types =
                |pair: &Pair| gold.get(&[spans[pair.head as usize].words, spans[pair.tail as usize].words]);
            let candidates = pairs(range.clone()).collect();
            let chosen = self.sampled("pairs", seed, row.at.row, candidates, |pair| types(pair).is_some());
            for pair in chosen {
                let begin = yes.len();
                yes.resize(begin + self.space.relations.len(), 0.0);
                let ids = types(&pair).into_iter().flatten().filter_map(|name| self.space.relations.id(name));
                ids.for_each(|id| yes[begin + id as usize] = 1.0);
                all.push(pair);
            }
        }
        (all, yes)
    }
}
