//! A run ahead of itself: its steps are drawn as it will draw them, with the tasks leaving whose budgets are used up.
//!
//! Exact but for what only training can tell: a score that ends a phase, a task that is done early, a sampler that adapts to how
//! training goes (drawn with its present shares), a step without a finite loss, and time.

use crate::{
    config::{Settings, TrainConfig},
    job::Job,
    loading::loader::{DataLoader, Drawn},
    loading::spread::Time,
    loading::step_plan::{Epoch, StepPlan},
    run::task_usage::{StopReason, UsageLedger},
};
use data::Split;

/// A step of a run, before it is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlannedStep<'a> {
    /// Its phase, from 0 on.
    pub(crate) phase: usize,
    /// What is drawn for it.
    pub(crate) packs: &'a [Drawn],
}

/// Where a run is between two steps.
pub(crate) struct Position<'a> {
    /// Its steps in the plan.
    pub(crate) index: usize,
    /// The tokens that it has trained on.
    pub(crate) tokens: u64,
    /// What its tasks have used.
    pub(crate) usage: &'a UsageLedger,
}

/// The plan of a run over a loader at its beginning; `visit` sees every step in order.
pub(crate) fn plan(
    job: &Job,
    loader: &DataLoader,
    train: &TrainConfig,
    visit: &mut dyn FnMut(&PlannedStep<'_>),
) -> StepPlan {
    let usage = UsageLedger::default();
    let at = Position { index: 0, tokens: 0, usage: &usage };
    let mut lookahead = Lookahead::new(job, loader, train, &at);
    lookahead.walk(0, visit);
    StepPlan::of_epochs(lookahead.epochs)
}

/// The plan of a run whose rest is another than was planned. The loader is where the run is.
pub(crate) fn plan_again(
    job: &Job,
    loader: &DataLoader,
    train: &TrainConfig,
    before: &StepPlan,
    at: &Position<'_>,
) -> StepPlan {
    before.with_rest(at.index, rest(job, loader, train, before, at))
}

/// The plan of a run that has got more steps, tokens or time than were planned. The loader is where the run is; `time` is that which
/// the run had until now.
pub(crate) fn plan_longer(
    job: &Job,
    loader: &DataLoader,
    settings: &Settings,
    (before, time): (&StepPlan, Time),
    at: &Position<'_>,
) -> StepPlan {
    let epochs = rest(job, loader, &settings.train, before, at);
    before.lengthened(at.index, epochs, settings, time)
}

/// All epochs of a run, from where it is on as the loader draws them.
fn rest(
    job: &Job,
    loader: &DataLoader,
    train: &TrainConfig,
    before: &StepPlan,
    at: &Position<'_>,
) -> Vec<Epoch> {
    let mut lookahead = Lookahead::new(job, loader, train, at);
    let phase = loader.phase_number();
    lookahead.epochs = before.epochs.iter().take_while(|epoch| epoch.end <= at.index).copied().collect();
    let begin = if phase == 0 { 0 } else { before.end_of_phase(phase - 1) };
    // After its last step, an epoch that is over is not over once more.
    lookahead.is_open = !(before.ends_epoch(at.index) && lookahead.at_end());
    // One that a number of steps or tokens has cut, and that has rows left, goes on.
    if lookahead.is_open {
        lookahead.epochs.pop_if(|epoch| epoch.end == at.index && epoch.cut && epoch.phase == phase);
    }
    lookahead.walk(begin, &mut |_| ());
    lookahead.epochs
}

struct Lookahead<'a> {
    job: &'a Job,
    train: &'a TrainConfig,
    loader: DataLoader,
    usage: UsageLedger,
    /// `[tasks]`
    trained: Vec<bool>,
    index: usize,
    tokens: u64,
    epochs: Vec<Epoch>,
    /// Whether the stream's epoch is not yet among the epochs.
    is_open: bool,
}

impl<'a> Lookahead<'a> {
    fn new(job: &'a Job, loader: &DataLoader, train: &'a TrainConfig, at: &Position<'_>) -> Self {
        let mut lookahead = Lookahead {
            job,
            train,
            loader: loader.clone(),
            usage: at.usage.clone(),
            trained: Vec::new(),
            index: at.index,
            tokens: at.tokens,
            epochs: Vec::new(),
            is_open: true,
        };
        lookahead.apply_stops();
        lookahead
    }

