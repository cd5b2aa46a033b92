//! The interface of every balancing method.

use crate::{BalanceError, CrossGramian, Gramian};

/// The statistics that a method needs in every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The task losses. One backward pass of the weighted sum serves trunk and heads.
    Losses,
    /// The losses and the Gramian of their gradients over the shared parameters. The weights are for the shared parameters
    /// alone: `direction = J^T w`; every head uses the unweighted gradient of its own task.
    Gramian,
    /// The losses; the gradients themselves have gone through [`Balancer::gradient_transform`]. The weights are for the shared
    /// parameters alone, as with `Gramian`.
    GradientTransform,
    /// The losses and the inner products between the gradients of one half of the step's rows and those of the other half,
    /// which are independent samples (double sampling). The weights are for the shared parameters alone, as with `Gramian`.
    IndependentHalves,
    /// The losses and, for each task, the inner product of its gradient with the gradient of the summed validation losses
    /// after a trial step: the shared parameters moved along the gradients with the weights of [`Balancer::trial`], without
    /// the optimizer's moments.
    Lookahead,
}

/// The statistics of one step. The order of the tasks is that of [`BalancerConfig::build`](crate::BalancerConfig::build).
#[derive(Clone, Copy, Debug, Default)]
pub struct StepStatistics<'a> {
    /// Each task's loss; `None` for a task that is absent from the step.
    pub losses: &'a [Option<f64>],
    /// The Gramian of all tasks, where the method [needs](Balancer::needs) it. The rows of absent tasks are not used.
    pub gramian: Option<&'a Gramian>,
    /// The inner products between the two halves of the rows, where the method needs them.
    pub cross_gramian: Option<&'a CrossGramian>,
    /// One inner product per task, where the method needs them; those of absent tasks are not used. A value that is not finite
    /// makes its task absent.
    pub lookahead: Option<&'a [f64]>,
}

/// Reads, and may change, the gradients of a step over the shared parameters, one chunk of parameters after the other.
pub trait GradientTransform {
    /// Whether the method keeps one value per task and parameter. The trainer owns these buffers: they are 0 at the start,
    /// passed in with every chunk, and saved in checkpoints.
    fn keeps_buffers(&self) -> bool;

    /// Transforms one chunk: of each task its gradient row and, where the method keeps them, its buffer, all of one length;
    /// `offset` is the index of the chunk's first parameter. Rows and buffers of absent tasks (loss `None` or not finite) stay
    /// unchanged.
    ///
    /// # Panics
    /// When there is not one loss, one row and, if they are kept, one buffer per task, or lengths differ.
    fn transform_chunk(
        &mut self,
        offset: u64,
        losses: &[Option<f64>],
        rows: &mut [&mut [f32]],
        buffers: &mut [&mut [f32]],
    );
}

/// A balancing method with its state.
pub trait Balancer: Send {
    /// What [`StepStatistics`] has to hold.
    fn needs(&self) -> Needs {
        Needs::Losses
    }

    /// The weights for this step, in the order of the tasks, each finite; the direction of the step is the gradient of the sum
    /// of `weight x loss`. Weights are at least 0 except where a method's documentation says otherwise. Each call updates the
    /// state of the method: call it once a step, or once a pack with gradient accumulation.
    ///
    /// `None` is a task that is absent from the step: its weight is 0 and its state does not change. A loss or gradient
    /// that is NaN or infinite is treated as absent, so that it cannot corrupt the state; leave such a task out of the
    /// sum (0 times NaN is NaN), or better, skip the step. For a method that needs the Gramian, tasks with a gradient of exactly
    /// 0 or an importance of 0 are absent as well: they do not take part in the balancing.
    ///
    /// # Panics
    /// When the step does not hold what the method needs, or not one entry per task.
    fn weights(&mut self, step: &StepStatistics<'_>) -> Vec<f64>;

    /// [`weights`](Balancer::weights) for a method that needs losses only.
    ///
    /// # Panics
    /// As `weights`; so for a method that needs more than losses.
    fn weights_from_losses(&mut self, losses: &[Option<f64>]) -> Vec<f64> {
        self.weights(&StepStatistics { losses, ..StepStatistics::default() })
    }

    /// The method's transform of the gradients themselves, where it has one: every chunk goes through it once in a step, before
    /// [`weights`](Balancer::weights) and before the Gramian is computed. Only a step whose gradients are all finite may go
    /// through it.
    fn gradient_transform(&mut self) -> Option<&mut dyn GradientTransform> {
        None
    }

    /// The weights of the trial step of [`Needs::Lookahead`]: those that the method gives before this step. Does not change the
    /// state.
    fn trial(&self, losses: &[Option<f64>]) -> Vec<f64> {
        losses.iter().map(|loss| f64::from(u8::from(loss.is_some()))).collect()
    }

    /// Marks the end of an epoch, for the methods that compare epochs.
    fn epoch_end(&mut self) {}

    /// The state of the method, with its name; every float survives JSON bit for bit.
    fn state(&self) -> serde_json::Value;

    /// Restores a value of [`state`](Balancer::state).
    ///
    /// # Errors
    /// When `state` is not a state of this method for these tasks; then nothing has changed.
    fn restore(&mut self, state: &serde_json::Value) -> Result<(), BalanceError>;
}
