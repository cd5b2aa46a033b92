//! What each task gets of a run: phases, budgets, tasks that are done, samplers that adapt to how training goes.

use super::Run;
use crate::{
    forward::evaluate::Evaluation,
    loading::loader::TrainingSignals,
    loading::lookahead::{self, Position},
    run::events::{self, CorpusUsage, Event},
    run::step::StepMetrics,
    run::task_usage::StopReason,
};
use data::Pack;
use std::collections::BTreeMap;

impl Run<'_, '_> {
    /// Begins the phase that the run has come to in its plan.
    pub(super) fn advance_phase(&mut self) {
        let phase = self.step_plan.phase(self.progress.schedule_step);
        self.loader.enter(phase);
        self.progress.phase = phase;
        self.apply_phase();
        self.emit_phase();
    }

    /// Applies the present phase, and the tasks that are done, to the model and the loader.
    pub(super) fn apply_phase(&mut self) {
        let phase = self.loader.phase();
        let stopped = &self.progress.usage.stopped;
        for (task, trained) in self.job.model.tasks.iter_mut().zip(&phase.trained) {
            task.is_trained = *trained && !stopped.contains_key(&task.name);
        }
        let freeze = phase.freeze;
        self.freeze_in_phase(freeze);
        let trained = self.trained();
        self.loader.drop_finished_tasks(&self.job.model.tasks, &trained);
    }

    /// `[tasks]` whether each is trained at present.
    fn trained(&self) -> Vec<bool> {
        self.job.model.tasks.iter().map(|task| task.is_trained).collect()
    }

    /// Whether nothing is left of the epoch that a task is trained on.
    pub(super) fn epoch_is_over(&mut self) -> bool {
        let trained = self.trained();
        self.loader.at_end(self.job, &trained)
    }

    /// Goes to the end of the present phase.
    pub(super) fn end_phase(&mut self) {
        let end = self.step_plan.end_of_phase(self.loader.phase_number());
        self.progress.schedule_step = self.progress.schedule_step.max(end);
    }

    /// Makes every task and layer what it is outside phases: the run is over.
    pub(super) fn leave_phases(&mut self) {
        self.job.model.tasks.iter_mut().for_each(|task| task.is_trained = true);
        self.freeze_in_phase(None);
    }

    /// Freezes so many lower layers beside what the model freezes: their parameters are not trained, and there is no dropout in them.
    fn freeze_in_phase(&mut self, layers: Option<usize>) {
        let model = &mut self.job.model;
        model.trunk.set_frozen_in_phase(layers);
        for (index, trainable) in self.trainable.iter().enumerate() {
            let frozen =
                layers.is_some_and(|layers| model.trunk.is_frozen_at(&model.parameters, index, layers));
            let wanted = *trainable && !frozen;
            if model.parameters.parameter(index).trainable != wanted {
                model.parameters.set_trainable(index, wanted);
            }
        }
    }

    /// Emits the present phase, where there are several.
    pub(super) fn emit_phase(&mut self) {
        let of = self.loader.phases.len();
        if of < 2 {
            return;
        }
        let learning = self.job.model.tasks.iter().filter(|task| task.is_trained);
        let event = events::PhaseBegan {
            step: self.progress.step,
            phase: self.loader.phase_number() + 1,
            of,
            tasks: learning.map(|task| task.name.clone()).collect(),
            frozen: self.job.model.trunk.frozen(),
        };
        self.emit(Event::PhaseBegan(event));
    }

    /// Whether no task of the present phase is trained any more, and no phase comes after it.
    pub(super) fn nothing_is_trained(&self) -> bool {
        let last = self.loader.phase_number() + 1 >= self.loader.phases.len();
        last && !self.job.model.tasks.iter().any(|task| task.is_trained)
    }

