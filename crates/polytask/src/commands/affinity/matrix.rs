//! Figures of pairs of tasks, each with its error and what is to be held against it.

use metrics::{Difference, Verdict, block_means};
use serde::Serialize;

/// Why a figure is not to be relied upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Its 95 % interval holds 0, or there is none: it may be chance.
    Noise,
    /// The gradients of one of the tasks are those of its rows more than of the task: a cosine with them is near 0 whatever the tasks
    /// have in common.
    Unreliable,
    /// A task has so few rows that every measurement has the same ones.
    FewRows,
}

/// A figure of a pair of tasks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Its mean.
    pub mean: f64,
    /// The standard error of the mean.
    pub standard_error: Option<f64>,
    /// The 95 % confidence interval.
    pub interval: Option<[f64; 2]>,
    /// What is to be held against it; empty where it says something.
    pub marks: Vec<Mark>,
}

impl Estimate {
    /// Of measurements during trainings. `None` without one.
    pub(super) fn of_series(series: &[Vec<f64>]) -> Option<Estimate> {
        let found = block_means(series)?;
        let is_noise = found.interval.is_none_or(|[low, high]| low <= 0.0 && high >= 0.0);
        let marks = if is_noise { vec![Mark::Noise] } else { Vec::new() };
        let (standard_error, interval) = (found.standard_error, found.interval);
        Some(Estimate { mean: found.mean, standard_error, interval, marks })
    }

    /// Of a difference of scores over seeds and rows, in points of a hundred.
    pub(super) fn of_difference(found: &Difference) -> Estimate {
        let is_shown = matches!(found.verdict(), Verdict::Helps | Verdict::Hurts);
        Estimate {
            mean: 100.0 * found.mean,
            standard_error: Some(100.0 * found.standard_error),
            interval: Some(found.interval.map(|end| 100.0 * end)),
            marks: if is_shown { Vec::new() } else { vec![Mark::Noise] },
        }
    }

    /// Whether it says something.
    pub fn is_sure(&self) -> bool {
        self.marks.is_empty()
    }
}

/// Figures of pairs of tasks: `[from][to]`, in the order of the tasks; `None` where there is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Matrix(pub Vec<Vec<Option<Estimate>>>);

impl Matrix {
    /// By a function of the places of two tasks.
    pub(super) fn of(tasks: usize, estimate: impl Fn(usize, usize) -> Option<Estimate>) -> Matrix {
        let estimate = &estimate;
        Matrix((0..tasks).map(|from| (0..tasks).map(|to| estimate(from, to)).collect()).collect())
    }

    /// One of them.
    pub fn at(&self, from: usize, to: usize) -> Option<&Estimate> {
        self.0.get(from)?.get(to)?.as_ref()
    }

    /// Those of two different tasks, with their places.
    pub fn pairs(&self) -> impl Iterator<Item = ((usize, usize), &Estimate)> {
        let of_row = |(from, row): (usize, &'_ Vec<Option<Estimate>>)| -> Vec<(usize, usize)> {
            (0..row.len()).filter(|to| *to != from).map(|to| (from, to)).collect()
        };
        let places: Vec<(usize, usize)> = self.0.iter().enumerate().flat_map(of_row).collect();
        places.into_iter().filter_map(|(from, to)| Some(((from, to), self.at(from, to)?)))
    }

    /// The means, 0 on the diagonal; `None` where one of a pair is missing.
    pub(super) fn means(&self) -> Option<Vec<Vec<f64>>> {
        let tasks = self.0.len();
        let mean = |from, to| if from == to { Some(0.0) } else { self.at(from, to).map(|found| found.mean) };
        (0..tasks).map(|from| (0..tasks).map(|to| mean(from, to)).collect()).collect()
    }

    /// The greatest mean of a pair, to either side.
    pub(super) fn largest(&self) -> f64 {
        self.pairs().map(|(_, found)| found.mean.abs()).fold(0.0, f64::max)
    }
}
