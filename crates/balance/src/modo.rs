//! MoDo: weights that follow the shortest mean of the gradients step by step, from two independent samples.
//!
//! Formula: `lambda <- P(lambda - gamma (A lambda + rho lambda))`, `A = J1 J2^T` between the gradients of the two halves of a
//! step's rows, P the projection onto the simplex; the direction is `J^T lambda`. Since the halves are independent, A has
//! the true Gramian as its mean, which the Gramian of one sample has not.
//!
//! lambda starts at 1/K. Of a step in which some tasks are absent, the others' lambdas are moved with their sum kept.
//!
//! Defaults: `gamma = 0.001` and `rho = 0.1`, LibMTL's (TorchJD: gamma 0.1).
//!
//! Importance multiplies the weights that are found; the paper has none.
//!
//! Cost: the K gradients of each half of the rows. State: lambda.
//!
//! When to use: small packs, where `mgda`'s weights are mostly noise. gamma decides how soon conflicts count.
//!
//! Paper: Chen et al., "Three-way trade-off in multi-objective learning: optimization, generalization and
//! conflict-avoidance", NeurIPS 2023, JMLR 2024 (arXiv:2305.20057).

use crate::rule::{Memory, Present, Rule};
use crate::{BalanceError, Needs, solve};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The shortest mean, followed step by step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MoDo {
    /// How far the weights move in a step.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub gamma: f64,
    /// What draws the weights towards each other.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub rho: f64,
}

impl Default for MoDo {
    fn default() -> Self {
        MoDo { gamma: 1e-3, rho: 0.1 }
    }
}

/// Weights on the simplex that a method moves a little in every step, from 1/K on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Shares(Vec<f64>);

impl Memory for Shares {
    fn of_start(tasks: usize) -> Self {
        Shares(vec![1.0 / tasks.max(1) as f64; tasks])
    }

    fn is_sound(&self, tasks: usize) -> bool {
        let sum: f64 = self.0.iter().sum();
        self.0.len() == tasks && self.0.iter().all(|&share| share >= 0.0) && (sum - 1.0).abs() < 1e-6
    }
}

impl Shares {
    /// Moves the shares of the tasks that are present, which `change` gets and gives with sum 1; their sum among all stays.
    /// Gives what `change` gave.
    pub fn change(&mut self, present: &Present<'_>, change: impl FnOnce(Vec<f64>) -> Vec<f64>) -> Vec<f64> {
        let sum: f64 = present.at.iter().map(|&task| self.0[task]).sum();
        let even = 1.0 / present.len() as f64;
        let shares =
            present.at.iter().map(|&task| if sum > 0.0 { self.0[task] / sum } else { even }).collect();
        let changed = change(shares);
        present.at.iter().zip(&changed).for_each(|(&task, share)| self.0[task] = share * sum);
        changed
    }
}

/// A step as far as numbers go: gradients may have any finite size.
pub(crate) fn moved(shares: &[f64], slopes: &[f64], rate: f64) -> Vec<f64> {
    let aims: Vec<f64> =
        shares.iter().zip(slopes).map(|(w, slope)| w - (rate * slope).clamp(-1e300, 1e300)).collect();
    solve::onto_simplex(&aims)
}

impl Rule for MoDo {
    const NAME: &'static str = "modo";
    type Memory = Shares;

    fn needs(&self) -> Needs {
        Needs::TwoHalves
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("gamma", self.gamma, 0.0, 1000.0)?;
        self.setting("rho", self.rho, 0.0, 1000.0)
    }

    fn weigh(&self, shares: &mut Shares, present: &Present<'_>) -> Vec<f64> {
        shares.change(present, |lambda| {
            let slopes = present.halves.times(&lambda);
            let slopes: Vec<f64> =
                slopes.iter().zip(&lambda).map(|(slope, lambda)| slope + self.rho * lambda).collect();
            moved(&lambda, &slopes, self.gamma)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{close, fresh, halves_present};

    /// By hand: lambda (1/2, 1/2), A lambda = (3, 1), so lambda - 0.1 (3.05, 1.05) = (0.195, 0.395), lifted by 0.205.
    #[test]
    fn one_step_by_hand() {
        let modo = MoDo { gamma: 0.1, rho: 0.1 };
        let present = halves_present(&[&[4.0, 2.0], &[0.0, 2.0]]);
        close(&modo.weigh(&mut fresh(&modo, 2), &present), &[0.4, 0.6]);
    }

    /// With the Gramian itself in place of the halves' it ends at MGDA's weights.
    #[test]
    fn it_ends_at_the_shortest_mean() {
        let modo = MoDo { gamma: 0.001, rho: 0.0 };
        let present = halves_present(&[&[6.0, 1.0, -5.0], &[1.0, 11.0, -2.0], &[-5.0, -2.0, 15.0]]);
        let mut shares = fresh(&modo, 3);
        (0..20_000).for_each(|_| drop(modo.weigh(&mut shares, &present)));
        close(&shares.0, &[0.521197, 0.167082, 0.311721]);
    }
}
