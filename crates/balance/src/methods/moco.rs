//! MoCo: moving averages of the gradients, and weights that follow MGDA's by gradient steps.
//!
//! Formula: `y_i <- y_i + beta_t (g_i - y_i)`; `lambda <- P(lambda - gamma_t (Y Y^T + rho I) lambda)`, where P is the
//! projection onto the simplex; the direction is `Y^T lambda`. `beta_t = beta / sqrt(t)` and
//! `gamma_t = gamma / sqrt(t)` at step t.
//!
//! y starts at 0 and lambda at 1/K. A task without labels in a step keeps its y and does not take part in the
//! direction.
//!
//! Defaults: `beta = 0.5`, `gamma = 0.1`, `rho = 0`, LibMTL's. LibMTL also scales gradients by their loss, and uses a
//! softmax instead of the projection; here it is the form of the paper.
//!
//! Importance multiplies the weights; the paper has none.
//!
//! Cost: the K task gradients, and K buffers as large as the shared parameters. State: lambda, the number of steps, and
//! the buffers.
//!
//! When to use: small batches, where the weights of `mgda` are mostly noise, with enough memory for the buffers.
//!
//! Paper: Fernando et al., "Mitigating gradient bias in multi-objective learning: a provably convergent approach", ICLR
//! 2023.

use super::modo::{Shares, moved};
use crate::method_impl::{ActiveTasks, Chunk, GradientAccess, MethodImpl, State};
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Moving averages of gradients, and weights that follow them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MoCo {
    /// Weight of the new gradient in the moving average in the first step.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub beta: f64,
    /// Learning rate of the weights in the first step.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub gamma: f64,
    /// Regularization towards equal weights.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub rho: f64,
}

impl Default for MoCo {
    fn default() -> Self {
        MoCo { beta: 0.5, gamma: 0.1, rho: 0.0 }
    }
}

/// The state of [`MoCo`] beside the buffers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrackedGradient {
    steps: u64,
    shares: Shares,
}

impl State for TrackedGradient {
    fn initial(tasks: usize) -> Self {
        TrackedGradient { steps: 0, shares: State::initial(tasks) }
    }

    fn is_valid(&self, tasks: usize) -> bool {
        self.shares.is_valid(tasks)
    }
}

/// The square root of the step number, from 1.
fn root(steps: u64) -> f64 {
    (steps as f64 + 1.0).sqrt()
}

impl MethodImpl for MoCo {
    const NAME: &'static str = "moco";
    type State = TrackedGradient;

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("beta", self.beta, 0.0, 1.0)?;
        self.setting("gamma", self.gamma, 0.0, 1000.0)?;
        self.setting("rho", self.rho, 0.0, 1000.0)
    }

    fn gradient_access(&self) -> GradientAccess {
        GradientAccess::WithBuffers
    }

    fn transform_chunk(&self, state: &mut TrackedGradient, chunk: Chunk<'_, '_, '_>) {
        let share = (self.beta / root(state.steps)) as f32;
        for &task in &chunk.indices {
            for (g, y) in chunk.rows[task].iter_mut().zip(chunk.buffers[task].iter_mut()) {
                *y += share * (*g - *y);
                *g = *y;
            }
        }
    }

    fn weights(&self, state: &mut TrackedGradient, active: &ActiveTasks<'_>) -> Vec<f64> {
        let rate = self.gamma / root(state.steps);
        state.steps = state.steps.saturating_add(1);
        state.shares.change(active, |lambda| {
            let slopes = active.gramian.matvec(&lambda);
            let square = active.scale * active.scale;
            let slope =
                |(slope, lambda): (f64, &f64)| (slope * square).clamp(-1e300, 1e300) + self.rho * lambda;
            let slopes: Vec<f64> = slopes.into_iter().zip(&lambda).map(slope).collect();
            moved(&lambda, &slopes, rate)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{balancer, close, gramian, transform};
    use crate::{Balancer, StepStatistics};

    fn step(
        moco: &mut dyn Balancer,
        rows: &[Vec<f32>],
        buffers: &mut [Vec<f32>],
    ) -> (Vec<Vec<f32>>, Vec<f64>) {
        let smoothed = transform(moco, rows, buffers, 1);
        let exact: Vec<Vec<f64>> =
            smoothed.iter().map(|row| row.iter().map(|&x| x.into()).collect()).collect();
        let gramian = gramian(&exact.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let losses = [Some(1.0); 2];
        let weights = moco.weights(&StepStatistics {
            losses: &losses,
            gramian: Some(&gramian),
            ..StepStatistics::default()
        });
        (smoothed, weights)
    }

    /// By hand: y = g / 2 at the first step; then `0.5 / sqrt(2)` of the way from there to the second gradients.
    #[test]
    fn two_steps_by_hand() {
        let mut moco = balancer(&MoCo::default(), 2);
        let mut buffers = vec![vec![0.0; 2]; 2];
        let (rows, weights) = step(&mut *moco, &[vec![4.0, 0.0], vec![0.0, 2.0]], &mut buffers);
        assert_eq!(rows, [[2.0, 0.0], [0.0, 1.0]]);
        // lambda (1/2, 1/2) less 0.1 (4/2, 1/2) is (0.3, 0.45), lifted by 0.125.
        close(&weights, &[0.425, 0.575]);
        let (rows, _) = step(&mut *moco, &[vec![0.0, 0.0], vec![0.0, 1.0]], &mut buffers);
        assert!(
            (f64::from(rows[0][0]) - 2.0 * (1.0 - 0.5 / 2f64.sqrt())).abs() < 1e-6 && rows[1] == [0.0, 1.0]
        );
        assert_eq!(buffers, rows);
    }
}
