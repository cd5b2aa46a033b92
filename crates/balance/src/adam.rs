//! Adam for scalars, in f64 (Kingma and Ba 2015, algorithm 1): the optimizer of the learned values of balancing methods.

use crate::method_impl::State;
use serde::{Deserialize, Serialize};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// The largest absolute learned value, so that exponentials are finite.
pub(crate) const BOUND: f64 = 30.0;
/// The largest absolute gradient; larger ones are clamped, so that squares are finite.
const STEEPEST: f64 = 1e100;

/// The two moments of a scalar and the number of its steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Adam {
    mean: f64,
    square: f64,
    time: u64,
}

impl Adam {
    /// The update of the scalar for a gradient (finite, its square too).
    pub fn step(&mut self, gradient: f64, learning_rate: f64) -> f64 {
        self.time += 1;
        self.mean = BETA1 * self.mean + (1.0 - BETA1) * gradient;
        self.square = BETA2 * self.square + (1.0 - BETA2) * gradient * gradient;
        // The corrections differ from 1 by less than half a bit long before the exponent's range ends.
        let time = i32::try_from(self.time).unwrap_or(i32::MAX);
        let mean = self.mean / (1.0 - BETA1.powi(time));
        let square = self.square / (1.0 - BETA2.powi(time));
        -learning_rate * mean / (square.sqrt() + EPSILON)
    }

    /// Whether `step` can have reached this state.
    pub fn is_valid(&self) -> bool {
        self.mean.is_finite() && self.square.is_finite() && self.square >= 0.0
    }
}

/// A learned scalar of a task, starting at 0, and its optimizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdamScalar {
    pub value: f64,
    adam: Adam,
}

impl AdamScalar {
    /// One step against the gradient, however steep.
    pub fn descend(&mut self, gradient: f64, learning_rate: f64) {
        let step = self.adam.step(gradient.clamp(-STEEPEST, STEEPEST), learning_rate);
        self.value = (self.value + step).clamp(-BOUND, BOUND);
    }
}

impl State for Vec<AdamScalar> {
    fn initial(tasks: usize) -> Self {
        vec![AdamScalar::default(); tasks]
    }

    fn is_valid(&self, tasks: usize) -> bool {
        self.len() == tasks && self.iter().all(|l| l.value.abs() <= BOUND && l.adam.is_valid())
    }
}
