//! The equations of Nash-MTL and FairGrad: `(G w)_i = w_i^(-1/alpha)`, `w > 0`.

use super::linear;
use crate::Gramian;
use crate::gramian::dot;

/// Added to the cosines' diagonal: gradients that cancel have no solution, this close to them weights stay finite.
const LIFT: f64 = 1e-13;

/// What rounding does to a sum, relative to its terms.
const ROUNDING: f64 = 5e-16;

/// No step goes further towards 0.
const NEAREST: f64 = 0.9;

/// Ten are usual, thirty with a large alpha. Where gradients cancel, or answers are near the end of f64's range, more would
/// hardly come nearer.
const ROUNDS: usize = 60;

/// Logarithms stay this near to 0, so that numbers stay within f64's range.
const FURTHEST: f64 = 600.0;

/// The only solution, by Newton's method on the convex function whose gradient is the difference of the two sides. In the
/// unknowns `y_i = w_i ||g_i||`, which do not know in which unit each gradient comes. Where gradients cancel each other,
/// so that there is no solution, the weights come out large.
pub(crate) fn nash_bargaining(gramian: &Gramian, alpha: f64) -> Vec<f64> {
    let norms = gramian.norms();
    let problem = Problem {
        cosines: gramian.cosine_matrix().add_diagonal(LIFT),
        logarithms: norms.iter().map(|norm| (1.0 / alpha - 1.0) * norm.ln()).collect(),
        power: 1.0 / alpha,
    };
    let y = problem.solve();
    y.iter().zip(&norms).map(|(y, norm)| y / norm).collect()
}

/// `C y = f y^-power`.
struct Problem {
    /// C.
    cosines: Gramian,
    /// Of every f.
    logarithms: Vec<f64>,
    power: f64,
}

impl Problem {
    fn solve(&self) -> Vec<f64> {
        // The solution if all gradients were orthogonal.
        let mut y: Vec<f64> = self.logarithms.iter().map(|log| (log / (1.0 + self.power)).exp()).collect();
        let mut apart = false;
        for _ in 0..ROUNDS {
            let slopes = self.slopes(&y);
            if self.are_rounding(&slopes, &y) {
                break;
            }
            let way = self.way(&y, &slopes);
            // Newton's method would be slow to find the size of numbers that are much too large, whose way leads below 0.
            apart = !apart && way.iter().zip(&y).any(|(way, y)| -way > NEAREST * y);
            if apart {
                self.solve_one_by_one(&mut y);
                continue;
            }
            let Some(step) = self.step(&y, &way, -dot(&way, &slopes)) else { break };
            y = after(&y, step, &way);
        }
        y
    }

    /// Every equation once, for its own unknown.
    fn solve_one_by_one(&self, y: &mut [f64]) {
        for i in 0..y.len() {
            let row = self.cosines.row(i);
            y[i] = alone(dot(row, y) - row[i] * y[i], self.logarithms[i], self.power);
        }
    }

    /// `f y^-power`.
    fn pushes(&self, y: &[f64]) -> Vec<f64> {
        y.iter().zip(&self.logarithms).map(|(y, log)| (log - self.power * y.ln()).exp()).collect()
    }

    /// How much larger the left sides are: the gradient of the convex function.
    fn slopes(&self, y: &[f64]) -> Vec<f64> {
        self.cosines.matvec(y).iter().zip(self.pushes(y)).map(|(product, push)| product - push).collect()
    }

    /// Whether the equations hold as nearly as their sums, and the exponentials of logarithms, can be told.
    fn are_rounding(&self, slopes: &[f64], y: &[f64]) -> bool {
        slopes.iter().enumerate().all(|(i, slope)| {
            let terms: f64 = self.cosines.row(i).iter().zip(y).map(|(cosine, y)| (cosine * y).abs()).sum();
            let exponent = self.logarithms[i].abs() + self.power * y[i].ln().abs();
            slope.abs() <= ROUNDING * (1.0 + exponent) * terms
        })
    }

    /// Newton's way to the solution.
    fn way(&self, y: &[f64], slopes: &[f64]) -> Vec<f64> {
        let tasks = y.len();
        let mut matrix: Vec<f64> = (0..tasks).flat_map(|i| self.cosines.row(i)).copied().collect();
        for (i, (push, y)) in self.pushes(y).into_iter().zip(y).enumerate() {
            matrix[i * tasks + i] += self.power * push / y;
        }
        linear::solve(&matrix, &slopes.iter().map(|slope| -slope).collect::<Vec<_>>())
    }

