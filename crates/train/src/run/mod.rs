//! A run from its first step, or from a checkpoint, to its result.

mod affinity;
pub(crate) mod best;
pub(crate) mod best_heads;
pub(crate) mod events;
mod finish;
pub(crate) mod further;
mod learning_rates;
mod phases;
mod prune;
mod resume;
mod retry;
pub(crate) mod state;
pub(crate) mod step;
pub(crate) mod task_usage;

use crate::{
    checkpoint,
    checkpoint::durable,
    checkpoint::fingerprint,
    checkpoint::run_dir::RunDir,
    config::Settings,
    config::validate,
    error::TrainError,
    forward::evaluate::{Evaluation, evaluate},
    gradients::buffers::Buffers,
    job::Job,
    job::frozen_cache::FrozenStates,
    loading::loader::DataLoader,
    loading::lookahead,
    loading::spread::Time,
    loading::step_plan::StepPlan,
    optimizer::{LearningRates, OptimizerState},
    pruning::{self, GradualPruning},
    run::best::{Criterion, EvaluationRecord, ScoreTable},
    run::best_heads::BestHeads,
    run::events::Event,
    run::state::RunProgress,
    run::step::LookaheadBatch,
};
use balance::{Balancer, Needs};
use burn::tensor::Tensor;
use data::{Pack, PackStream, Split};
use kernels::MemoryLimit;
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
    /// It was complete before it was resumed, with the same result: nothing was done, and the job holds the weights of the last step.
    AlreadyFinished {
        /// Steps done.
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

/// The hooks of the program around a run.
pub struct RunHooks<'a> {
    /// Set it, and the run finishes its step, or of a step of several packs its pack, saves a checkpoint and returns.
    pub stop: &'a AtomicBool,
    /// The time since some fixed moment; only differences are used, and only in events.
    pub clock: &'a dyn Fn() -> Duration,
    /// What bounds the memory: a step that would exceed it goes through the trunk in smaller chunks. `None`: no bound.
    pub memory_limit: Option<&'a Arc<dyn MemoryLimit>>,
    /// Is called with every event.
    pub emit: &'a mut dyn FnMut(&Event),
}

/// Trains `job` to its end and exports it to `model/`; on return the job holds the exported weights, unless it was
/// interrupted. When it goes on from a checkpoint, `metrics.jsonl` is cut back to it first.
///
/// # Errors
/// Settings out of range, a task without labels, a directory that holds another run, no usable checkpoint, too many
/// steps in a row without a finite loss, or files that cannot be written.
pub fn run(
    job: &mut Job,
    settings: &Settings,
    dir: &RunDir,
    start: Start,
    hooks: RunHooks<'_>,
) -> Result<Outcome, TrainError> {
    validate::check(job, settings)?;
    durable::make_dir(dir.root())?;
    let mut run = Run::new(job, settings, dir, hooks)?;
    if run.begin(start)? {
        return Ok(Outcome::AlreadyFinished { step: run.progress.step, model: dir.model() });
    }
    run.go()
}

/// The steps that [`run`] would do.
///
/// # Errors
/// Settings out of range, or a job without labels.
pub fn step_plan(job: &Job, settings: &Settings) -> Result<StepPlan, TrainError> {
    validate::check(job, settings)?;
    Ok(lookahead::plan(job, &DataLoader::new(job, settings)?, &settings.train, &mut |_| ()))
}

/// The stream that [`run`] draws its rows from in each phase, at its beginning.
///
/// # Errors
/// As [`step_plan`].
pub fn streams(job: &Job, settings: &Settings) -> Result<Vec<PackStream>, TrainError> {
    validate::check(job, settings)?;
    let loader = DataLoader::new(job, settings)?;
    Ok((0..loader.phases.len()).map(|phase| loader.stream_of(phase).clone()).collect())
}

struct Run<'a, 'h> {
    job: &'a mut Job,
    settings: &'a Settings,
    dir: &'a RunDir,
    hooks: RunHooks<'h>,
    loader: DataLoader,
    step_plan: StepPlan,
    criterion: Option<Criterion>,
    rates: LearningRates,
    fingerprint: BTreeMap<String, Value>,
    balancer: Box<dyn Balancer>,
    buffers: Buffers,
    /// The heads of tasks with early stopping of their own, at their best.
    best_heads: BestHeads,
    /// `[parameters]` those that the model trains outside phases that freeze layers.
    trainable: Vec<bool>,
    /// What the balancer looks ahead at, where it needs that.
    validation: Option<LookaheadBatch>,
    optimizer_state: OptimizerState,
    /// The pruning of the model, where it is pruned.
    pruning: Option<GradualPruning>,
    progress: RunProgress,
    /// The states out of the frozen layers, where they are cached.
    frozen: Option<FrozenStates>,
    /// What is to be said of a run that is trained further than was planned.
    lengthened: Option<events::Lengthened>,
    /// The step of the checkpoint that was saved or restored last.
    saved_at: Option<usize>,
    /// The time of the hooks' clock when this part of the run began, and the seconds of the parts before it.
    began: Duration,
    elapsed_before: f64,
}

