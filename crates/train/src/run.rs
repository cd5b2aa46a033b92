//! A run from its first step, or from a checkpoint, to its result.

mod allot;
mod attempt;
mod rates;
mod resume;
mod save;

use crate::{
    best::{Criterion, Judged, ScoreTable},
    best_heads::BestHeads,
    buffers::Buffers,
    config::Settings,
    durable,
    error::TrainError,
    evaluate::{Evaluation, evaluate},
    events::{self, Event},
    feed::Feed,
    fingerprint,
    frozen::FrozenStates,
    job::Job,
    optimizer::{Moments, Rates},
    run_dir::RunDir,
    setup,
    state::Progress,
    step::Validation,
    timetable::Timetable,
};
use balance::{Balancer, Needs};
use burn::tensor::Tensor;
use data::{Pack, Split, Stream};
use kernels::Room;
use model::Parameters;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Where a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first step, in a directory without checkpoints.
    Fresh,
    /// At the newest checkpoint that is whole, or at the first step where there is none at all.
    Resume,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is complete.
    Finished {
        /// The step whose weights are the result.
        step: usize,
        /// The directory of the result.
        model: PathBuf,
    },
    /// It was asked to stop.
    Interrupted {
        /// Steps done.
        step: usize,
        /// The checkpoint that holds its state.
        checkpoint: PathBuf,
    },
}

/// What a run gets from the program around it.
pub struct Host<'a> {
    /// Set it, and the run finishes its step, saves a checkpoint and returns.
    pub stop: &'a AtomicBool,
    /// The time since some fixed moment; only differences are used, and only in events.
    pub clock: &'a dyn Fn() -> Duration,
    /// Who knows how much memory is left: where there is no room for a step, it goes through the trunk in halves. `None` where
    /// nobody knows.
    pub room: Option<&'a Arc<dyn Room>>,
    /// Is told of everything that happens.
    pub emit: &'a mut dyn FnMut(&Event),
}

/// Trains `job` to its end and writes the result to `model/`; on return the job holds the result's weights, unless it was
/// interrupted. When it goes on from a checkpoint, `metrics.jsonl` is cut back to it first.
///
/// # Errors
/// Settings out of range, a task without labels, a directory that holds another run, no usable checkpoint, too many bad
/// steps in a row, or files that cannot be written.
pub fn run(
    job: &mut Job,
    settings: &Settings,
    dir: &RunDir,
    start: Start,
    host: Host<'_>,
) -> Result<Outcome, TrainError> {
    setup::check(job, settings)?;
    durable::make_dir(dir.root())?;
    let mut run = Run::new(job, settings, dir, host)?;
    run.begin(start)?;
    run.go()
}

/// The steps that [`run`] would do.
///
/// # Errors
/// Settings out of range, or a job without labels.
pub fn timetable(job: &Job, settings: &Settings) -> Result<Timetable, TrainError> {
    setup::check(job, settings)?;
    Ok(Timetable::of(&Feed::new(job, settings)?, &settings.train, &mut |_| ()))
}

/// The stream that [`run`] draws its rows from in each phase, at its beginning.
///
/// # Errors
/// As [`timetable`].
pub fn streams(job: &Job, settings: &Settings) -> Result<Vec<Stream>, TrainError> {
    setup::check(job, settings)?;
    let feed = Feed::new(job, settings)?;
    Ok((0..feed.phases.len()).map(|phase| feed.stream_of(phase).clone()).collect())
}

struct Run<'a, 'h> {
    job: &'a mut Job,
    settings: &'a Settings,
    dir: &'a RunDir,
    host: Host<'h>,
    feed: Feed,
    timetable: Timetable,
    criterion: Option<Criterion>,
    rates: Rates,
    fingerprint: BTreeMap<String, Value>,
    balancer: Box<dyn Balancer>,
    buffers: Buffers,
    /// The heads of tasks with early stopping of their own, at their best.
    best_heads: BestHeads,
    /// `[parameters]` those that the model trains outside phases that freeze layers.
    trainable: Vec<bool>,
    /// What the balancer looks ahead at, where it needs that.
    validation: Option<Validation>,
    moments: Moments,
    progress: Progress,
    /// What the frozen part of the backbone says, where that is kept.
    frozen: Option<FrozenStates>,
    /// The step of the checkpoint that was saved or taken up last.
    saved_at: Option<usize>,
    /// The time on the host's clock when this part of the run began, and the seconds of the parts before it.
    began: Duration,
    elapsed_before: f64,
}

