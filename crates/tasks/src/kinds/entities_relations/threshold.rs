//! The decision threshold of relations.

use super::annotation::Annotation;
use super::scored_spans;
use super::{EntitiesRelationsHead, gold_of};
use crate::heads::thresholds::{self, UNTUNED};
use crate::{EntityGraph, Prediction};
use metrics::Relation;

/// Relations that are less probable are not candidates for a tuned threshold.
const MIN_PROBABILITY: f32 = 0.02;

impl EntitiesRelationsHead {
    /// The minimum probability of relations in predictions.
    pub(crate) fn min_probability(&self) -> f32 {
        self.kind.config.threshold.given().unwrap_or(MIN_PROBABILITY)
    }

    /// The threshold for every split, given or tuned; `None` if it has still to be tuned.
    pub(crate) fn fixed_threshold(&self) -> Option<f32> {
        self.kind.config.threshold.given().or(self.space.threshold)
    }

    /// A prediction with only the relations that reach the threshold.
    pub(crate) fn above_threshold(&self, graph: &EntityGraph, threshold: Option<f32>) -> EntityGraph {
        let mut graph = graph.clone();
        graph.relations.retain(|relation| relation.probability >= threshold.unwrap_or(UNTUNED));
        graph
    }

    /// The threshold with the best F1 of relations for these predictions; `None` if no row is labelled.
    pub(crate) fn best_threshold(
        &self,
        targets: &[Option<Annotation>],
        predictions: &[(u32, Prediction)],
    ) -> Option<f32> {
        let mut scored = Vec::new();
        for (row, prediction) in predictions {
            let gold = gold_of(targets, *row).and_then(|gold| gold.triples());
            let (Some(gold), Prediction::Graph(graph)) = (gold, prediction) else { continue };
            let triples = scored_spans::triples(graph, &self.space.types, &self.space.relations);
            let holds = triples.iter().map(|triple| gold.iter().any(|gold| self.agree(gold, triple)));
            let before = scored.len();
            scored.extend(graph.relations.iter().map(|relation| relation.probability).zip(holds));
            // Gold relations that no threshold finds count as well.
            let found = scored[before..].iter().filter(|(_, holds)| *holds).count();
            scored.resize(scored.len() + gold.len() - found, (0.0, true));
        }
        (!scored.is_empty()).then(|| thresholds::best(scored))
    }

    /// Whether a predicted relation is correct: including the types of its entities, unless these are given.
    fn agree(&self, gold: &Relation, found: &Relation) -> bool {
        let words = |relation: &Relation| [&relation.head, &relation.tail].map(|end| [end.start, end.end]);
        gold.label == found.label
            && words(gold) == words(found)
            && (!self.kind.config.learn.entities()
                || (gold.head.label == found.head.label && gold.tail.label == found.tail.label))
    }
}
