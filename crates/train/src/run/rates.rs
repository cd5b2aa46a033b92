//! The learning rates of the next step: the optimizer's, and what evaluations have left of them.

use super::Run;
use crate::{
    evaluate::Evaluation,
    events::{self, Event},
    job::TaskSlot,
    optimizer::Rates,
    step::Measured,
};
use std::collections::BTreeMap;

impl Run<'_, '_> {
    /// The learning rates before the schedule, and what those of heads are multiplied by for the sake of their tasks.
    pub(super) fn rates(&self) -> (Rates, BTreeMap<String, f64>) {
        let plateaus = &self.progress.plateaus;
        let follow = self.settings.train.task_rates.as_ref();
        let of_progress = follow.map(|config| self.progress.tasks.factors(config));
        let factor_of = |task: &TaskSlot| {
            let left = plateaus.tasks.get(&task.name).map_or(1.0, |plateau| plateau.factor);
            left * of_progress.as_ref().and_then(|of| of.get(&task.name)).unwrap_or(&1.0)
        };
        // A head of several tasks has the mean of what they would give it.
        let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for task in &self.job.model.tasks {
            if follow.is_some() || task.config.plateau.is_some() {
                let (sum, count) = sums.entry(task.head()).or_default();
                (*sum, *count) = (*sum + factor_of(task), *count + 1.0);
            }
        }
        let heads = sums.into_iter().map(|(head, (sum, count))| (head.to_owned(), sum / count)).collect();
        (self.rates.scaled(plateaus.run.factor, &heads), heads)
    }

    /// Takes in what a step measured, where learning rates follow the tasks' progress.
    pub(super) fn follow_progress(&mut self, measured: &Measured) {
        if let Some(config) = &self.settings.train.task_rates {
            let norms = measured.task_gradients.as_ref().map(|gradients| &gradients.norms);
            self.progress.tasks.take_in(config, &measured.losses, norms);
        }
    }

    /// Lets learning rates fall where an evaluation says so.
    pub(super) fn let_rates_fall(&mut self, value: f64, evaluation: &Evaluation) {
        let tasks = self.job.model.tasks.iter();
        let tasks = tasks.filter_map(|task| Some((task.name.as_str(), task.config.plateau.as_ref()?)));
        let of_run = self.settings.train.plateau.as_ref();
        let falls = self.progress.plateaus.take_in(of_run, tasks, value, evaluation);
        for fall in falls {
            let (step, factor) = (self.progress.step, fall.plateau.factor);
            let best = fall.plateau.best.unwrap_or(f64::MIN);
            self.emit(Event::RateFell(events::RateFell { step, task: fall.task, factor, best }));
        }
    }
}
