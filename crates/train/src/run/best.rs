//! Which evaluation was best, and whether to stop because none has been better for a while.

use crate::{config::TrainConfig, error::TrainError, forward::evaluate::Evaluation};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Scores by task and metric, fractions.
pub type ScoreTable = BTreeMap<String, BTreeMap<String, f64>>;

/// An evaluation that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// Its step.
    pub step: usize,
    /// The value that is compared; higher is better.
    pub value: f64,
    /// Its scores.
    pub scores: ScoreTable,
}

/// The evaluations of a run so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EvaluationHistory {
    /// The best one.
    pub best: Option<EvaluationRecord>,
    /// The latest one.
    pub latest: Option<EvaluationRecord>,
    /// Evaluations since the best one.
    pub since: usize,
}

impl EvaluationHistory {
    /// Adds an evaluation; true when it is the best so far. Equal is not better.
    pub(crate) fn record(&mut self, evaluation: EvaluationRecord) -> bool {
        let better = match &self.best {
            Some(best) => evaluation.value > best.value,
            None => !evaluation.value.is_nan(),
        };
        self.since = if better { 0 } else { self.since + 1 };
        if better {
            self.best = Some(evaluation.clone());
        }
        self.latest = Some(evaluation);
        better
    }

    /// Adds an evaluation that is not among those of which one is the best: of a network that is still pruned.
    pub(crate) fn record_unfinished(&mut self, evaluation: EvaluationRecord) {
        *self = EvaluationHistory { latest: Some(evaluation), ..EvaluationHistory::default() };
    }

    /// Whether patience has run out.
    pub(crate) fn out_of_patience(&self, config: &TrainConfig) -> bool {
        config.early_stopping.as_ref().is_some_and(|e| self.best.is_some() && self.since >= e.patience)
    }
}

/// What is compared between evaluations; higher is better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Criterion {
    /// The mean of the tasks' primary metrics, weighted by importance.
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
    /// Reads `train.metric_for_best_model` against the tasks (name, their metrics). Task names may hold dots.
    ///
    /// # Errors
    /// When it names no metric of any task.
    pub fn of(config: &TrainConfig, tasks: &[(&str, &[&str])]) -> Result<Self, TrainError> {
        Self::named(config.metric_for_best_model.as_deref(), tasks)
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
            Criterion::Mean => write!(f, "the mean of the primary metrics"),
            Criterion::Metric { task, metric } => write!(f, "{task}.{metric}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EarlyStopping;

    fn record(step: usize, value: f64) -> EvaluationRecord {
        EvaluationRecord { step, value, scores: ScoreTable::new() }
    }

    #[test]
    fn only_a_higher_value_is_better() {
        let mut history = EvaluationHistory::default();
        let values = [(1, 0.5), (2, 0.5), (3, f64::NAN), (4, 0.6), (5, 0.1)];
        let better = values.map(|(step, value)| history.record(record(step, value)));
        assert_eq!(better, [true, false, false, true, false]);
        let expected =
            EvaluationHistory { best: Some(record(4, 0.6)), latest: Some(record(5, 0.1)), since: 1 };
        assert_eq!(history, expected);
    }

    #[test]
    fn patience_counts_evaluations_without_a_new_best() {
        let config =
            TrainConfig { early_stopping: Some(EarlyStopping { patience: 2 }), ..Default::default() };
        let mut history = EvaluationHistory::default();
        history.record(record(1, 0.5));
        history.record(record(2, 0.4));
        assert!(!history.out_of_patience(&config));
        history.record(record(3, 0.4));
        assert!(history.out_of_patience(&config));
        assert!(!history.out_of_patience(&TrainConfig::default()));
    }

    #[test]
    fn a_named_metric_must_exist() {
        let tasks: &[(&str, &[&str])] = &[("intent", &["accuracy", "macro_f1"]), ("slots", &["f1"])];
        let with =
            |name: &str| TrainConfig { metric_for_best_model: Some(name.into()), ..Default::default() };
        assert_eq!(
            Criterion::of(&with("slots.f1"), tasks).ok(),
            Some(Criterion::Metric { task: "slots".into(), metric: "f1".into() })
        );
        let message = Criterion::of(&with("slots.accuracy"), tasks).unwrap_err().to_string();
        assert!(message.contains("slots.accuracy") && message.contains("intent.macro_f1"), "{message}");
    }
}
