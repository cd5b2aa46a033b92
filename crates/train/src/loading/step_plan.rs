//! How many steps a run has, and where its epochs and phases end.
//!
//! Known before the run begins, budgets of tokens and steps included. What cannot be known is a score that ends a phase, a task that
//! is done early, or one that has used its time. Where a score ends a phase, the run skips steps: its step in the plan is where
//! it would be if it had gone all the way, so that the learning rate follows the schedule. Where a task is done, the rest is
//! planned again, and what is left of the schedule is spread over it ([`StepPlan::schedule_position`]).

use crate::{
    config::{Settings, TrainConfig},
    loading::spread::{self, Spread, Time},
};
use serde::{Deserialize, Serialize};

/// The steps of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepPlan {
    pub(super) epochs: Vec<Epoch>,
    /// Where the schedule was when the rest was last planned again.
    spread: Option<Spread>,
}

/// An epoch that a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Epoch {
    /// Steps done at its end.
    pub(super) end: usize,
    /// The phase that it belongs to.
    pub(super) phase: usize,
    /// Whether it ends there whatever is left to draw: a number of steps or tokens is reached.
    pub(super) cut: bool,
}

impl StepPlan {
    /// Of epochs.
    pub(super) fn of_epochs(epochs: Vec<Epoch>) -> StepPlan {
        StepPlan { epochs, spread: None }
    }

    /// The plan whose rest after `done` steps is another: `epochs` are all of it. The schedule goes on from where it is there.
    pub(super) fn with_rest(&self, done: usize, epochs: Vec<Epoch>) -> StepPlan {
        if epochs == self.epochs {
            return self.clone();
        }
        let (position, length) = self.schedule_position(done);
        let now = Spread { from: done, position, length, ..self.spread.unwrap_or(Spread::NONE) };
        StepPlan { epochs, spread: Some(now) }
    }

    /// The plan of a run that is lengthened when `done` steps are done, in the time given: `epochs` are all of it. No learning rate
    /// jumps ([`spread`]).
    pub(super) fn lengthened(
        &self,
        done: usize,
        epochs: Vec<Epoch>,
        settings: &Settings,
        time: Time,
    ) -> StepPlan {
        let (position, length) = self.position(done, time);
        let present = Spread { from: done, position, length, ..self.spread.unwrap_or(Spread::NONE) };
        let left = epochs.last().map_or(0, |epoch| epoch.end).saturating_sub(done);
        let spread = if settings.schedule_is_independent_of_length() {
            Spread { goes_on: true, ..present }
        } else if position < length as f64 {
            Spread { clock: Some((time.used, position)), ..present }
        } else {
            let gap = self.factor(settings, done, time) - settings.factor(0, left);
            let clock = Some((time.used, 0.0));
            Spread { from: done, position: 0.0, length: left, goes_on: false, restarted: true, gap, clock }
        };
        StepPlan { epochs, spread: Some(spread) }
    }

    /// The position of a step (from 0) in the schedule of learning rates, and the schedule's length: the step itself and the steps
    /// of the run, unless the rest of the run has been planned again.
    pub fn schedule_position(&self, step: usize) -> (f64, usize) {
        let total = self.total();
        self.spread.map_or((step as f64, total), |spread| (spread.position(step, total), spread.length))
    }

    /// [`StepPlan::schedule_position`], or the position by the time that the run has used where that is further.
    pub(crate) fn position(&self, step: usize, time: Time) -> (f64, usize) {
        let (by_steps, length) = self.schedule_position(step);
        (spread::position(self.spread.as_ref(), by_steps, length, time), length)
    }

    /// The factor of all learning rates at a step (from 0), in 0..=1.
    pub(crate) fn factor(&self, settings: &Settings, step: usize, time: Time) -> f64 {
        let (position, length) = self.position(step, time);
        spread::factor(self.spread.as_ref(), position, length, settings)
    }

    /// How far the run is at a step (from 0), in 0..=1, for methods that change over a run. It never falls: a run that is lengthened
    /// at its end stays at 1.
    pub(crate) fn progress(&self, step: usize) -> f64 {
        let (position, length) = self.schedule_position(step);
        if self.spread.is_some_and(|spread| spread.restarted) {
            return 1.0;
        }
        (position / length.max(1) as f64).min(1.0)
    }

    /// The rest of the schedule, where it was planned again.
    pub(crate) fn spread(&self) -> Option<&Spread> {
        self.spread.as_ref()
    }

    /// Steps of the whole run.
    pub fn total(&self) -> usize {
        self.epochs.last().map_or(0, |epoch| epoch.end)
    }

    /// Steps of each epoch; the last of a phase may be cut short.
    pub fn epochs(&self) -> Vec<usize> {
        let starts = [0].into_iter().chain(self.epochs.iter().map(|epoch| epoch.end));
        starts.zip(&self.epochs).map(|(start, epoch)| epoch.end - start).collect()
    }

    /// The epoch (from 0) of a step (from 0).
    pub fn epoch(&self, step: usize) -> usize {
        let ended = self.epochs.partition_point(|epoch| epoch.end <= step);
        ended.min(self.epochs.len().saturating_sub(1))
    }

    /// The phase (from 0) of a step (from 0).
    pub fn phase(&self, step: usize) -> usize {
        self.epochs.get(self.epoch(step)).map_or(0, |epoch| epoch.phase)
    }

