//! A run as people watch it: a bar on a terminal, plain lines elsewhere, a table after every evaluation.

use super::escape::one_line;
use super::figures::{bytes, change, count, counted, duration, points, short};
use super::output;
use super::table::Table;
use crate::history::RunningMean;
use crate::memory;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;
use train::{
    Affinity, Evaluated, Event, Finished, Lengthened, PhaseBegan, Pruned, ScheduleCourse, Started, StepEvent,
    StopReason, TaskDone,
};

/// Seconds between two plain lines.
const EVERY: f64 = 10.0;

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Only what went wrong.
    Warnings,
    /// A line for every evaluation.
    Lines,
    /// Progress, and a table for every evaluation.
    Tables,
}

/// Shows the events of one run.
pub struct ProgressDisplay {
    bar: Option<ProgressBar>,
    detail: Detail,
    steps: usize,
    epochs: usize,
    tasks: Vec<String>,
    losses: BTreeMap<String, RunningMean>,
    seconds: RunningMean,
    tokens: RunningMean,
    printed: f64,
    scores: BTreeMap<(String, String), f64>,
    /// What was said last of measurements of the tasks' affinity.
    affinity: Option<String>,
    /// What is left of the network, while it is pruned.
    pruned: Option<String>,
}

impl ProgressDisplay {
    /// A bar if standard error is a terminal, else plain lines.
    pub fn new(detail: Detail) -> ProgressDisplay {
        let bar = (detail != Detail::Warnings && std::io::stderr().is_terminal()).then(|| {
            // A display that has the whole screen shows progress itself.
            let target = match output::is_held() {
                true => ProgressDrawTarget::hidden(),
                false => ProgressDrawTarget::stderr_with_hz(4),
            };
            let bar = ProgressBar::with_draw_target(None, target);
            let style =
                ProgressStyle::with_template("  {bar:24.cyan/dim} {msg}").expect("the template is valid");
            bar.with_style(style.progress_chars("━━─"))
        });
        ProgressDisplay {
            bar,
            detail,
            steps: 0,
            epochs: 0,
            tasks: Vec::new(),
            losses: BTreeMap::new(),
            seconds: RunningMean::default(),
            tokens: RunningMean::default(),
            printed: f64::NEG_INFINITY,
            scores: BTreeMap::new(),
            affinity: None,
            pruned: None,
        }
    }

    /// Shows one event.
    pub fn show(&mut self, event: &Event) {
        match event {
            Event::Started(e) => self.started(e),
            Event::FrozenStatesCached(e) => self.say(&format!(
                "  {} frozen layers computed once for {} rows: {} on the disk, {:.1} s",
                e.layers,
                count(e.rows),
                bytes(e.bytes as usize),
                e.seconds
            )),
            Event::Lengthened(e) => self.lengthened(e),
            Event::Step(e) => self.step(e),
            Event::Evaluated(e) => self.evaluated(e),
            Event::BrokenCheckpoint(e) => {
                self.warn(&format!(
                    "checkpoint {} is broken ({}); set aside as {}",
                    e.step, e.reason, e.moved_to
                ));
            }
            Event::BeganAgain(e) => self.warn(&format!(
                "the run was ended after step {} and before its first checkpoint: it begins at its first step",
                count(e.lost)
            )),
            Event::DamagedMetrics(e) => {
                let lines: Vec<String> = e.lines.iter().map(usize::to_string).collect();
                self.warn(&format!("{}: damaged lines, left as they are: {}", e.path, lines.join(", ")));
            }
            Event::NonFiniteStep(e) => {
                let tasks: Vec<String> = e.tasks.iter().map(ToString::to_string).collect();
                let line = format!("step {} skipped, {} in a row: {}", e.step, e.in_a_row, tasks.join("; "));
                self.warn(&line);
            }
            Event::ChunkSizeReduced(e) => self.warn(&format!(
                "no memory left for step {}: it is done again, and from now on {} tokens go through the trunk at once",
                count(e.step + 1),
                count(e.tokens)
            )),
            Event::Affinity(e) => self.affinity(e),
            Event::LearningRateReduced(e) => self.say(&format!(
                "  nothing better than {} for a while: {} from now on with {} of the learning rate",
                points(e.best),
                e.task.as_ref().map_or("everything".into(), |task| format!("the head of {task}")),
                e.factor
            )),
            // What each task has used is printed at the end, with what it gave.
            Event::Saved(_) | Event::UsageReport(_) => {}
            Event::Pruned(e) => self.pruned(e),
            Event::PhaseBegan(e) => self.phase_began(e),
            Event::TaskDone(e) => self.task_done(e),
            Event::StoppedEarly(e) => self.say(&format!(
                "  stopped early at step {}: {} evaluations without a better one than step {}'s",
                count(e.step),
                e.evaluations,
                count(e.best)
            )),
            Event::Interrupted(e) => {
                self.clear();
                self.say(&format!("  interrupted after step {} of {}", count(e.step), count(e.steps)));
            }
            Event::Finished(e) => self.finished(e),
        }
    }

