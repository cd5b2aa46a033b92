//! What the measurements and the scores say: matrices over pairs of tasks, and groups of tasks.

use super::Definition;
use super::grouping::{By, Partition, partitions};
use super::matrix::{Estimate, Mark, Matrix};
use super::measurements::{Measurements, affinity, net_affinity, pair};
use super::trainings::Trainings;
use crate::study::{TaskScore, TrialResult};
use metrics::{Difference, Replicates};
use serde::Serialize;
use std::collections::BTreeMap;

/// A cosine says little where of a true cosine of 1 less than this would be measured.
const LEAST_ATTENUATION: f64 = 0.25;
/// With fewer rows all measurements are of the same few.
const FEWEST_ROWS: usize = 8;

/// What was found: `affinity.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Findings {
    /// The tasks, in the order of all matrices.
    pub tasks: Vec<TaskFigures>,
    /// Seeds of the trainings.
    pub seeds: Vec<u64>,
    /// Measurements in all trainings of the model for all tasks, one after every so many steps.
    pub measurements: usize,
    /// See `measurements`.
    pub every: usize,
    /// Why some were not made.
    pub unmeasured: Vec<String>,
    /// The mean cosine of the gradients of two tasks over all shared parameters.
    pub cosine: Matrix,
    /// The same over the parts of the network, from the bottom up.
    pub layers: Vec<LayerMatrix>,
    /// How many rows of a measurement two tasks have in common, on average.
    pub shared_rows: Vec<Vec<f64>>,
    /// TAG's `Z[from][to]`, as it was measured.
    pub affinity: Matrix,
    /// The same without what the optimizer's momentum does in any case. With it tasks are grouped.
    pub net_affinity: Matrix,
    /// The score of `to` when trained with `from`, less that of `to` alone, in points; `None` where no pairs were trained.
    pub pairs: Option<Matrix>,
    /// The score of `to` from the trunk of `from`, less that of `to` alone, in points; `None` where that was not trained.
    pub intermediate: Option<Matrix>,
    /// By what tasks are grouped.
    pub by: By,
    /// The best groups for 1, 2, ... models; none where a figure is missing.
    pub partitions: Vec<Partition>,
    /// Why there are none.
    pub no_groups: Option<String>,
    /// The cosine of each pair over training.
    pub course: Vec<Course>,
}

/// A task.
#[derive(Debug, Clone, Serialize)]
pub struct TaskFigures {
    /// Its name.
    pub task: String,
    /// Its weight when gains are averaged.
    pub importance: f64,
    /// Its rows in a measurement.
    pub rows: usize,
    /// The mean norm of its gradient.
    pub gradient_norm: f64,
    /// The mean cosine between the gradients of two halves of its rows.
    pub reliability: Option<Estimate>,
    /// What the optimizer's momentum alone does to its loss, as [`Findings::affinity`].
    pub without_gradient: Option<Estimate>,
    /// Its metric and its mean score alone, where it was trained alone.
    pub alone: Option<AloneScore>,
}

/// The score of a task alone.
#[derive(Debug, Clone, Serialize)]
pub struct AloneScore {
    /// The primary metric.
    pub metric: String,
    /// The split.
    pub split: String,
    /// Rows.
    pub rows: usize,
    /// The mean over the seeds.
    pub mean: f64,
}

/// Cosines over one part of the network.
#[derive(Debug, Clone, Serialize)]
pub struct LayerMatrix {
    /// The part.
    pub layer: String,
    /// The cosines.
    pub cosine: Matrix,
}

/// The cosine of a pair over the training with the first seed.
#[derive(Debug, Clone, Serialize)]
pub struct Course {
    /// The two tasks.
    pub tasks: (String, String),
    /// Step and cosine.
    pub points: Vec<(usize, f64)>,
}