    /// Adds what the tasks used in a step to the ledger, and gives the sampler the step's signals.
    pub(super) fn account_step(&mut self, packs: &[Pack], metrics: &StepMetrics, seconds: f64) {
        self.progress.usage.add_step(&self.job.model, packs, seconds);
        let mut cosines: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for pair in metrics.task_gradients.iter().flat_map(|gradients| &gradients.cosines) {
            let corpus = |name: &String| {
                self.job.model.tasks.iter().find(|t| t.name == *name).map(|t| &t.config.corpus)
            };
            if corpus(&pair.tasks.0) == corpus(&pair.tasks.1) {
                continue; // Tasks of one corpus are drawn together in any case.
            }
            for task in [&pair.tasks.0, &pair.tasks.1] {
                let (sum, count) = cosines.entry(task.clone()).or_default();
                *sum += pair.cosine;
                *count += 1.0;
            }
        }
        let signals = TrainingSignals {
            loss: metrics.losses.clone(),
            agreement: cosines.into_iter().map(|(task, (sum, count))| (task, sum / count)).collect(),
            ..TrainingSignals::default()
        };
        self.loader.observe(&self.job.model.tasks, &signals);
    }

    /// Ends the tasks whose budgets are used up by the step that was just done.
    pub(super) fn end_by_budget(&mut self) {
        for task in self.progress.usage.out_of_budget(&self.job.model) {
            self.end_task(task, StopReason::Budget, self.progress.schedule_step + 1);
        }
    }

    /// Applies an evaluation to the sampler, the phase, and tasks with early stopping of their own.
    pub(super) fn apply_evaluation(&mut self, evaluation: &Evaluation) {
        let mut signals = TrainingSignals::default();
        let step = self.progress.step;
        for scored in &evaluation.tasks {
            let Some(task) = self.job.model.tasks.iter().find(|task| task.name == scored.task) else {
                continue;
            };
            let gap = 1.0 - scored.primary() / task.training.target.unwrap_or(1.0);
            signals.gap.insert(task.name.clone(), gap.clamp(0.0, 1.0));
            signals.validation_loss.extend(scored.loss.map(|loss| (task.name.clone(), loss)));
            let Some(stopping) = task.training.early_stopping.filter(|_| task.is_trained) else { continue };
            let name = task.name.clone();
            let (best, done) = self.progress.usage.record(&name, scored.primary(), step, stopping.patience);
            if best {
                self.best_heads.keep(&self.job.model.parameters, &name);
            }
            if done {
                let best = self.progress.usage.best.get(&name).map_or(step, |best| best.step);
                self.best_heads.restore(&mut self.job.model.parameters, &name);
                self.progress.checkpoint_due = true;
                let (at, was_end) = (self.progress.schedule_step, self.epoch_is_over());
                self.end_task(name, StopReason::Stopped { best }, at);
                // Nothing may be left of the epoch without it.
                if !was_end && self.epoch_is_over() {
                    self.balancer.epoch_end();
                }
            }
        }
        self.loader.observe(&self.job.model.tasks, &signals);
        self.report_usage();
        if self.loader.phase().is_reached(evaluation) {
            self.end_phase();
            self.progress.checkpoint_due = true;
        }
    }

    /// Reports what each task has used so far.
    pub(super) fn report_usage(&mut self) {
        self.progress.usage_reported = Some(self.progress.step);
        let usage = &self.progress.usage;
        let drawn = self.loader.stream.corpora().iter().zip(self.loader.stream.drawn_counts()).enumerate();
        let streams = || (0..self.loader.phases.len()).map(|phase| self.loader.stream_of(phase));
        let rows = |corpus: usize| streams().map(|stream| stream.corpora()[corpus].candidates.len()).max();
        let event = events::UsageReport {
            step: self.progress.step,
            tasks: usage.tasks.clone(),
            shares: usage.shares(),
            corpora: drawn
                .map(|(index, (corpus, draws))| {
                    (corpus.name.to_string(), CorpusUsage { rows: rows(index).unwrap_or(0), draws: *draws })
                })
                .collect(),
        };
        self.emit(Event::UsageReport(event));
    }

    /// Ends the training of a task, when `done` steps of the plan are done, and plans the rest again.
    fn end_task(&mut self, task: String, reason: StopReason, done: usize) {
        self.progress.usage.stopped.insert(task.clone(), reason);
        self.apply_phase();
        let at = Position { index: done, tokens: self.progress.tokens, usage: &self.progress.usage };
        let train = &self.settings.train;
        let plan = lookahead::plan_again(self.job, &self.loader, train, &self.step_plan, &at);
        if plan != self.step_plan {
            self.progress.step_plan = Some(plan.clone());
            self.step_plan = plan;
        }
        let (step, steps) = (self.progress.step, self.step_plan.total());
        self.emit(Event::TaskDone(events::TaskDone { step, task, reason, steps }));
    }
}
