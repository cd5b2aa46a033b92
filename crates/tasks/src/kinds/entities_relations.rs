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
mod answers;
mod config;
mod label_space;
mod network;
mod predict;
mod scheduled_sampling;
mod scored_spans;
mod span_batch;
mod threshold;
mod training;

use std::collections::BTreeMap;

use data::{DataError, ErrorList, InputField, Pack, Row, Split, View};
use model::Parameters;

use crate::distillation::{SoftLoss, SoftOutputs, TaughtRow};
use crate::heads::head;
use crate::losses::binary;
use crate::row_comparison::NO_LABEL;
use crate::targets::labels::Labels;
use crate::targets::words;
use crate::task_head::{EncodedHead, Head};
use crate::{
    Batch, BatchRow, GoldIssue, Kind, LabelReport, Loss, ModelInput, Prediction, RowComparison, Scores,
    TaskError, TaskHead, TrunkHandles,
};
use annotation::Annotation;
use label_space::LabelSpace;
use network::{Network, Sizes};

pub use config::{EntitiesRelationsConfig, Objective};
pub use scheduled_sampling::{Scheduled, ScheduledSampling};

/// A task of entities and relations.
#[derive(Clone)]
struct EntitiesRelations {
    task: String,
    config: EntitiesRelationsConfig,
    primary: &'static str,
}

impl EntitiesRelations {
    fn key(&self, name: &str) -> String {
        format!("task.{}.entities_relations.{name}", self.task)
    }

    /// Checks that there are types to learn, and not too many.
    fn check(&self, rows: &[Row], space: &LabelSpace) -> Result<(), Vec<DataError>> {
        let wanted = [
            ("entities", &self.config.entities, &space.types),
            ("relations", &self.config.relations, &space.relations),
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

    fn metrics(&self) -> &'static [&'static str] {
        self.config.learn.metrics()
    }

    fn target_fields(&self) -> Vec<String> {
        let relations = self.config.learn.relations().then(|| self.config.relations.clone());
        [self.config.entities.clone()].into_iter().chain(relations).collect()
    }

    fn fit_labels(&self, rows: &[Row]) -> Result<serde_json::Value, Vec<DataError>> {
        let mut errors = ErrorList::new();
        let (mut types, mut relations, mut outside) = (BTreeMap::new(), BTreeMap::new(), None);
        for row in rows {
            match Annotation::read(&self.config, row) {
                Ok(None) => {}
                Ok(Some(gold)) if gold.is_outside => outside = outside.or(Some(row)),
                Ok(Some(gold)) => {
                    gold.types().for_each(|name| *types.entry(name.to_owned()).or_insert(0) += 1);
                    let names = gold.relation_types();
                    names.for_each(|name| *relations.entry(name.to_owned()).or_insert(0) += 1);
                }
                Err(error) => errors.push(error),
            }
        }
        if let Some(row) = outside.filter(|_| types.is_empty()) {
            let expected =
                format!("an `end` of at most the number of words in field {:?}", self.config.tokens);
            errors.push(row.error(
                &self.config.entities,
                "an entity outside of the row's words, and no other rows with entities",
                expected,
            ));
        }
        errors.finish(())?;
        let (types, relations) = (Labels::new(types), Labels::new(relations));
        let space = LabelSpace { types, relations, threshold: None };
        self.check(rows, &space)?;
        Ok(space.to_json())
    }

    fn init_head(
        &self,
        label_space: &serde_json::Value,
        trunk: &TrunkHandles<'_>,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn TaskHead>, TaskError> {
        let space = LabelSpace::from_json(&self.task, self.config.learn, label_space)?;
        let sizes = Sizes {
            hidden: trunk.hidden,
            span: self.config.span_dim,
            max_width: self.config.max_width,
            types: space.types.len(),
            relations: space.relations.len(),
            learn: self.config.learn,
        };
        let network = Network::new(parameters, &self.task, sizes);
        Ok(EncodedHead::boxed(EntitiesRelationsHead { kind: self.clone(), space, network }))
    }
}

/// The head of a task of entities and relations.
struct EntitiesRelationsHead {
    kind: EntitiesRelations,
    space: LabelSpace,
    network: Network,
}

/// The gold entities and relations of a row; `None` for one that is not labelled, or does not exist.
fn gold_of(targets: &[Option<Annotation>], row: u32) -> Option<&Annotation> {
    targets.get(row as usize)?.as_ref()
}

impl EntitiesRelationsHead {
    fn dropout(&self, layer: &str, seed: Option<u64>) -> Option<kernels::Dropout> {
        head::dropout(self.kind.config.dropout, &format!("{}.{layer}", self.kind.task), seed)
    }

