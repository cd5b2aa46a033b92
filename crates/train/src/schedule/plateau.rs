//! Learning rates that are reduced when evaluations stop improving.
//!
//! `[train] reduce_lr_on_plateau` looks at what decides which checkpoint is best (`metric_for_best_model`), and reduces all learning
//! rates; `[task.NAME] reduce_lr_on_plateau` looks at the task's primary metric on the validation split, and reduces that of the
//! task's head. With the value `a` of an evaluation, higher being better, and the best value `b` so far
//!
//! ```text
//! b <- a, n <- 0              if a > b + threshold
//! n <- n + 1                  otherwise; and when n > patience
//! f <- max(f factor, min_factor), n <- 0
//! ```
//!
//! and the rate that optimizer and schedule give is multiplied by `f`, 1 at first: the same numbers as PyTorch's `ReduceLROnPlateau`
//! with `mode = "max"` and `threshold_mode = "abs"`. Every reduction is an event; `f` and `n` are in the checkpoint. A head that
//! several tasks share has the mean of the factors of those that have one.
//!
//! Defaults: `factor = 0.5`, `patience = 2`, `threshold = 1e-4`, `min_factor = 0.01`. Cost: none.
//! When to use: with `[schedule.constant]` where the number of steps is open, and `eval_steps` is short beside it; for a task, where
//! one head is ready long before the others. Patience counts evaluations: `early_stopping` needs more of it.
//! Source: `torch.optim.lr_scheduler.ReduceLROnPlateau`.

use crate::config::reduce_lr_on_plateau::ReduceLrOnPlateau;
use crate::forward::evaluate::Evaluation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A smaller reduction is none, as in PyTorch (`eps`): what rounding leaves above the bound.
const MIN_REDUCTION: f64 = 1e-8;

/// The state of one plateau: of one value of the evaluations, the higher the better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plateau {
    /// The best so far.
    pub best: Option<f64>,
    /// Evaluations in a row that were no better, since the last reduction.
    pub num_bad_evaluations: usize,
    /// The factor of the learning rate.
    pub factor: f64,
}

impl Default for Plateau {
    fn default() -> Self {
        Plateau { best: None, num_bad_evaluations: 0, factor: 1.0 }
    }
}

impl Plateau {
    /// Takes the value of an evaluation; true when the learning rate is reduced.
    pub fn update(&mut self, config: &ReduceLrOnPlateau, value: f64) -> bool {
        if self.best.map_or(!value.is_nan(), |best| value > best + config.threshold) {
            (self.best, self.num_bad_evaluations) = (Some(value), 0);
        } else {
            self.num_bad_evaluations += 1;
        }
        if self.num_bad_evaluations <= config.patience {
            return false;
        }
        self.num_bad_evaluations = 0;
        let reduced = (self.factor * config.factor).max(config.min_factor);
        let is_reduced = self.factor - reduced > MIN_REDUCTION;
        if is_reduced {
            self.factor = reduced;
        }
        is_reduced
    }
}

/// The plateaus of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plateaus {
    /// Of all learning rates.
    pub(crate) run: Plateau,
    /// Of the learning rates of heads, by task, where the task has one.
    pub(crate) tasks: BTreeMap<String, Plateau>,
}

/// A reduction of a learning rate.
pub(crate) struct LrReduction {
    /// The task whose head has the rate; `None` for all rates.
    pub(crate) task: Option<String>,
    /// Its plateau after the reduction.
    pub(crate) plateau: Plateau,
}

impl Plateaus {
    /// Takes an evaluation, of which `value` decides which checkpoint is best; returns the reductions.
    pub(crate) fn update<'a>(
        &mut self,
        run: Option<&ReduceLrOnPlateau>,
        tasks: impl Iterator<Item = (&'a str, &'a ReduceLrOnPlateau)>,
        value: f64,
        evaluation: &Evaluation,
    ) -> Vec<LrReduction> {
        let mut reductions = Vec::new();
        if run.is_some_and(|config| self.run.update(config, value)) {
            reductions.push(LrReduction { task: None, plateau: self.run.clone() });
        }
        for (task, config) in tasks {
            let Some(scored) = evaluation.tasks.iter().find(|scored| scored.task == task) else { continue };
            let plateau = self.tasks.entry(task.to_owned()).or_default();
            if plateau.update(config, scored.primary()) {
                reductions.push(LrReduction { task: Some(task.to_owned()), plateau: plateau.clone() });
            }
        }
        reductions
    }
}
