//! Named entities and the relations between them, learned and predicted jointly.
//!
//! Input: a field of words. Labels: a list of entities `{start, end, type}`, in words with `end` exclusive, and a list of
//! relations `{head: [start, end], tail: [start, end], type}` between entities of the row; a pair may have several. A row
//! without the field of entities is masked; one without the field of relations is masked only for relations. The label spaces are
//! the sorted sets of the types in training.
//!
//! Head, with `h = hidden`, `d = span_dim`; a word is the state of its first token:
//! - a span of at most `max_width` words: `s = relu(A first + B last + width + a)`, `A` and `B` `[d, h]`, a learned `width` `[d]`
//!   for each number of words;
//! - its type: dropout and a linear layer `[d] -> [types + 1]`, the last for "no entity";
//! - an ordered pair of entities: `p = relu(C s_head + D s_tail + type_head + type_tail + E between + b)`, `C` and `D` `[d, d]`,
//!   a learned vector `[d]` for each type of head and of tail, `E` `[d, h]` of the mean of the words between both;
//! - its relations: dropout and a linear layer `[d] -> [relations]`, a sigmoid for each.
//!
//! Loss: cross-entropy over the types, the mean over spans: all entities of at most `max_width` words, and at most
//! `negative_samples` other spans of each row; plus `relation_weight` times the binary cross-entropy of the relations, the mean over
//! their types and over pairs: all related pairs, and at most `negative_samples` others of each row. Pairs consist of the gold
//! entities, except in a share `scheduled_sampling` of the rows, where they consist of the entities that the head predicts among the
//! spans of the step, as at inference. By default the share rises linearly over the run from 0 to a half (scheduled sampling). The
//! sampling is a function of the step's seed.
//!
//! Decoding: each span's most probable type; of two entities that overlap the more probable one, unless `nested`; then all pairs
//! of the `max_entities` most probable entities, and every relation with a probability of at least `threshold`. With `"tuned"`
//! the threshold is the one with the best `relation_f1` on the validation split; it is tuned after training and stored with the
//! labels. During the run each evaluation of the validation split tunes it anew, and all other splits use 0.5.
//!
//! Scores: `entity_f1`, `entity_precision`, `entity_recall` of typed spans; `relation_f1`, `relation_precision`,
//! `relation_recall` of relations whose type, spans and entity types are all correct (strict); `relation_f1_relaxed` ignores the
//! entity types; `mean_f1` (default) is the mean of `entity_f1` and `relation_f1`. Entities that were truncated, or have more than
//! `max_width` words, count as not found. `learn = "entities"` trains and scores only entities; `learn = "relations"` only
//! relations between the gold entities, also in scoring, so that it gives no answers for plain text.
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
//! "probability"}]}`. `start` and `end` count characters as in `tagging`; `head` and `tail` are indices into the list of entities,
//! from 0.

mod annotation;
mod config;
mod network;
mod predict;
mod scheduled_sampling;
mod scored_spans;
mod span_batch;
mod threshold;
mod training;

use std::collections::{BTreeMap, HashMap};

use data::{DataError, ErrorList, InputField, Pack, Row, Split, View};
use model::Parameters;
use serde_json::json;

use crate::heads::head;
use crate::losses::binary;
use crate::targets::labels::Labels;
use crate::targets::words;
use crate::{Batch, BatchRow, Kind, LabelReport, Loss, ModelInput, Prediction, Scores, TaskError};
use annotation::Annotation;
use network::{Network, Sizes};

pub use config::{EntitiesRelationsConfig, Objective};
pub use scheduled_sampling::{Scheduled, ScheduledSampling};

/// A task of entities and relations.
struct EntitiesRelations {
    task: String,
    config: EntitiesRelationsConfig,
    primary: &'static str,
    types: Labels,
    relations: Labels,
    /// The tuned threshold of relations, after calibration.
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

    fn dropout(&self, layer: &str, seed: Option<u64>) -> Option<kernels::Dropout> {
        head::dropout(self.config.dropout, &format!("{}.{layer}", self.task), seed)
    }

    fn gold(&self, split: Split, row: u32) -> Option<&Annotation> {
        self.targets.get(&split)?.get(row as usize)?.as_ref()
    }

    /// The id of a type of entity; that of "no entity" for a type that does not occur in training.
    fn type_id(&self, name: &str) -> u32 {
        self.types.id(name).unwrap_or(self.types.len() as u32)
    }

    fn set_labels(&mut self, types: Labels, relations: Labels) {
        self.names = [types.names(), relations.names()].concat();
        (self.types, self.relations) = (types, relations);
    }

