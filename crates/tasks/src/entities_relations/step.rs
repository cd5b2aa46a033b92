//! What a step learns from: which spans and pairs, and what is right of them.

use std::ops::Range;

use burn::tensor::Tensor;
use data::random;

use super::EntitiesRelations;
use super::annotation::Annotation;
use super::found;
use super::sheet::{Ends, Pair, Sheet, SheetSpan, pairs, sample};
use crate::{Batch, BatchRow, head};

/// A row of a step.
pub(crate) struct StepRow<'a> {
    at: BatchRow,
    gold: &'a Annotation,
    /// Its spans in the sheet.
    spans: Range<usize>,
    /// Those of them among which entities are searched: all that are not too wide.
    searched: Range<usize>,
}

impl EntitiesRelations {
    /// Lays out the words of the labelled rows and the spans to learn from.
    pub(crate) fn step<'a>(&'a self, batch: &Batch<'_>) -> (Sheet, Vec<StepRow<'a>>) {
        let (mut sheet, mut rows) = (Sheet::default(), Vec::new());
        for at in batch.rows {
            let Some(gold) = self.gold(batch.split, at.row) else { continue };
            let words = sheet.add_words(batch.pack, *at, self.config.max_width);
            let begin = sheet.spans.len();
            if self.config.learn.entities() {
                let must = |span: &SheetSpan| gold.entities.contains_key(&span.words);
                let spans = self.sampled("spans", batch.noise_seed, at.row, words.all().collect(), must);
                sheet.spans.extend(spans);
            }
            let searched = begin..sheet.spans.len();
            if gold.relations.is_some() {
                // Entities that are too wide to be found are ends of relations all the same.
                let known = gold.entities.keys().filter_map(|own| words.of(*own));
                let new = known.filter(|span| !sheet.spans[begin..].contains(span));
                let new: Vec<SheetSpan> = new.collect();
                sheet.spans.extend(new);
            }
            if begin < sheet.spans.len() {
                rows.push(StepRow { at: *at, gold, spans: begin..sheet.spans.len(), searched });
            }
        }
        (sheet, rows)
    }

    /// What must stay of some items and, in a training step, a number of the others.
    fn sampled<T>(
        &self,
        what: &str,
        seed: Option<u64>,
        row: u32,
        items: Vec<T>,
        must: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        let Some(seed) = seed else { return items };
        let name = format!("{}.{what}", self.task);
        sample(items, must, self.config.negatives, (seed, &name, row.into()))
    }

    /// Cross-entropy of the spans' types; `None` where no span has a known one.
    pub(crate) fn entity_loss(
        &self,
        sheet: &Sheet,
        rows: &[StepRow<'_>],
        logits: Tensor<2>,
    ) -> Option<Tensor<1>> {
        let (mut index, mut ids) = (Vec::new(), Vec::new());
        for row in rows {
            for span in row.searched.clone() {
                let id = match row.gold.entities.get(&sheet.spans[span].words) {
                    None => self.types.len() as u32,
                    Some(name) => match self.types.id(name) {
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
        let logits = if index.len() == sheet.spans.len() { logits } else { kernels::pick(logits, &index) };
        Some(kernels::cross_entropy(logits, &ids, None, 0.0))
    }

    /// The ends of each row's relations: gold entities, or in some rows of a training step those that `logits` make.
    pub(crate) fn ends(
        &self,
        sheet: &Sheet,
        rows: &[StepRow<'_>],
        logits: Option<&Tensor<2>>,
        batch: &Batch<'_>,
    ) -> Ends {
        let share = self.config.predicted.at(batch.progress);
        let name = format!("{}.ends", self.task);
        let draws = |row: &StepRow<'_>| {
            batch
                .noise_seed
                .is_some_and(|seed| random::unit(&mut random::stream(seed, &name, row.at.row.into())) < share)
        };
        let predicted: Vec<bool> = rows.iter().map(|row| logits.is_some() && draws(row)).collect();
        let logits = logits.filter(|_| predicted.contains(&true));
        let probabilities = logits.map(|logits| head::probabilities(logits.clone())).unwrap_or_default();
        let mut ends = Ends::default();
        for (row, predicted) in rows.iter().zip(predicted) {
            if row.gold.relations.is_none() {
                ends.push_row([]);
            } else if predicted {
                let own = &probabilities[self.of_spans(row.searched.clone())];
                let found = self.found(&sheet.spans[row.searched.clone()], own);
                let found = found::surest(&found, self.config.max_entities);
                ends.push_row(found.iter().map(|found| (row.searched.start + found.span, found.label)));
            } else {
                let of = |span: usize| {
                    Some((span, self.type_id(row.gold.entities.get(&sheet.spans[span].words)?)))
                };
                ends.push_row(row.spans.clone().filter_map(of));
            }
        }
        ends
    }

    /// The pairs to learn from, and which relations hold of each, row after row.
    pub(crate) fn related(
        &self,
        rows: &[StepRow<'_>],
        ends: &Ends,
        spans: &[SheetSpan],
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
                yes.resize(begin + self.relations.len(), 0.0);
                let ids = types(&pair).into_iter().flatten().filter_map(|name| self.relations.id(name));
                ids.for_each(|id| yes[begin + id as usize] = 1.0);
                all.push(pair);
            }
        }
        (all, yes)
    }
}
