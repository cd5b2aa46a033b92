//! GradVac: gradients are turned towards each other until their cosine is at least what it usually is.
//!
//! Formula: for every task i, start with `g_i' = g_i`; for every other task j in random order, with `phi` the cosine of
//! g_i' and g_j and `rho` the moving mean of that cosine: if `phi < rho`, add to g_i'
//! `||g_i'|| (rho sqrt(1 - phi^2) - phi sqrt(1 - rho^2)) / (||g_j|| sqrt(1 - rho^2)) g_j`, after which the cosine is rho;
//! then `rho = (1 - beta) rho + beta phi`. The direction is `sum_i g_i'`. Moving means start at 0, so the first step
//! equals PCGrad.
//!
//! Defaults: `beta = 0.5`, as LibMTL and TorchJD have it; one moving mean a pair for all shared parameters together (the
//! paper also keeps one a layer). `seed = 0`, with orders as in `pcgrad`.
//!
//! Importance: `sum_i importance_i g_i'`.
//!
//! Cost: the K gradients and K^3 multiplications. State: K x K moving means and how many steps there were.
//!
//! When to use: many related tasks, such as one task in many languages, whose gradients usually agree: it also acts where
//! they agree less than usual, not only where they conflict.
//!
//! Paper: Wang et al., "Gradient vaccine: investigating and improving multi-task optimization in massively multilingual
//! models", ICLR 2021 (arXiv:2010.05874).

use crate::pcgrad::random_order;
use crate::rule::{Memory, Present, Rule};
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Moving means of cosines stay below it, so that `sqrt(1 - rho^2)` is not 0.
const CLOSEST: f64 = 1.0 - 1e-6;

/// Gradients are turned towards each other up to their usual cosine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GradVac {
    /// The share of a moving mean that a step replaces.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub beta: f64,
    /// Decides the random orders, from 0 to 4294967295.
    pub seed: u32,
}

impl Default for GradVac {
    fn default() -> Self {
        GradVac { beta: 0.5, seed: 0 }
    }
}

/// What [`GradVac`] keeps.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Usual {
    steps: u64,
    /// `cosines[i][j]`: of g_i' with g_j.
    cosines: Vec<Vec<f64>>,
}

impl Memory for Usual {
    fn of_start(tasks: usize) -> Self {
        Usual { steps: 0, cosines: vec![vec![0.0; tasks]; tasks] }
    }

    fn is_sound(&self, tasks: usize) -> bool {
        let in_range = |row: &Vec<f64>| row.len() == tasks && row.iter().all(|cosine| cosine.abs() <= 1.0);
        self.cosines.len() == tasks && self.cosines.iter().all(in_range)
    }
}

impl Rule for GradVac {
    const NAME: &'static str = "gradvac";
    const PREFERS: bool = true;
    type Memory = Usual;

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("beta", self.beta, 0.0, 1.0)
    }

    fn weigh(&self, usual: &mut Usual, present: &Present<'_>) -> Vec<f64> {
        let gramian = &present.gramian;
        let norms = gramian.norms();
        let mut weights = vec![0.0; present.len()];
        for i in 0..present.len() {
            let mut row = vec![0.0; present.len()];
            row[i] = 1.0;
            let mut length = norms[i];
            for j in random_order(self.seed, usual.steps, present, i) {
                let product = gramian.product(j, &row);
                // A gradient of which nothing is left has no cosine.
                if length <= 0.0 {
                    continue;
                }
                let cosine = (product / length / norms[j]).clamp(-1.0, 1.0);
                let mean = &mut usual.cosines[present.at[i]][present.at[j]];
                let aim = mean.clamp(-CLOSEST, CLOSEST);
                if cosine < aim {
                    let (far, near) = ((1.0 - cosine * cosine).sqrt(), (1.0 - aim * aim).sqrt());
                    row[j] += length * (aim * far - cosine * near) / (norms[j] * near);
                    length = gramian.square(&row).sqrt();
                }
                *mean = (1.0 - self.beta) * *mean + self.beta * cosine;
            }
            let importance = present.importance[i];
            weights.iter_mut().zip(row).for_each(|(weight, part)| *weight += importance * part);
        }
        usual.steps = usual.steps.wrapping_add(1);
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PcGrad;
    use crate::golden::{BASE, SCALED, THREE, close, direction, gramian, present_of, weights};

    #[test]
    fn the_first_step_equals_pcgrad() {
        for rows in [BASE, THREE, SCALED] {
            close(&weights(&GradVac::default(), rows), &weights(&PcGrad::default(), rows));
        }
        close(&direction(&GradVac::default(), BASE), &[0.584795, 3.80117, 3.80117]);
        close(&direction(&GradVac::default(), SCALED), &[5.0, 5.5]);
    }

    /// Two gradients whose cosine was 0.8 and is 0.6: each is turned until it is 0.8 again.
    #[test]
    fn a_cosine_below_the_usual_one_is_restored() {
        let rows: &[&[f64]] = &[&[5.0, 0.0], &[3.0, 4.0]];
        let mut usual = Usual { steps: 9, cosines: vec![vec![0.0, 0.8], vec![-1.0, 0.0]] };
        let found =
            GradVac { beta: 0.25, seed: 0 }.weigh(&mut usual, &present_of(rows, &[1.0; 2], &[1.0; 2]));
        // The second task's mean is -1, so only the first gradient was changed.
        let first = [1.0, found[1] - 1.0];
        let gramian = gramian(rows);
        let cosine = gramian.times(&first)[1] / gramian.square(&first).sqrt() / 5.0;
        assert!((cosine - 0.8).abs() < 1e-12 && found[0] == 1.0, "{cosine}, {found:?}");
        close(&[usual.cosines[0][1], usual.cosines[1][0]], &[0.75, -0.6]);
    }
}
