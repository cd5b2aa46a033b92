//! The equations of Nash-MTL and FairGrad: `(G w)_i = w_i^(-1/alpha)`, `w > 0`.

use super::linear;
use crate::Gramian;

/// Added to the cosines' diagonal: gradients that cancel have no solution, this close to them weights stay finite. Above the
/// smallest pivot of the linear systems, so that those keep it.
const LIFT: f64 = 3e-14;

/// What rounding does to a sum, relative to its terms.
const ROUNDING: f64 = 5e-16;

/// No step goes further towards 0.
const NEAREST: f64 = 0.9;

/// For one power. Four are usual.
const ROUNDS: usize = 30;

/// Of a solution to four digits, after which no digit is left to find: their number doubles in each.
const LAST_ROUNDS: usize = 4;

/// On the way to the last power. Five are usual, fifty where an alpha near the ends of its range meets gradients of very different
/// length.
const POWERS: usize = 300;

/// How far the next power puts the logarithms of the second equation apart: at first, at most, and the least at which the way
/// ends.
const FIRST: f64 = 2.0;
const FURTHEST: f64 = 32.0;
const SHORTEST: f64 = 1e-6;

/// The only solution. In the unknowns `y_i = w_i ||g_i||`, which do not know in which unit each gradient comes, the equations are
/// `C y = s` and `s_i y_i^p = f_i` with `p = 1 / alpha`, C the cosines, and `f_i = ||g_i||^(p - 1)`. At p = 1 they know no length
/// at all. From there p moves to its value in steps, each solved by Newton's method in y and s, as an interior-point method does
/// it. In y alone and without a way to walk, the powers of a small alpha leave Newton's method too near to 0 to move, and
/// those of a large one too far away to return. Where gradients cancel each other, so that there is no solution, the weights
/// come out large.
pub(crate) fn nash_bargaining(gramian: &Gramian, alpha: f64) -> Vec<f64> {
    let norms = gramian.norms();
    let problem = Problem {
        cosines: gramian.cosine_matrix().add_diagonal(LIFT),
        logarithms: norms.iter().map(|norm| norm.ln()).collect(),
    };
    let y = problem.follow_path(1.0 / alpha);
    y.iter().zip(&norms).map(|(y, norm)| y / norm).collect()
}

struct Problem {
    /// C.
    cosines: Gramian,
    /// `ln ||g_i||`.
    logarithms: Vec<f64>,
}

/// Both unknowns, above 0.
#[derive(Clone)]
struct Point {
    y: Vec<f64>,
    s: Vec<f64>,
}

impl Problem {
    /// From the power 1 to the last one. Where numbers end before that, the solution for the power that was reached.
    fn follow_path(&self, last: f64) -> Vec<f64> {
        let ones = vec![1.0; self.logarithms.len()];
        let mut at = Point { y: ones.clone(), s: ones };
        self.solve(&mut at, 1.0);
        let (mut power, mut furthest) = (1.0_f64, FIRST);
        for _ in 0..POWERS {
            if power == last || furthest < SHORTEST {
                break;
            }
            let logarithms = at.y.iter().zip(&self.logarithms).map(|(y, norm)| (norm - y.ln()).abs());
            let length = furthest / logarithms.fold(f64::MIN_POSITIVE, f64::max);
            let next =
                if (last - power).abs() <= length { last } else { power + length.copysign(last - power) };
            let mut found = at.clone();
            if self.solve(&mut found, next) {
                (at, power, furthest) = (found, next, FURTHEST.min(2.0 * furthest));
            } else {
                furthest *= 0.5;
            }
        }
        self.refine(at, power).y
    }

    /// Goes by Newton's method to four digits of the solution. False if it does not come to them.
    fn solve(&self, at: &mut Point, power: f64) -> bool {
        for _ in 0..ROUNDS {
            let (excess, lack) = (self.excess(at), self.lack(at, power));
            if self.is_near(at, &excess, &lack) {
                return true;
            }
            match self.round(at, &excess, &lack, power) {
                Some(next) => *at = next,
                None => return false,
            }
        }
        false
    }

    /// A solution to four digits, to all.
    fn refine(&self, mut at: Point, power: f64) -> Point {
        for _ in 0..LAST_ROUNDS {
            let (excess, lack) = (self.excess(&at), self.lack(&at, power));
            let Some(next) = self.round(&at, &excess, &lack, power) else { break };
            at = next;
        }
        at
    }

    /// As much of Newton's way as leaves both unknowns above 0; `None` where numbers leave f64's range.
    fn round(&self, at: &Point, excess: &[f64], lack: &[f64], power: f64) -> Option<Point> {
        let way = self.way(at, excess, lack, power);
        let of_s: Vec<f64> = way.iter().zip(lack).map(|(way, lack)| lack - power * way).collect();
        let least = way.iter().chain(&of_s).copied().fold(0.0, f64::min);
        let step = NEAREST / (-least).max(NEAREST);
        let go =
            |from: &[f64], way: &[f64]| from.iter().zip(way).map(|(x, way)| x * (1.0 + step * way)).collect();
        let next = Point { y: go(&at.y, &way), s: go(&at.s, &of_s) };
        next.y.iter().chain(&next.s).all(|x| x.is_finite() && *x > 0.0).then_some(next)
    }

    /// `C y - s`.
    fn excess(&self, at: &Point) -> Vec<f64> {
        self.cosines.matvec(&at.y).iter().zip(&at.s).map(|(product, s)| product - s).collect()
    }

    /// `ln (f / s y^p)`.
    fn lack(&self, at: &Point, power: f64) -> Vec<f64> {
        let terms = at.y.iter().zip(&at.s).zip(&self.logarithms);
        terms.map(|((y, s), norm)| (power - 1.0) * norm - s.ln() - power * y.ln()).collect()
    }

    /// Whether the equations hold to four digits, or as nearly as the sums of the first can be told.
    fn is_near(&self, at: &Point, excess: &[f64], lack: &[f64]) -> bool {
        (0..lack.len()).all(|i| {
            let terms: f64 =
                self.cosines.row(i).iter().zip(&at.y).map(|(cosine, y)| (cosine * y).abs()).sum();
            excess[i].abs() <= 1e-4 * at.s[i] + 4.0 * ROUNDING * terms && lack[i].abs() <= 1e-4
        })
    }

    /// Newton's way in `dy / y`: `(C + diag(p s / y)) dy = s lack - excess`, multiplied by y on both sides.
    fn way(&self, at: &Point, excess: &[f64], lack: &[f64], power: f64) -> Vec<f64> {
        let tasks = at.y.len();
        let mut matrix = Vec::with_capacity(tasks * tasks);
        for (i, y) in at.y.iter().enumerate() {
            matrix.extend(self.cosines.row(i).iter().zip(&at.y).map(|(cosine, other)| y * cosine * other));
            matrix[i * tasks + i] += power * at.s[i] * y;
        }
        let right: Vec<f64> = (0..tasks).map(|i| at.y[i] * (at.s[i] * lack[i] - excess[i])).collect();
        linear::solve(&matrix, &right)
    }
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
