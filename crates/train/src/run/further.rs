//! A run that is trained further: it goes on from its last checkpoint with more epochs, steps, tokens or minutes than it was planned
//! with, finished or interrupted.
//!
//! The rest is planned again, and no learning rate jumps ([`crate::loading::spread`]). The new plan is in every later checkpoint, so
//! that a further run that is interrupted goes on bit for bit.

use super::events::{Lengthened, ScheduleCourse};
use super::state::State;
use crate::{
    checkpoint,
    checkpoint::fingerprint::{self, Length},
    checkpoint::run_dir::RunDir,
    config::Settings,
    config::validate,
    error::TrainError,
    job::Job,
    loading::loader::DataLoader,
    loading::lookahead::{self, Position},
    loading::spread::Time,
    loading::step_plan::StepPlan,
};

/// The keys of `[train]` that say how long a run is, and may be raised in a run that is there already.
pub const LENGTH_KEYS: [&str; 4] =
    ["train.epochs", "train.max_steps", "train.max_tokens", "train.max_minutes"];

/// What [`run`](super::run) would say of the run in `dir` when it goes on with a greater length in its settings; `None` if the length
/// is that of its newest whole checkpoint, or there is none. Changes nothing.
///
/// # Errors
/// The settings differ in more than a greater length, or more of it does not make the run longer.
pub fn lengthened(job: &Job, settings: &Settings, dir: &RunDir) -> Result<Option<Lengthened>, TrainError> {
    validate::check(job, settings)?;
    let mut saved = checkpoint::list(dir)?;
    while let Some(step) = saved.pop() {
        let path = dir.checkpoint(step);
        let state = match checkpoint::open(&path) {
            Ok(checkpoint) => checkpoint.state,
            Err(TrainError::BrokenCheckpoint { .. }) => continue,
            Err(other) => return Err(other),
        };
        if fingerprint::compare(&path, &state.fingerprint, &fingerprint::of(job, settings))? == Length::Same {
            return Ok(None);
        }
        let mut loader = DataLoader::new(job, settings)?;
        if state.progress.phase >= loader.phases.len() {
            continue; // Broken, as the run will find.
        }
        check_samplers(&loader, settings, &state)?;
        loader.enter(state.progress.phase);
        loader.stream.restore(state.stream.clone())?;
        return plan(job, settings, &loader, &state).map(|(_, lengthened)| Some(lengthened));
    }
    Ok(None)
}

/// Refuses more epochs under a sampler whose shares follow from the number of epochs: they would change within the run.
pub(super) fn check_samplers(
    loader: &DataLoader,
    settings: &Settings,
    state: &State,
) -> Result<(), TrainError> {
    if fingerprint::with_length(settings, &state.fingerprint).train.epochs == settings.train.epochs {
        return Ok(());
    }
    let rest = loader.phases.iter().skip(state.progress.phase);
    let by_epochs = rest.map(|phase| &phase.sampling).find(|sampling| sampling.goes_by_epochs());
    by_epochs.map_or(Ok(()), |sampling| {
        let name = sampling.name();
        Err(not_longer(format!(
            "[sampling.{name}] draws by the number of epochs, which would change what it draws in the middle of the run; begin a new run"
        )))
    })
}

/// The plan of the run in a checkpoint with the greater length of its settings. The loader is where the run is.
pub(super) fn plan(
    job: &Job,
    settings: &Settings,
    loader: &DataLoader,
    state: &State,
) -> Result<(StepPlan, Lengthened), TrainError> {
    let (train, progress) = (&settings.train, &state.progress);
    if progress.evaluations.out_of_patience(train) {
        let since = progress.evaluations.since;
        let reason = format!(
            "it was stopped early, after {since} evaluations without a better one; a new run with a greater \
             train.early_stopping.patience goes on for longer"
        );
        return Err(not_longer(reason));
    }
    let tasks = job.model.tasks.iter().zip(&loader.phase().trained);
    let mut open =
        tasks.filter(|(task, trained)| **trained && !progress.usage.stopped.contains_key(&task.name));
    if loader.phase_number() + 1 >= loader.phases.len() && open.next().is_none() {
        return Err(not_longer(
            "all of its tasks are done, by their budgets or their early stopping; a new run with greater ones goes on for longer".into(),
        ));
    }
    let earlier = fingerprint::with_length(settings, &state.fingerprint);
    let before = match &progress.step_plan {
        Some(plan) => plan.clone(),
        None => lookahead::plan(job, &DataLoader::new(job, &earlier)?, &earlier.train, &mut |_| ()),
    };
    let step = progress.schedule_step;
    let time = Time::new(progress.elapsed, earlier.train.max_minutes);
    let at = Position { index: step, tokens: progress.tokens, usage: &progress.usage };
    let plan = lookahead::plan_longer(job, loader, settings, (&before, time), &at);
    let has_time = train.max_minutes.is_none_or(|minutes| progress.elapsed < 60.0 * minutes);
    let is_longer = plan.total() > before.total() || train.max_minutes != earlier.train.max_minutes;
    if !has_time || plan.total() <= step || !is_longer {
        return Err(not_longer(format!(
            "it has done {} steps in {:.1} minutes, and would end after step {} as before: what is reached first of {} ends it{}",
            progress.step,
            progress.elapsed / 60.0,
            plan.total(),
            limits(settings),
            if settings.phases.is_empty() { "" } else { ", and a [[phase]] has its own epochs or steps" }
        )));
    }
    let course = match plan.spread() {
        Some(spread) if spread.goes_on => ScheduleCourse::GoesOn,
        Some(spread) if spread.from == step && spread.restarted && spread.position == 0.0 => {
            ScheduleCourse::Restarted
        }
        _ => ScheduleCourse::Spread,
    };
    let lengthened = Lengthened {
        step: progress.step,
        before: before.total(),
        steps: plan.total(),
        schedule: settings.schedule_name().into(),
        course,
        factor: plan.factor(settings, step, Time::new(progress.elapsed, train.max_minutes)),
    };
    Ok((plan, lengthened))
}

/// The limits of a run's length, as the config has them.
fn limits(settings: &Settings) -> String {
    let train = &settings.train;
    let limits = [
        Some(format!("train.epochs = {}", train.epochs)),
        train.max_steps.map(|max| format!("train.max_steps = {max}")),
        train.max_tokens.map(|max| format!("train.max_tokens = {max}")),
        train.max_minutes.map(|max| format!("train.max_minutes = {max}")),
    ];
    limits.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn not_longer(reason: String) -> TrainError {
    TrainError::NotLonger { reason }
}