impl<'a, 'h> Run<'a, 'h> {
    fn new(
        job: &'a mut Job,
        settings: &'a Settings,
        dir: &'a RunDir,
        host: Host<'h>,
    ) -> Result<Self, TrainError> {
        let feed = Feed::new(job, settings)?;
        let tasks = job.model.tasks.iter().map(|t| (t.name.clone(), t.config.learning_rate));
        let balancer = setup::balancer(job, settings)?;
        let looks_ahead = balancer.needs() == Needs::Lookahead;
        Ok(Run {
            timetable: Timetable::of(&feed, &settings.train, &mut |_| ()),
            best_heads: BestHeads::default(),
            trainable: job.model.parameters.iter().map(|p| p.trainable).collect(),
            criterion: setup::criterion(job, settings)?,
            rates: settings.optimizer.rates(tasks),
            fingerprint: fingerprint::of(job, settings),
            validation: looks_ahead.then(|| Validation::of(job, settings.train.tokens_per_step)).flatten(),
            balancer,
            buffers: Buffers::default(),
            moments: Moments::new(job.model.parameters.len()),
            progress: Progress::default(),
            frozen: None,
            saved_at: None,
            began: (host.clock)(),
            elapsed_before: 0.0,
            feed,
            job,
            settings,
            dir,
            host,
        })
    }

    /// The loop: what is due, then the next step.
    fn go(&mut self) -> Result<Outcome, TrainError> {
        loop {
            if self.host.stop.load(Ordering::Relaxed) {
                return self.interrupt();
            }
            if self.progress.evaluation_due {
                self.evaluate()?;
            } else if self.progress.checkpoint_due {
                self.save()?;
            } else if self.is_done() {
                return self.finish();
            } else if self.timetable.phase(self.progress.place) != self.feed.phase_number() {
                self.next_phase();
            } else if self.settings.cache_frozen && self.frozen.is_none() {
                self.cache()?;
            } else {
                self.step()?;
            }
        }
    }

    fn is_done(&self) -> bool {
        let train = &self.settings.train;
        self.progress.place >= self.timetable.total()
            || self.progress.standing.exhausted(train)
            || train.max_tokens.is_some_and(|most| self.progress.tokens >= most as u64)
            || self.time_used() >= 1.0
            || self.nothing_learns()
    }

    /// How much of its time the run has used, where that is bounded.
    fn time_used(&self) -> f64 {
        self.settings.train.max_minutes.map_or(0.0, |minutes| self.progress.elapsed / (60.0 * minutes))
    }

    /// The factor of the schedule: at the run's place in its timetable, or by the time that it has used where that is more.
    fn factor(&self) -> f64 {
        let total = self.timetable.total();
        let by_time = (self.time_used().min(1.0) * total as f64) as usize;
        self.settings.factor(self.progress.place.max(by_time), total)
    }

    fn step(&mut self) -> Result<(), TrainError> {
        let began = (self.host.clock)();
        let index = self.progress.step;
        let packs = self.feed.packs(self.job, self.settings.train.accumulate, index);
        if packs.is_empty() {
            return Err(TrainError::NothingToTrain);
        }
        let factor = self.factor();
        let (rates, head_factors) = self.rates();
        let moved = self.attempt(&packs, &rates, factor)?;
        let step = index + 1;
        let epoch = self.timetable.epoch(self.progress.place) + 1;
        let place = self.timetable.after(self.progress.place, self.feed.stream.at_end());
        if self.timetable.ends_epoch(place) {
            self.balancer.epoch_end();
        }
        self.progress.step = step;
        self.progress.place = place;
        self.progress.evaluation_due =
            self.criterion.is_some() && self.timetable.evaluates(&self.settings.train, step, place);
        self.progress.checkpoint_due = self.timetable.saves(&self.settings.train, step, place);
        match moved {
            Ok(measured) => {
                let tokens = packs.iter().map(|p| p.tokens()).sum::<usize>();
                self.progress.bad_in_a_row = 0;
                self.follow_progress(&measured);
                self.progress.tokens += tokens as u64;
                self.tick();
                let seconds = self.since(began);
                self.allot(&packs, &measured, seconds);
                self.emit(Event::Step(events::Step {
                    step,
                    epoch,
                    losses: measured.losses,
                    weights: measured.weights,
                    items: measured.items,
                    learning_rate: rates.trunk * factor,
                    head_factors,
                    gradient_norm: measured.gradient_norm,
                    task_gradients: measured.task_gradients,
                    rows: packs.iter().map(|p| p.len()).sum(),
                    tokens,
                    seconds,
                    elapsed: self.progress.elapsed,
                }));
                self.end_by_budget();
                Ok(())
            }
            Err(faults) => self.bad_step(step, epoch, faults),
        }
    }

    /// The states below the trained part of the backbone, per pack, where they are kept.
    fn below(&mut self, packs: &[Pack]) -> Result<Vec<Option<Tensor<2>>>, TrainError> {
        let device = self.job.model.device();
        let mut of = |pack: &Pack| self.frozen.as_mut().map(|frozen| frozen.of(pack, device)).transpose();
        packs.iter().map(&mut of).collect()
    }

