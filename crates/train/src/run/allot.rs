//! What each task gets of a run: phases, budgets, tasks that are done, samplers that look at how training goes.

use super::Run;
use crate::{
    allotment::Reason,
    evaluate::Evaluation,
    events::{self, DrawnRows, Event},
    feed::SeenOfTasks,
    step::Measured,
};
use data::Pack;
use model::Group;
use std::collections::BTreeMap;

impl Run<'_, '_> {
    /// Begins the phase that the run's place in its timetable is in.
    pub(super) fn next_phase(&mut self) {
        let phase = self.timetable.phase(self.progress.place);
        self.feed.enter(phase);
        self.progress.phase = phase;
        self.settle();
        self.tell_phase();
    }

    /// Makes the job what the present phase, and the tasks that are done, make of it.
    pub(super) fn settle(&mut self) {
        let phase = self.feed.phase();
        let done = &self.progress.allotment.done;
        for (task, trains) in self.job.model.tasks.iter_mut().zip(&phase.trains) {
            task.learns = *trains && !done.contains_key(&task.name);
        }
        let frozen =
            phase.freeze.map(|layers| self.job.model.backbone.names_below(layers)).unwrap_or_default();
        let parameters = &mut self.job.model.parameters;
        for (index, trainable) in self.trainable.iter().enumerate() {
            let parameter = parameters.parameter(index);
            let stays = |prefix: &String| {
                parameter.group == Group::Trunk && parameter.name.starts_with(prefix.as_str())
            };
            let wanted = *trainable && !frozen.iter().any(stays);
            if parameter.trainable != wanted {
                parameters.set_trainable(index, wanted);
            }
        }
        self.feed.mind(&self.job.model.tasks);
    }

    /// Makes every task and layer what it is outside phases: the run is over.
    pub(super) fn leave_phases(&mut self) {
        self.job.model.tasks.iter_mut().for_each(|task| task.learns = true);
        let parameters = &mut self.job.model.parameters;
        for (index, trainable) in self.trainable.iter().enumerate() {
            if parameters.parameter(index).trainable != *trainable {
                parameters.set_trainable(index, *trainable);
            }
        }
    }

    /// Tells of the present phase, where there are several.
    pub(super) fn tell_phase(&mut self) {
        let of = self.feed.phases.len();
        if of < 2 {
            return;
        }
        let learning = self.job.model.tasks.iter().filter(|task| task.learns);
        let event = events::PhaseBegan {
            step: self.progress.step,
            phase: self.feed.phase_number() + 1,
            of,
            tasks: learning.map(|task| task.name.clone()).collect(),
            frozen: self.feed.phase().freeze.or(self.job.model.backbone.frozen()),
        };
        self.emit(Event::PhaseBegan(event));
    }

    /// Whether no task of the present phase is trained any more, and no phase comes after it.
    pub(super) fn nothing_learns(&self) -> bool {
        let last = self.feed.phase_number() + 1 >= self.feed.phases.len();
        last && !self.job.model.tasks.iter().any(|task| task.learns)
    }

    /// Takes in what a step took, and what it showed.
    pub(super) fn allot(&mut self, packs: &[Pack], measured: &Measured, seconds: f64) {
        self.progress.allotment.take(&self.job.model, packs, seconds);
        let mut cosines: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for pair in measured.task_gradients.iter().flat_map(|gradients| &gradients.cosines) {
            let view = |name: &String| {
                self.job.model.tasks.iter().find(|t| t.name == *name).map(|t| &t.config.corpus)
            };
            if view(&pair.tasks.0) == view(&pair.tasks.1) {
                continue; // Tasks of one corpus come together in any case.
            }
            for task in [&pair.tasks.0, &pair.tasks.1] {
                let (sum, count) = cosines.entry(task.clone()).or_default();
                *sum += pair.cosine;
                *count += 1.0;
            }
        }
        let seen = SeenOfTasks {
            loss: measured.losses.clone(),
            agreement: cosines.into_iter().map(|(task, (sum, count))| (task, sum / count)).collect(),
            ..SeenOfTasks::default()
        };
        self.feed.observe(&self.job.model.tasks, &seen);
    }

