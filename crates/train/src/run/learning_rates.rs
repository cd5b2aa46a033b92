//! The learning rates of the next step: the optimizer's, reduced where evaluations stopped improving and balanced between heads.

use super::Run;
use crate::{
    forward::evaluate::Evaluation,
    job::TaskSlot,
    optimizer::LearningRates,
    run::events::{self, Event},
    run::step::StepMetrics,
    schedule::plateau::LrReduction,
};
use std::collections::BTreeMap;

impl Run<'_, '_> {
    /// The learning rates before the schedule, and what those of heads are multiplied by on account of their tasks.
    pub(super) fn rates(&self) -> (LearningRates, BTreeMap<String, f64>) {
        let plateaus = &self.progress.plateaus;
        let balancing = self.settings.train.head_lr_balancing.as_ref();
        let of_progress = balancing.map(|config| self.progress.loss_progress.factors(config));
        let factor_of = |task: &TaskSlot| {
            let reduced = plateaus.tasks.get(&task.name).map_or(1.0, |plateau| plateau.factor);
            reduced * of_progress.as_ref().and_then(|of| of.get(&task.name)).unwrap_or(&1.0)
        };
        // A head of several tasks has the mean of their factors.
        let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for task in &self.job.model.tasks {
            if balancing.is_some() || task.training.reduce_lr_on_plateau.is_some() {
                let (sum, count) = sums.entry(task.head_owner()).or_default();
                (*sum, *count) = (*sum + factor_of(task), *count + 1.0);
            }
        }
        let heads = sums.into_iter().map(|(head, (sum, count))| (head.to_owned(), sum / count)).collect();
        (self.rates.scaled(plateaus.run.factor, &heads), heads)
    }

    /// Updates the progress of the losses, where learning rates are balanced by it.
    pub(super) fn update_loss_progress(&mut self, metrics: &StepMetrics) {
        if let Some(config) = &self.settings.train.head_lr_balancing {
            let norms = metrics.task_gradients.as_ref().map(|gradients| &gradients.norms);
            self.progress.loss_progress.update(config, &metrics.losses, norms);
        }
    }

    /// Reduces learning rates where evaluations have stopped improving.
    pub(super) fn reduce_lr_on_plateau(&mut self, value: f64, evaluation: &Evaluation) {
        let tasks = self.job.model.tasks.iter();
        let tasks =
            tasks.filter_map(|task| Some((task.name.as_str(), task.training.reduce_lr_on_plateau.as_ref()?)));
        let of_run = self.settings.train.reduce_lr_on_plateau.as_ref();
        let reductions = self.progress.plateaus.update(of_run, tasks, value, evaluation);
        for LrReduction { task, plateau } in reductions {
            let (step, factor) = (self.progress.step, plateau.factor);
            let best = plateau.best.unwrap_or(f64::MIN);
            let event = events::LearningRateReduced { step, task, factor, best };
            self.emit(Event::LearningRateReduced(event));
        }
    }
}