    /// Computes what the frozen part of the backbone says of the training rows, or opens what was computed before.
    fn cache(&mut self) -> Result<(), TrainError> {
        let began = (self.host.clock)();
        let (model, views) = (&self.job.model, &self.job.views.train);
        let (path, tokens) = (self.dir.frozen_states(), self.settings.train.tokens_per_step);
        let Some(frozen) = FrozenStates::prepare(&path, model, views, tokens, self.host.stop)? else {
            return Ok(()); // Asked to stop.
        };
        let (computed, bytes) = (frozen.computed, frozen.bytes());
        self.frozen = Some(frozen);
        if let Some(rows) = computed {
            let (step, seconds) = (self.progress.step, self.since(began));
            let layers = self.job.model.backbone.frozen().unwrap_or(0);
            self.emit(Event::Cached(events::Cached { step, layers, rows, bytes, seconds }));
        }
        self.tick();
        Ok(())
    }

    fn bad_step(
        &mut self,
        step: usize,
        epoch: usize,
        faults: Vec<events::BadTask>,
    ) -> Result<(), TrainError> {
        self.progress.bad_in_a_row += 1;
        self.tick();
        let in_a_row = self.progress.bad_in_a_row;
        self.emit(Event::BadStep(events::BadStep { step, epoch, faults: faults.clone(), in_a_row }));
        if in_a_row >= self.settings.train.bad_steps {
            return Err(TrainError::BadSteps { step, in_a_row, faults });
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<(), TrainError> {
        let began = (self.host.clock)();
        let Some(evaluation) = self.evaluation() else {
            return Ok(()); // Asked to stop: it is still due.
        };
        let step = self.progress.step;
        let criterion = self.criterion.clone().unwrap_or(Criterion::Mean);
        let value = criterion.value(&evaluation).filter(|v| v.is_finite());
        let value = value.ok_or_else(|| TrainError::NoValue { step, criterion: criterion.to_string() })?;
        let scores = table(&evaluation);
        let best = self.progress.standing.judge(Judged { step, value, scores: scores.clone() });
        self.progress.evaluation_due = false;
        self.progress.checkpoint_due |= best;
        self.tick();
        let place = self.progress.place;
        self.emit(Event::Evaluated(events::Evaluated {
            step,
            epoch: self.timetable.epoch(place.saturating_sub(1)) + 1,
            split: Split::Validation.to_string(),
            scores,
            main: evaluation.tasks.iter().map(|t| (t.task.clone(), t.scores.main.clone())).collect(),
            losses: evaluation.tasks.iter().filter_map(|t| Some((t.task.clone(), t.loss?))).collect(),
            mean: evaluation.mean.unwrap_or(0.0),
            value,
            best,
            rows: evaluation.rows,
            seconds: self.since(began),
            elapsed: self.progress.elapsed,
        }));
        self.let_rates_fall(value, &evaluation);
        self.learn_from(&evaluation);
        if self.progress.standing.exhausted(&self.settings.train) {
            let standing = &self.progress.standing;
            let best = standing.best.as_ref().map_or(0, |b| b.step);
            let evaluations = standing.since;
            self.progress.checkpoint_due = true;
            self.emit(Event::StoppedEarly(events::StoppedEarly { step, best, evaluations }));
        }
        Ok(())
    }

    /// The scores of the validation split under the weights that would be the result; `None` when asked to stop.
    fn evaluation(&mut self) -> Option<Evaluation> {
        let steps_are_made_at = self.swap_averaged();
        let Job { model, views } = &*self.job;
        let views = views.of(Split::Validation);
        let evaluation = evaluate(model, Split::Validation, views, self.tokens_at_once(), self.host.stop);
        if let Some(parameters) = steps_are_made_at {
            self.job.model.parameters = parameters;
        }
        evaluation
    }

    /// How many tokens run at once outside of steps: no more than there was room for in one.
    fn tokens_at_once(&self) -> usize {
        let tokens = self.settings.train.tokens_per_step;
        self.progress.at_once.map_or(tokens, |most| most.min(tokens))
    }

    /// Gives the model the weights that are evaluated and saved; returns those that steps are made at, if they are others.
    fn swap_averaged(&mut self) -> Option<Parameters> {
        let parameters = &mut self.job.model.parameters;
        let averaged = self.settings.optimizer.averaged(parameters, &self.moments)?;
        Some(std::mem::replace(parameters, averaged))
    }

    fn emit(&mut self, event: Event) {
        (self.host.emit)(&event);
    }

    fn since(&self, moment: Duration) -> f64 {
        (self.host.clock)().saturating_sub(moment).as_secs_f64()
    }

    fn tick(&mut self) {
        self.progress.elapsed = self.elapsed_before + self.since(self.began);
    }
}

fn table(evaluation: &Evaluation) -> ScoreTable {
    let finite = |values: &[(String, f64)]| values.iter().filter(|(_, v)| v.is_finite()).cloned().collect();
    evaluation.tasks.iter().map(|t| (t.task.clone(), finite(&t.scores.values))).collect()
}