impl<'a, 'h> Run<'a, 'h> {
    fn new(
        job: &'a mut Job,
        settings: &'a Settings,
        dir: &'a RunDir,
        hooks: RunHooks<'h>,
    ) -> Result<Self, TrainError> {
        let loader = DataLoader::new(job, settings)?;
        let tasks = job.model.tasks.iter().map(|t| (t.name.clone(), t.training.head_learning_rate));
        let balancer = validate::balancer(job, settings)?;
        let pruning = settings.pruning.as_ref();
        pruning.map_or(Ok(()), |config| pruning::check::can_be_saved(job, config))?;
        let (trunk, parameters) = (&job.model.trunk, &job.model.parameters);
        let pruning = pruning.map(|config| GradualPruning::new(config, trunk, parameters));
        let looks_ahead = balancer.needs() == Needs::Lookahead;
        Ok(Run {
            step_plan: lookahead::plan(job, &loader, &settings.train, &mut |_| ()),
            best_heads: BestHeads::default(),
            trainable: job.model.parameters.iter().map(|p| p.trainable).collect(),
            criterion: validate::criterion(job, settings)?,
            rates: settings.rates(tasks),
            fingerprint: fingerprint::of(job, settings),
            validation: looks_ahead
                .then(|| LookaheadBatch::of(job, settings.train.tokens_per_batch))
                .flatten(),
            balancer,
            buffers: Buffers::default(),
            pruning,
            optimizer_state: OptimizerState::new(job.model.parameters.len()),
            progress: RunProgress::default(),
            frozen: None,
            lengthened: None,
            saved_at: None,
            began: (hooks.clock)(),
            elapsed_before: 0.0,
            loader,
            job,
            settings,
            dir,
            hooks,
        })
    }

    /// The loop: what is due, then the next step.
    fn go(&mut self) -> Result<Outcome, TrainError> {
        loop {
            if self.hooks.stop.load(Ordering::Relaxed) {
                return self.interrupt();
            }
            if self.progress.evaluation_due {
                self.evaluate()?;
            } else if self.progress.checkpoint_due {
                self.save()?;
            } else if self.is_done() {
                if !self.prune_the_rest() && !self.end_is_due() {
                    return self.finish();
                }
            } else if self.step_plan.phase(self.progress.schedule_step) != self.loader.phase_number() {
                self.advance_phase();
            } else if self.settings.cache_frozen && self.frozen.is_none() {
                self.cache_frozen_states()?;
            } else {
                self.step()?;
            }
        }
    }

    fn is_done(&self) -> bool {
        let train = &self.settings.train;
        self.progress.schedule_step >= self.step_plan.total()
            || self.progress.evaluations.out_of_patience(train)
            || train.max_tokens.is_some_and(|max| self.progress.tokens >= max as u64)
            || self.time_used() >= 1.0
            || self.nothing_is_trained()
    }

    /// Makes the evaluation and the checkpoint of the last step due where they are missing, as after a run that ends by the clock.
    fn end_is_due(&mut self) -> bool {
        let step = self.progress.step;
        let evaluated = self.progress.evaluations.latest.as_ref().map(|latest| latest.step) == Some(step);
        self.progress.evaluation_due = self.criterion.is_some() && !evaluated;
        self.progress.checkpoint_due = self.saved_at != Some(step);
        self.progress.evaluation_due || self.progress.checkpoint_due
    }

    /// How much of its time the run has used, where that is bounded.
    fn time_used(&self) -> f64 {
        self.settings.train.max_minutes.map_or(0.0, |minutes| self.progress.elapsed / (60.0 * minutes))
    }

    /// The factor of the schedule: at the run's step in its plan, or by the time that it has used where that is more.
    fn factor(&self) -> f64 {
        let time = Time::new(self.progress.elapsed, self.settings.train.max_minutes);
        self.step_plan.factor(self.settings, self.progress.schedule_step, time)
    }