    /// How much of the way to go: never nearer to 0 than a tenth, and not far past the valley. None where the
    /// function does not fall by more than rounding.
    fn step(&self, y: &[f64], way: &[f64], descent: f64) -> Option<f64> {
        let limits = way.iter().zip(y).map(|(way, y)| if *way < 0.0 { -NEAREST * y / way } else { 1.0 });
        let mut step = limits.fold(1.0, f64::min);
        for _ in 0..30 {
            if dot(&self.slopes(&after(y, step, way)), way) <= 0.5 * descent {
                return Some(step);
            }
            step *= 0.5;
        }
        None
    }
}

/// A part of the way from y.
fn after(y: &[f64], step: f64, way: &[f64]) -> Vec<f64> {
    y.iter().zip(way).map(|(y, way)| y + step * way).collect()
}

/// The y above 0 with `others + y = f y^-power`, by Newton's method on logarithms of both sides, or where `others` is below 0 of
/// `y = f y^-power - others`: their slopes are bounded.
fn alone(others: f64, log: f64, power: f64) -> f64 {
    let mut x = (log / (1.0 + power)).clamp(-FURTHEST, FURTHEST);
    for _ in 0..30 {
        let (y, push) = (x.exp(), (log - power * x).exp());
        let step = if others >= 0.0 {
            ((y + others).ln() - (log - power * x)) / (y / (y + others) + power)
        } else {
            (x - (push - others).ln()) / (1.0 + power * push / (push - others))
        };
        x = (x - step).clamp(-FURTHEST, FURTHEST);
        if step.abs() < 1e-3 {
            break;
        }
    }
    x.exp()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{gramian, hard, rows};
    use super::*;

    /// The definition itself, which has one solution, up to the rounding of the sums in it.
    fn assert_solved(what: &str, gramian: &Gramian, alpha: f64) {
        let weights = nash_bargaining(gramian, alpha);
        for (i, product) in gramian.matvec(&weights).into_iter().enumerate() {
            let wanted = weights[i].powf(-1.0 / alpha);
            let terms: f64 = (0..weights.len()).map(|j| (gramian.at(i, j) * weights[j]).abs()).sum();
            let most = 1e-9 * wanted + 1e-12 * terms;
            assert!(
                weights[i] > 0.0 && (product - wanted).abs() < most,
                "{what}, {alpha}: {product}, {wanted}"
            );
        }
    }

    #[test]
    fn both_sides_are_equal() {
        for seed in 0..40 {
            let tasks = 1 + seed as usize % 9;
            let mut rows = rows(seed, tasks, 12, 12);
            // Gradients of very different length.
            for (row, power) in rows.iter_mut().zip(-3..) {
                row.iter_mut().for_each(|x| *x *= 10f64.powi(power));
            }
            let gramian = gramian(&rows);
            for alpha in [0.2, 0.5, 1.0, 2.0, 5.0] {
                assert_solved(&format!("seed {seed}"), &gramian, alpha);
            }
        }
    }

    /// With 32 tasks and of sizes that differ by 25 orders of magnitude too, but there not with powers that take the answer
    /// out of the range of numbers. Without full rank gradients may cancel, so that there is no solution.
    #[test]
    fn hard_gradients_meet_the_definition() {
        for (what, rows) in hard() {
            if !what.contains(&format!("rank {},", rows.len())) {
                continue;
            }
            let alphas: &[f64] =
                if what.contains("to") { &[0.5, 1.0, 2.0] } else { &[0.1, 0.5, 1.0, 2.0, 20.0] };
            for &alpha in alphas {
                assert_solved(&what, &gramian(&rows), alpha);
            }
        }
    }

    /// `a_1 / a_2 = sqrt(g_22 / g_11)`, and `a^T G a = 2`.
    #[test]
    fn two_tasks_have_a_closed_form() {
        let gramian = gramian(&[vec![3.0, 1.0], vec![-0.02, 0.05]]);
        let weights = nash_bargaining(&gramian, 1.0);
        let ratio = (gramian.at(1, 1) / gramian.at(0, 0)).sqrt();
        assert!((weights[0] / weights[1] / ratio - 1.0).abs() < 1e-12);
        assert!((gramian.quadratic_form(&weights) - 2.0).abs() < 1e-11);
    }

    #[test]
    fn gradients_that_cancel_give_finite_weights() {
        let weights = nash_bargaining(&gramian(&[vec![2.0], vec![-1.0]]), 1.0);
        assert!(weights.iter().all(|w| w.is_finite() && *w > 0.0), "{weights:?}");
    }
}
