//! From which probability on a relation holds.

use super::EntitiesRelations;
use super::found;
use crate::thresholds::{self, UNTUNED};
use crate::{EntityGraph, Prediction};
use data::Split;
use metrics::Relation;

/// Where the threshold is tuned, less probable relations than this are not kept to choose from.
const LEAST: f32 = 0.02;

impl EntitiesRelations {
    /// The probability from which on relations are kept in predictions.
    pub(crate) fn kept_from(&self) -> f32 {
        self.config.threshold.given().unwrap_or(LEAST)
    }

    /// The threshold that holds for every split: given or tuned; `None` where it has still to be tuned.
    pub(crate) fn settled(&self) -> Option<f32> {
        self.config.threshold.given().or(self.tuned)
    }

    /// A prediction with the relations that hold.
    pub(crate) fn held(&self, graph: &EntityGraph, threshold: Option<f32>) -> EntityGraph {
        let mut graph = graph.clone();
        graph.relations.retain(|relation| relation.probability >= threshold.unwrap_or(UNTUNED));
        graph
    }

    /// The threshold with the best F1 of relations for these predictions of an attached split; `None` where none is labelled.
    pub(crate) fn best_threshold(&self, split: Split, predictions: &[(u32, Prediction)]) -> Option<f32> {
        let mut scored = Vec::new();
        for (row, prediction) in predictions {
            let gold = self.gold(split, *row).and_then(|gold| gold.triples());
            let (Some(gold), Prediction::Graph(graph)) = (gold, prediction) else { continue };
            let triples = found::triples(graph, &self.types, &self.relations);
            let holds = triples.iter().map(|triple| gold.iter().any(|gold| self.agree(gold, triple)));
            let before = scored.len();
            scored.extend(graph.relations.iter().map(|relation| relation.probability).zip(holds));
            // What no threshold finds counts all the same.
            let found = scored[before..].iter().filter(|(_, holds)| *holds).count();
            scored.resize(scored.len() + gold.len() - found, (0.0, true));
        }
        (!scored.is_empty()).then(|| thresholds::best(scored))
    }

    /// Whether a relation counts as found: with the types of its ends, if these are to be found, too.
    fn agree(&self, gold: &Relation, found: &Relation) -> bool {
        let words = |relation: &Relation| [&relation.head, &relation.tail].map(|end| [end.start, end.end]);
        gold.label == found.label
            && words(gold) == words(found)
            && (!self.config.learn.entities()
                || (gold.head.label == found.head.label && gold.tail.label == found.tail.label))
    }
}