    fn step(&mut self) -> Result<(), TrainError> {
        if self.affinity_is_due() && !self.measure_affinity()? {
            return Ok(()); // Asked to stop: it is measured when the run goes on.
        }
        let began = (self.hooks.clock)();
        let index = self.progress.step;
        let stream = self.loader.stream.state();
        let packs = self.loader.packs(self.job, self.settings.train.gradient_accumulation_steps, index);
        if packs.is_empty() || self.loader.stream.epoch() >= self.loader.phase().epochs {
            if self.progress.usage.stopped.is_empty() {
                return Err(TrainError::NothingToTrain);
            }
            // An adaptive sampler drew nothing to the end of the last epoch that the tasks are trained on that are left.
            self.end_phase();
            self.progress.evaluation_due = self.criterion.is_some()
                && self.progress.evaluations.latest.as_ref().is_none_or(|e| e.step < index);
            self.progress.checkpoint_due = true;
            return Ok(());
        }
        let factor = self.factor();
        let (rates, head_factors) = self.rates();
        let Some(outcome) = self.step_with_retry(&packs, &rates, factor)? else {
            // The step is not done: its rows are drawn again when the run goes on.
            self.loader.stream.restore(stream)?;
            return Ok(());
        };
        let step = index + 1;
        let epoch = self.step_plan.epoch(self.progress.schedule_step) + 1;
        self.progress.step = step;
        match outcome {
            Ok(metrics) => {
                let tokens = packs.iter().map(|p| p.tokens()).sum::<usize>();
                self.progress.nonfinite_in_a_row = 0;
                self.update_loss_progress(&metrics);
                self.progress.tokens += tokens as u64;
                self.tick();
                let seconds = self.since(began);
                self.account_step(&packs, &metrics, seconds);
                self.emit(Event::Step(events::StepEvent {
                    step,
                    epoch,
                    losses: metrics.losses,
                    weights: metrics.weights,
                    num_targets: metrics.num_targets,
                    learning_rate: rates.trunk * factor,
                    head_factors,
                    gradient_norm: metrics.gradient_norm,
                    task_gradients: metrics.task_gradients,
                    rows: packs.iter().map(|p| p.len()).sum(),
                    tokens,
                    seconds,
                    elapsed: self.progress.elapsed,
                }));
                self.end_by_budget();
                self.advance_schedule();
                self.prune();
                Ok(())
            }
            Err(tasks) => {
                self.advance_schedule();
                self.nonfinite_step(step, epoch, tasks)
            }
        }
    }

    /// Goes to the next step of the plan; what is due there is due.
    fn advance_schedule(&mut self) {
        let at_end = self.epoch_is_over();
        let schedule_step = self.step_plan.after(self.progress.schedule_step, at_end);
        if self.step_plan.ends_epoch(schedule_step) {
            self.balancer.epoch_end();
        }
        let step = self.progress.step;
        self.progress.schedule_step = schedule_step;
        self.progress.evaluation_due =
            self.criterion.is_some() && self.step_plan.evaluates(&self.settings.train, step, schedule_step);
        self.progress.checkpoint_due = self.step_plan.saves(&self.settings.train, step, schedule_step);
    }

    /// The states out of the frozen layers, per pack, where they are cached.
    fn below(&mut self, packs: &[Pack]) -> Result<Vec<Option<Tensor<2>>>, TrainError> {
        let device = self.job.model.device();
        let mut of = |pack: &Pack| self.frozen.as_mut().map(|frozen| frozen.of(pack, device)).transpose();
        packs.iter().map(&mut of).collect()
    }

    /// Computes the states of the training rows out of the frozen layers, or opens those that were computed before.
    fn cache_frozen_states(&mut self) -> Result<(), TrainError> {
        let began = (self.hooks.clock)();
        let (model, views) = (&self.job.model, &self.job.views.train);
        let (path, tokens) = (self.dir.frozen_states(), self.settings.train.tokens_per_batch);
        let Some(frozen) = FrozenStates::prepare(&path, model, views, tokens, self.hooks.stop)? else {
            return Ok(()); // Asked to stop.
        };
        let (computed, bytes) = (frozen.computed, frozen.bytes());
        self.frozen = Some(frozen);
        if let Some(rows) = computed {
            let (step, seconds) = (self.progress.step, self.since(began));
            let layers = self.job.model.trunk.middle_layers().start;
            let event = events::FrozenStatesCached { step, layers, rows, bytes, seconds };
            self.emit(Event::FrozenStatesCached(event));
        }
        self.tick();
        Ok(())
    }

