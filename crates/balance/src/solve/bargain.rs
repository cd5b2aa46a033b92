//! The equations of Nash-MTL and FairGrad: `(G w)_i = w_i^(-1/alpha)`, `w > 0`.

use super::linear;
use crate::Gramian;
use crate::gramian::dot;

/// Added to the cosines' diagonal: gradients that cancel have no solution, this close to them weights stay finite.
const LIFT: f64 = 1e-13;

/// The only solution, by Newton's method on the convex function whose gradient is the difference of the two sides. In the
/// unknowns `y_i = w_i ||g_i||`, which do not know in which unit each gradient comes. Where gradients cancel each other,
/// so that there is no solution, the weights come out large.
pub(crate) fn bargain(gramian: &Gramian, alpha: f64) -> Vec<f64> {
    let norms = gramian.norms();
    let cosines = gramian.of_units().lifted(LIFT);
    let tasks = gramian.tasks();
    let power = 1.0 / alpha;
    let factor: Vec<f64> = norms.iter().map(|norm| norm.powf(power - 1.0)).collect();
    // The solution if all gradients were orthogonal.
    let mut y: Vec<f64> = factor.iter().map(|factor| factor.powf(alpha / (1.0 + alpha))).collect();
    let slope = |y: &[f64]| -> Vec<f64> {
        let pushed = y.iter().zip(&factor).map(|(y, factor)| factor * y.powf(-power));
        cosines.times(y).iter().zip(pushed).map(|(product, pushed)| product - pushed).collect()
    };
    for _ in 0..300 {
        let gradient = slope(&y);
        let mut matrix: Vec<f64> =
            (0..tasks).flat_map(|i| (0..tasks).map(move |j| (i, j))).map(|(i, j)| cosines.at(i, j)).collect();
        for i in 0..tasks {
            matrix[i * tasks + i] += factor[i] * power * y[i].powf(-power - 1.0);
        }
        let way = linear::solve(&matrix, &gradient.iter().map(|slope| -slope).collect::<Vec<_>>());
        let descent = dot(&way, &gradient);
        let relative = way.iter().zip(&y).map(|(way, y)| (way / y).abs()).fold(0.0, f64::max);
        if descent >= 0.0 || descent.is_nan() {
            break;
        }
        // Never more than nine tenths of the way to 0, and not past the valley.
        let room = way.iter().zip(&y).map(|(way, y)| if *way < 0.0 { -0.9 * y / way } else { 1.0 });
        let mut step = room.fold(1.0, f64::min);
        let after = |step: f64| -> Vec<f64> { y.iter().zip(&way).map(|(y, way)| y + step * way).collect() };
        while dot(&slope(&after(step)), &way) > -0.5 * descent && step > 1e-9 {
            step *= 0.5;
        }
        y = after(step);
        if relative * step < 1e-14 {
            break;
        }
    }
    y.iter().zip(&norms).map(|(y, norm)| y / norm).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{gramian, hard, rows};
    use super::*;

    /// The definition itself, which has one solution, up to the rounding of the sums in it.
    fn assert_solved(what: &str, gramian: &Gramian, alpha: f64) {
        let weights = bargain(gramian, alpha);
        for (i, product) in gramian.times(&weights).into_iter().enumerate() {
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
        let weights = bargain(&gramian, 1.0);
        let ratio = (gramian.at(1, 1) / gramian.at(0, 0)).sqrt();
        assert!((weights[0] / weights[1] / ratio - 1.0).abs() < 1e-12);
        assert!((gramian.square(&weights) - 2.0).abs() < 1e-11);
    }

    #[test]
    fn gradients_that_cancel_give_finite_weights() {
        let weights = bargain(&gramian(&[vec![2.0], vec![-1.0]]), 1.0);
        assert!(weights.iter().all(|w| w.is_finite() && *w > 0.0), "{weights:?}");
    }
}
