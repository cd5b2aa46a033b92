//! What a run writes to the disk: checkpoints on the way, the model at its end.

use super::{Outcome, Run};
use crate::{
    checkpoint,
    checkpoint::durable,
    config::CheckpointChoice,
    error::TrainError,
    forward::evaluate::calibrate,
    pruning::GradualPruning,
    run::best::{EvaluationRecord, ScoreTable},
    run::events::{self, Event},
    run::state::State,
};
use std::{collections::BTreeMap, path::Path};

impl Run<'_, '_> {
    pub(super) fn save(&mut self) -> Result<(), TrainError> {
        let began = (self.hooks.clock)();
        self.tick();
        self.progress.checkpoint_due = false;
        let step = self.progress.step;
        let state = State {
            progress: self.progress.clone(),
            stream: self.loader.stream.state(),
            balancer: self.balancer.state(),
            pruning: self.pruning.as_ref().map(GradualPruning::state),
            updates: BTreeMap::new(),
            fingerprint: self.fingerprint.clone(),
        };
        let kept = (&self.buffers, &self.best_heads);
        checkpoint::save(self.dir, &self.job.model.parameters, &self.optimizer_state, kept, state)?;
        self.saved_at = Some(step);
        let best = self.progress.evaluations.best.as_ref().map(|b| b.step);
        checkpoint::prune(self.dir, self.settings.train.save_total_limit, best)?;
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
        let (steps, path) = (self.step_plan.total(), checkpoint.display().to_string());
        self.emit(Event::Interrupted(events::Interrupted { step, steps, checkpoint: path }));
        Ok(Outcome::Interrupted { step, checkpoint })
    }

    /// The best evaluation, where its weights are the result, and not the last ones.
    pub(super) fn best_to_export(&self) -> Option<&EvaluationRecord> {
        match self.settings.train.export {
            CheckpointChoice::Best => self.progress.evaluations.best.as_ref(),
            CheckpointChoice::Last => None,
        }
    }

    /// Exports the model.
    pub(super) fn finish(&mut self) -> Result<Outcome, TrainError> {
        let last = self.progress.step;
        if self.progress.usage_reported != Some(last) {
            self.report_usage();
        }
        self.leave_phases();
        let evaluations = &self.progress.evaluations;
        let chosen = self.best_to_export();
        let step = chosen.map_or(last, |b| b.step);
        let record = chosen.or(evaluations.latest.as_ref().filter(|l| l.step == step));
        let scores = record.map(|record| record.scores.clone()).unwrap_or_default();
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
        let tokens = self.evaluation_tokens();
        calibrate(&mut self.job.model, &self.job.views.validation, tokens);
        let model = self.dir.model();
        self.export(&model, step, scores)?;
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

    /// Saves the model; of one that was pruned, what is left.
    fn export(&self, dir: &Path, step: usize, scores: ScoreTable) -> Result<(), TrainError> {
        let model = &self.job.model;
        match &self.pruning {
            Some(pruning) => model.cut(&pruning.keep(), dir, model.device())?.save(dir, step, scores),
            None => model.save(dir, step, scores),
        }
    }
}
