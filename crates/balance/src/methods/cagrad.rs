//! CAGrad: the direction near the mean gradient that maximises the smallest decrease among the tasks.
//!
//! Formula: `d = argmax min_i <d, g_i>` over `||d - g0|| <= c ||g0||`, where g0 is the mean gradient. Its dual finds w
//! on the simplex that minimises `<g_w, g0> + c ||g0|| ||g_w||` with `g_w = J^T w`; then
//! `d = g0 + c ||g0|| / ||g_w|| g_w`, divided as `rescale` says.
//!
//! Defaults: `c = 0.4` and `rescale = "square"`, division by `1 + c^2`: the authors' code for the toy problem, with
//! which the Nash-MTL and FAMO papers compare. LibMTL uses 0.5 with the same division, TorchJD does not divide.
//!
//! Importance multiplies the weights; the paper has none.
//!
//! Cost: the K task gradients, and about a dozen problems over K x K numbers: for a given norm of g_w the dual is the
//! minimum-norm point of the gradients shifted along g0, and that norm is found exactly. State: none.
//!
//! When to use: conflicting gradients, when the mean loss still matters: for c < 1 it converges to an optimum of the
//! mean loss. With c >= 1 it decreases every loss where possible, like `mgda`. The direction is a mean: steps are K
//! times shorter than those of `equal`.
//!
//! Paper: Liu et al., "Conflict-averse gradient descent for multi-task learning", NeurIPS 2021 (arXiv:2110.14048).

use crate::gramian::dot;
use crate::method_impl::{ActiveTasks, MethodImpl};
use crate::{BalanceError, Gramian, Needs, solve};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The direction near the mean gradient that is best for the worst-off task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CaGrad {
    /// Maximum distance from the mean gradient, relative to its norm: 0 is the mean itself.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub c: f64,
    /// The divisor of the direction.
    pub rescale: Rescale,
}

/// The divisor of the direction of [`CaGrad`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rescale {
    /// No division.
    None,
    /// `1 + c^2`.
    #[default]
    Square,
    /// `1 + c`.
    Linear,
}

impl Default for CaGrad {
    fn default() -> Self {
        CaGrad { c: 0.4, rescale: Rescale::default() }
    }
}

impl MethodImpl for CaGrad {
    const NAME: &'static str = "cagrad";
    type State = ();

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("c", self.c, 0.0, 100.0)
    }

    fn weights(&self, _state: &mut (), active: &ActiveTasks<'_>) -> Vec<f64> {
        let divisor = match self.rescale {
            Rescale::None => 1.0,
            Rescale::Square => 1.0 + self.c * self.c,
            Rescale::Linear => 1.0 + self.c,
        };
        averse(&active.gramian, self.c).into_iter().map(|weight| weight / divisor).collect()
    }
}

