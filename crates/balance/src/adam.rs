//! Adam for one number, in f64 (Kingma and Ba 2015, algorithm 1): the optimizer of what balancing methods learn.

use crate::rule::Memory;
use serde::{Deserialize, Serialize};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Learned numbers stay within this of 0, so that their exponentials are finite.
pub(crate) const BOUND: f64 = 30.0;
/// Gradients are cut to within this of 0, so that their squares are finite.
const STEEPEST: f64 = 1e100;

/// The two moments of one learned number and how often it has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Adam {
    mean: f64,
    square: f64,
    time: u64,
}

impl Adam {
    /// What to add to the number, given its gradient (finite, its square too).
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

    /// Whether this is a state that `step` can reach.
    pub fn is_sound(&self) -> bool {
        self.mean.is_finite() && self.square.is_finite() && self.square >= 0.0
    }
}

/// A number a task that a method learns, from 0 on, and its optimizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Learned {
    pub value: f64,
    adam: Adam,
}

impl Learned {
    /// One step against the gradient, however steep.
    pub fn descend(&mut self, gradient: f64, learning_rate: f64) {
        let step = self.adam.step(gradient.clamp(-STEEPEST, STEEPEST), learning_rate);
        self.value = (self.value + step).clamp(-BOUND, BOUND);
    }
}

impl Memory for Vec<Learned> {
    fn of_start(tasks: usize) -> Self {
        vec![Learned::default(); tasks]
    }

    fn is_sound(&self, tasks: usize) -> bool {
        self.len() == tasks && self.iter().all(|l| l.value.abs() <= BOUND && l.adam.is_sound())
    }
}
