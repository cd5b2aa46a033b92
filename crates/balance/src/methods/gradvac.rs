//! GradVac: gradients are aligned until their cosine similarity is at least its moving average.
//!
//! Formula: for every task i, start with `g_i' = g_i`; for every other task j in random order, let `phi` be the cosine
//! similarity of g_i' and g_j and `rho` its exponential moving average: if `phi < rho`, add to g_i'
//! `||g_i'|| (rho sqrt(1 - phi^2) - phi sqrt(1 - rho^2)) / (||g_j|| sqrt(1 - rho^2)) g_j`, after which the cosine is
//! rho; then `rho = (1 - beta) rho + beta phi`. The direction is `sum_i g_i'`. Moving averages start at 0, so the first
//! step equals PCGrad.
//!
//! Defaults: `beta = 0.5`, as in LibMTL and TorchJD; one moving average per pair for all shared parameters together
//! (the paper also keeps one per layer). `seed = 0`, with orders as in `pcgrad`.
//!
//! Importance: `sum_i importance_i g_i'`.
//!
//! Cost: the K task gradients and K^3 multiplications. State: K x K moving averages and the number of steps.
//!
//! When to use: many related tasks, such as one task in many languages, whose gradients usually agree: it also acts
//! where they agree less than on average, not only where they conflict.
//!
//! Paper: Wang et al., "Gradient vaccine: investigating and improving multi-task optimization in massively multilingual
//! models", ICLR 2021 (arXiv:2010.05874).

use super::pcgrad::random_order;
use crate::method_impl::{ActiveTasks, MethodImpl, State};
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The largest moving average of a cosine, so that `sqrt(1 - rho^2)` is not 0.
const CLOSEST: f64 = 1.0 - 1e-6;

/// Gradients are aligned up to the moving average of their cosine similarity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GradVac {
    /// Weight of the new value in the moving averages.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub beta: f64,
    /// Random seed of the orders, from 0 to 4294967295.
    pub seed: u32,
}

impl Default for GradVac {
    fn default() -> Self {
        GradVac { beta: 0.5, seed: 0 }
    }
}

/// The state of [`GradVac`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CosineEma {
    steps: u64,
    /// `cosines[i][j]`: the moving average of the cosine of g_i' and g_j.
    cosines: Vec<Vec<f64>>,
}

impl State for CosineEma {
    fn initial(tasks: usize) -> Self {
        CosineEma { steps: 0, cosines: vec![vec![0.0; tasks]; tasks] }
    }

    fn is_valid(&self, tasks: usize) -> bool {
        let in_range = |row: &Vec<f64>| row.len() == tasks && row.iter().all(|cosine| cosine.abs() <= 1.0);
        self.cosines.len() == tasks && self.cosines.iter().all(in_range)
    }
}

impl MethodImpl for GradVac {
    const NAME: &'static str = "gradvac";
    const USES_PREFERENCES: bool = true;
    type State = CosineEma;

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("beta", self.beta, 0.0, 1.0)
    }

    fn weights(&self, ema: &mut CosineEma, active: &ActiveTasks<'_>) -> Vec<f64> {
        let gramian = &active.gramian;
        let norms = gramian.norms();
        let mut weights = vec![0.0; active.len()];
        for i in 0..active.len() {
            let mut row = vec![0.0; active.len()];
            row[i] = 1.0;
            let mut length = norms[i];
            for j in random_order(self.seed, ema.steps, active, i) {
                let product = gramian.product(j, &row);
                // A gradient of norm 0 has no cosine.
                if length <= 0.0 {
                    continue;
                }
                let cosine = (product / length / norms[j]).clamp(-1.0, 1.0);
                let mean = &mut ema.cosines[active.indices[i]][active.indices[j]];
                let aim = mean.clamp(-CLOSEST, CLOSEST);
                if cosine < aim {
                    let (far, near) = ((1.0 - cosine * cosine).sqrt(), (1.0 - aim * aim).sqrt());
                    row[j] += length * (aim * far - cosine * near) / (norms[j] * near);
                    length = gramian.quadratic_form(&row).sqrt();
                }
                *mean = (1.0 - self.beta) * *mean + self.beta * cosine;
            }
            let importance = active.importance[i];
            weights.iter_mut().zip(row).for_each(|(weight, part)| *weight += importance * part);
        }
        ema.steps = ema.steps.wrapping_add(1);
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PcGrad;
    use crate::test_fixtures::{BASE, SCALED, THREE, active_tasks, close, direction, gramian, weights};

    #[test]
    fn the_first_step_equals_pcgrad() {
        for rows in [BASE, THREE, SCALED] {
            close(&weights(&GradVac::default(), rows), &weights(&PcGrad::default(), rows));
        }
        close(&direction(&GradVac::default(), BASE), &[0.584795, 3.80117, 3.80117]);
        close(&direction(&GradVac::default(), SCALED), &[5.0, 5.5]);
    }

    /// Two gradients whose cosine was 0.8 on average and is 0.6: the first is changed until it is 0.8 again.
    #[test]
    fn a_cosine_below_its_average_is_restored() {
        let rows: &[&[f64]] = &[&[5.0, 0.0], &[3.0, 4.0]];
        let mut ema = CosineEma { steps: 9, cosines: vec![vec![0.0, 0.8], vec![-1.0, 0.0]] };
        let found =
            GradVac { beta: 0.25, seed: 0 }.weights(&mut ema, &active_tasks(rows, &[1.0; 2], &[1.0; 2]));
        // The second task's mean is -1, so only the first gradient was changed.
        let first = [1.0, found[1] - 1.0];
        let gramian = gramian(rows);
        let cosine = gramian.matvec(&first)[1] / gramian.quadratic_form(&first).sqrt() / 5.0;
        assert!((cosine - 0.8).abs() < 1e-12 && found[0] == 1.0, "{cosine}, {found:?}");
        close(&[ema.cosines[0][1], ema.cosines[1][0]], &[0.75, -0.6]);
    }
}
