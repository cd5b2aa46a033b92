//! How many steps a run has, and where its epochs and phases end.
//!
//! Known before the run begins. What cannot be known (a score that ends a phase, a task that is done early) makes the run skip steps:
//! its step in the plan is where it would be if it had gone all the way, so that the learning rate follows the schedule.

use crate::{config::TrainConfig, loading::loader::DataLoader};
use data::Draw;

/// The steps of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepPlan {
    epochs: Vec<Epoch>,
}

/// An epoch that a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Epoch {
    /// Steps done at its end.
    end: usize,
    /// The phase that it belongs to.
    phase: usize,
    /// Whether it ends there whatever is left to draw: a number of steps or tokens is reached.
    cut: bool,
}

/// A step of a run, before it is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlannedStep<'a> {
    /// Its phase, from 0 on.
    pub(crate) phase: usize,
    /// The rows of its packs.
    pub(crate) packs: &'a [Vec<Draw>],
}

impl StepPlan {
    /// The plan of a run over a loader; `visit` sees every step in order.
    pub(crate) fn of(
        loader: &DataLoader,
        train: &TrainConfig,
        visit: &mut dyn FnMut(&PlannedStep<'_>),
    ) -> Self {
        let mut plan = StepPlan::default();
        let (mut index, mut tokens) = (0, 0);
        let mut drawn = vec![0; loader.stream.corpora().len()];
        for (number, phase) in loader.phases.iter().enumerate() {
            let mut stream = loader.stream_of(number).clone().continuing(&drawn);
            let begin = index;
            for _ in 0..phase.epochs {
                let mut cut = false;
                loop {
                    let count = train.gradient_accumulation_steps.max(1);
                    let packs: Vec<Vec<Draw>> = std::iter::from_fn(|| stream.next()).take(count).collect();
                    // A step of fewer packs has come to the end of the epoch, whose `None` is taken.
                    if packs.is_empty() {
                        break;
                    }
                    let short = packs.len() < count;
                    visit(&PlannedStep { phase: number, packs: &packs });
                    for draw in packs.iter().flatten() {
                        drawn[draw.corpus as usize] += 1;
                        tokens += stream.tokens_of(*draw);
                    }
                    index += 1;
                    let full = train.max_steps.is_some_and(|max| index >= max)
                        || train.max_tokens.is_some_and(|max| tokens >= max);
                    cut = full || phase.steps.is_some_and(|max| index - begin >= max);
                    if cut {
                        plan.epochs.push(Epoch { end: index, phase: number, cut });
                        if full {
                            return plan;
                        }
                        break;
                    }
                    if short {
                        break;
                    }
                }
                if cut {
                    break;
                }
                plan.epochs.push(Epoch { end: index, phase: number, cut });
            }
        }
        plan
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

    /// The steps done at the end of the epoch of a step (from 0).
    pub(crate) fn end_of_epoch(&self, step: usize) -> usize {
        self.epochs.get(self.epoch(step)).map_or(0, |epoch| epoch.end)
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
        StepPlan { epochs: epochs.iter().map(epoch).collect() }
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
