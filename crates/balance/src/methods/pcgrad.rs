//! PCGrad: where two gradients conflict, each is projected onto the normal plane of the other; then all are summed.
//!
//! Formula: for every task i, start with `g_i' = g_i`; for every other task j in random order, if `<g_i', g_j> < 0`,
//! subtract `<g_i', g_j> / ||g_j||^2 g_j`, where g_j is the original gradient. The direction is `sum_i g_i'`, the sum
//! and not the mean, as in the authors' code and the libraries.
//!
//! Defaults: `seed = 0`. The random orders are a function of the seed, the step and the task names, so they depend
//! neither on the number of threads nor on the order in the config. With two tasks nothing is random.
//!
//! Importance: `sum_i importance_i g_i'`, which with two tasks still conflicts with neither.
//!
//! Cost: the K task gradients and K^3 multiplications. State: the number of steps.
//!
//! When to use: as a cheap first method where gradients conflict; without conflicts it equals `equal`. With more than
//! two tasks the direction may still conflict with some gradients.
//!
//! Paper: Yu et al., "Gradient surgery for multi-task learning", NeurIPS 2020 (arXiv:2001.06782).

use crate::method_impl::{ActiveTasks, MethodImpl};
use crate::random::draw;
use crate::{Gramian, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Conflicting components of gradients are projected out pair by pair.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PcGrad {
    /// Random seed of the orders, from 0 to 4294967295.
    pub seed: u32,
}

impl MethodImpl for PcGrad {
    const NAME: &'static str = "pcgrad";
    const USES_PREFERENCES: bool = true;
    /// The number of steps so far.
    type State = u64;

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn weights(&self, steps: &mut u64, active: &ActiveTasks<'_>) -> Vec<f64> {
        let mut weights = vec![0.0; active.len()];
        for i in 0..active.len() {
            let row = without_conflicts(&active.gramian, i, &random_order(self.seed, *steps, active, i));
            let importance = active.importance[i];
            weights.iter_mut().zip(row).for_each(|(weight, part)| *weight += importance * part);
        }
        *steps = steps.wrapping_add(1);
        weights
    }
}

/// The tasks other than `task`, in an order that depends on the seed, the step and the names.
pub(crate) fn random_order(seed: u32, step: u64, active: &ActiveTasks<'_>, task: usize) -> Vec<usize> {
    let mut others: Vec<usize> = (0..active.len()).filter(|&other| other != task).collect();
    others.sort_by_cached_key(|&other| draw(seed, step, &[active.names[task], active.names[other]]));
    others
}

/// `g_i'` as a combination of the gradients.
fn without_conflicts(gramian: &Gramian, task: usize, order: &[usize]) -> Vec<f64> {
    let mut row = vec![0.0; gramian.tasks()];
    row[task] = 1.0;
    for &other in order {
        let product = gramian.product(other, &row);
        if product < 0.0 {
            row[other] -= product / gramian.at(other, other);
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{BASE, SCALED, THREE, close, gramian, weights};

    #[test]
    fn golden_values() {
        close(&weights(&PcGrad::default(), BASE), &[2.222222, 1.578947]);
        close(&weights(&PcGrad::default(), SCALED), &[1.05, 11.0]);
        // Three tasks, each meeting the others in the order of the rows.
        let gramian = gramian(THREE);
        let mut sum = vec![0.0; 3];
        for (task, order) in [(0, [1, 2]), (1, [0, 2]), (2, [0, 1])] {
            let row = without_conflicts(&gramian, task, &order);
            sum.iter_mut().zip(row).for_each(|(sum, part)| *sum += part);
        }
        close(&sum, &[1.833333, 1.106061, 1.466667]);
    }

    /// The other order for the third task gives other weights, so the seed and the step show.
    #[test]
    fn seed_and_step_decide_the_order() {
        let runs = |seed| {
            let mut steps = 0;
            let active = crate::test_fixtures::active_tasks(THREE, &[1.0; 3], &[1.0; 3]);
            (0..40).map(|_| PcGrad { seed }.weights(&mut steps, &active)).collect::<Vec<_>>()
        };
        let (first, again, other) = (runs(1), runs(1), runs(2));
        assert_eq!(first, again);
        assert_ne!(first, other);
        assert!(first.iter().any(|weights| weights != &first[0]), "the order never changes");
    }
}
