//! Named entities and the relations between them, learned together and found together.
//!
//! Input: a field of words. Labels: a list of entities `{start, end, type}`, in words with `end` exclusive, and a list of
//! relations `{head: [start, end], tail: [start, end], type}` between entities of the row; a pair may have several. A row
//! without the field of entities is masked, one without that of relations only for relations. Types are learned from the
//! training rows and sorted.
//!
//! Head, with `h = hidden`, `d = size`; a word is the state of its first token:
//! - a span of at most `max_width` words: `s = relu(A first + B last + width + a)`, `A` and `B` `[d, h]`, a learned `width` `[d]`
//!   for each number of words;
//! - its type: dropout and a linear map `[d] -> [types + 1]`, the last for "no entity";
//! - an ordered pair of entities: `p = relu(C s_head + D s_tail + type_head + type_tail + E between + b)`, `C` and `D` `[d, d]`,
//!   a learned vector `[d]` for each type at each end, `E` `[d, h]` of the mean of the words between both;
//! - its relations: dropout and a linear map `[d] -> [relations]`, a sigmoid for each.
//!
//! Loss: cross-entropy over the types, the mean over spans: all entities of at most `max_width` words, and at most `negatives`
//! other spans of each row; plus `relation_weight` times the binary cross-entropy of the relations, the mean over their types and
//! over pairs: all that are related, and at most `negatives` others of each row. Pairs are made of the gold entities, and in a
//! share `predicted` of the rows of the entities that the head finds among the spans of the step, so that it learns from what it
//! will meet. The share rises evenly over the run, from none to half, unless it is set otherwise (scheduled sampling). What is drawn
//! is a function of the step's seed.
//!
//! Decoding: each span's most probable type; of two entities that overlap the more probable one, unless `nested`; then all pairs
//! of the `max_entities` most probable entities, and every relation with a probability of at least `threshold`. With `"tuned"`
//! that is the number with the best `relation_f1` on the validation split, found when training is over and kept with the labels; during
//! the run the validation split is scored with the best one of the moment, and everything else from 0.5 on.
//!
//! Scores: `entity_f1`, `entity_precision`, `entity_recall` of spans with types; `relation_f1`, `relation_precision`,
//! `relation_recall` of relations whose type and whose ends are right with the ends' types (strict), `relation_f1_relaxed` without
//! the ends' types; `mean_f1` (default), the mean of `entity_f1` and `relation_f1`. What was cut off, or has more than
//! `max_width` words, counts as not found. `learn = "entities"` trains and scores the entities alone; `learn = "relations"` the
//! relations alone, between the gold entities, also in scoring, so that it has no answers for text.
//!
//! Cost: `[words, h] x [h, 3d]`, about `max_width` spans a word of `d (types + 1)`, and `d relations` a pair.
//!
//! Papers: Eberts and Ulges 2020, "Span-based Joint Entity and Relation Extraction with Transformer Pre-training" (SpERT);
//! Zhong and Chen 2021, "A Frustratingly Easy Approach for Entity and Relation Extraction" (PURE); Taille et al. 2020, "Let's
//! Stop Incorrect Comparisons in End-to-end Relation Extraction!" (the scores); Bengio et al. 2015, "Scheduled Sampling for
//! Sequence Prediction with Recurrent Neural Networks".
//!
//! Example: `entities_relations = { tokens = "tokens", entities = "entities", relations = "relations" }`
//!
//! Answer: `{"entities": [{"text", "label", "start", "end", "probability"}], "relations": [{"head", "tail", "label",
//! "probability"}]}`, places in characters as of `tagging`, `head` and `tail` as places in the list of entities, from 0 on.

mod annotation;
mod config;
mod found;
mod mixing;
mod network;
mod serve;
mod sheet;
mod step;
mod threshold;

use std::collections::{BTreeMap, HashMap};

use data::{DataError, Faults, InputField, Pack, Row, Split, View};
use model::Parameters;
use serde_json::json;

use crate::labels::Labels;
use crate::{
    Batch, BatchRow, Kind, LabelReport, Loss, Prediction, Scores, Source, TaskError, binary, head, words,
};
use annotation::Annotation;
use network::{Network, Sizes};

pub use config::{EntitiesRelationsConfig, Learn};
pub use mixing::{Mixing, Scheduled};

/// A task of entities and relations.
struct EntitiesRelations {
    task: String,
    config: EntitiesRelationsConfig,
    main: &'static str,
    types: Labels,
    relations: Labels,
    /// The threshold of relations, once it is tuned.
    tuned: Option<f32>,
    /// The types of both, one after the other.
    names: Vec<String>,
    network: Option<Network>,
    /// Per row; `None` for one that is not labelled.
    targets: HashMap<Split, Vec<Option<Annotation>>>,
}

impl EntitiesRelations {
    fn key(&self, name: &str) -> String {
        format!("task.{}.entities_relations.{name}", self.task)
    }

