//! What every balancing method can do.

use crate::{BalanceError, Gramian, Halves};

/// What a method looks at in every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The task losses. One backward pass of the weighted sum serves trunk and heads.
    Losses,
    /// The losses and the Gramian of their gradients over the shared parameters. The weights are for the shared parameters
    /// alone: `direction = J^T w`; every head takes its own task's gradient as it is.
    Gramian,
    /// The losses; the gradients themselves have gone through [`Balancer::rows`]. The weights are for the shared parameters
    /// alone, as with `Gramian`.
    Rows,
    /// The losses and the inner products between the gradients of one half of the step's rows and those of the other half,
    /// which are independent of each other. The weights are for the shared parameters alone, as with `Gramian`.
    TwoHalves,
    /// The losses and, for each task, the inner product of its gradient with the gradient of the summed validation losses
    /// after a trial step: the shared parameters moved along the gradients with the weights of [`Balancer::trial`], without
    /// the optimizer's moments.
    Lookahead,
}

/// What a method is told about one step. The order of the tasks is that of [`Balancing::build`](crate::Balancing::build).
#[derive(Clone, Copy, Debug, Default)]
pub struct Step<'a> {
    /// Each task's loss; `None` for a task that is absent from the step.
    pub losses: &'a [Option<f64>],
    /// The Gramian of all tasks, where the method [needs](Balancer::needs) it. The rows of absent tasks are not looked at.
    pub gramian: Option<&'a Gramian>,
    /// Between the two halves of the rows, where the method needs it.
    pub halves: Option<&'a Halves>,
    /// One inner product a task, where the method needs them; those of absent tasks are not looked at. A number that is not
    /// finite makes its task absent.
    pub lookahead: Option<&'a [f64]>,
}

/// Sees, and may change, the gradients of a step over the shared parameters, one chunk of parameters after the other.
pub trait Rows {
    /// Whether the method keeps a number a task and parameter. These buffers are the trainer's: 0 at the start, handed in
    /// with every chunk, saved in checkpoints.
    fn keeps_buffers(&self) -> bool;

    /// One chunk: of each task its row and, where the method keeps them, its buffer, all of one length; `first` is the place
    /// of its first parameter among all. Rows and buffers of absent tasks (loss `None` or not finite) stay as they are.
    ///
    /// # Panics
    /// When there is not one loss, one row and, if they are kept, one buffer a task, or lengths differ.
    fn pass(
        &mut self,
        first: u64,
        losses: &[Option<f64>],
        rows: &mut [&mut [f32]],
        buffers: &mut [&mut [f32]],
    );
}

/// A balancing method at work.
pub trait Balancer: Send {
    /// What [`Step`] has to hold.
    fn needs(&self) -> Needs {
        Needs::Losses
    }

    /// The weights for this step, in the order of the tasks, each finite; the direction to go is the gradient of the sum
    /// of `weight x loss`. Weights are at least 0 except where a method's documentation says otherwise. Each call moves
    /// the methods that have state: once a step, or once a pack where a step accumulates several.
    ///
    /// `None` is a task that is absent from the step: its weight is 0 and its state does not move. A loss or gradient
    /// that is NaN or infinite is treated as absent, so that it cannot poison the state; leave such a task out of the
    /// sum (0 times NaN is NaN), and better, skip the step. To a method that needs the Gramian, a gradient of exactly 0
    /// and an importance of 0 are absent as well: there is nothing to balance about them.
    ///
    /// # Panics
    /// When the step does not hold what the method needs, or not one entry a task.
    fn weigh(&mut self, step: &Step<'_>) -> Vec<f64>;

    /// [`weigh`](Balancer::weigh) for a method to which losses are enough.
    ///
    /// # Panics
    /// As `weigh`; so for a method that needs more than losses.
    fn weights(&mut self, losses: &[Option<f64>]) -> Vec<f64> {
        self.weigh(&Step { losses, ..Step::default() })
    }

    /// The method's way to see and change the gradients themselves, where it has one: every chunk goes through it once in a
    /// step, before [`weigh`](Balancer::weigh) and before the Gramian is formed. Only a step whose gradients are all finite
    /// may go through.
    fn rows(&mut self) -> Option<&mut dyn Rows> {
        None
    }

    /// The weights of the trial step that [`Needs::Lookahead`] is about: those that the method would give before it has seen
    /// this step. Moves nothing.
    fn trial(&self, losses: &[Option<f64>]) -> Vec<f64> {
        losses.iter().map(|loss| f64::from(u8::from(loss.is_some()))).collect()
    }

    /// Says that an epoch is over, to the methods that compare epochs.
    fn epoch_end(&mut self) {}

    /// What the method has learned so far, with the name of the method; every float survives JSON bit for bit.
    fn state(&self) -> serde_json::Value;

    /// Takes up where [`state`](Balancer::state) was called.
    ///
    /// # Errors
    /// When `state` is not one that this method made for these tasks; then nothing has changed.
    fn restore(&mut self, state: &serde_json::Value) -> Result<(), BalanceError>;
}
