//! When a run measures how its tasks agree, and what becomes of it (`[train] affinity_steps`).

use super::Run;
use crate::{
    error::TrainError,
    run::events::{Affinity, Event},
    run::step::{AffinityContext, StepError, StepPosition, measure_affinity, release_autograd_graph},
};

impl Run<'_, '_> {
    /// Whether the tasks are measured before the next step: after every so many.
    pub(super) fn affinity_is_due(&self) -> bool {
        let (every, done) = (self.settings.train.affinity_steps, self.progress.step);
        done > 0 && every.is_some_and(|every| done.is_multiple_of(every))
    }

    /// Measures how the tasks agree, and emits it; false where the run was asked to stop meanwhile. Where memory has no space for
    /// it, fewer tokens go through the trunk at once, here alone: the steps of the run keep their chunks, and so their bits.
    pub(super) fn measure_affinity(&mut self) -> Result<bool, TrainError> {
        let began = (self.hooks.clock)();
        let mut chunk_tokens = self.evaluation_tokens();
        let (rates, _) = self.rates();
        let found = loop {
            let context = AffinityContext {
                settings: self.settings,
                optimizer_state: &self.optimizer_state,
                rates: &rates,
                factor: self.factor(),
                position: StepPosition {
                    index: self.progress.step,
                    progress: self.step_plan.progress(self.progress.schedule_step),
                    chunk_tokens: Some(chunk_tokens),
                },
                memory_limit: self.hooks.memory_limit,
                stop: self.hooks.stop,
            };
            match measure_affinity(&self.job.model, &self.job.views, &context) {
                Ok(found) => break found,
                Err(StepError::Stopped) => {
                    release_autograd_graph(&mut self.job.model.parameters);
                    return Ok(false);
                }
                Err(_) => release_autograd_graph(&mut self.job.model.parameters),
            }
            chunk_tokens /= 2;
            if chunk_tokens == 0 {
                break Affinity {
                    unmeasured: Some("memory has no space for it".into()),
                    ..Affinity::default()
                };
            }
        };
        self.tick();
        let (step, seconds) = (self.progress.step, self.since(began));
        self.emit(Event::Affinity(Affinity { step, seconds, ..found }));
        Ok(true)
    }
}