    fn nonfinite_step(
        &mut self,
        step: usize,
        epoch: usize,
        tasks: Vec<events::NonFiniteTask>,
    ) -> Result<(), TrainError> {
        self.progress.nonfinite_in_a_row += 1;
        self.tick();
        let in_a_row = self.progress.nonfinite_in_a_row;
        let event = events::NonFiniteStep { step, epoch, tasks: tasks.clone(), in_a_row };
        self.emit(Event::NonFiniteStep(event));
        if in_a_row >= self.settings.train.max_nonfinite_steps {
            return Err(TrainError::NonFiniteSteps { step, in_a_row, tasks });
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<(), TrainError> {
        let began = (self.hooks.clock)();
        let Some(evaluation) = self.evaluation() else {
            return Ok(()); // Asked to stop: it is still due.
        };
        let step = self.progress.step;
        let tasks = evaluation.nonfinite();
        if !tasks.is_empty() {
            // A weight that is no number itself is named.
            checkpoint::check_weights(&self.job.model.parameters, step)?;
            return Err(TrainError::NonFiniteScores { step, tasks });
        }
        let criterion = self.criterion.clone().unwrap_or(Criterion::Mean);
        let value = criterion.value(&evaluation).filter(|v| v.is_finite());
        let value = value.ok_or_else(|| TrainError::NoValue { step, criterion: criterion.to_string() })?;
        let scores = table(&evaluation);
        let record = EvaluationRecord { step, value, scores: scores.clone() };
        let unfinished = self.is_being_pruned();
        let best = match unfinished {
            true => {
                self.progress.evaluations.record_unfinished(record);
                false
            }
            false => self.progress.evaluations.record(record),
        };
        self.progress.evaluation_due = false;
        self.progress.checkpoint_due |= best;
        self.tick();
        let schedule_step = self.progress.schedule_step;
        self.emit(Event::Evaluated(events::Evaluated {
            step,
            epoch: self.step_plan.epoch(schedule_step.saturating_sub(1)) + 1,
            split: Split::Validation.to_string(),
            scores,
            primary: evaluation.tasks.iter().map(|t| (t.task.clone(), t.scores.primary.clone())).collect(),
            losses: evaluation.tasks.iter().filter_map(|t| Some((t.task.clone(), t.loss?))).collect(),
            mean: evaluation.mean.unwrap_or(0.0),
            value,
            best,
            rows: evaluation.rows,
            seconds: self.since(began),
            elapsed: self.progress.elapsed,
        }));
        if !unfinished {
            self.reduce_lr_on_plateau(value, &evaluation);
        }
        self.apply_evaluation(&evaluation);
        if self.progress.evaluations.out_of_patience(&self.settings.train) {
            let history = &self.progress.evaluations;
            let best = history.best.as_ref().map_or(0, |b| b.step);
            let evaluations = history.since;
            self.progress.checkpoint_due = true;
            self.emit(Event::StoppedEarly(events::StoppedEarly { step, best, evaluations }));
        }
        Ok(())
    }

    /// The scores of the validation split under the weights that would be exported; `None` when asked to stop.
    fn evaluation(&mut self) -> Option<Evaluation> {
        let steps_are_made_at = self.swap_averaged();
        let Job { model, views } = &*self.job;
        let views = views.of(Split::Validation);
        let evaluation = evaluate(model, Split::Validation, views, self.evaluation_tokens(), self.hooks.stop);
        if let Some(parameters) = steps_are_made_at {
            self.job.model.parameters = parameters;
        }
        evaluation
    }

    /// How many tokens run at once outside of steps: no more than fitted into memory in one.
    fn evaluation_tokens(&self) -> usize {
        let tokens = self.settings.train.tokens_per_batch;
        self.progress.chunk_tokens.map_or(tokens, |chunk| chunk.min(tokens))
    }

    /// Gives the model the weights that are evaluated and saved; returns those that steps are made at, if they are others.
    fn swap_averaged(&mut self) -> Option<Parameters> {
        let parameters = &mut self.job.model.parameters;
        let averaged = self.settings.optimizer.averaged(parameters, &self.optimizer_state)?;
        Some(std::mem::replace(parameters, averaged))
    }

    fn emit(&mut self, event: Event) {
        (self.hooks.emit)(&event);
    }

    fn since(&self, moment: Duration) -> f64 {
        (self.hooks.clock)().saturating_sub(moment).as_secs_f64()
    }

    fn tick(&mut self) {
        self.progress.elapsed = self.elapsed_before + self.since(self.began);
    }
}

fn table(evaluation: &Evaluation) -> ScoreTable {
    let finite = |values: &[(String, f64)]| values.iter().filter(|(_, v)| v.is_finite()).cloned().collect();
    evaluation.tasks.iter().map(|t| (t.task.clone(), finite(&t.scores.values))).collect()
}
