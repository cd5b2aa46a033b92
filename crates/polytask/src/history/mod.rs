//! The history of a run: what its `metrics.jsonl` tells, as curves by task. The report of a run, displays and comparisons read it.
//!
//! A [`HistoryReader`] reads what was appended since it read last, so that a run may be followed while it is trained.

mod curves;
mod reader;
mod running_mean;

pub use curves::{CurveKey, CurveKind, Curves, Point};
pub use reader::HistoryReader;
pub use running_mean::RunningMean;

use crate::failure::Failure;
use std::collections::BTreeMap;
use train::{
    Evaluated, Event, Finished, Interrupted, Lengthened, PhaseBegan, RunDir, Started, StoppedEarly, TaskDone,
    UsageReport,
};

/// What happened in a run so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Every number that has a course, by what it is.
    pub curves: Curves,
    /// How the run began, or last went on.
    pub started: Option<Started>,
    /// The steps after which the run went on from a checkpoint.
    pub resumed_after: Vec<usize>,
    /// The longer plans of a run that is trained further.
    pub lengthened: Vec<Lengthened>,
    /// All evaluations.
    pub evaluations: Vec<Evaluated>,
    /// The phases that began.
    pub phases: Vec<PhaseBegan>,
    /// Tasks that are trained no more.
    pub tasks_done: Vec<TaskDone>,
    /// What each task had used at last.
    pub usage: Option<UsageReport>,
    /// Steps whose loss or gradient was not finite.
    pub nonfinite_steps: Vec<usize>,
    /// Where the run stands.
    pub state: RunState,
    /// The end by early stopping.
    pub stopped_early: Option<StoppedEarly>,
    /// The last step, the epoch that it belongs to, and the seconds of training until then.
    pub last: Progress,
    /// Steps of the whole run, by the latest plan; 0 before it began.
    pub steps: usize,
    /// Seconds of training at each step and each evaluation. Steps rise.
    pub times: Vec<(usize, f64)>,
    /// How fast the latest steps of this session were.
    pub pace: Pace,
    /// Lines, from 1 on, that cannot be read.
    pub damaged: Vec<usize>,
    /// Events that this version does not know, by name, and how often each occurs.
    pub unknown: BTreeMap<String, usize>,
    /// Whether the last line has no end, because it is being written or a crash cut it off. It is not in the history.
    pub is_torn: bool,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// The epoch, from 1 on; 0 before the first step.
    pub epoch: usize,
    /// Seconds of training.
    pub elapsed: f64,
    /// Seconds of steps alone, without evaluations.
    pub step_seconds: f64,
    /// Tokens trained on.
    pub tokens: u64,
}

/// Running means over the steps since a run began, or last went on.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pace {
    /// Seconds of a step.
    pub seconds: RunningMean,
    /// Tokens of a step.
    pub tokens: RunningMean,
}

/// Where a run stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum RunState {
    /// No event says that it ended: it is being trained, or its process was killed.
    #[default]
    Open,
    /// It was asked to stop.
    Interrupted(Interrupted),
    /// Its model is written.
    Finished(Finished),
}

impl History {
    /// Reads the history of a run.
    ///
    /// # Errors
    /// There is no `metrics.jsonl`, or it cannot be read.
    pub fn of(run: &RunDir) -> Result<History, Failure> {
        let mut reader = HistoryReader::new(run.metrics());
        reader.read_more()?;
        Ok(reader.into_history())
    }

    /// The tasks, in the order of the config; none before the run began.
    pub fn tasks(&self) -> &[String] {
        self.started.as_ref().map_or(&[], |started| &started.tasks)
    }

    /// The evaluations of a split.
    pub fn evaluations_of<'a>(&'a self, split: &'a str) -> impl Iterator<Item = &'a Evaluated> {
        self.evaluations.iter().filter(move |found| found.split == split)
    }

    /// The primary metric of a task, where it was evaluated.
    pub fn primary(&self, task: &str) -> Option<&str> {
        self.evaluations.iter().rev().find_map(|found| found.primary.get(task)).map(String::as_str)
    }

