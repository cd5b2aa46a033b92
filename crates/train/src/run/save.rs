//! What a run leaves on the disk: checkpoints on the way, the model at its end.

use super::{Outcome, Run};
use crate::{
    checkpoint,
    config::Pick,
    durable,
    error::TrainError,
    evaluate::tune,
    events::{self, Event},
    state::State,
};
use std::collections::BTreeMap;

impl Run<'_, '_> {
    pub(super) fn save(&mut self) -> Result<(), TrainError> {
        let began = (self.host.clock)();
        self.tick();
        self.progress.checkpoint_due = false;
        let step = self.progress.step;
        let state = State {
            progress: self.progress.clone(),
            stream: self.feed.stream.state(),
            balancer: self.balancer.state(),
            updates: BTreeMap::new(),
            fingerprint: self.fingerprint.clone(),
        };
        let kept = (&self.buffers, &self.best_heads);
        checkpoint::save(self.dir, &self.job.model.parameters, &self.moments, kept, state)?;
        self.saved_at = Some(step);
        let best = self.progress.standing.best.as_ref().map(|b| b.step);
        checkpoint::prune(self.dir, self.settings.train.keep, best)?;
        let path = self.dir.checkpoint(step).display().to_string();
        self.emit(Event::Saved(events::Saved { step, path, seconds: self.since(began) }));
        Ok(())
    }

    pub(super) fn interrupt(&mut self) -> Result<Outcome, TrainError> {
        let step = self.progress.step;
        if self.saved_at != Some(step) || self.progress.checkpoint_due {
            self.save()?;
        }
        let checkpoint = self.dir.checkpoint(step);
        let (steps, path) = (self.timetable.total(), checkpoint.display().to_string());
        self.emit(Event::Interrupted(events::Interrupted { step, steps, checkpoint: path }));
        Ok(Outcome::Interrupted { step, checkpoint })
    }

    /// Writes the result.
    pub(super) fn finish(&mut self) -> Result<Outcome, TrainError> {
        let last = self.progress.step;
        if self.progress.allotment_told != Some(last) {
            self.tell_allotment();
        }
        self.leave_phases();
        let standing = &self.progress.standing;
        let chosen = match self.settings.train.result {
            Pick::Best => standing.best.as_ref(),
            Pick::Last => None,
        };
        let step = chosen.map_or(last, |b| b.step);
        let judged = chosen.or(standing.latest.as_ref().filter(|l| l.step == step));
        let scores = judged.map(|j| j.scores.clone()).unwrap_or_default();
        if step != last {
            let hint = |error| match error {
                TrainError::BrokenCheckpoint { path, reason } => TrainError::LostBest { path, reason },
                other => other,
            };
            let path = self.dir.checkpoint(step);
            let (parameters, optimizer) = (&mut self.job.model.parameters, &self.settings.optimizer);
            checkpoint::restore_result(&path, parameters, optimizer).map_err(hint)?;
        } else {
            self.swap_averaged();
        }
        self.frozen = None;
        durable::remove_file(&self.dir.frozen_states())?;
        let tokens = self.tokens_at_once();
        tune(&mut self.job.model, &self.job.views.validation, tokens);
        let model = self.dir.model();
        self.job.model.save(&model, step, scores)?;
        self.tick();
        self.emit(Event::Finished(events::Finished {
            step: last,
            result: step,
            model: model.display().to_string(),
            tokens: self.progress.tokens,
            elapsed: self.progress.elapsed,
        }));
        Ok(Outcome::Finished { step, model })
    }
}
