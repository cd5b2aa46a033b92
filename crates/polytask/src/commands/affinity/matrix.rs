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

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::Replicates;

    #[test]
    fn what_may_be_chance_is_marked() {
        let steady: Vec<f64> = (0..20).map(|i| 1.0 + 0.1 * f64::from(i % 2)).collect();
        let found = Estimate::of_series(&[steady]).unwrap();
        assert!(found.is_sure() && (found.mean - 1.05).abs() < 1e-12);
        let around_0: Vec<f64> = (0..20).map(|i| f64::from(i / 2 % 2) - 0.5).collect();
        assert_eq!(Estimate::of_series(&[around_0]).unwrap().marks, [Mark::Noise]);
        // Three measurements are too few for an interval.
        assert_eq!(Estimate::of_series(&[vec![1.0, 1.0, 1.0]]).unwrap().marks, [Mark::Noise]);
        assert_eq!(Estimate::of_series(&[vec![]]), None);
        let of = |values: &[f64]| {
            let figure = Replicates { values: values.to_vec(), resampled: vec![vec![0.1; 50]; values.len()] };
            Estimate::of_difference(&Difference::of(&figure, 100).unwrap())
        };
        let sure = of(&[0.100, 0.101, 0.102]);
        assert!(sure.is_sure() && (sure.mean - 10.1).abs() < 1e-9, "{sure:?}");
        assert_eq!(of(&[0.1]).marks, [Mark::Noise], "one seed says nothing of others");
    }

    #[test]
    fn a_matrix_without_a_pair_has_no_means() {
        let one = |mean| Estimate { mean, standard_error: None, interval: None, marks: Vec::new() };
        let whole = Matrix::of(2, |from, to| (from != to).then(|| one(from as f64 - 2.0)));
        assert_eq!(whole.means(), Some(vec![vec![0.0, -2.0], vec![-1.0, 0.0]]));
        assert_eq!((whole.largest(), whole.pairs().count()), (2.0, 2));
        assert_eq!(Matrix::of(2, |from, _| (from == 0).then(|| one(1.0))).means(), None);
    }
}