    fn started(&mut self, e: &Started) {
        (self.steps, self.epochs, self.tasks) = (e.steps, e.epochs.len(), e.tasks.clone());
        if let Some(bar) = &self.bar {
            bar.set_length(e.steps as u64);
            bar.set_position(e.step as u64);
        }
        let heads: usize = e.head_parameters.values().sum();
        let went_on =
            if e.resumed { format!(", going on after step {}", count(e.step)) } else { String::new() };
        self.say(&format!(
            "  {} parameters shared, {} in {}; {} in {}{went_on}",
            short(e.trunk_parameters),
            short(heads),
            counted(e.tasks.len(), "head"),
            counted(e.steps, "step"),
            counted(self.epochs, "epoch")
        ));
        if let Some(told) = unevaluated(&e.unevaluated_tasks, e.tasks.len()) {
            self.say(&format!("  {told}"));
        }
    }

    fn lengthened(&mut self, e: &Lengthened) {
        let (schedule, factor, left) = (&e.schedule, e.factor, count(e.steps.saturating_sub(e.step)));
        let course = match e.course {
            ScheduleCourse::GoesOn => {
                format!(
                    "{schedule} does not depend on the run's length and goes on, at {factor:.3} of the rate"
                )
            }
            ScheduleCourse::Spread => format!(
                "the rest of {schedule} is planned again over the {left} steps left, from its present {factor:.3} of the rate"
            ),
            ScheduleCourse::Restarted => format!(
                "{schedule} was at its end and begins again over the {left} steps left, rising from the {factor:.3} of the rate at \
                 which it ended"
            ),
        };
        let length = match e.steps == e.before {
            true => "for more time".to_owned(),
            false => format!("{} steps, not {}", count(e.steps), count(e.before)),
        };
        self.say(&format!("  trained further: {length}; learning rate: {course}"));
    }

    /// Says what could not be measured; once, however often it comes.
    fn affinity(&mut self, e: &Affinity) {
        let why = match (&e.unmeasured, e.nonfinite.is_empty()) {
            (Some(why), _) => why.clone(),
            (None, false) => format!("loss or gradient of {} is not finite", e.nonfinite.join(", ")),
            (None, true) => return,
        };
        let line = format!("the affinity of the tasks is not measured: {why}");
        if self.affinity.as_ref() != Some(&line) {
            self.warn(&line);
            self.affinity = Some(line);
        }
    }

    fn phase_began(&mut self, e: &PhaseBegan) {
        let frozen =
            e.frozen.map(|layers| format!("; embeddings and {layers} layers frozen")).unwrap_or_default();
        self.say(&format!("  phase {} of {}: {}{frozen}", e.phase, e.of, e.tasks.join(", ")));
    }

    fn task_done(&mut self, e: &TaskDone) {
        let why = match e.reason {
            StopReason::Budget => "its budget is used up".to_string(),
            StopReason::Stopped { best } => {
                format!("its score has not improved; its head is that of step {}", count(best))
            }
        };
        let fewer = if e.steps == self.steps {
            String::new()
        } else {
            format!("; the run has {} steps without it", count(e.steps))
        };
        self.steps = e.steps;
        if let Some(bar) = &self.bar {
            bar.set_length(e.steps as u64);
        }
        self.say(&format!("  task {} is done after step {}: {why}{fewer}", e.task, count(e.step)));
    }

    fn step(&mut self, e: &StepEvent) {
        for (task, loss) in &e.losses {
            self.losses.entry(task.clone()).or_default().add(*loss);
        }
        self.seconds.add(e.seconds);
        self.tokens.add(e.tokens as f64);
        if let Some(bar) = &self.bar {
            bar.set_position(e.step as u64);
            bar.set_message(one_line(&self.line(e)).into_owned());
        } else if self.detail == Detail::Tables && (e.elapsed - self.printed >= EVERY || e.step == self.steps)
        {
            self.printed = e.elapsed;
            output::line(format_args!("  {}", self.line(e)));
        }
    }