    /// The rest of this phase, which began at step `begin`, and all phases after it.
    fn walk(&mut self, mut begin: usize, visit: &mut dyn FnMut(&PlannedStep<'_>)) {
        let first = self.loader.phase_number();
        for phase in first..self.loader.phases.len() {
            if phase > first {
                self.loader.enter(phase);
                (begin, self.is_open) = (self.index, true);
                self.apply_stops();
            }
            let ends_run = self.phase(phase, begin, visit);
            if ends_run {
                break;
            }
        }
    }

    /// The rest of a phase. True if the run ends in it.
    fn phase(&mut self, phase: usize, begin: usize, visit: &mut dyn FnMut(&PlannedStep<'_>)) -> bool {
        let (epochs, steps) = (self.loader.phases[phase].epochs, self.loader.phases[phase].steps);
        let count = self.train.gradient_accumulation_steps.max(1);
        let (mut begun, mut skipped) = (None, Vec::new());
        loop {
            // Before the first step too: a run whose rest is planned again may be at this very end.
            let full = self.train.max_steps.is_some_and(|max| self.index >= max)
                || self.train.max_tokens.is_some_and(|max| self.tokens >= max as u64);
            if full || steps.is_some_and(|max| self.index - begin >= max) {
                self.end_epoch(phase, true);
                return full;
            }
            let nothing_left = !self.trained.contains(&true);
            if nothing_left || self.at_end() {
                self.end_epoch(phase, false);
                // An epoch without a step would come again and again where their number is not bounded.
                let is_empty = begun == Some(self.index) && epochs == usize::MAX;
                if nothing_left || is_empty || self.loader.stream.epoch() + 1 >= epochs {
                    return false;
                }
                let left = std::iter::from_fn(|| self.loader.stream.next());
                skipped.extend(left.map(|draws| Drawn { draws, rows: Vec::new() }));
                (self.is_open, begun) = (true, Some(self.index));
                continue;
            }
            let mut drawn = std::mem::take(&mut skipped);
            drawn.extend(self.loader.draw(self.job, count, &self.trained));
            if drawn.iter().all(|drawn| drawn.rows.is_empty()) {
                continue;
            }
            visit(&PlannedStep { phase, packs: &drawn });
            self.index += 1;
            self.account(&drawn);
        }
    }

    fn at_end(&mut self) -> bool {
        self.loader.at_end(self.job, &self.trained)
    }

    fn end_epoch(&mut self, phase: usize, cut: bool) {
        if std::mem::take(&mut self.is_open) {
            self.epochs.push(Epoch { end: self.index, phase, cut });
        }
    }

    /// Adds a step's tokens, and what tasks with budgets use of it; tasks whose budgets are used up leave.
    fn account(&mut self, drawn: &[Drawn]) {
        let job = self.job;
        let length = |view: u32, row: u32| job.views.train[view as usize].encoded.length(row as usize) as u64;
        let rows = || drawn.iter().flat_map(|drawn| &drawn.rows);
        self.tokens += rows().map(|row| length(row.view, row.row)).sum::<u64>();
        for (task, _) in job.model.tasks.iter().zip(&self.trained).filter(|(_, trained)| **trained) {
            if task.training.budget.is_none_or(|budget| budget.tokens.is_none() && budget.steps.is_none()) {
                continue;
            }
            let own = || {
                rows().filter(|row| {
                    row.view as usize == task.view && task.head.labelled(Split::Train, row.row as usize)
                })
            };
            let used = self.usage.tasks.entry(task.name.clone()).or_default();
            used.tokens += own().map(|row| length(row.view, row.row)).sum::<u64>();
            used.steps += u64::from(own().next().is_some());
        }
        let stopped = self.usage.out_of_budget(&job.model);
        if !stopped.is_empty() {
            self.usage.stopped.extend(stopped.into_iter().map(|task| (task, StopReason::Budget)));
            self.apply_stops();
        }
    }

    /// Applies the present phase, and the tasks that are done.
    fn apply_stops(&mut self) {
        let phase = self.loader.phase();
        let is_trained =
            |(name, trained): (&String, &bool)| *trained && !self.usage.stopped.contains_key(name);
        let names = self.job.model.tasks.iter().map(|task| &task.name);
        self.trained = names.zip(&phase.trained).map(is_trained).collect();
        self.loader.drop_finished_tasks(&self.job.model.tasks, &self.trained);
    }
}