    /// Checks that there are types to learn, and not too many.
    fn check(&self, rows: &[Row]) -> Result<(), Vec<DataError>> {
        let wanted = [
            ("entities", &self.config.entities, &self.types),
            ("relations", &self.config.relations, &self.relations),
        ];
        // Relations need types of entity as well.
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

    fn fit_labels(&mut self, rows: &[Row]) -> Result<(), Vec<DataError>> {
        let mut errors = ErrorList::new();
        let (mut types, mut relations) = (BTreeMap::new(), BTreeMap::new());
        for row in rows {
            match Annotation::read(&self.config, row) {
                Ok(None) => {}
                Ok(Some(gold)) => {
                    gold.types().for_each(|name| *types.entry(name.to_owned()).or_insert(0) += 1);
                    let names = gold.relation_types();
                    names.for_each(|name| *relations.entry(name.to_owned()).or_insert(0) += 1);
                }
                Err(error) => errors.push(error),
            }
        }
        errors.finish(())?;
        self.set_labels(Labels::new(types), Labels::new(relations));
        self.check(rows)
    }

    fn label_space(&self) -> serde_json::Value {
        json!({
            "entities": self.types.to_json(),
            "relations": self.relations.to_json(),
            "threshold": self.tuned,
        })
    }

    fn load_label_space(&mut self, space: &serde_json::Value) -> Result<(), TaskError> {
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

    fn init_head(&mut self, parameters: &mut Parameters, hidden: usize) {
        let sizes = Sizes {
            hidden,
            span: self.config.span_dim,
            max_width: self.config.max_width,
            types: self.types.len(),
            relations: self.relations.len(),
            learn: self.config.learn,
        };
        self.network = Some(Network::new(parameters, &self.task, sizes));
    }

    fn encode_targets(&mut self, split: Split, view: &View) -> Result<LabelReport, Vec<DataError>> {
        let mut errors = ErrorList::new();
        let mut report = LabelReport { rows: view.rows.len(), ..Default::default() };
        let mut rows = Vec::with_capacity(view.rows.len());
        for (i, row) in view.rows.iter().enumerate() {
            match Annotation::read(&self.config, row) {
                Ok(gold) => {
                    if let Some(gold) = &gold {
                        let dropped = gold.dropped(&self.config, &view.encoded, i);
                        report.truncated += dropped.truncated;
                        report.without_token += dropped.without_token;
                        report.out_of_reach += dropped.out_of_reach;
                    }
                    rows.push(gold);
                }
                Err(error) => errors.push(error),
            }
        }
        errors.finish(())?;
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

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        words::mark_first_tokens(pack, rows, used);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>) -> Option<Loss> {
        let (span_batch, rows) = self.step(batch);
        if rows.is_empty() {
            return None;
        }
        let (network, seed) = (self.network(), batch.dropout_seed);
        let words = kernels::gather_rows(batch.states.clone(), &span_batch.tokens);
        let words = kernels::dropout(words, self.dropout("words", seed));
        let states = network.spans(parameters, &words, &span_batch.spans);
        let scores = network.types(parameters, states.clone(), self.dropout("types", seed));
        let of_entities = scores.clone().and_then(|scores| self.entity_loss(&span_batch, &rows, scores));
        let of_relations = || {
            let ends = self.ends(&span_batch, &rows, scores.as_ref(), batch);
            let spans = ends.of(&span_batch);
            let (pairs, yes) = self.related(&rows, &ends, &spans, seed);
            if pairs.is_empty() {
                return None;
            }
            let states = kernels::gather_rows(states, &ends.spans);
            let of_ends = (spans.as_slice(), ends.types.as_slice(), states);
            let dropout = self.dropout("relations", seed);
            let scores = network.relations(parameters, &words, of_ends, &pairs, dropout)?;
            Some(binary::cross_entropy(scores, yes, None).mean())
        };
        let mean = match (of_entities, of_relations()) {
            (Some(entities), Some(relations)) => entities + relations * self.config.relation_weight,
            (one, other) => one.or(other)?,
        };
        Some(Loss { mean, num_targets: rows.len() })
    }

    fn predict(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Prediction> {
        self.graphs(parameters, batch).into_iter().map(Prediction::Graph).collect()
    }

    fn calibrates(&self) -> bool {
        self.config.learn.relations() && self.config.threshold.given().is_none()
    }

    fn calibrate(&mut self, split: Split, predictions: &[(u32, Prediction)]) {
        self.tuned = self.best_threshold(split, predictions);
    }

    fn score(&self, split: Split, predictions: &[(u32, Prediction)]) -> Scores {
        let fresh =
            || (split == Split::Validation).then(|| self.best_threshold(split, predictions)).flatten();
        let threshold = self.fixed_threshold().or_else(fresh);
        let (mut gold, mut found) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for (row, prediction) in predictions {
            let (Some(annotation), Prediction::Graph(graph)) = (self.gold(split, *row), prediction) else {
                continue;
            };
            let graph = &self.above_threshold(graph, threshold);
            gold.0.push(annotation.spans());
            found.0.push(scored_spans::spans(graph, &self.types));
            if let Some(triples) = annotation.triples() {
                gold.1.push(triples);
                found.1.push(scored_spans::triples(graph, &self.types, &self.relations));
            }
        }
        let (entities, relations) =
            (metrics::span_scores(&gold.0, &found.0), metrics::relation_scores(&gold.1, &found.1));
        // Between gold entities the arguments are correct, also if their type does not occur in training.
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
        Scores::with_primary(self.primary, reported.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn to_json(&self, prediction: &Prediction, input: ModelInput<'_>) -> serde_json::Value {
        let Prediction::Graph(graph) = prediction else { return serde_json::Value::Null };
        let graph = self.above_threshold(graph, self.fixed_threshold());
        scored_spans::to_json(&graph, input, &self.types, &self.relations)
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