    /// Lets go of the tasks whose budgets are used up. What is due at the end of an epoch is due where this is one.
    pub(super) fn end_by_budget(&mut self) {
        let (step, before) = (self.progress.step, self.progress.place);
        for task in self.progress.allotment.out_of_budget(&self.job.model) {
            self.end_task(task, Reason::Budget);
        }
        let place = self.progress.place;
        if place > before {
            self.balancer.epoch_end();
            let train = &self.settings.train;
            self.progress.evaluation_due |=
                self.criterion.is_some() && self.timetable.evaluates(train, step, place);
            self.progress.checkpoint_due |= self.timetable.saves(train, step, place);
        }
    }

    /// What an evaluation means for the sampler, the phase, and tasks with early stopping of their own.
    pub(super) fn learn_from(&mut self, evaluation: &Evaluation) {
        let mut seen = SeenOfTasks::default();
        let step = self.progress.step;
        for scored in &evaluation.tasks {
            let Some(task) = self.job.model.tasks.iter().find(|task| task.name == scored.task) else {
                continue;
            };
            let missing = 1.0 - scored.main() / task.config.target.unwrap_or(1.0);
            seen.gap.insert(task.name.clone(), missing.clamp(0.0, 1.0));
            seen.validation_loss.extend(scored.loss.map(|loss| (task.name.clone(), loss)));
            let Some(stopping) = task.config.early_stopping.filter(|_| task.learns) else { continue };
            let name = task.name.clone();
            let (best, done) = self.progress.allotment.judge(&name, scored.main(), step, stopping.patience);
            if best {
                self.best_heads.keep(&self.job.model.parameters, &name);
            }
            if done {
                let best = self.progress.allotment.standing.get(&name).map_or(step, |standing| standing.step);
                self.best_heads.put_back(&mut self.job.model.parameters, &name);
                self.progress.checkpoint_due = true;
                self.end_task(name, Reason::Stopped { best });
            }
        }
        self.feed.observe(&self.job.model.tasks, &seen);
        self.tell_allotment();
        if self.feed.phase().is_reached(evaluation) {
            let end = self.timetable.end_of_phase(self.feed.phase_number());
            self.progress.place = self.progress.place.max(end);
            self.progress.checkpoint_due = true;
        }
    }

    /// Tells what each task has got so far.
    pub(super) fn tell_allotment(&mut self) {
        self.progress.allotment_told = Some(self.progress.step);
        let allotment = &self.progress.allotment;
        let drawn = self.feed.stream.corpora().iter().zip(self.feed.stream.taken()).enumerate();
        let streams = || (0..self.feed.phases.len()).map(|phase| self.feed.stream_of(phase));
        let rows = |corpus: usize| streams().map(|stream| stream.corpora()[corpus].candidates.len()).max();
        let event = events::Allotted {
            step: self.progress.step,
            tasks: allotment.spent.clone(),
            shares: allotment.shares(),
            corpora: drawn
                .map(|(index, (corpus, draws))| {
                    (corpus.name.to_string(), DrawnRows { rows: rows(index).unwrap_or(0), draws: *draws })
                })
                .collect(),
        };
        self.emit(Event::Allotted(event));
    }

    /// Trains a task no more.
    fn end_task(&mut self, task: String, reason: Reason) {
        let ended = self.feed.stream.at_end();
        self.progress.allotment.done.insert(task.clone(), reason);
        self.settle();
        // Nothing may be left of the phase, or of the epoch.
        if !self.job.model.tasks.iter().any(|task| task.learns) {
            let end = self.timetable.end_of_phase(self.feed.phase_number());
            self.progress.place = self.progress.place.max(end);
        } else if !ended && self.feed.stream.at_end() {
            self.progress.place = self.timetable.end_of_epoch(self.progress.place);
        }
        let step = self.progress.step;
        self.emit(Event::TaskDone(events::TaskDone { step, task, reason }));
    }
}
