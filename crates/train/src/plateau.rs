//! Learning rates that fall when evaluations stop improving.
//!
//! `[train] plateau` looks at what decides which checkpoint is best (`best_metric`), and lets all learning rates fall; `[task.NAME]
//! plateau` looks at the task's main metric on the validation split, and lets that of the task's head fall. With the value `a` of an
//! evaluation, higher being better, and the best value `b` so far
//!
//! ```text
//! b <- a, n <- 0              if a > b + threshold
//! n <- n + 1                  otherwise; and when n > patience
//! f <- max(f factor, min_factor), n <- 0
//! ```
//!
//! and the rate that optimizer and schedule give is multiplied by `f`, 1 at first: the same numbers as PyTorch's `ReduceLROnPlateau`
//! with `mode = "max"` and `threshold_mode = "abs"`. An event tells when a rate falls; `f` and `n` are in the checkpoint. A head that
//! several tasks share has the plateau of its owner.
//!
//! Defaults: `factor = 0.5`, `patience = 2`, `threshold = 1e-4`, `min_factor = 0.01`. Cost: none.
//! When to use: with `[schedule.constant]` where the number of steps is open, and `evaluate_every` short beside it; of a task, where
//! one head is ready long before the others. Patience is of the evaluation: `early_stopping` wants more of it.
//! Source: `torch.optim.lr_scheduler.ReduceLROnPlateau`.

use crate::evaluate::Evaluation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tasks::PlateauConfig;

/// A fall by less is none, as in PyTorch: what rounding leaves above the bound.
const LEAST_FALL: f64 = 1e-8;

/// What is remembered of one number that evaluations give; higher is better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plateau {
    /// The best so far.
    pub best: Option<f64>,
    /// Evaluations in a row that were no better, since the rate fell last.
    pub no_better: usize,
    /// What is left of the learning rate.
    pub factor: f64,
}

impl Default for Plateau {
    fn default() -> Self {
        Plateau { best: None, no_better: 0, factor: 1.0 }
    }
}

impl Plateau {
    /// Takes the value of an evaluation in; true when it lets the rate fall.
    pub fn take_in(&mut self, config: &PlateauConfig, value: f64) -> bool {
        if self.best.map_or(!value.is_nan(), |best| value > best + config.threshold) {
            (self.best, self.no_better) = (Some(value), 0);
        } else {
            self.no_better += 1;
        }
        if self.no_better <= config.patience {
            return false;
        }
        self.no_better = 0;
        let left = (self.factor * config.factor).max(config.min_factor);
        let falls = self.factor - left > LEAST_FALL;
        if falls {
            self.factor = left;
        }
        falls
    }
}

/// The plateaus of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plateaus {
    /// Of all learning rates.
    pub(crate) run: Plateau,
    /// Of the heads of the tasks that have one, by task.
    pub(crate) tasks: BTreeMap<String, Plateau>,
}

/// A rate that fell: whose, if not all, and what is left of it.
pub(crate) struct Fall {
    pub(crate) task: Option<String>,
    pub(crate) plateau: Plateau,
}

impl Plateaus {
    /// Takes an evaluation in, whose value is what decides which checkpoint is best; says which rates fall.
    pub(crate) fn take_in<'a>(
        &mut self,
        run: Option<&PlateauConfig>,
        tasks: impl Iterator<Item = (&'a str, &'a PlateauConfig)>,
        value: f64,
        evaluation: &Evaluation,
    ) -> Vec<Fall> {
        let mut falls = Vec::new();
        if run.is_some_and(|config| self.run.take_in(config, value)) {
            falls.push(Fall { task: None, plateau: self.run.clone() });
        }
        for (task, config) in tasks {
            let Some(scored) = evaluation.tasks.iter().find(|scored| scored.task == task) else { continue };
            let plateau = self.tasks.entry(task.to_owned()).or_default();
            if plateau.take_in(config, scored.main()) {
                falls.push(Fall { task: Some(task.to_owned()), plateau: plateau.clone() });
            }
        }
        falls
    }
}
