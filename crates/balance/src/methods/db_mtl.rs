//! DB-MTL: logarithms of the losses, and gradients scaled to the norm of the longest.
//!
//! Formula: `h_i = g_i / (l_i + 1e-8)`, the gradient of `ln(l_i + 1e-8)`, as a moving average over the steps:
//! `m_i <- h_i + beta / t^sigma (m_i - h_i)` at step t, from 0. The direction is `sum_i max_j ||m_j|| / ||m_i|| m_i`.
//!
//! Defaults: `log_losses = true`, as in the authors' code and LibMTL; without it the gradients of the losses themselves
//! are averaged and scaled. `beta = 0`: no moving average, and no buffers; the authors and LibMTL use 0.9 with
//! `sigma = 0`. A loss below 0 counts as 0.
//!
//! Importance multiplies the weights; the paper has none.
//!
//! Cost: the K task gradients; only the diagonal of their Gramian is used. With `beta` above 0, a pass over the
//! gradients and K buffers as large as the shared parameters. State: the number of steps, and the buffers.
//!
//! When to use: losses of very different scale. All tasks then contribute equally, also those that are learned already,
//! so the learning rate schedule has to end the training.
//!
//! Paper: Lin et al., "Dual-balancing for multi-task learning", 2023 (arXiv:2308.12029).

use crate::method_impl::{ActiveTasks, Chunk, GradientAccess, MethodImpl};
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps the logarithm finite.
const EPSILON: f64 = 1e-8;

/// Logarithms of the losses, whose gradients have equal norms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DbMtl {
    /// Whether to use the logarithms of the losses, or the losses themselves.
    pub log_losses: bool,
    /// Decay of the moving average of gradients in the first step; 0: no average.
    #[schemars(range(min = 0.0, max = 0.9999))]
    pub beta: f64,
    /// How fast the decay decreases, as a power of the step number; unused where `beta` is 0.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub sigma: f64,
}

impl Default for DbMtl {
    fn default() -> Self {
        DbMtl { log_losses: true, beta: 0.0, sigma: 0.0 }
    }
}

impl DbMtl {
    /// The factor on the gradient of a loss: the derivative of its logarithm.
    fn slope(&self, loss: f64) -> f64 {
        if self.log_losses { 1.0 / (loss.max(0.0) + EPSILON) } else { 1.0 }
    }
}

impl MethodImpl for DbMtl {
    const NAME: &'static str = "db_mtl";
    /// The number of steps so far.
    type State = u64;

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("beta", self.beta, 0.0, 0.9999)?;
        self.setting("sigma", self.sigma, 0.0, 10.0)
    }

    fn gradient_access(&self) -> GradientAccess {
        if self.beta > 0.0 { GradientAccess::WithBuffers } else { GradientAccess::None }
    }

    fn transform_chunk(&self, steps: &mut u64, chunk: Chunk<'_, '_, '_>) {
        let stays = (self.beta / (*steps as f64 + 1.0).powf(self.sigma)) as f32;
        for (&task, &loss) in chunk.indices.iter().zip(&chunk.losses) {
            let slope = self.slope(loss) as f32;
            for (g, mean) in chunk.rows[task].iter_mut().zip(chunk.buffers[task].iter_mut()) {
                let now = slope * *g;
                *mean = now + stays * (*mean - now);
                *g = *mean;
            }
        }
    }

    fn weights(&self, steps: &mut u64, active: &ActiveTasks<'_>) -> Vec<f64> {
        *steps = steps.saturating_add(1);
        let norms = active.gramian.norms();
        // Averaged gradients are those of the logarithms already.
        let slope = |loss: f64| if self.beta > 0.0 { 1.0 } else { self.slope(loss) };
        let lengths = norms.iter().zip(&active.losses).map(|(norm, &loss)| norm * slope(loss));
        let longest = lengths.fold(0.0, f64::max);
        norms.iter().map(|norm| longest / norm).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{BASE, SCALED, THREE, active_tasks, balancer, close, transform, weights};

    #[test]
    fn golden_values() {
        let plain = DbMtl { log_losses: false, ..DbMtl::default() };
        close(&weights(&plain, BASE), &[1.452966, 1.0]);
        close(&weights(&plain, THREE), &[1.581139, 1.167748, 1.0]);
        close(&weights(&plain, SCALED), &[1.0, 14.142136]);
    }

    #[test]
    fn logarithms_decide_the_length_but_not_the_ratio() {
        let rows: &[&[f64]] = &[&[3.0, 4.0], &[0.0, 2.0]];
        // The log-gradients have norms 5 / 10 and 2 / 0.5.
        let found = DbMtl::default().weights(&mut 0, &active_tasks(rows, &[10.0, 0.5], &[1.0, 1.0]));
        close(&found, &[4.0 / 5.0, 4.0 / 2.0]);
    }

    /// By hand, with losses of 1: a tenth of the first gradient, then `0.9 / 2` of that and the rest of the second.
    #[test]
    fn gradients_are_smoothed() {
        let mut db_mtl = balancer(&DbMtl { beta: 0.9, sigma: 1.0, log_losses: true }, 2);
        let mut buffers = vec![vec![0.0; 1]; 2];
        let first = transform(&mut *db_mtl, &[vec![10.0], vec![-20.0]], &mut buffers, 1);
        assert!((first[0][0] - 1.0).abs() < 1e-6 && (first[1][0] + 2.0).abs() < 1e-6, "{first:?}");
        db_mtl.weights(&crate::StepStatistics {
            losses: &[Some(1.0); 2],
            gramian: Some(&crate::test_fixtures::gramian(&[&[1.0], &[-2.0]])),
            ..Default::default()
        });
        let second = transform(&mut *db_mtl, &[vec![2.0], vec![2.0]], &mut buffers, 1);
        assert!(
            (second[0][0] - (2.0 - 0.45)).abs() < 1e-6 && (second[1][0] - (2.0 - 1.8)).abs() < 1e-6,
            "{second:?}"
        );
        assert_eq!(buffers, second);
    }
}
