//! FAMO: weights that let all losses decrease at the same relative rate, learned from the change of the losses.
//!
//! Formula: `z = softmax(xi)`; minimise `c sum_i z_i ln(l_i + 1e-8)`, where `c = 1 / sum_i z_i / (l_i + 1e-8)` is
//! treated as a constant, so `w_i = c z_i / (l_i + 1e-8)` and weights sum to 1. After the step, with
//! `delta_i = ln l_i before - ln l_i after`, xi is updated by gradient descent with `(dz / dxi)^T delta`: tasks whose
//! loss decreased least get a higher weight.
//!
//! The losses after the step are those of the next step, as in the authors' code for the toy problem, so no second pass
//! over the same data is needed. Only tasks with labels in both steps are updated.
//!
//! Defaults: `gamma = 0.001`, the weight decay of xi (paper, LibMTL, TorchJD), and `learning_rate = 0.025` of its Adam.
//! The authors also clip the shared gradient to norm 1: set `train.max_grad_norm = 1`. A loss below 0 counts as 0.
//!
//! Importance multiplies the weights; the paper has none.
//!
//! Cost: none. State: xi, two Adam moments and the last loss per task.
//!
//! When to use: many tasks, when K gradients per step are too expensive: it approximates gradient methods. With small
//! batches the change from one step to the next is mostly noise; then lower the learning rate.
//!
//! Paper: Liu et al., "FAMO: fast adaptive multitask optimization", NeurIPS 2023 (arXiv:2306.03792).

use crate::adam::AdamScalar;
use crate::gramian::dot;
use crate::method_impl::{ActiveTasks, MethodImpl, State};
use crate::softmax::softmax;
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps logarithms finite.
const EPSILON: f64 = 1e-8;

/// Weights learned from the change of the losses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Famo {
    /// Weight decay of the logarithms of the weights.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub gamma: f64,
    /// Learning rate of the logarithms of the weights, about their change per step.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub learning_rate: f64,
}

impl Default for Famo {
    fn default() -> Self {
        Famo { gamma: 1e-3, learning_rate: 0.025 }
    }
}

/// The state of [`Famo`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FamoState {
    xi: Vec<AdamScalar>,
    /// The logarithms of each task's last loss; `None` before its first step.
    last: Vec<Option<f64>>,
}

impl State for FamoState {
    fn initial(tasks: usize) -> Self {
        FamoState { xi: State::initial(tasks), last: vec![None; tasks] }
    }

    fn is_valid(&self, tasks: usize) -> bool {
        self.xi.is_valid(tasks)
            && self.last.len() == tasks
            && self.last.iter().flatten().all(|loss| loss.is_finite())
    }
}

impl MethodImpl for Famo {
    const NAME: &'static str = "famo";
    type State = FamoState;

    fn needs(&self) -> Needs {
        Needs::Losses
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("gamma", self.gamma, 0.0, 1.0)?;
        self.setting("learning_rate", self.learning_rate, 0.0, 1.0)
    }

    fn weights(&self, state: &mut FamoState, active: &ActiveTasks<'_>) -> Vec<f64> {
        let losses: Vec<f64> = active.losses.iter().map(|loss| loss.max(0.0) + EPSILON).collect();
        let in_both = |(&task, loss): (&usize, &f64)| Some((task, state.last[task]? - loss.ln()));
        let (both, fallen): (Vec<usize>, Vec<f64>) =
            active.indices.iter().zip(&losses).filter_map(in_both).unzip();
        let shares = softmax(&both.iter().map(|&task| state.xi[task].value).collect::<Vec<_>>());
        let mean = dot(&shares, &fallen);
        for ((&task, share), fallen) in both.iter().zip(shares).zip(fallen) {
            let decay = self.gamma * state.xi[task].value;
            state.xi[task].descend(share * (fallen - mean) + decay, self.learning_rate);
        }
        // A task that is absent keeps its last loss: it is compared with its next one.
        active.indices.iter().zip(&losses).for_each(|(&task, loss)| state.last[task] = Some(loss.ln()));
        let shares = softmax(&active.indices.iter().map(|&task| state.xi[task].value).collect::<Vec<_>>());
        let slopes: Vec<f64> = shares.iter().zip(&losses).map(|(share, loss)| share / loss).collect();
        let sum: f64 = slopes.iter().sum();
        slopes.iter().map(|slope| slope / sum).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{active_with_losses, close, initial};

    #[test]
    fn golden_values() {
        let famo = Famo { gamma: 0.0, ..Famo::default() };
        let mut state = initial(&famo, 2);
        let first = famo.weights(&mut state, &active_with_losses(&[1.0, 2.0], &[1.0; 2]));
        close(&first, &[2.0 / 3.0, 1.0 / 3.0]);
        // The objective: c (ln 1 + ln 2) / 2 with c = 4/3.
        let c = 1.0 / (0.5 / 1.0 + 0.5 / 2.0);
        assert!(
            (c * 0.5 * (1.0 + 1e-8f64).ln() + c * 0.5 * (2.0 + 1e-8f64).ln() - 0.46209812037329684).abs()
                < 1e-8
        );
        // Fallen by ln 2 and ln 4/3: gradients 0.101366 and -0.101366, so Adam's first step is 0.025 each way.
        let second = famo.weights(&mut state, &active_with_losses(&[0.5, 1.5], &[1.0; 2]));
        close(&[state.xi[0].value, state.xi[1].value], &[-0.025, 0.025]);
        let mean =
            serde_json::to_value(state.xi[0]).expect("JSON")["adam"]["mean"].as_f64().expect("a number");
        assert!((mean - 0.1 * 0.101366).abs() < 1e-6, "{mean}");
        let z = softmax(&[-0.025, 0.025]);
        let slopes = [z[0] / 0.5, z[1] / 1.5];
        close(&second, &slopes.map(|s| s / (slopes[0] + slopes[1])));
    }
}
