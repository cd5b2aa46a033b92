//! The shortest weighted mean of the gradients: `min w^T G w` over `w >= 0, sum w = 1`.

use super::linear;
use crate::Gramian;
use crate::gramian::dot;

/// What rounding does to sums of K products, relative to the products.
const ROUNDING: f64 = 2e-15;

/// The weights of the shortest mean, by Wolfe's method (1976): an active set of tasks grows by the task that shortens the
/// mean most and loses those whose weight would turn negative. Where several means are equally short, one of them.
pub(crate) fn shortest_mean(gramian: &Gramian) -> Vec<f64> {
    let tasks = gramian.tasks();
    let norms = gramian.norms();
    let Some(first) = (0..tasks).min_by(|&a, &b| norms[a].total_cmp(&norms[b])) else { return Vec::new() };
    let mut weights = vec![0.0; tasks];
    weights[first] = 1.0;
    let mut active = vec![first];
    // Each round ends shorter than the one before, so none returns; the bound is for rounding.
    for _ in 0..20 * tasks + 20 {
        let products = gramian.times(&weights);
        let square = dot(&weights, &products);
        let length = dot(&weights, &norms);
        let noise = |task: usize| ROUNDING * (tasks as f64) * length * (norms[task] + length);
        let gain = |task: &usize| (square - products[*task]) / (norms[*task] + length);
        let entering = (0..tasks)
            .filter(|task| !active.contains(task) && square - products[*task] > noise(*task))
            .max_by(|a, b| gain(a).total_cmp(&gain(b)));
        let Some(entering) = entering else { break };
        active.push(entering);
        loop {
            let target = shortest_affine(gramian, &active, &norms);
            let leaving = (active.iter().zip(&target))
                .filter(|(_, target)| **target <= 0.0)
                .map(|(&task, target)| weights[task] / (weights[task] - target))
                .fold(1.0, f64::min);
            // A task that enters at 0 and has to leave at once: what it promised was rounding.
            for (&task, target) in active.iter().zip(&target) {
                weights[task] += leaving * (target - weights[task]);
            }
            if leaving >= 1.0 && target.iter().all(|&target| target > 0.0) {
                break;
            }
            let stays = |task: usize, target: f64| target > 0.0 || weights[task] > 1e-15;
            let kept: Vec<usize> = active
                .iter()
                .zip(&target)
                .filter(|(task, target)| stays(**task, **target))
                .map(|(task, _)| *task)
                .collect();
            // At least the task that set `leaving` goes, whatever rounding left of its weight.
            let bound = active.iter().zip(&target).filter(|(_, target)| **target <= 0.0);
            let first_out =
                bound.min_by(|a, b| weights[*a.0].total_cmp(&weights[*b.0])).map(|(task, _)| *task);
            active = kept.into_iter().filter(|task| Some(*task) != first_out).collect();
            for task in (0..tasks).filter(|task| !active.contains(task)) {
                weights[task] = 0.0;
            }
            if active.is_empty() {
                weights[first] = 1.0;
                active.push(first);
                break;
            }
        }
    }
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// The weights, of any sign and with sum 1, of the shortest point in the affine hull of some gradients. Written in the
/// differences to the shortest of them, so that a gradient much longer than the others does not drown them.
fn shortest_affine(gramian: &Gramian, active: &[usize], norms: &[f64]) -> Vec<f64> {
    let base = (0..active.len()).min_by(|&a, &b| norms[active[a]].total_cmp(&norms[active[b]])).unwrap_or(0);
    let origin = active[base];
    let others: Vec<usize> = active.iter().copied().filter(|&task| task != origin).collect();
    let g = |i: usize, j: usize| gramian.at(i, j);
    let difference = |i: usize, j: usize| (g(i, j) - g(i, origin)) + (g(origin, origin) - g(j, origin));
    let matrix = others.iter().flat_map(|&i| others.iter().map(move |&j| difference(i, j))).collect();
    let target = others.iter().map(|&i| g(origin, origin) - g(i, origin)).collect();
    let mut found = linear::solve(matrix, target);
    let rest = 1.0 - found.iter().sum::<f64>();
    found.insert(base, rest);
    found
}

#[cfg(test)]
mod tests {
    use super::super::samples::{gauss, gramian, rows, small, subsets};
    use super::*;

    /// The smallest `w^T G w` among the optima of all faces of the simplex.
    fn brute_force(gramian: &Gramian) -> f64 {
        let optimum = |set: Vec<usize>| {
            let n = set.len();
            let mut a = vec![vec![1.0; n + 1]; n + 1];
            a[n][n] = 0.0;
            for (i, &x) in set.iter().enumerate() {
                for (j, &y) in set.iter().enumerate() {
                    a[i][j] = gramian.at(x, y);
                }
            }
            let mut b = vec![0.0; n + 1];
            b[n] = 1.0;
            let found = gauss(a, b)?;
            found[..n].iter().all(|&w| w >= -1e-12).then(|| gramian.of(&set).square(&found[..n]))
        };
        subsets(gramian.tasks()).filter_map(optimum).fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn no_face_of_the_simplex_has_a_shorter_mean() {
        for (seed, tasks, length, rank) in small() {
            let gramian = gramian(&rows(seed, tasks, length, rank));
            let weights = shortest_mean(&gramian);
            assert!(weights.iter().all(|&w| w >= 0.0), "{weights:?}");
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-14);
            let (ours, best) = (gramian.square(&weights), brute_force(&gramian));
            let largest = gramian.norms().iter().fold(0.0, |a: f64, b| a.max(*b)).powi(2);
            assert!((ours - best).abs() < 1e-12 * largest, "seed {seed}: {ours}, best {best}");
        }
    }

    /// Two tasks have a closed form.
    #[test]
    fn two_tasks_of_very_different_length() {
        for long in [1.0, 1e3, 1e8, 1e20] {
            let gramian = gramian(&[vec![long, 0.0], vec![-0.5, 0.5]]);
            let weights = shortest_mean(&gramian);
            let (a, b, c) = (gramian.at(0, 0), gramian.at(1, 1), gramian.at(0, 1));
            let expected = (b - c) / (a + b - 2.0 * c);
            assert!(
                (weights[0] - expected).abs() < 1e-14 * expected.max(1e-3),
                "{long}: {weights:?}, {expected}"
            );
            assert!((weights[0] / expected - 1.0).abs() < 1e-9, "{long}: {weights:?}, {expected}");
        }
    }
}