    /// The id of a type of entity; that of "no entity" for a type that does not occur in training.
    fn type_id(&self, name: &str) -> u32 {
        self.space.types.id(name).unwrap_or(self.space.types.len() as u32)
    }
}

impl Head for EntitiesRelationsHead {
    /// Per row; `None` for one that is not labelled.
    type Targets = Vec<Option<Annotation>>;

    fn encode_targets(&self, view: &View) -> Result<(Self::Targets, LabelReport), Vec<DataError>> {
        let mut errors = ErrorList::new();
        let mut report = LabelReport { rows: view.rows.len(), ..Default::default() };
        let mut rows = Vec::with_capacity(view.rows.len());
        let what = "have entities that lie outside of their words; these rows are masked";
        let mut outside = GoldIssue::new(what, true);
        for (i, row) in view.rows.iter().enumerate() {
            match Annotation::read(&self.kind.config, row) {
                Ok(gold) => {
                    if let Some(gold) = &gold {
                        outside.count(&row.place, gold.is_outside);
                    }
                    let gold = gold.filter(|gold| !gold.is_outside);
                    if let Some(gold) = &gold {
                        let dropped = gold.dropped(&self.kind.config, &view.encoded, i);
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
        report.add_issue(outside);
        report.labelled = rows.iter().flatten().count();
        report.missing = report.rows - report.labelled;
        let all = || rows.iter().flatten();
        let names = [
            (&self.space.types, count(all().flat_map(Annotation::types))),
            (&self.space.relations, count(all().flat_map(Annotation::relation_types))),
        ];
        for (labels, mut counted) in names {
            let of_label = |name: &String| (name.clone(), counted.remove(name.as_str()).unwrap_or(0));
            report.counts.extend(labels.names().iter().map(of_label));
            counted.into_iter().for_each(|(name, n)| *report.unseen.entry(name.to_owned()).or_insert(0) += n);
        }
        Ok((rows, report))
    }

    fn labelled(targets: &Self::Targets, row: usize) -> bool {
        gold_of(targets, row as u32).is_some()
    }

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        words::mark_first_tokens(pack, rows, used);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, targets: &Self::Targets) -> Option<Loss> {
        let (span_batch, rows) = self.step(batch, targets);
        if rows.is_empty() {
            return None;
        }
        let (network, seed) = (&self.network, batch.dropout_seed);
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
            (Some(entities), Some(relations)) => entities + relations * self.kind.config.relation_weight,
            (one, other) => one.or(other)?,
        };
        Some(Loss { mean, num_targets: rows.len() })
    }

    fn soft_outputs(&self) -> Result<SoftOutputs, String> {
        if !self.kind.config.learn.entities() {
            return Err(
                "with entities that are given there are no answers of its own to pairs of others".into()
            );
        }
        let named = |what: &str, labels: &Labels| -> Vec<String> {
            labels.names().iter().map(|name| format!("{what} {name}")).collect()
        };
        let mut columns = named("entity", &self.space.types);
        columns.extend(named("relation", &self.space.relations));
        Ok(SoftOutputs { columns, by_token: false, needs_label: false })
    }

    fn reorder(&self, answer: &mut [f32], order: &[usize]) {
        answers::reorder(answer, self.space.types.len(), self.space.relations.len(), order);
    }

    fn teacher_answers(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Vec<f32>> {
        self.answers(parameters, batch)
    }

    fn soft_loss(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
        taught: &[TaughtRow<'_>],
        temperature: f32,
    ) -> Option<SoftLoss> {
        self.loss_of_answers(parameters, batch, taught, temperature)
    }

    fn predict(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        targets: &Self::Targets,
    ) -> Vec<Prediction> {
        self.graphs(parameters, batch, targets).into_iter().map(Prediction::Graph).collect()
    }

    fn calibrates(&self) -> bool {
        self.kind.config.learn.relations() && self.kind.config.threshold.given().is_none()
    }

    fn calibrate(&mut self, targets: &Self::Targets, predictions: &[(u32, Prediction)]) {
        self.space.threshold = self.best_threshold(targets, predictions);
    }

    fn score(&self, split: Split, targets: &Self::Targets, predictions: &[(u32, Prediction)]) -> Scores {
        let fresh =
            || (split == Split::Validation).then(|| self.best_threshold(targets, predictions)).flatten();
        let threshold = self.fixed_threshold().or_else(fresh);
        let (mut gold, mut found) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for (row, prediction) in predictions {
            let (Some(annotation), Prediction::Graph(graph)) = (gold_of(targets, *row), prediction) else {
                continue;
            };
            let graph = &self.above_threshold(graph, threshold);
            gold.0.push(annotation.spans());
            found.0.push(scored_spans::spans(graph, &self.space.types));
            if let Some(triples) = annotation.triples() {
                gold.1.push(triples);
                found.1.push(scored_spans::triples(graph, &self.space.types, &self.space.relations));
            }
        }
        let (entities, relations) =
            (metrics::span_scores(&gold.0, &found.0), metrics::relation_scores(&gold.1, &found.1));
        // Between gold entities the arguments are correct, also if their type does not occur in training.
        let counted = if self.kind.config.learn.entities() { relations.strict } else { relations.relaxed };
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
        let reported = values.into_iter().filter(|(name, _)| self.kind.metrics().contains(name));
        Scores::with_primary(
            self.kind.primary,
            reported.map(|(name, value)| (name.to_owned(), value)).collect(),
        )
    }

    fn label_space(&self) -> serde_json::Value {
        self.space.to_json()
    }

    fn to_json(&self, prediction: &Prediction, input: ModelInput<'_>) -> serde_json::Value {
        let Prediction::Graph(graph) = prediction else { return serde_json::Value::Null };
        let graph = self.above_threshold(graph, self.fixed_threshold());
        scored_spans::to_json(&graph, input, &self.space.types, &self.space.relations)
    }

    fn compare(
        &self,
        targets: &Self::Targets,
        row: usize,
        source: &Row,
        prediction: &Prediction,
    ) -> Option<RowComparison> {
        let (Some(annotation), Prediction::Graph(graph)) = (gold_of(targets, row as u32), prediction) else {
            return None;
        };
        let graph = &self.above_threshold(graph, self.fixed_threshold());
        let words = source.words(&self.kind.config.tokens).ok().flatten().unwrap_or_default();
        let text = |span: &metrics::Span| {
            words.get(span.start..span.end).map(|words| words.join(" ")).unwrap_or_default()
        };
        let entity =
            |span: &metrics::Span| format!("{} {} (word {})", text(span), span.label, span.start + 1);
        let relation = |found: &metrics::Relation| {
            format!("{} {} {}", text(&found.head), found.label, text(&found.tail))
        };
        let (gold, found) = (annotation.spans(), scored_spans::spans(graph, &self.space.types));
        let at = |spans: &[metrics::Span], of: &metrics::Span| {
            let same = spans.iter().find(|span| (span.start, span.end) == (of.start, of.end));
            same.map_or_else(|| NO_LABEL.to_owned(), |span| span.label.clone())
        };
        let of_gold = gold.iter().map(|span| (span.label.clone(), at(&found, span)));
        let spurious = found.iter().filter(|span| at(&gold, span) == NO_LABEL);
        let labels = of_gold.chain(spurious.map(|span| (NO_LABEL.to_owned(), span.label.clone()))).collect();
        let mut things: [Vec<String>; 2] =
            [gold.iter().map(entity).collect(), found.iter().map(entity).collect()];
        if let Some(triples) = annotation.triples() {
            let answered = scored_spans::triples(graph, &self.space.types, &self.space.relations);
            things[0].extend(triples.iter().map(relation));
            things[1].extend(answered.iter().map(relation));
        }
        Some(RowComparison::of_sets(&things[0], &things[1], labels))
    }

    fn error_measure(&self) -> &'static str {
        "entities and relations that are missed or spurious"
    }
}

/// How often each name occurs.
fn count<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counted = BTreeMap::new();
    names.for_each(|name| *counted.entry(name).or_insert(0) += 1);
    counted
}
