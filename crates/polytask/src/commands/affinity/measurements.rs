//! What trainings measured of their tasks: the events `affinity` in their metrics.

use super::trainings::Trainings;
use crate::failure::Failure;
use crate::study::StudyDir;
use metrics::blocks;
use std::fs::File;
use std::io::{BufRead, BufReader};
use train::{Affinity, Event, PairAffinity, RunDir};

/// The measurements of each training of the model for all tasks, in their order.
pub(super) struct Measurements {
    pub(super) trainings: Vec<Vec<Affinity>>,
    /// Why some measured nothing.
    pub(super) unmeasured: Vec<String>,
}

impl Measurements {
    /// Reads those of a study.
    ///
    /// # Errors
    /// A file that cannot be read; trainings that measured nothing.
    pub(super) fn read(dir: &StudyDir, trainings: &Trainings) -> Result<Measurements, Failure> {
        let mut found = Measurements { trainings: Vec::new(), unmeasured: Vec::new() };
        for (trial, _) in &trainings.together {
            let path = RunDir::new(dir.trial(&trial.name)).metrics();
            let file = File::open(&path).map_err(|e| Failure::io("reading", &path, e))?;
            let mut own = Vec::new();
            for line in BufReader::new(file).lines().map_while(Result::ok) {
                let Ok(Event::Affinity(event)) = serde_json::from_str(&line) else { continue };
                match event.unmeasured {
                    Some(why) => found.unmeasured.push(why),
                    None => own.push(event),
                }
            }
            found.trainings.push(own);
        }
        found.unmeasured.sort_unstable();
        found.unmeasured.dedup();
        if found.count() == 0 {
            let why = match &found.unmeasured[..] {
                [] => "the training has too few steps for one".to_owned(),
                why => why.join("; "),
            };
            return Err(Failure::failed(format!("nothing was measured: {why}")));
        }
        Ok(found)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.trainings.iter().map(Vec::len).sum()
    }

    /// A figure of every measurement that has it, training by training.
    pub(super) fn series(&self, get: impl Fn(&Affinity) -> Option<f64>) -> Vec<Vec<f64>> {
        self.trainings.iter().map(|own| own.iter().filter_map(&get).collect()).collect()
    }

    /// Measurements in a row, in blocks.
    pub(super) fn blocks(&self) -> Vec<&[Affinity]> {
        let lengths: Vec<usize> = self.trainings.iter().map(Vec::len).collect();
        blocks(&lengths).into_iter().map(|(index, range)| &self.trainings[index][range]).collect()
    }

    /// The parts of the network, from the bottom up.
    pub(super) fn layers(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for pair in self.trainings.iter().flatten().flat_map(|event| &event.pairs) {
            for layer in &pair.layers {
                if !found.contains(&layer.layer) {
                    found.push(layer.layer.clone());
                }
            }
        }
        found
    }
}

/// Two tasks in a measurement.
pub(super) fn pair<'a>(event: &'a Affinity, a: &str, b: &str) -> Option<&'a PairAffinity> {
    event.pairs.iter().find(|pair| {
        let (first, second) = (pair.tasks.0.as_str(), pair.tasks.1.as_str());
        (first, second) == (a, b) || (first, second) == (b, a)
    })
}

/// By what fraction a step on a task lowers the loss of another.
pub(super) fn affinity(event: &Affinity, from: &str, to: &str) -> Option<f64> {
    event.transfers.iter().find(|one| one.from == from && one.to == to).map(|one| one.affinity)
}

/// [`affinity`] without what the optimizer's momentum does to the loss in any case.
pub(super) fn net_affinity(event: &Affinity, from: &str, to: &str) -> Option<f64> {
    Some(affinity(event, from, to)? - event.tasks.get(to)?.without_gradient?)
}