    fn network(&self) -> Network {
        self.network.expect("the head is built before the first batch")
    }

    fn noise(&self, layer: &str, seed: Option<u64>) -> Option<kernels::Noise> {
        head::noise(self.config.dropout, &format!("{}.{layer}", self.task), seed)
    }

    fn gold(&self, split: Split, row: u32) -> Option<&Annotation> {
        self.targets.get(&split)?.get(row as usize)?.as_ref()
    }

    /// The id of a type of entity; that of "no entity" for one that training never showed.
    fn type_id(&self, name: &str) -> u32 {
        self.types.id(name).unwrap_or(self.types.len() as u32)
    }

    fn set_labels(&mut self, types: Labels, relations: Labels) {
        self.names = [types.names(), relations.names()].concat();
        (self.types, self.relations) = (types, relations);
    }

    /// Whether there is something to learn, and not far too much.
    fn check(&self, rows: &[Row]) -> Result<(), Vec<DataError>> {
        let wanted = [
            ("entities", &self.config.entities, &self.types),
            ("relations", &self.config.relations, &self.relations),
        ];
        // Without types of entity there is nothing either between which a relation could be.
        let wanted =
            wanted.into_iter().filter(|(name, ..)| *name == "entities" || self.config.learn.relations());
        for (name, field, labels) in wanted {
            let (found, expected) = match labels.len() {
                0 => (
                    format!("none in field {field:?} of {} training rows", rows.len()),
                    format!("{name} to learn from"),
                ),
                n if n > self.config.max_labels => (
                    format!("{n} different types in field {field:?}"),
                    format!("at most {}; if they are meant, raise `max_labels`", self.config.max_labels),
                ),
                _ => continue,
            };
            return Err(vec![DataError::Setting { key: self.key(name), found, expected }]);
        }
        Ok(())
    }
}

impl Kind for EntitiesRelations {
    fn input(&self) -> InputField {
        InputField::Words(self.config.tokens.clone())
    }

    fn learn(&mut self, rows: &[Row]) -> Result<(), Vec<DataError>> {
        let mut faults = Faults::new();
        let (mut types, mut relations) = (BTreeMap::new(), BTreeMap::new());
        for row in rows {
            match Annotation::read(&self.config, row) {
                Ok(None) => {}
                Ok(Some(gold)) => {
                    gold.types().for_each(|name| *types.entry(name.to_owned()).or_insert(0) += 1);
                    let names = gold.relation_types();
                    names.for_each(|name| *relations.entry(name.to_owned()).or_insert(0) += 1);
                }
                Err(fault) => faults.push(fault),
            }
        }
        faults.finish(())?;
        self.set_labels(Labels::new(types), Labels::new(relations));
        self.check(rows)
    }

    fn space(&self) -> serde_json::Value {
        json!({
            "entities": self.types.to_json(),
            "relations": self.relations.to_json(),
            "threshold": self.tuned,
        })
    }

    fn restore_space(&mut self, space: &serde_json::Value) -> Result<(), TaskError> {
        let part = |name: &str| Labels::any_from_json(&self.task, &space[name]);
        let (types, relations) = (part("entities")?, part("relations")?);
        if types.len() == 0 || (relations.len() == 0 && self.config.learn.relations()) {
            let reason = "found no types of entity or of relation".into();
            return Err(TaskError::Space { task: self.task.clone(), reason });
        }
        let threshold = &space["threshold"];
        let number = threshold.as_f64().filter(|number| (0.0..=1.0).contains(number));
        if number.is_none() && !threshold.is_null() {
            let reason = format!("found the threshold {threshold}, expected a number from 0 to 1, or null");
            return Err(TaskError::Space { task: self.task.clone(), reason });
        }
        self.tuned = number.map(|number| number as f32);
        self.set_labels(types, relations);
        Ok(())
    }

    fn labels(&self) -> &[String] {
        &self.names
    }

    fn build(&mut self, parameters: &mut Parameters, hidden: usize) {
        let sizes = Sizes {
            hidden,
            span: self.config.size,
            max_width: self.config.max_width,
            types: self.types.len(),
            relations: self.relations.len(),
            learn: self.config.learn,
        };
        self.network = Some(Network::new(parameters, &self.task, sizes));
    }