impl Findings {
    /// Of the measurements and results of all trainings.
    pub(super) fn of(
        trainings: &Trainings,
        definition: &Definition,
        measurements: &Measurements,
        results: &BTreeMap<String, TrialResult>,
        by: By,
    ) -> Findings {
        let names = &trainings.tasks;
        let scores = Scores { trainings, results };
        let tasks: Vec<TaskFigures> =
            (0..names.len()).map(|index| scores.task(index, measurements)).collect();
        let (count, matrices) = (names.len(), Matrices { names, tasks: &tasks, measurements });
        let cosine = matrices.cosine(|event, a, b| pair(event, a, b)?.cosine);
        let of_layer = |layer: &String| LayerMatrix {
            cosine: matrices.cosine(|event, a, b| {
                pair(event, a, b)?.layers.iter().find(|of| of.layer == *layer).map(|of| of.cosine)
            }),
            layer: layer.clone(),
        };
        let layers = measurements.layers().iter().map(of_layer).collect();
        let net = matrices.affinity(net_affinity);
        let pairs = definition.pairs.then(|| Matrix::of(count, |from, to| scores.pair(from, to)));
        let intermediate =
            definition.intermediate.then(|| Matrix::of(count, |from, to| scores.intermediate(from, to)));
        let chosen = match by {
            By::Tag => &net,
            By::Cosine => &cosine,
            By::Pairs => pairs.as_ref().unwrap_or(&net),
        };
        let grouped = partitions(names, &trainings.importance, (by, chosen), measurements);
        let (partitions, no_groups) =
            grouped.map_or_else(|why| (Vec::new(), Some(why)), |partitions| (partitions, None));
        Findings {
            seeds: trainings.seeds.clone(),
            measurements: measurements.count(),
            every: trainings.every,
            unmeasured: measurements.unmeasured.clone(),
            shared_rows: matrices.shared_rows(),
            affinity: matrices.affinity(affinity),
            course: matrices.course(trainings),
            cosine,
            layers,
            net_affinity: net,
            pairs,
            intermediate,
            by,
            partitions,
            no_groups,
            tasks,
        }
    }

    /// A gain in the unit of the matrix that tasks are grouped by.
    pub(super) fn amount(&self, gain: f64) -> String {
        match self.by {
            By::Tag => format!("{:+.3} % of the loss a step", 100.0 * gain),
            By::Cosine => format!("{gain:+.3} of cosine"),
            By::Pairs => format!("{gain:+.2} points"),
        }
    }
}

/// What makes matrices of measurements.
struct Matrices<'a> {
    names: &'a [String],
    tasks: &'a [TaskFigures],
    measurements: &'a Measurements,
}

impl Matrices<'_> {
    /// Cosines, with what is to be held against them.
    fn cosine(&self, get: impl Fn(&train::Affinity, &str, &str) -> Option<f64>) -> Matrix {
        Matrix::of(self.names.len(), |a, b| {
            if a == b {
                return None;
            }
            let series = self.measurements.series(|event| get(event, &self.names[a], &self.names[b]));
            let mut found = Estimate::of_series(&series)?;
            // A cosine that is surely not 0 says so, whatever noise has taken off it.
            if !found.is_sure() && self.attenuation(a, b) < LEAST_ATTENUATION {
                found.marks.push(Mark::Unreliable);
            }
            self.mark_few_rows(&mut found, a, b);
            Some(found)
        })
    }

    /// What a step on one does to the loss of the other; on the diagonal, to its own.
    fn affinity(&self, get: impl Fn(&train::Affinity, &str, &str) -> Option<f64>) -> Matrix {
        Matrix::of(self.names.len(), |from, to| {
            let series = self.measurements.series(|event| get(event, &self.names[from], &self.names[to]));
            let mut found = Estimate::of_series(&series)?;
            self.mark_few_rows(&mut found, from, to);
            Some(found)
        })
    }

    fn mark_few_rows(&self, found: &mut Estimate, a: usize, b: usize) {
        if self.tasks[a].rows.min(self.tasks[b].rows) < FEWEST_ROWS {
            found.marks.push(Mark::FewRows);
        }
    }

    /// What is left of a cosine of 1 between two tasks: the root of the product of the reliabilities of their gradients (Spearman, 1904),
    /// each that of all rows by that of halves (Spearman and Brown, 1910).
    fn attenuation(&self, a: usize, b: usize) -> f64 {
        let of = |task: usize| {
            let half = self.tasks[task].reliability.as_ref().map_or(0.0, |found| found.mean.max(0.0));
            2.0 * half / (1.0 + half)
        };
        (of(a) * of(b)).sqrt()
    }

    fn shared_rows(&self) -> Vec<Vec<f64>> {
        let mean = |a: &String, b: &String| {
            let series = self.measurements.series(|event| Some(pair(event, a, b)?.shared_rows as f64));
            let all: Vec<f64> = series.into_iter().flatten().collect();
            all.iter().sum::<f64>() / all.len().max(1) as f64
        };
        self.names.iter().map(|a| self.names.iter().map(|b| mean(a, b)).collect()).collect()
    }

    fn course(&self, trainings: &Trainings) -> Vec<Course> {
        let events = self.measurements.trainings.first().map_or(&[][..], Vec::as_slice);
        let of = |(a, b): (&String, &String)| Course {
            tasks: (a.clone(), b.clone()),
            points: events
                .iter()
                .filter_map(|event| Some((event.step, pair(event, a, b)?.cosine?)))
                .collect(),
        };
        trainings.pairs_of_tasks().map(of).collect()
    }
}

