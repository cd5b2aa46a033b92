//! Which evaluation was best, and whether to stop because none has been better for a while.

use crate::{config::TrainConfig, error::TrainError, evaluate::Evaluation};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Scores by task and metric, fractions.
pub type ScoreTable = BTreeMap<String, BTreeMap<String, f64>>;

/// An evaluation, as it is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Its step.
    pub step: usize,
    /// The value that is compared; higher is better.
    pub value: f64,
    /// Its scores.
    pub scores: ScoreTable,
}

/// The evaluations of a run so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Standing {
    /// The best one.
    pub best: Option<Judged>,
    /// The latest one.
    pub latest: Option<Judged>,
    /// Evaluations since the best one.
    pub since: usize,
}

impl Standing {
    /// Takes an evaluation in; true when it is the best so far. Equal is not better.
    pub(crate) fn judge(&mut self, judged: Judged) -> bool {
        let better = match &self.best {
            Some(best) => judged.value > best.value,
            None => !judged.value.is_nan(),
        };
        self.since = if better { 0 } else { self.since + 1 };
        if better {
            self.best = Some(judged.clone());
        }
        self.latest = Some(judged);
        better
    }

    /// Whether patience has run out.
    pub(crate) fn exhausted(&self, config: &TrainConfig) -> bool {
        config.early_stopping.as_ref().is_some_and(|e| self.best.is_some() && self.since >= e.patience)
    }
}

/// What is compared between evaluations; higher is better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Criterion {
    /// The mean of the tasks' main metrics, weighted by importance.
    Mean,
    /// One metric of one task.
    Metric {
        /// The task.
        task: String,
        /// Its metric.
        metric: String,
    },
}

impl Criterion {
    /// Reads `train.best_metric` against the tasks (name, their metrics). Task names may hold dots.
    ///
    /// # Errors
    /// When it names no metric of any task.
    pub fn of(config: &TrainConfig, tasks: &[(&str, &[&str])]) -> Result<Self, TrainError> {
        Self::named(config.best_metric.as_deref(), tasks)
    }

    /// The criterion of this name, the mean where there is none.
    ///
    /// # Errors
    /// When it names no metric of any task.
    pub(crate) fn named(wanted: Option<&str>, tasks: &[(&str, &[&str])]) -> Result<Self, TrainError> {
        let Some(wanted) = wanted else { return Ok(Criterion::Mean) };
        for (task, metrics) in tasks {
            let metric = wanted.strip_prefix(task).and_then(|rest| rest.strip_prefix('.'));
            if let Some(metric) = metric.filter(|m| metrics.contains(m)) {
                return Ok(Criterion::Metric { task: (*task).into(), metric: metric.into() });
            }
        }
        let allowed =
            tasks.iter().flat_map(|(task, ms)| ms.iter().map(move |m| format!("{task}.{m}"))).collect();
        Err(TrainError::UnknownMetric { found: wanted.into(), allowed })
    }

    /// The value of an evaluation; `None` where the task was not evaluated.
    pub fn value(&self, evaluation: &Evaluation) -> Option<f64> {
        match self {
            Criterion::Mean => evaluation.mean,
            Criterion::Metric { task, metric } => {
                let scored = evaluation.tasks.iter().find(|t| t.task == *task)?;
                scored.scores.values.iter().find(|(name, _)| name == metric).map(|(_, value)| *value)
            }
        }
    }
}

impl std::fmt::Display for Criterion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Criterion::Mean => write!(f, "the mean of the main metrics"),
            Criterion::Metric { task, metric } => write!(f, "{task}.{metric}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EarlyStopping;

    fn judged(step: usize, value: f64) -> Judged {
        Judged { step, value, scores: ScoreTable::new() }
    }

    #[test]
    fn only_a_higher_value_is_better() {
        let mut standing = Standing::default();
        let values = [(1, 0.5), (2, 0.5), (3, f64::NAN), (4, 0.6), (5, 0.1)];
        let better = values.map(|(step, value)| standing.judge(judged(step, value)));
        assert_eq!(better, [true, false, false, true, false]);
        let expected = Standing { best: Some(judged(4, 0.6)), latest: Some(judged(5, 0.1)), since: 1 };
        assert_eq!(standing, expected);
    }

    #[test]
    fn patience_counts_evaluations_without_a_new_best() {
        let config =
            TrainConfig { early_stopping: Some(EarlyStopping { patience: 2 }), ..Default::default() };
        let mut standing = Standing::default();
        standing.judge(judged(1, 0.5));
        standing.judge(judged(2, 0.4));
        assert!(!standing.exhausted(&config));
        standing.judge(judged(3, 0.4));
        assert!(standing.exhausted(&config));
        assert!(!standing.exhausted(&TrainConfig::default()));
    }

    #[test]
    fn a_named_metric_must_exist() {
        let tasks: &[(&str, &[&str])] = &[("intent", &["accuracy", "macro_f1"]), ("slots", &["f1"])];
        let with = |name: &str| TrainConfig { best_metric: Some(name.into()), ..Default::default() };
        assert_eq!(
            Criterion::of(&with("slots.f1"), tasks).ok(),
            Some(Criterion::Metric { task: "slots".into(), metric: "f1".into() })
        );
        let message = Criterion::of(&with("slots.accuracy"), tasks).unwrap_err().to_string();
        assert!(message.contains("slots.accuracy") && message.contains("intent.macro_f1"), "{message}");
    }
}
