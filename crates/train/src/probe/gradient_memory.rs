//! What comparing the gradients of the tasks takes in memory, before anything is trained.

use crate::{
    config::Settings, config::gradient_scope::GradientScope, config::validate, error::TrainError, job::Job,
};
use balance::Needs;

/// The gradients that a balancing method keeps beside those that every step has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GradientMemory {
    /// How many there are at a time.
    pub gradients: usize,
    /// Numbers of each at most; of token vectors only those of tokens that occur are kept.
    pub numbers: usize,
    /// Over what they are.
    pub scope: GradientScope,
    /// Numbers that the method keeps from step to step.
    pub kept: usize,
}

impl GradientMemory {
    /// Of the balancer of a job; `None` for one that looks at losses only.
    ///
    /// # Errors
    /// When its settings do not fit, or it does not go with the job.
    pub fn of(job: &Job, settings: &Settings) -> Result<Option<GradientMemory>, TrainError> {
        let mut balancer = validate::balancer(job, settings)?;
        let needs = balancer.needs();
        let buffers = balancer.gradient_transform().map(|transform| transform.keeps_buffers());
        if needs == Needs::Losses {
            return Ok(None);
        }
        let (tasks, scope) = (job.model.tasks.len(), settings.train.gradient_scope);
        let (trunk, parameters) = (&job.model.trunk, &job.model.parameters);
        let size = |wanted: &dyn Fn(usize) -> bool| {
            let counts = |index: &usize| {
                let parameter = parameters.parameter(*index);
                parameter.trainable && parameter.is_shared() && wanted(*index)
            };
            (0..parameters.len())
                .filter(counts)
                .map(|index| parameters.parameter(index).size())
                .sum::<usize>()
        };
        let tokens = settings.train.tokens_per_batch * settings.train.gradient_accumulation_steps;
        let states = tokens * trunk.hidden();
        let numbers = match scope {
            GradientScope::AllShared => size(&|_| true),
            GradientScope::LastLayer => states + size(&|index| trunk.is_in_last_layer(parameters, index)),
            GradientScope::Representation => states,
        };
        let gradients = match needs {
            Needs::IndependentHalves => 2 * tasks,
            // The trial step and the gradient of the validation rows.
            Needs::Lookahead => tasks + 2,
            Needs::Losses | Needs::Gramian | Needs::GradientTransform => tasks,
        };
        let kept = if buffers == Some(true) { tasks * numbers } else { 0 };
        Ok(Some(GradientMemory { gradients, numbers, scope, kept }))
    }
}