    fn line(&self, e: &StepEvent) -> String {
        let (seconds, tokens) = (self.seconds.value(), self.tokens.value());
        let left = Duration::from_secs_f64(seconds * (self.steps.saturating_sub(e.step)) as f64);
        let losses: Vec<String> = self
            .tasks
            .iter()
            .filter_map(|task| self.losses.get(task).map(|loss| format!("{task} {:.3}", loss.value())))
            .collect();
        format!(
            "epoch {}/{}  step {}/{}  {} tokens/s  left {}  mean loss {}{}",
            e.epoch,
            self.epochs,
            count(e.step),
            count(self.steps),
            count((tokens / seconds.max(1e-9)) as usize),
            duration(left),
            losses.join(", "),
            self.pruned.as_ref().map_or_else(String::new, |left| format!("  {left}"))
        )
    }

    /// The share that is left stands in the line of a step; when it is the last one, that is said.
    fn pruned(&mut self, e: &Pruned) {
        let part =
            |share: Option<f64>, what: &str| share.map(|share| format!("{} % of the {what}", points(share)));
        let parts = [part(e.heads, "heads"), part(e.ffn, "feed-forward columns")];
        let left = format!("{} left", parts.into_iter().flatten().collect::<Vec<_>>().join(", "));
        if e.complete {
            self.say(&format!("  pruned after step {}: {left}", count(e.step)));
        }
        self.pruned = (!e.complete).then_some(left);
    }

    fn evaluated(&mut self, e: &Evaluated) {
        let best = if e.best { ", the best so far" } else { "" };
        let mut table = Table::new(&["task", "metric", "score", "change", "loss"]);
        let mut line = Vec::new();
        for task in &self.tasks {
            let (Some(scores), Some(primary)) = (e.scores.get(task), e.primary.get(task)) else { continue };
            let score = scores.get(primary).copied().unwrap_or(0.0);
            let before = self.scores.insert((e.split.clone(), task.clone()), score);
            let change = before.map(|b| change(score - b)).unwrap_or_default();
            let loss = e.losses.get(task).map(|l| format!("{l:.3}")).unwrap_or_default();
            line.push(format!("{task} {} {change}", points(score)).trim_end().to_string());
            table.row([task.clone(), primary.clone(), points(score), change, loss]);
        }
        let mean = points(e.mean);
        match self.detail {
            Detail::Warnings => {}
            Detail::Lines => self.say(&format!(
                "  epoch {:>2}/{}  {}: {}; mean {mean}{best}",
                e.epoch,
                self.epochs,
                e.split,
                line.join(", ")
            )),
            Detail::Tables => self.say(&format!(
                "\n  {} after step {} (epoch {}): {} rows in {:.1} s; weighted mean {mean}{best}\n\n{}",
                e.split,
                count(e.step),
                e.epoch,
                count(e.rows),
                e.seconds,
                table.render()
            )),
        }
    }

    fn finished(&mut self, e: &Finished) {
        self.clear();
        let time = Duration::from_secs_f64(e.elapsed);
        self.say(&format!(
            "  {} tokens in {}{}; the model of step {} lies in {}",
            count(e.tokens as usize),
            duration(time),
            memory::peak().map(|peak| format!(", at most {} of memory", bytes(peak))).unwrap_or_default(),
            count(e.result),
            e.model
        ));
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            _ if self.detail == Detail::Warnings => {}
            Some(bar) => bar.suspend(|| output::line(text)),
            None => output::line(text),
        }
    }

    fn warn(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::error(format_args!("warning: {text}"))),
            None => output::error(format_args!("warning: {text}")),
        }
    }
}

/// That some of `count` tasks are not evaluated in training, where there are any.
pub fn unevaluated(tasks: &[String], count: usize) -> Option<String> {
    match tasks.len() {
        0 => None,
        all if all == count => Some(
            "no task has a labelled validation row: nothing is evaluated in training, and the model of the last step is exported"
                .into(),
        ),
        _ => Some(format!(
            "without a labelled validation row: {}; the best checkpoint is chosen by the other tasks",
            tasks.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_are_not_evaluated_are_named() {
        let names = ["a".to_string(), "b".to_string()];
        assert_eq!(unevaluated(&[], 2), None);
        assert!(unevaluated(&names[..1], 2).is_some_and(|told| told.contains("row: a; the best checkpoint")));
        assert!(unevaluated(&names, 2).is_some_and(|told| told.contains("the last step is exported")));
    }
}