    /// The evaluation whose weights are the result, or would be: the best one so far.
    pub fn best(&self) -> Option<&Evaluated> {
        self.evaluations_of("validation").filter(|found| found.best).last()
    }

    /// Seconds of training when a step was done.
    pub fn elapsed_at(&self, step: usize) -> f64 {
        let until = self.times.partition_point(|found| found.0 <= step);
        until.checked_sub(1).map_or(0.0, |last| self.times[last].1)
    }

    /// Seconds that the rest of the run takes at its present pace, evaluations aside; `None` before a step told one.
    pub fn seconds_left(&self) -> Option<f64> {
        let left = self.steps.saturating_sub(self.last.step) as f64;
        (self.pace.seconds.value() > 0.0).then(|| self.pace.seconds.value() * left)
    }

    /// Tokens a second at the present pace; `None` before a step told one.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let Pace { seconds, tokens } = self.pace;
        (seconds.value() > 0.0).then(|| tokens.value() / seconds.value())
    }

    /// Adds what an event says.
    pub(crate) fn add(&mut self, event: &Event) {
        match event {
            Event::Started(e) => self.begin(e),
            Event::BeganAgain(_) => self.cut_after(0),
            Event::Lengthened(e) => {
                self.steps = e.steps;
                self.lengthened.push(e.clone());
            }
            Event::Step(e) => {
                self.last = Progress {
                    step: e.step,
                    epoch: e.epoch,
                    elapsed: e.elapsed,
                    step_seconds: self.last.step_seconds + e.seconds,
                    tokens: self.last.tokens + e.tokens as u64,
                };
                self.times.push((e.step, e.elapsed));
                self.pace.seconds.add(e.seconds);
                self.pace.tokens.add(e.tokens as f64);
                self.curves.add_step(e);
            }
            Event::NonFiniteStep(e) => {
                (self.last.step, self.last.epoch) = (e.step, e.epoch);
                self.nonfinite_steps.push(e.step);
            }
            Event::Evaluated(e) => {
                self.last.elapsed = e.elapsed;
                self.times.push((e.step, e.elapsed));
                self.curves.add_evaluation(e);
                self.evaluations.push(e.clone());
            }
            Event::PhaseBegan(e) => self.phases.push(e.clone()),
            Event::TaskDone(e) => {
                // Older versions did not tell it.
                self.steps = if e.steps == 0 { self.steps } else { e.steps };
                self.tasks_done.push(e.clone());
            }
            Event::UsageReport(e) => {
                self.curves.add_usage(e, self.last.epoch);
                self.usage = Some(e.clone());
            }
            Event::StoppedEarly(e) => self.stopped_early = Some(e.clone()),
            Event::Interrupted(e) => self.state = RunState::Interrupted(e.clone()),
            Event::Finished(e) => self.state = RunState::Finished(e.clone()),
            Event::Affinity(e) => self.curves.add_affinity(e, self.last.epoch),
            Event::FrozenStatesCached(_)
            | Event::BrokenCheckpoint(_)
            | Event::DamagedMetrics(_)
            | Event::ChunkSizeReduced(_)
            | Event::LearningRateReduced(_)
            | Event::Pruned(_)
            | Event::Saved(_) => {}
        }
    }

    fn begin(&mut self, e: &Started) {
        if e.resumed {
            self.resumed_after.push(e.step);
        }
        self.state = RunState::Open;
        self.stopped_early = None;
        self.pace = Pace::default();
        self.steps = e.steps;
        self.cut_after(e.step);
        self.started = Some(e.clone());
    }

    /// What an interrupted run wrote of steps that come again no longer counts.
    fn cut_after(&mut self, step: usize) {
        self.curves.cut_after(step);
        self.times.retain(|found| found.0 <= step);
        self.evaluations.retain(|found| found.step <= step);
        self.phases.retain(|found| found.step <= step);
        self.tasks_done.retain(|found| found.step <= step);
        self.nonfinite_steps.retain(|found| *found <= step);
        self.last.step = self.last.step.min(step);
    }
}

#[cfg(test)]
mod tests;