/// The weights before they are divided.
fn averse(gramian: &Gramian, c: f64) -> Vec<f64> {
    let tasks = gramian.tasks();
    let mean = vec![1.0 / tasks as f64; tasks];
    let products = gramian.matvec(&mean);
    let square = dot(&mean, &products).max(0.0);
    let reach = c * square.sqrt();
    // Gradients that cancel: within reach of their mean, 0, there is nothing but 0.
    if reach <= 1e-140 {
        return mean;
    }
    // With ||g_w|| = reach x shift, w is the shortest mean of the gradients g_i + shift x g0.
    let shifted = |shift: f64| {
        let entry = |i: usize, j: usize| {
            gramian.at(i, j) + shift * (products[i] + products[j]) + shift * shift * square
        };
        let values =
            (0..tasks).flat_map(|i| (0..tasks).map(move |j| (i, j))).map(|(i, j)| entry(i, j)).collect();
        solve::min_norm_point(&Gramian::of_products(tasks, values))
    };
    let excess = |shift: f64, w: &[f64]| gramian.quadratic_form(w) - (reach * shift).powi(2);
    let longest = gramian.norms().into_iter().fold(0.0, f64::max);
    let mut high = longest / reach * (1.0 + 1e-9);
    // Where a mean of the gradients is 0, the shift would be 0 too; this close to it the direction no longer changes.
    let mut low = 1e-6 * high;
    let mut at_low = shifted(low);
    let mut at_high = shifted(high);
    let (mut shift, mut w) = (low, at_low.clone());
    if excess(low, &at_low) > 0.0 {
        for round in 0..100 {
            (shift, w) = if round % 3 == 2 {
                let middle = (low * high).sqrt();
                (middle, shifted(middle))
            } else {
                let guess = low + (high - low) * crossing(gramian, reach, (low, &at_low), (high, &at_high));
                (guess, shifted(guess))
            };
            let over = excess(shift, &w);
            if over.abs() <= 1e-14 * (reach * shift).powi(2) || high - low <= 1e-14 * high {
                break;
            }
            if over > 0.0 {
                (low, at_low) = (shift, w.clone());
            } else {
                (high, at_high) = (shift, w.clone());
            }
        }
    }
    mean.iter().zip(w).map(|(mean, w)| mean + w / shift).collect()
}

