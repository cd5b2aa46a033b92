//! What comparing the gradients of the tasks takes in memory, before anything is trained.

use crate::{config::Settings, error::TrainError, job::Job, scope::Scope, setup};
use balance::Needs;
use model::Parameter;

/// The gradients that a balancing method keeps beside those that every step has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// How many there are at a time.
    pub gradients: usize,
    /// Numbers of each at most; of token vectors only those of tokens that occur are kept.
    pub numbers: usize,
    /// Over what they are.
    pub scope: Scope,
    /// Numbers that the method keeps from step to step.
    pub kept: usize,
}

impl Comparison {
    /// Of the balancer of a job; `None` for one that looks at losses only.
    ///
    /// # Errors
    /// When its settings do not fit, or it does not go with the job.
    pub fn of(job: &Job, settings: &Settings) -> Result<Option<Comparison>, TrainError> {
        let mut balancer = setup::balancer(job, settings)?;
        let (needs, buffers) = (balancer.needs(), balancer.rows().map(|rows| rows.keeps_buffers()));
        if needs == Needs::Losses {
            return Ok(None);
        }
        let (tasks, scope) = (job.model.tasks.len(), settings.train.gradient_scope);
        let size = |wanted: &dyn Fn(&Parameter) -> bool| {
            let trained = job.model.parameters.iter().filter(|p| p.trainable && p.is_shared());
            trained.filter(|p| wanted(p)).map(Parameter::size).sum::<usize>()
        };
        let last = job.model.backbone.last_layer();
        let states = settings.train.tokens_per_step * settings.train.accumulate * job.model.backbone.hidden();
        let numbers = match scope {
            Scope::AllShared => size(&|_| true),
            Scope::LastLayer => {
                states + size(&|p| last.iter().any(|prefix| p.name.starts_with(prefix.as_str())))
            }
            Scope::Representation => states,
        };
        let gradients = match needs {
            Needs::TwoHalves => 2 * tasks,
            // The trial step and the gradient of the validation rows.
            Needs::Lookahead => tasks + 2,
            Needs::Losses | Needs::Gramian | Needs::Rows => tasks,
        };
        let kept = if buffers == Some(true) { tasks * numbers } else { 0 };
        Ok(Some(Comparison { gradients, numbers, scope, kept }))
    }
}
