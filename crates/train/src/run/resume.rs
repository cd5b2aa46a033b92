//! Where a run begins: at its first step, or at the newest checkpoint that is whole.

use super::{Run, Start};
use crate::{
    checkpoint,
    checkpoint::fingerprint::{self, Length},
    checkpoint::history::{self, Resumption},
    config::validate,
    error::TrainError,
    run::events::{self, Event},
    run::further,
};

impl Run<'_, '_> {
    /// Restores a checkpoint where there is one to go on from. True if that is the end of a run whose result is written: nothing is
    /// left to do then.
    pub(super) fn begin(&mut self, start: Start) -> Result<bool, TrainError> {
        checkpoint::recover(self.dir)?;
        let saved = checkpoint::list(self.dir)?;
        if start == Start::Fresh && !saved.is_empty() {
            return Err(TrainError::Occupied { path: self.dir.checkpoints() });
        }
        let resumed = self.resume(saved)?;
        self.apply_phase();
        if resumed && self.is_complete()? {
            return Ok(true);
        }
        if start == Start::Resume {
            let lost = if resumed { 0 } else { self.steps_without_checkpoint()? };
            self.truncate_metrics(resumed)?;
            if lost > 0 {
                self.emit(Event::BeganAgain(events::BeganAgain { step: 0, lost }));
            }
        }
        let (trunk_parameters, head_parameters) = self.job.model.sizes();
        self.emit(Event::Started(events::Started {
            step: self.progress.step,
            resumed,
            steps: self.step_plan.total(),
            epochs: self.step_plan.epochs(),
            tasks: self.job.model.tasks.iter().map(|t| t.name.clone()).collect(),
            unevaluated_tasks: validate::unevaluated_tasks(self.job),
            trunk_parameters,
            head_parameters,
        }));
        if !resumed {
            self.emit_phase();
        }
        if let Some(lengthened) = self.lengthened.take() {
            self.emit(Event::Lengthened(lengthened));
        }
        Ok(false)
    }

    /// Whether the run has come to its end, and `model/` is the result that it would have now.
    fn is_complete(&self) -> Result<bool, TrainError> {
        let step = self.progress.step;
        let evaluated = self.progress.evaluations.latest.as_ref().is_some_and(|latest| latest.step == step);
        let is_due = self.progress.evaluation_due
            || self.progress.checkpoint_due
            || (self.criterion.is_some() && !evaluated);
        if is_due || !self.is_done() || !self.dir.model().join("polytask.json").is_file() {
            return Ok(false);
        }
        let result = self.best_to_export().map_or(step, |best| best.step);
        Ok(history::written(&self.dir.metrics())?.finished == Some((step, result)))
    }

    /// The steps of a run that was ended before its first checkpoint.
    ///
    /// # Errors
    /// It has had a checkpoint, which is gone: it must not begin at its first step as if nothing were.
    fn steps_without_checkpoint(&self) -> Result<usize, TrainError> {
        let written = history::written(&self.dir.metrics())?;
        let broken = checkpoint::quarantined(self.dir)?;
        let found = match (broken.is_empty(), written.saved) {
            (false, _) => format!("found {}", broken.join(", ")),
            (true, true) => format!("metrics.jsonl has {} steps and says that one was saved", written.steps),
            (true, false) => return Ok(written.steps),
        };
        Err(TrainError::CheckpointsLost { path: self.dir.checkpoints(), found, broken })
    }

    /// Cuts away the events that come again.
    fn truncate_metrics(&mut self, resumed: bool) -> Result<(), TrainError> {
        let (step, path) = (self.progress.step, self.dir.metrics());
        let from = Resumption {
            step,
            evaluation_due: self.progress.evaluation_due,
            usage_reported: self.progress.usage_reported == Some(step),
            phases_begun: if resumed { self.progress.phase + 1 } else { 0 },
            lengthened: self.lengthened.is_some(),
        };
        let lines = history::truncate(&path, from)?;
        if !lines.is_empty() {
            let path = path.display().to_string();
            self.emit(Event::DamagedMetrics(events::DamagedMetrics { step, path, lines }));
        }
        Ok(())
    }

    /// Restores the newest of the checkpoints that is whole; false where there are none.
    fn resume(&mut self, mut saved: Vec<usize>) -> Result<bool, TrainError> {
        let mut reason = None;
        while let Some(step) = saved.pop() {
            match self.restore(step) {
                Ok(()) => return Ok(true),
                Err(TrainError::BrokenCheckpoint { reason: found, .. }) => {
                    let moved_to = checkpoint::quarantine(self.dir, step)?;
                    let reason = reason.insert(found).clone();
                    self.emit(Event::BrokenCheckpoint(events::BrokenCheckpoint { step, reason, moved_to }));
                }
                Err(other) => return Err(other),
            }
        }
        match reason {
            Some(reason) => Err(TrainError::NoUsableCheckpoint { path: self.dir.checkpoints(), reason }),
            None => Ok(false),
        }
    }

    fn restore(&mut self, step: usize) -> Result<(), TrainError> {
        let path = self.dir.checkpoint(step);
        let checkpoint = checkpoint::open(&path)?;
        let state = &checkpoint.state;
        let length = fingerprint::compare(&path, &state.fingerprint, &self.fingerprint)?;
        if let Some(time) = state.progress.impossible_time() {
            let reason = format!("state.json has a time of {time} seconds");
            return Err(TrainError::broken(&path, reason));
        }
        if state.progress.phase >= self.loader.phases.len() {
            let reason =
                format!("phase {} of a run that has {}", state.progress.phase + 1, self.loader.phases.len());
            return Err(TrainError::broken(&path, reason));
        }
        if length == Length::Longer {
            further::check_samplers(&self.loader, self.settings, state)?;
        }
        self.loader.enter(state.progress.phase);
        self.loader.stream.restore(state.stream.clone()).map_err(|e| TrainError::broken(&path, e))?;
        self.balancer.restore(&state.balancer).map_err(|e| TrainError::broken(&path, e))?;
        let optimizer = (&self.settings.optimizer, &mut self.optimizer_state);
        let kept = (&mut self.buffers, &mut self.best_heads);
        checkpoint.restore(&path, &mut self.job.model.parameters, optimizer, kept)?;
        if let Some(pruning) = &mut self.pruning {
            let restored = pruning.restore(state.pruning.as_ref(), &self.job.model.trunk);
            restored.map_err(|reason| TrainError::broken(&path, reason))?;
        }
        self.progress = state.progress.clone();
        if let Some(plan) = &self.progress.step_plan {
            self.step_plan = plan.clone();
        }
        if length == Length::Longer {
            let (plan, lengthened) = further::plan(self.job, self.settings, &self.loader, state)?;
            self.step_plan = plan.clone();
            self.progress.step_plan = Some(plan);
            self.lengthened = Some(lengthened);
        }
        self.elapsed_before = state.progress.elapsed;
        self.saved_at = Some(step);
        Ok(())
    }
}
