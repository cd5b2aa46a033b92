//! Which tasks to train together, by one of the matrices.

use super::analysis::Findings;
use super::matrix::Matrix;
use super::measurements::{Measurements, net_affinity, pair};
use crate::failure::Failure;
use crate::terminal::figures::counted;
use clap::ValueEnum;
use data::random::{stream, uniform_below};
use metrics::{EXACT_TASKS, Grouping, best_grouping};
use serde::Serialize;
use train::Affinity;

/// The seed of resamples: the same in all studies.
const SEED: u64 = 17;

/// By what tasks are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// By what a step on one does to the loss of the other.
    Tag,
    /// By the cosine of their gradients.
    Cosine,
    /// By the scores of models for two of them.
    Pairs,
}

impl By {
    /// What it is, in words.
    pub fn describe(self) -> &'static str {
        match self {
            By::Tag => "what a step on one task does to the loss of another (TAG)",
            By::Cosine => "the cosine of gradients",
            By::Pairs => "the scores of models for two tasks",
        }
    }
}

/// What was asked for; by default the scores of pairs, where they are trained.
pub(super) fn chosen(by: Option<By>, pairs: bool) -> Result<By, Failure> {
    match by {
        Some(By::Pairs) if !pairs => {
            Err(Failure::refused(["--by pairs: no model for two tasks is trained; add --pairs"]))
        }
        Some(by) => Ok(by),
        None => Ok(if pairs { By::Pairs } else { By::Tag }),
    }
}

/// The best division of the tasks into a number of models.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Partition {
    /// The most models.
    pub budget: usize,
    /// The tasks of each model.
    pub groups: Vec<Vec<String>>,
    /// The predicted gain over each task alone, the mean over tasks by importance, in the unit of the matrix.
    pub gain: f64,
    /// The predicted gain of each task, in the order of the tasks.
    pub gains: Vec<f64>,
    /// Whether every other division was compared.
    pub is_proven: bool,
    /// Figures behind the prediction that may be chance, and how many there are.
    pub unsure: (usize, usize),
    /// In what fraction of resamples of the measurements the same groups are best; `None` for scores of pairs.
    pub stability: Option<f64>,
}

/// For every number of models the best division.
///
/// # Errors
/// In words: a pair of tasks without a figure.
pub(super) fn partitions(
    tasks: &[String],
    importance: &[f64],
    (by, matrix): (By, &Matrix),
    measurements: &Measurements,
) -> Result<Vec<Partition>, String> {
    let missing = || {
        let pairs = (0..tasks.len()).flat_map(|i| (0..tasks.len()).map(move |j| (i, j)));
        let without = pairs.filter(|(i, j)| i != j && matrix.at(*i, *j).is_none());
        let named: Vec<String> = without.map(|(i, j)| format!("{} -> {}", tasks[i], tasks[j])).collect();
        format!("there is no figure of {}", named.join(", "))
    };
    let gains = matrix.means().ok_or_else(missing)?;
    let resamples = resamples(tasks, by, measurements);
    let budgets = 1..=tasks.len();
    let none = || "every task has importance 0".to_owned();
    budgets
        .map(|budget| {
            let found = best_grouping(&gains, importance, budget).ok_or_else(none)?;
            Ok(partition(tasks, importance, budget, found, matrix, &resamples))
        })
        .collect()
}

fn partition(
    tasks: &[String],
    importance: &[f64],
    budget: usize,
    found: Grouping,
    matrix: &Matrix,
    resamples: &[Vec<Vec<f64>>],
) -> Partition {
    let together =
        |i: usize, j: usize| found.groups.iter().any(|group| group.contains(&i) && group.contains(&j));
    let behind: Vec<bool> =
        matrix.pairs().filter(|((i, j), _)| together(*i, *j)).map(|(_, figure)| figure.is_sure()).collect();
    let same = |gains: &&Vec<Vec<f64>>| {
        best_grouping(gains, importance, budget).is_some_and(|other| other.groups == found.groups)
    };
    // One model is one division.
    let stability = (budget > 1 && !resamples.is_empty())
        .then(|| resamples.iter().filter(same).count() as f64 / resamples.len() as f64);
    let named = |group: &Vec<usize>| group.iter().map(|task| tasks[*task].clone()).collect();
    Partition {
        budget,
        groups: found.groups.iter().map(named).collect(),
        gain: found.gain,
        is_proven: found.is_proven,
        unsure: (behind.iter().filter(|sure| !**sure).count(), behind.len()),
        stability,
        gains: found.gains,
    }
}

/// Tables of means over blocks of measurements drawn with replacement (Künsch, 1989): what else might have been measured. None for
/// scores of pairs, where a group is judged by the intervals.
fn resamples(tasks: &[String], by: By, measurements: &Measurements) -> Vec<Vec<Vec<f64>>> {
    let blocks = measurements.blocks();
    if by == By::Pairs || blocks.len() < 2 {
        return Vec::new();
    }
    // Of ten tasks a search looks at 115,975 divisions.
    let count = if tasks.len() <= EXACT_TASKS - 2 { 200 } else { 40 };
    let figure = |event: &Affinity, from: usize, to: usize| match by {
        By::Cosine => pair(event, &tasks[from], &tasks[to])?.cosine,
        By::Tag | By::Pairs => net_affinity(event, &tasks[from], &tasks[to]),
    };
    let table = |index: usize| -> Option<Vec<Vec<f64>>> {
        let mut rng = stream(SEED, "blocks of measurements", index as u64);
        let drawn: Vec<&Affinity> = (0..blocks.len())
            .flat_map(|_| blocks[uniform_below(&mut rng, blocks.len() as u64) as usize])
            .collect();
        let mean = |from: usize, to: usize| {
            if from == to {
                return Some(0.0);
            }
            let values: Vec<f64> = drawn.iter().filter_map(|event| figure(event, from, to)).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        (0..tasks.len()).map(|from| (0..tasks.len()).map(|to| mean(from, to)).collect()).collect()
    };
    (0..count).filter_map(table).collect()
}

/// What stands above the groups in `groups.toml`.
pub(super) fn comment(findings: &Findings, partition: &Partition) -> String {
    let Partition { budget, unsure, .. } = partition;
    let search = match partition.is_proven {
        true => "every division was compared",
        false => "a local search, which may have missed a better one",
    };
    let stability = partition.stability.map_or(String::new(), |share| {
        format!("; the same groups are best in {:.0} % of resamples of the measurements", 100.0 * share)
    });
    let mut lines = vec![
        format!(
            "# Written by polytask affinity: at most {}, by {}.",
            counted(*budget, "model"),
            findings.by.describe()
        ),
        format!(
            "# Predicted gain over each task alone: {}, the mean over tasks; {search}.",
            findings.amount(partition.gain)
        ),
        format!("# Of {} figures behind it {} may be chance{stability}.", unsure.1, unsure.0),
        "# It is a prediction from pairs of tasks: polytask compare --groups says whether it is so."
            .to_owned(),
    ];
    if partition.groups.len() < *budget {
        lines.push(format!(
            "# {} are enough: more predict no more.",
            counted(partition.groups.len(), "model")
        ));
    }
    lines.join("\n") + "\n"
}