    /// The steps done at the end of a phase.
    pub fn end_of_phase(&self, phase: usize) -> usize {
        self.epochs.iter().rev().find(|epoch| epoch.phase <= phase).map_or(0, |epoch| epoch.end)
    }

    /// Where the run is in the plan after a step that it began at `step`, if the epoch has come to its end (`at_end`), or has not.
    pub(crate) fn after(&self, step: usize, at_end: bool) -> usize {
        let Some(epoch) = self.epochs.get(self.epoch(step)) else { return step };
        match step + 1 >= epoch.end {
            _ if at_end => epoch.end,
            true if !epoch.cut => step,
            _ => step + 1,
        }
    }

    /// Whether an epoch, or the run, ends when `done` steps are done.
    pub fn ends_epoch(&self, done: usize) -> bool {
        self.epochs.binary_search_by_key(&done, |epoch| epoch.end).is_ok()
    }

    /// Whether an evaluation is due after step number `step` (from 1), when the run is at `schedule_step` of the plan.
    pub(crate) fn evaluates(&self, config: &TrainConfig, step: usize, schedule_step: usize) -> bool {
        match config.eval_steps {
            Some(every) => schedule_step == self.total() || step.is_multiple_of(every.max(1)),
            None => self.ends_epoch(schedule_step),
        }
    }

    /// Whether a checkpoint is due after step number `step` (from 1), when the run is at `schedule_step` of the plan.
    pub(crate) fn saves(&self, config: &TrainConfig, step: usize, schedule_step: usize) -> bool {
        self.ends_epoch(schedule_step)
            || config.save_steps.is_some_and(|every| step.is_multiple_of(every.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Epochs of so many steps in phases; those that are cut are marked.
    fn plan(epochs: &[(usize, usize, bool)]) -> StepPlan {
        let mut end = 0;
        let epoch = |(steps, phase, cut): &(usize, usize, bool)| {
            end += steps;
            Epoch { end, phase: *phase, cut: *cut }
        };
        StepPlan::of_epochs(epochs.iter().map(epoch).collect())
    }

    #[test]
    fn steps_belong_to_epochs_and_phases() {
        let plan = plan(&[(3, 0, false), (2, 0, false), (1, 2, true)]);
        assert_eq!((plan.total(), plan.epochs()), (6, vec![3, 2, 1]));
        assert_eq!((0..7).map(|s| plan.epoch(s)).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 2, 2]);
        assert_eq!((0..7).map(|s| plan.phase(s)).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 2, 2]);
        assert_eq!((0..3).map(|p| plan.end_of_phase(p)).collect::<Vec<_>>(), [5, 5, 6]);
        assert_eq!((1..=6).filter(|d| plan.ends_epoch(*d)).collect::<Vec<_>>(), [3, 5, 6]);
    }

    #[test]
    fn an_epoch_that_is_shorter_or_longer_than_planned_keeps_to_the_plan() {
        let plan = plan(&[(3, 0, false), (2, 0, true)]);
        // As planned.
        assert_eq!(
            [(0, false), (1, false), (2, true), (3, false), (4, false)].map(|(s, e)| plan.after(s, e)),
            [1, 2, 3, 4, 5]
        );
        // Shorter: on to the end. Longer: wait before it, unless the number of steps is what ends it.
        assert_eq!((plan.after(0, true), plan.after(2, false), plan.after(4, false)), (3, 2, 5));
    }

    /// The schedule goes on where it is and ends with the run.
    #[test]
    fn a_rest_that_is_planned_again_has_the_rest_of_the_schedule() {
        let first = plan(&[(100, 0, false), (100, 0, false)]);
        assert_eq!(first.with_rest(100, first.epochs.clone()), first);
        let second = first.with_rest(100, plan(&[(100, 0, false), (50, 0, false)]).epochs);
        assert_eq!(second.total(), 150);
        let positions = [0, 99, 100, 101, 125, 149, 150].map(|step| second.schedule_position(step));
        // Steps before the change are behind the run; none of them asks any more.
        assert_eq!(positions[2..], [(100.0, 200), (102.0, 200), (150.0, 200), (198.0, 200), (200.0, 200)]);
        let third = second.with_rest(125, plan(&[(100, 0, false), (35, 0, false)]).epochs);
        assert_eq!(
            [125, 130, 135].map(|step| third.schedule_position(step)),
            [(150.0, 200), (175.0, 200), (200.0, 200)]
        );
    }

    #[test]
    fn evaluations_and_checkpoints_fall_due() {
        let plan = plan(&[(10, 0, false)]);
        let plain = TrainConfig::default();
        let every = TrainConfig { eval_steps: Some(4), save_steps: Some(5), ..plain.clone() };
        let due = |of: &dyn Fn(usize) -> bool| (1..=10).filter(|done| of(*done)).collect::<Vec<_>>();
        assert_eq!(due(&|done| plan.evaluates(&every, done, done)), [4, 8, 10]);
        assert_eq!(due(&|done| plan.saves(&every, done, done)), [5, 10]);
        assert_eq!(due(&|done| plan.evaluates(&plain, done, done)), [10]);
        // After skipped steps the step that was done decides, and the end of the run.
        assert!(
            plan.evaluates(&every, 4, 9) && !plan.evaluates(&every, 5, 8) && plan.evaluates(&every, 5, 10)
        );
    }
}