/// The results by name of the trial.
struct Scores<'a> {
    trainings: &'a Trainings,
    results: &'a BTreeMap<String, TrialResult>,
}

impl Scores<'_> {
    fn name(&self, task: usize) -> &String {
        &self.trainings.tasks[task]
    }

    fn task(&self, index: usize, measurements: &Measurements) -> TaskFigures {
        let name = self.name(index);
        let of = |get: &dyn Fn(&train::TaskAffinity) -> Option<f64>| {
            Estimate::of_series(&measurements.series(|event| get(event.tasks.get(name)?)))
        };
        let rows = |event: &train::Affinity| event.tasks.get(name).map(|of| of.rows);
        TaskFigures {
            task: name.clone(),
            importance: self.trainings.importance[index],
            rows: measurements.trainings.iter().flatten().filter_map(rows).max().unwrap_or(0),
            gradient_norm: of(&|of| Some(of.gradient_norm)).map_or(0.0, |found| found.mean),
            reliability: of(&|of| of.reliability),
            without_gradient: of(&|of| of.without_gradient),
            alone: self.alone_score(index),
        }
    }

    /// The scores of a task by trials of these names, one a seed.
    fn scores(&self, task: usize, trial: impl Fn(u64) -> String) -> Option<Vec<&TaskScore>> {
        let of = |seed: &u64| self.results.get(&trial(*seed))?.score(self.name(task));
        self.trainings.seeds.iter().map(of).collect()
    }

    fn alone(&self, task: usize) -> Option<Vec<&TaskScore>> {
        let own = std::slice::from_ref(self.name(task));
        self.scores(task, |seed| self.trainings.trial_of_model(own, seed))
    }

    fn alone_score(&self, task: usize) -> Option<AloneScore> {
        let scores = self.alone(task)?;
        let first = scores.first()?;
        let mean = scores.iter().map(|score| score.value).sum::<f64>() / scores.len() as f64;
        Some(AloneScore { metric: first.metric.clone(), split: first.split.clone(), rows: first.rows, mean })
    }

    /// What a task gains over itself alone, by other trials.
    fn gain(&self, task: usize, trial: impl Fn(u64) -> String) -> Option<Estimate> {
        let (own, alone) = (self.scores(task, trial)?, self.alone(task)?);
        let rows = alone.first()?.rows;
        let difference = Replicates::combine(&[(1.0, &replicates(&own)), (-1.0, &replicates(&alone))]);
        Difference::of(&difference, rows).as_ref().map(Estimate::of_difference)
    }

    fn pair(&self, from: usize, to: usize) -> Option<Estimate> {
        if from == to {
            return None;
        }
        let both = [self.name(from.min(to)).clone(), self.name(from.max(to)).clone()];
        self.gain(to, |seed| self.trainings.trial_of_model(&both, seed))
    }

    fn intermediate(&self, from: usize, to: usize) -> Option<Estimate> {
        if from == to {
            return None;
        }
        self.gain(to, |seed| self.trainings.trial_of_intermediate(self.name(from), self.name(to), seed))
    }
}

fn replicates(scores: &[&TaskScore]) -> Replicates {
    Replicates {
        values: scores.iter().map(|score| score.value).collect(),
        resampled: scores.iter().map(|score| score.resampled.clone()).collect(),
    }
}
