//! Balancing: K task losses, or the Gramian of their gradients, in; K weights out. No tensors, no input or output; usable by
//! itself.
//!
//! In each step the trainer gives a [`Balancer`] the statistics that it [`Needs`] as a [`StepStatistics`], gets a weight for each
//! task, and follows the gradient of the weighted sum of the losses. The state of a method is a value ([`Balancer::state`]) that
//! a checkpoint saves; a restored method continues bit for bit.
//!
//! ```
//! use polytask_balance::{BalancerConfig, Uncertainty};
//!
//! let method = BalancerConfig::Uncertainty(Uncertainty::default());
//! let mut balancer = method.build(&["intent", "slots", "polarity"], &[1.0, 1.0, 1.0])?;
//! // `polarity` has no labels in this step: its weight is 0 and its state does not change.
//! let weights = balancer.weights_from_losses(&[Some(1.2), Some(3.4), None]);
//! assert_eq!(weights, [0.5, 0.5, 0.0]);
//! // In later steps `slots`, whose loss is further above 1, gets a lower weight.
//! let weights = balancer.weights_from_losses(&[Some(1.2), Some(3.4), None]);
//! assert!(weights[1] < 0.5);
//! # Ok::<(), polytask_balance::BalanceError>(())
//! ```
//!
//! Gradient methods need only the K x K inner products of the task gradients:
//!
//! ```
//! use polytask_balance::{BalancerConfig, Gramian, StepStatistics, UpGrad};
//!
//! let method = BalancerConfig::UpGrad(UpGrad::default());
//! let mut balancer = method.build(&["intent", "slots"], &[1.0, 1.0])?;
//! let gradients: [&[f32]; 2] = [&[-4.0, 1.0, 1.0], &[6.0, 1.0, 1.0]];
//! let gramian = Gramian::of_rows(&gradients);
//! let losses = [Some(1.2), Some(3.4)];
//! let step = StepStatistics { losses: &losses, gramian: Some(&gramian), ..StepStatistics::default() };
//! let weights = balancer.weights(&step);
//! // The gradients conflict; the direction conflicts with neither.
//! let direction: Vec<f64> =
//!     (0..3).map(|k| (0..2).map(|i| weights[i] * f64::from(gradients[i][k])).sum()).collect();
//! assert!((direction[0] - 0.2924).abs() < 1e-4 && (direction[1] - 1.9006).abs() < 1e-4);
//! # Ok::<(), polytask_balance::BalanceError>(())
//! ```
//!
//! A few methods transform the gradients themselves, chunk by chunk ([`Balancer::gradient_transform`], [`GradientTransform`]), or
//! need two independent halves of a step's rows or a validation gradient ([`Needs`]).
//!
//! `examples/alone.rs` balances a small least-squares problem without a training framework.
//!
//! # How to add a method
//! A file in `methods/` whose leading lines document it and whose settings are a `MethodImpl`; `mod`, `pub use` and a line of the
//! macro in `methods/mod.rs`; a peer or a reason in `tests/it/peers.rs`. `tests/it/conformance.rs` covers every line of the macro; add
//! a row there to test other settings.

mod adam;
mod balancer;
mod cross_gramian;
mod error;
mod gramian;
mod method_impl;
mod methods;
mod random;
mod softmax;
mod solve;
#[cfg(test)]
mod test_fixtures;

pub use balancer::{Balancer, GradientTransform, Needs, StepStatistics};
pub use cross_gramian::CrossGramian;
pub use error::BalanceError;
pub use gramian::Gramian;
pub use methods::*;

/// The largest importance, or weight of `static`, that is accepted: beyond it weighted losses would leave f32's range.
pub const LARGEST_WEIGHT: f64 = 1e9;
