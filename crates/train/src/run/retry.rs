//! A step, repeated as memory requires: where its packs exceed the limit, half as many tokens go through the trunk at once.

use super::Run;
use crate::{
    error::TrainError,
    optimizer::LearningRates,
    run::events::{self, Event},
    run::step::{self, StepContext, StepError, StepMetrics, StepPosition},
};
use burn::tensor::Tensor;
use data::Pack;

impl Run<'_, '_> {
    /// Does the step; later ones keep the chunk size that fitted. What a step learns does not depend on it, but for the order in which
    /// gradients are added up. `None` where the run was asked to stop between two packs: nothing has changed then.
    ///
    /// # Errors
    /// [`TrainError::OutOfMemory`] where a single sequence is too much.
    pub(super) fn step_with_retry(
        &mut self,
        packs: &[Pack],
        rates: &LearningRates,
        factor: f64,
    ) -> Result<Option<Result<StepMetrics, Vec<events::NonFiniteTask>>>, TrainError> {
        let below = self.below(packs)?;
        loop {
            match self.try_step(packs, below.clone(), rates, factor) {
                Ok(metrics) => return Ok(Some(Ok(metrics))),
                Err(StepError::NonFinite(tasks)) => return Ok(Some(Err(tasks))),
                Err(StepError::Stopped) => return Ok(None),
                Err(StepError::OutOfMemory) => self.reduce_chunk_size(packs)?,
            }
        }
    }

    fn try_step(
        &mut self,
        packs: &[Pack],
        below: Vec<Option<Tensor<2>>>,
        rates: &LearningRates,
        factor: f64,
    ) -> Result<StepMetrics, StepError> {
        let position = StepPosition {
            index: self.progress.step,
            progress: self.step_plan.progress(self.progress.schedule_step),
            chunk_tokens: self.progress.chunk_tokens,
        };
        let context = StepContext {
            settings: self.settings,
            balancer: self.balancer.as_mut(),
            buffers: &mut self.buffers,
            validation: self.validation.as_ref(),
            optimizer_state: &mut self.optimizer_state,
            rates,
            factor,
            pruning: self.pruning.as_mut(),
            memory_limit: self.hooks.memory_limit,
            stop: self.hooks.stop,
        };
        step::step(&mut self.job.model, &self.job.views, packs, below, position, context)
    }

    /// From now on half as many tokens go through the trunk at once as did now.
    fn reduce_chunk_size(&mut self, packs: &[Pack]) -> Result<(), TrainError> {
        let longest = packs.iter().flat_map(|pack| pack.sequences.windows(2).map(|s| s[1] - s[0])).max();
        let most = packs.iter().map(Pack::tokens).max().unwrap_or(0);
        let now = self.progress.chunk_tokens.map_or(most, |tokens| tokens.min(most));
        let (step, longest) = (self.progress.step + 1, longest.unwrap_or(0));
        if now <= longest {
            return Err(TrainError::OutOfMemory { step, tokens: longest });
        }
        let tokens = (now / 2).max(1);
        self.progress.chunk_tokens = Some(tokens);
        self.emit(Event::ChunkSizeReduced(events::ChunkSizeReduced { step: self.progress.step, tokens }));
        Ok(())
    }
}