    fn attach(&mut self, split: Split, view: &View) -> Result<LabelReport, Vec<DataError>> {
        let mut faults = Faults::new();
        let mut report = LabelReport { rows: view.rows.len(), ..Default::default() };
        let mut rows = Vec::with_capacity(view.rows.len());
        for (i, row) in view.rows.iter().enumerate() {
            match Annotation::read(&self.config, row) {
                Ok(gold) => {
                    if let Some(gold) = &gold {
                        let lost = gold.lost(&self.config, &view.encoded, i);
                        report.truncated += lost.truncated;
                        report.without_token += lost.without_token;
                        report.out_of_reach += lost.out_of_reach;
                    }
                    rows.push(gold);
                }
                Err(fault) => faults.push(fault),
            }
        }
        faults.finish(())?;
        report.labelled = rows.iter().flatten().count();
        report.missing = report.rows - report.labelled;
        let all = || rows.iter().flatten();
        let names = [
            (&self.types, count(all().flat_map(Annotation::types))),
            (&self.relations, count(all().flat_map(Annotation::relation_types))),
        ];
        for (labels, mut counted) in names {
            let of_label = |name: &String| (name.clone(), counted.remove(name.as_str()).unwrap_or(0));
            report.counts.extend(labels.names().iter().map(of_label));
            counted.into_iter().for_each(|(name, n)| *report.unseen.entry(name.to_owned()).or_insert(0) += n);
        }
        self.targets.insert(split, rows);
        Ok(report)
    }

    fn labelled(&self, split: Split, row: usize) -> bool {
        self.gold(split, row as u32).is_some()
    }

    fn reads(&self, pack: &Pack, rows: &[BatchRow], read: &mut [bool]) {
        words::mark_first_tokens(pack, rows, read);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>) -> Option<Loss> {
        let (sheet, rows) = self.step(batch);
        if rows.is_empty() {
            return None;
        }
        let (network, seed) = (self.network(), batch.noise_seed);
        let words = kernels::pick(batch.states.clone(), &sheet.tokens);
        let words = kernels::dropout(words, self.noise("words", seed));
        let states = network.spans(parameters, &words, &sheet.spans);
        let scores = network.types(parameters, states.clone(), self.noise("types", seed));
        let of_entities = scores.clone().and_then(|scores| self.entity_loss(&sheet, &rows, scores));
        let of_relations = || {
            let ends = self.ends(&sheet, &rows, scores.as_ref(), batch);
            let spans = ends.of(&sheet);
            let (pairs, yes) = self.related(&rows, &ends, &spans, seed);
            if pairs.is_empty() {
                return None;
            }
            let of_ends = (spans.as_slice(), ends.types.as_slice(), kernels::pick(states, &ends.spans));
            let noise = self.noise("relations", seed);
            let scores = network.relations(parameters, &words, of_ends, &pairs, noise)?;
            Some(binary::cross_entropy(scores, yes, None).mean())
        };
        let mean = match (of_entities, of_relations()) {
            (Some(entities), Some(relations)) => entities + relations * self.config.relation_weight,
            (one, other) => one.or(other)?,
        };
        Some(Loss { mean, items: rows.len() })
    }

    fn predict(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Prediction> {
        self.graphs(parameters, batch).into_iter().map(Prediction::Graph).collect()
    }

    fn tunes(&self) -> bool {
        self.config.learn.relations() && self.config.threshold.given().is_none()
    }

    fn tune(&mut self, split: Split, predictions: &[(u32, Prediction)]) {
        self.tuned = self.best_threshold(split, predictions);
    }

    fn score(&self, split: Split, predictions: &[(u32, Prediction)]) -> Scores {
        let fresh =
            || (split == Split::Validation).then(|| self.best_threshold(split, predictions)).flatten();
        let threshold = self.settled().or_else(fresh);
        let (mut gold, mut found) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for (row, prediction) in predictions {
            let (Some(annotation), Prediction::Graph(graph)) = (self.gold(split, *row), prediction) else {
                continue;
            };
            let graph = &self.held(graph, threshold);
            gold.0.push(annotation.spans());
            found.0.push(found::spans(graph, &self.types));
            if let Some(triples) = annotation.triples() {
                gold.1.push(triples);
                found.1.push(found::triples(graph, &self.types, &self.relations));
            }
        }
        let (entities, relations) =
            (metrics::span_scores(&gold.0, &found.0), metrics::relation_scores(&gold.1, &found.1));
        // Between gold entities the ends are right, also those of a type that training never showed.
        let counted = if self.config.learn.entities() { relations.strict } else { relations.relaxed };
        let values = [
            ("mean_f1", (entities.f1 + counted.f1) / 2.0),
            ("entity_f1", entities.f1),
            ("entity_precision", entities.precision),
            ("entity_recall", entities.recall),
            ("relation_f1", counted.f1),
            ("relation_precision", counted.precision),
            ("relation_recall", counted.recall),
            ("relation_f1_relaxed", relations.relaxed.f1),
        ];
        let reported = values.into_iter().filter(|(name, _)| self.metrics().contains(name));
        Scores::with_main(self.main, reported.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn explain(&self, prediction: &Prediction, source: Source<'_>) -> serde_json::Value {
        let Prediction::Graph(graph) = prediction else { return serde_json::Value::Null };
        found::told(&self.held(graph, self.settled()), source, &self.types, &self.relations)
    }

    fn metrics(&self) -> &'static [&'static str] {
        self.config.learn.metrics()
    }
}

/// How often each name occurs.
fn count<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counted = BTreeMap::new();
    names.for_each(|name| *counted.entry(name).or_insert(0) += 1);
    counted
}