/// Where between two shifts `||g_w|| = reach x shift`, as a fraction, if w went straight from one to the other: it does
/// between shifts with the same active set.
fn crossing(gramian: &Gramian, reach: f64, low: (f64, &[f64]), high: (f64, &[f64])) -> f64 {
    let turned = gramian.matvec(high.1);
    let (a, b, c) = (gramian.quadratic_form(low.1), dot(low.1, &turned), dot(high.1, &turned));
    let (from, way) = (low.0, high.0 - low.0);
    let quadratic = a - 2.0 * b + c - (reach * way).powi(2);
    let linear = 2.0 * (b - a) - 2.0 * reach * reach * from * way;
    let constant = a - (reach * from).powi(2);
    // It falls from above 0 to below 0, so this is the root in between, in the form that does not cancel.
    let root = (linear * linear - 4.0 * quadratic * constant).max(0.0).sqrt();
    let fraction =
        if linear > 0.0 { (-linear - root) / (2.0 * quadratic) } else { 2.0 * constant / (root - linear) };
    if fraction > 0.0 && fraction < 1.0 { fraction } else { 0.5 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solve::samples;
    use crate::test_fixtures::{BASE, SCALED, THREE, close, weights};

    #[test]
    fn golden_values() {
        let check = |rows: &[&[f64]], c: f64, plain: &[f64], square: &[f64]| {
            close(&weights(&CaGrad { c, rescale: Rescale::None }, rows), plain);
            close(&weights(&CaGrad { c, rescale: Rescale::Square }, rows), square);
            let linear: Vec<f64> = plain.iter().map(|weight| weight / (1.0 + c)).collect();
            close(&weights(&CaGrad { c, rescale: Rescale::Linear }, rows), &linear);
        };
        check(BASE, 0.4, &[0.663299, 0.5], &[0.57181, 0.431034]);
        check(BASE, 0.5, &[0.704124, 0.5], &[0.563299, 0.4]);
        check(BASE, 1.0, &[1.2, 0.8], &[0.6, 0.4]);
        check(THREE, 0.4, &[0.609905, 0.333333, 0.385448], &[0.52578, 0.287356, 0.332282]);
        check(THREE, 0.5, &[0.68883, 0.333333, 0.428856], &[0.551064, 0.266667, 0.343085]);
        check(THREE, 1.0, &[1.042394, 0.334165, 0.623441], &[0.521197, 0.167082, 0.311721]);
        check(SCALED, 0.4, &[0.5, 3.190725], &[0.431034, 2.750625]);
        check(SCALED, 0.5, &[0.5, 3.863406], &[0.4, 3.090725]);
        check(SCALED, 1.0, &[0.5, 7.226812], &[0.25, 3.613406]);
    }

    /// The primal problem itself: the direction keeps within reach, and `min_i <d, g_i>` equals the dual's minimum, which
    /// no other direction and no other weights can do. Weak duality makes this a proof of the optimum.
    #[test]
    fn primal_and_dual_agree() {
        for (seed, tasks, length, rank) in samples::small() {
            let gramian = samples::gramian(&samples::rows(seed, tasks, length, rank));
            let mean = vec![1.0 / tasks as f64; tasks];
            let products = gramian.matvec(&mean);
            for c in [0.1, 0.4, 0.9] {
                let found = averse(&gramian, c);
                let away: Vec<f64> = found.iter().zip(&mean).map(|(w, m)| w - m).collect();
                let reach = c * gramian.quadratic_form(&mean).sqrt();
                let distance = gramian.quadratic_form(&away).sqrt();
                assert!(distance <= reach * (1.0 + 1e-6), "seed {seed}, c {c}: {distance}, at most {reach}");
                let worst = gramian.matvec(&found).into_iter().fold(f64::INFINITY, f64::min);
                let sum: f64 = away.iter().sum();
                let w: Vec<f64> = away.iter().map(|a| a / sum).collect();
                let dual = dot(&w, &products) + reach * gramian.quadratic_form(&w).sqrt();
                let largest = gramian.norms().into_iter().fold(0.0, f64::max).powi(2);
                assert!((worst - dual).abs() < 1e-9 * largest, "seed {seed}, c {c}: {worst}, {dual}");
            }
        }
    }

    /// On a set of tasks, the weights at which all slopes are equal are a multiple of `G^-1 (gain - products)`, for one of
    /// two gains.
    #[test]
    fn weights_are_those_of_the_best_face() {
        for (what, rows) in samples::independent() {
            let (gramian, tasks) = (samples::gramian(&rows), rows.len());
            let mean = vec![1.0 / tasks as f64; tasks];
            let products = gramian.matvec(&mean);
            for c in [0.1, 0.4, 1.0, 3.0] {
                let reach = c * gramian.quadratic_form(&mean).sqrt();
                let dual = |w: &[f64]| dot(w, &products) + reach * gramian.quadratic_form(w).sqrt();
                let candidate = |set: &[usize]| {
                    let x = samples::solution(&gramian, set, &vec![1.0; tasks])?;
                    let y = samples::solution(&gramian, set, &products)?;
                    let of_set: Vec<f64> = set.iter().map(|&i| products[i]).collect();
                    let (xx, xy, yy): (f64, f64, f64) = (x.iter().sum(), dot(&x, &of_set), dot(&y, &of_set));
                    let root = (xy * xy - xx * (yy - reach * reach)).sqrt();
                    let weights = |gain: f64| -> Vec<f64> {
                        let w: Vec<f64> = x.iter().zip(&y).map(|(x, y)| gain * x - y).collect();
                        let sum: f64 = w.iter().sum();
                        w.iter().map(|w| w / sum).collect()
                    };
                    let spread = |w: &[f64]| {
                        let mut all = vec![0.0; tasks];
                        set.iter().zip(w).for_each(|(&i, &w)| all[i] = w);
                        all
                    };
                    let both = [(xy + root) / xx, (xy - root) / xx].map(weights).into_iter();
                    both.filter(|w| w.iter().all(|&w| w >= 0.0))
                        .min_by(|a, b| dual(&spread(a)).total_cmp(&dual(&spread(b))))
                };
                let best = samples::best(tasks, candidate, dual);
                let away: Vec<f64> = averse(&gramian, c).iter().zip(&mean).map(|(w, m)| w - m).collect();
                let sum: f64 = away.iter().sum();
                let ours: Vec<f64> = away.iter().map(|a| a / sum).collect();
                samples::close(&format!("{what}, c {c}"), &ours, &best);
            }
        }
    }
}
