//! MoDo: MGDA's weights by stochastic gradient steps with double sampling.
//!
//! Formula: `lambda <- P(lambda - gamma (A lambda + rho lambda))`, where `A = J1 J2^T` is between the gradients of two
//! independent halves of a step's rows and P is the projection onto the simplex; the direction is `J^T lambda`. Since
//! the halves are independent, A is an unbiased estimate of the Gramian, which the Gramian of one sample is not.
//!
//! lambda starts at 1/K. In a step in which some tasks have no labels, the lambdas of the others are updated with their
//! sum kept.
//!
//! Defaults: `gamma = 0.001` and `rho = 0.1`, LibMTL's (TorchJD: gamma 0.1).
//!
//! Importance multiplies the weights; the paper has none.
//!
//! Cost: the K task gradients of each half of the rows. State: lambda.
//!
//! When to use: small batches, where the weights of `mgda` are mostly noise. gamma is the learning rate of the weights.
//!
//! Paper: Chen et al., "Three-way trade-off in multi-objective learning: optimization, generalization and
//! conflict-avoidance", NeurIPS 2023, JMLR 2024 (arXiv:2305.20057).

use crate::method_impl::{ActiveTasks, MethodImpl, State};
use crate::{BalanceError, Needs, solve};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// MGDA by stochastic steps with double sampling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MoDo {
    /// Learning rate of the weights.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub gamma: f64,
    /// Regularization towards equal weights.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub rho: f64,
}

impl Default for MoDo {
    fn default() -> Self {
        MoDo { gamma: 1e-3, rho: 0.1 }
    }
}

/// Weights on the simplex that a method updates in every step, starting at 1/K.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Shares(Vec<f64>);

impl State for Shares {
    fn initial(tasks: usize) -> Self {
        Shares(vec![1.0 / tasks.max(1) as f64; tasks])
    }

    fn is_valid(&self, tasks: usize) -> bool {
        let sum: f64 = self.0.iter().sum();
        self.0.len() == tasks && self.0.iter().all(|&share| share >= 0.0) && (sum - 1.0).abs() < 1e-6
    }
}

impl Shares {
    /// Updates the shares of the active tasks, which `change` gets and returns with sum 1; their sum among all tasks is kept.
    /// Returns what `change` returned.
    pub fn change(
        &mut self,
        active: &ActiveTasks<'_>,
        change: impl FnOnce(Vec<f64>) -> Vec<f64>,
    ) -> Vec<f64> {
        let sum: f64 = active.indices.iter().map(|&task| self.0[task]).sum();
        let even = 1.0 / active.len() as f64;
        let shares =
            active.indices.iter().map(|&task| if sum > 0.0 { self.0[task] / sum } else { even }).collect();
        let changed = change(shares);
        active.indices.iter().zip(&changed).for_each(|(&task, share)| self.0[task] = share * sum);
        changed
    }
}

/// A projected gradient step. The gradients may have any finite size.
pub(crate) fn moved(shares: &[f64], slopes: &[f64], rate: f64) -> Vec<f64> {
    let aims: Vec<f64> =
        shares.iter().zip(slopes).map(|(w, slope)| w - (rate * slope).clamp(-1e300, 1e300)).collect();
    solve::project_simplex(&aims)
}

impl MethodImpl for MoDo {
    const NAME: &'static str = "modo";
    type State = Shares;

    fn needs(&self) -> Needs {
        Needs::IndependentHalves
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("gamma", self.gamma, 0.0, 1000.0)?;
        self.setting("rho", self.rho, 0.0, 1000.0)
    }

    fn weights(&self, shares: &mut Shares, active: &ActiveTasks<'_>) -> Vec<f64> {
        shares.change(active, |lambda| {
            let slopes = active.cross_gramian.matvec(&lambda);
            let slopes: Vec<f64> =
                slopes.iter().zip(&lambda).map(|(slope, lambda)| slope + self.rho * lambda).collect();
            moved(&lambda, &slopes, self.gamma)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{active_with_cross_gramian, close, initial};

    /// By hand: lambda (1/2, 1/2), A lambda = (3, 1), so lambda - 0.1 (3.05, 1.05) = (0.195, 0.395), lifted by 0.205.
    #[test]
    fn one_step_by_hand() {
        let modo = MoDo { gamma: 0.1, rho: 0.1 };
        let active = active_with_cross_gramian(&[&[4.0, 2.0], &[0.0, 2.0]]);
        close(&modo.weights(&mut initial(&modo, 2), &active), &[0.4, 0.6]);
    }

    /// With the Gramian in place of the cross-Gramian it converges to MGDA's weights.
    #[test]
    fn it_converges_to_the_minimum_norm_point() {
        let modo = MoDo { gamma: 0.001, rho: 0.0 };
        let active = active_with_cross_gramian(&[&[6.0, 1.0, -5.0], &[1.0, 11.0, -2.0], &[-5.0, -2.0, 15.0]]);
        let mut shares = initial(&modo, 3);
        (0..20_000).for_each(|_| drop(modo.weights(&mut shares, &active)));
        close(&shares.0, &[0.521197, 0.167082, 0.311721]);
    }
}
