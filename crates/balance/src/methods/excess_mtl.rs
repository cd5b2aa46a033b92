//! ExcessMTL: tasks with a high excess risk get a higher weight, tasks with noisy labels do not.
//!
//! Formula: `S_i <- S_i + g_i^2` for every parameter; the excess risk is `e_i = sum g_i^2 / sqrt(S_i + 1e-7)`. A task's
//! first one is stored and its weight starts at 1; every later one is divided by the first: `w <- w exp(eta e / e_1)`,
//! normalized so that weights sum to K over the tasks with labels in the step.
//!
//! Defaults: `eta = 0.01` and the sum K, LibMTL's (TorchJD: 1 and sum 1). In the first step all weights are equal, as in
//! LibMTL and the authors' code. TorchJD puts the undivided first excess into the weights, which on a network of any
//! size, where it is a sum over all parameters, gives one task nearly everything for the whole run. A first excess of 0,
//! of a head that starts at 0, is not stored: the first above 0 is.
//!
//! Importance multiplies the weights; the paper has none.
//!
//! Cost: the K task gradients, a pass over them, and K buffers as large as the shared parameters. State: w and the
//! first excess risk of each task, and the buffers.
//!
//! When to use: noisy labels: a task whose loss stays high because its labels are wrong has gradients that cancel over
//! the steps, and its weight does not grow.
//!
//! Paper: He et al., "Robust multi-task learning with excess risks", ICML 2024 (arXiv:2402.02009).

use crate::method_impl::{ActiveTasks, Chunk, GradientAccess, MethodImpl, State};
use crate::softmax::softmax;
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps the root above 0.
const EPSILON: f64 = 1e-7;
/// The largest distance of a logarithm of a weight from the largest one.
const FURTHEST: f64 = 60.0;
/// The largest ratio to the first excess risk; larger ones are clamped.
const LARGEST: f64 = 1e12;

/// Weights by the excess risk of each task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExcessMtl {
    /// Learning rate of the logarithms of the weights.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub eta: f64,
}

impl Default for ExcessMtl {
    fn default() -> Self {
        ExcessMtl { eta: 0.01 }
    }
}

/// The state of [`ExcessMtl`] beside the buffers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Excesses {
    /// The excess risks over the chunks of this step so far; `None` where a sum has left f64's range.
    now: Vec<Option<f64>>,
    /// The first above 0.
    first: Vec<Option<f64>>,
    logarithms: Vec<f64>,
}

impl State for Excesses {
    fn initial(tasks: usize) -> Self {
        Excesses { now: vec![Some(0.0); tasks], first: vec![None; tasks], logarithms: vec![0.0; tasks] }
    }

    fn is_valid(&self, tasks: usize) -> bool {
        let mut numbers = self.now.iter().chain(&self.first).flatten().chain(&self.logarithms);
        [self.now.len(), self.first.len(), self.logarithms.len()] == [tasks; 3]
            && numbers.all(|number| number.is_finite())
            && self.now.iter().chain(&self.first).flatten().all(|&excess| excess >= 0.0)
    }
}

impl MethodImpl for ExcessMtl {
    const NAME: &'static str = "excess_mtl";
    type State = Excesses;

    fn needs(&self) -> Needs {
        Needs::GradientTransform
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("eta", self.eta, 0.0, 100.0)
    }

    fn gradient_access(&self) -> GradientAccess {
        GradientAccess::WithBuffers
    }

    fn transform_chunk(&self, excesses: &mut Excesses, chunk: Chunk<'_, '_, '_>) {
        for &task in &chunk.indices {
            let mut sum = 0.0;
            for (g, squares) in chunk.rows[task].iter().zip(chunk.buffers[task].iter_mut()) {
                *squares += *g * *g;
                sum += f64::from(*g) * f64::from(*g) / (f64::from(*squares) + EPSILON).sqrt();
            }
            let now = &mut excesses.now[task];
            *now = now.map(|before| before + sum).filter(|sum| sum.is_finite());
        }
    }

    fn weights(&self, excesses: &mut Excesses, active: &ActiveTasks<'_>) -> Vec<f64> {
        for &task in &active.indices {
            let Some(excess) = excesses.now[task] else { continue };
            match excesses.first[task] {
                Some(first) => excesses.logarithms[task] += self.eta * (excess / first).min(LARGEST),
                None => excesses.first[task] = (excess > 0.0).then_some(excess),
            }
        }
        excesses.now.fill(Some(0.0));
        // Only differences matter.
        let largest = excesses.logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        excesses.logarithms.iter_mut().for_each(|x| *x = (*x - largest).max(-FURTHEST));
        let logarithms: Vec<f64> = active.indices.iter().map(|&task| excesses.logarithms[task]).collect();
        softmax(&logarithms).iter().map(|share| active.len() as f64 * share).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{balancer, close, transform};

    /// The weights of each step, of gradients in chunks of one number.
    fn run(eta: f64, steps: &[[[f32; 2]; 2]]) -> Vec<Vec<f64>> {
        let mut excess = balancer(&ExcessMtl { eta }, 2);
        let mut buffers = vec![vec![0.0; 2]; 2];
        let step = |rows: &[[f32; 2]; 2]| {
            transform(&mut *excess, &rows.map(|row| row.to_vec()), &mut buffers, 1);
            excess.weights_from_losses(&[Some(1.0), Some(1.0)])
        };
        steps.iter().map(step).collect()
    }

    /// After two steps the excesses relative to the first are 0.2236 and 1.7889.
    #[test]
    fn the_first_step_stores_and_the_second_compares() {
        let found = run(1.0, &[[[2.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [2.0, 0.0]]]);
        assert_eq!(found[0], [1.0, 1.0]);
        let (a, b) = (0.2f64.sqrt() / 2.0, 4.0 / 5f64.sqrt());
        close(&found[1], &[2.0 * a.exp() / (a.exp() + b.exp()), 2.0 * b.exp() / (a.exp() + b.exp())]);
    }

    /// Excesses that start hundreds apart: the sum over many parameters of the one task is larger.
    #[test]
    fn a_task_with_long_gradients_does_not_take_all() {
        let found = run(0.01, &[[[900.0, 700.0], [0.5, 0.25]]; 100]);
        assert!(found.iter().flatten().all(|weight| (weight - 1.0).abs() < 1e-6), "{found:?}");
    }

    /// The gradient of a head whose weights start at 0.
    #[test]
    fn a_first_excess_of_0_is_not_the_measure_of_the_others() {
        let still = [[1.0, 0.5], [0.0, 0.0]];
        let moving = [[1.0, 0.5], [0.3, 0.4]];
        let found = run(0.01, &[still, moving, moving, moving]);
        assert_eq!(found[0], [1.0, 1.0]);
        assert!(found.iter().flatten().all(|weight| (weight - 1.0).abs() < 0.02), "{found:?}");
    }
}
