//! The learning rates of the next step: the optimizer's, and what evaluations have left of them.

use super::Run;
use crate::{
    evaluate::Evaluation,
    events::{self, Event},
    optimizer::Rates,
};
use std::collections::BTreeMap;

impl Run<'_, '_> {
    /// The learning rates before the schedule, and what those of heads are multiplied by for the sake of their tasks.
    pub(super) fn rates(&self) -> (Rates, BTreeMap<String, f64>) {
        let plateaus = &self.progress.plateaus;
        let with_plateau = self.job.model.tasks.iter().filter(|task| task.config.plateau.is_some());
        let heads = with_plateau.map(|task| {
            let factor = plateaus.tasks.get(&task.name).map_or(1.0, |plateau| plateau.factor);
            (task.name.clone(), factor)
        });
        let heads = heads.collect();
        (self.rates.scaled(plateaus.run.factor, &heads), heads)
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
