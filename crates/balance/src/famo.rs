//! FAMO: the weights that let all losses fall at the same relative rate, learned from how the losses change.
//!
//! Formula: `z = softmax(xi)`; minimise `c sum_i z_i ln(l_i + 1e-8)` with `c = 1 / sum_i z_i / (l_i + 1e-8)` taken as
//! constant, so `w_i = c z_i / (l_i + 1e-8)`: weights sum to 1. After the step, with `delta_i = ln l_i before - ln l_i after`,
//! xi moves against `(dz / dxi)^T delta`: tasks that fell least get more.
//!
//! The losses after the step are those of the next step, as in the authors' code on the toy problem; a second pass over
//! the same data is not needed. Only tasks present in both steps move.
//!
//! Defaults: `gamma = 0.001`, the decay of xi (paper, LibMTL, TorchJD), and `learning_rate = 0.025` of its Adam. The
//! authors also cut the shared gradient to norm 1: set the trainer's `clip_norm = 1`. A loss below 0 counts as 0.
//!
//! Importance multiplies the weights that are found; the paper has none.
//!
//! Cost: nothing. State: xi, two Adam moments and the last loss a task.
//!
//! When to use: many tasks, when K gradients a step are too dear: it approximates what gradient methods find. With small
//! packs the change from one step to the next is mostly noise; then lower the learning rate.
//!
//! Paper: Liu et al., "FAMO: fast adaptive multitask optimization", NeurIPS 2023 (arXiv:2306.03792).

use crate::adam::Learned;
use crate::gramian::dot;
use crate::rule::{Memory, Present, Rule};
use crate::softmax::softmax;
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps logarithms finite.
const EPSILON: f64 = 1e-8;

/// Weights learned from how the losses change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Famo {
    /// How strongly the logarithms of the weights are drawn back to 0.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub gamma: f64,
    /// How fast the logarithms of the weights move, about the change a step.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub learning_rate: f64,
}

impl Default for Famo {
    fn default() -> Self {
        Famo { gamma: 1e-3, learning_rate: 0.025 }
    }
}

/// What [`Famo`] keeps.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pace {
    xi: Vec<Learned>,
    /// The logarithms of the last step's losses; `None` for tasks that it did not have.
    last: Vec<Option<f64>>,
}

impl Memory for Pace {
    fn of_start(tasks: usize) -> Self {
        Pace { xi: Memory::of_start(tasks), last: vec![None; tasks] }
    }

    fn is_sound(&self, tasks: usize) -> bool {
        self.xi.is_sound(tasks)
            && self.last.len() == tasks
            && self.last.iter().flatten().all(|loss| loss.is_finite())
    }
}

impl Rule for Famo {
    const NAME: &'static str = "famo";
    type Memory = Pace;

    fn needs(&self) -> Needs {
        Needs::Losses
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("gamma", self.gamma, 0.0, 1.0)?;
        self.setting("learning_rate", self.learning_rate, 0.0, 1.0)
    }

    fn weigh(&self, pace: &mut Pace, present: &Present<'_>) -> Vec<f64> {
        let losses: Vec<f64> = present.losses.iter().map(|loss| loss.max(0.0) + EPSILON).collect();
        let in_both = |(&task, loss): (&usize, &f64)| Some((task, pace.last[task]? - loss.ln()));
        let (both, fallen): (Vec<usize>, Vec<f64>) =
            present.at.iter().zip(&losses).filter_map(in_both).unzip();
        let shares = softmax(&both.iter().map(|&task| pace.xi[task].value).collect::<Vec<_>>());
        let mean = dot(&shares, &fallen);
        for ((&task, share), fallen) in both.iter().zip(shares).zip(fallen) {
            let decay = self.gamma * pace.xi[task].value;
            pace.xi[task].descend(share * (fallen - mean) + decay, self.learning_rate);
        }
        // A task that is absent keeps its last loss: it is compared with its next one.
        present.at.iter().zip(&losses).for_each(|(&task, loss)| pace.last[task] = Some(loss.ln()));
        let shares = softmax(&present.at.iter().map(|&task| pace.xi[task].value).collect::<Vec<_>>());
        let slopes: Vec<f64> = shares.iter().zip(&losses).map(|(share, loss)| share / loss).collect();
        let sum: f64 = slopes.iter().sum();
        slopes.iter().map(|slope| slope / sum).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{close, fresh, losses_present};

    #[test]
    fn golden_values() {
        let famo = Famo { gamma: 0.0, ..Famo::default() };
        let mut pace = fresh(&famo, 2);
        let first = famo.weigh(&mut pace, &losses_present(&[1.0, 2.0], &[1.0; 2]));
        close(&first, &[2.0 / 3.0, 1.0 / 3.0]);
        // The objective: c (ln 1 + ln 2) / 2 with c = 4/3.
        let c = 1.0 / (0.5 / 1.0 + 0.5 / 2.0);
        assert!(
            (c * 0.5 * (1.0 + 1e-8f64).ln() + c * 0.5 * (2.0 + 1e-8f64).ln() - 0.46209812037329684).abs()
                < 1e-8
        );
        // Fallen by ln 2 and ln 4/3: gradients 0.101366 and -0.101366, so Adam's first step is 0.025 each way.
        let second = famo.weigh(&mut pace, &losses_present(&[0.5, 1.5], &[1.0; 2]));
        close(&[pace.xi[0].value, pace.xi[1].value], &[-0.025, 0.025]);
        let mean =
            serde_json::to_value(pace.xi[0]).expect("JSON")["adam"]["mean"].as_f64().expect("a number");
        assert!((mean - 0.1 * 0.101366).abs() < 1e-6, "{mean}");
        let z = softmax(&[-0.025, 0.025]);
        let slopes = [z[0] / 0.5, z[1] / 1.5];
        close(&second, &slopes.map(|s| s / (slopes[0] + slopes[1])));
    }
}
