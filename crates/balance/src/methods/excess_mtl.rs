//! ExcessMTL: tasks with a high excess risk get a higher weight, tasks with noisy labels do not.
//!
//! Formula: `S_i <- S_i + g_i^2` for every parameter; the excess risk is `e_i = sum g_i^2 / sqrt(S_i + 1e-7)`, from the
//! second step on divided by the task's first one; `w <- w exp(eta e)`, normalized so that weights sum to K over the
//! tasks with labels in the step.
//!
//! Defaults: `eta = 0.01` and the sum K, LibMTL's (TorchJD: 1 and sum 1).
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
/// The largest excess risk; larger ones are clamped, and a first one below its inverse counts as the inverse.
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
            let relative = match excesses.first[task] {
                Some(first) => excess / first.max(1.0 / LARGEST),
                None => excess,
            };
            excesses.first[task].get_or_insert(excess);
            excesses.logarithms[task] += self.eta * relative.min(LARGEST);
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

    /// TorchJD's eta 1 and sum 1: half of ours.
    #[test]
    fn golden_values() {
        let mut excess = balancer(&ExcessMtl { eta: 1.0 }, 2);
        let mut buffers = vec![vec![0.0; 2]; 2];
        let mut step = |rows: [[f32; 2]; 2]| {
            transform(&mut *excess, &rows.map(|row| row.to_vec()), &mut buffers, 1);
            excess.weights_from_losses(&[Some(1.0), Some(1.0)])
        };
        close(&step([[2.0, 0.0], [1.0, 0.0]]), &[2.0 * 0.731059, 2.0 * 0.268941]);
        close(&step([[1.0, 0.0], [2.0, 0.0]]), &[2.0 * 0.362334, 2.0 * 0.637666]);
        assert_eq!(buffers, [[5.0, 0.0], [5.0, 0.0]]);
    }
}
