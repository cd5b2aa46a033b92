//! The shortest sum of the gradients whose weights are not below given ones: `min v^T G v` over `v >= u`.

use super::linear;
use crate::Gramian;

/// What rounding does to sums of K products, relative to the products.
const ROUNDING: f64 = 2e-15;

/// The weights `v`, by the active-set method of Lawson and Hanson (1974) in `z = v - u >= 0`. `J^T v` is the projection of
/// `J^T u` onto the directions that conflict with no gradient (Lopez-Paz and Ranzato 2017; Quinton and Rey 2024).
pub(crate) fn shortest_above(gramian: &Gramian, least: &[f64]) -> Vec<f64> {
    let tasks = gramian.tasks();
    let norms = gramian.norms();
    let wanted = gramian.times(least);
    let mut raised = vec![0.0; tasks];
    let mut free: Vec<usize> = Vec::new();
    // Each round ends shorter than the one before, so none returns; the bound is for rounding.
    for _ in 0..10 * tasks + 10 {
        let weights: Vec<f64> = raised.iter().zip(least).map(|(z, u)| z + u).collect();
        let products = gramian.times(&weights);
        let length = weights.iter().zip(&norms).map(|(v, norm)| v.abs() * norm).sum::<f64>();
        let pull = |task: &usize| -products[*task] / norms[*task];
        let entering = (0..tasks)
            .filter(|task| !free.contains(task) && pull(task) > ROUNDING * tasks as f64 * length)
            .max_by(|a, b| pull(a).total_cmp(&pull(b)));
        let Some(entering) = entering else { break };
        free.push(entering);
        while !free.is_empty() {
            let matrix = free.iter().flat_map(|&i| free.iter().map(move |&j| gramian.at(i, j))).collect();
            let target = linear::solve(matrix, free.iter().map(|&i| -wanted[i]).collect());
            let bound = free.iter().zip(&target).filter(|(_, target)| **target <= 0.0);
            let fraction = |(&task, target): (&usize, &f64)| raised[task] / (raised[task] - target);
            let first = bound.map(|at| (fraction(at), *at.0)).min_by(|a, b| a.0.total_cmp(&b.0));
            let step = first.map_or(1.0, |(fraction, _)| fraction);
            for (&task, target) in free.iter().zip(&target) {
                raised[task] += step * (target - raised[task]);
            }
            let Some((_, out)) = first else { break };
            raised[out] = 0.0;
            free.retain(|&task| task != out);
        }
    }
    raised.iter().zip(least).map(|(z, u)| z + u).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{gauss, gramian, rows, small, subsets};
    use super::*;
    use crate::gramian::dot;

    /// How far `v` is from the solution: above `u`, no gradient opposed, and only opposed gradients raised.
    fn violation(gramian: &Gramian, least: &[f64], weights: &[f64]) -> f64 {
        let products = gramian.times(weights);
        let length = gramian.square(least).sqrt().max(1e-300);
        let norms = gramian.norms();
        let raised: Vec<f64> = weights.iter().zip(least).map(|(v, u)| v - u).collect();
        let opposed = products.iter().zip(&norms).map(|(p, n)| -p / n.max(1e-300)).fold(0.0, f64::max);
        let below = raised.iter().map(|z| -z).fold(0.0, f64::max);
        let slack = dot(&raised, &products).abs() / length;
        (opposed + slack) / length + below
    }

    /// The smallest `v^T G v` among the optima of all sets of raised tasks.
    fn brute_force(gramian: &Gramian, least: &[f64]) -> f64 {
        let wanted = gramian.times(least);
        let optimum = |set: Vec<usize>| {
            let a = set.iter().map(|&i| set.iter().map(|&j| gramian.at(i, j)).collect()).collect();
            let found = gauss(a, set.iter().map(|&i| -wanted[i]).collect())?;
            let mut weights = least.to_vec();
            set.iter().zip(&found).for_each(|(&i, z)| weights[i] += z);
            found.iter().all(|&z| z >= -1e-12).then(|| gramian.square(&weights))
        };
        subsets(gramian.tasks()).filter_map(optimum).fold(gramian.square(least), f64::min)
    }

    #[test]
    fn no_set_of_raised_tasks_is_shorter() {
        for (seed, tasks, length, rank) in small() {
            let gramian = gramian(&rows(seed, tasks, length, rank));
            for raised in 0..tasks {
                let least: Vec<f64> = (0..tasks).map(|i| if i == raised { 1.0 } else { 0.0 }).collect();
                let weights = shortest_above(&gramian, &least);
                let (ours, best) = (gramian.square(&weights), brute_force(&gramian, &least));
                assert!(
                    (ours - best).abs() < 1e-11 * gramian.square(&least),
                    "seed {seed}: {ours}, best {best}"
                );
            }
        }
    }

    #[test]
    fn many_tasks_of_any_rank_meet_the_conditions() {
        for (seed, rank) in [(1, 3), (2, 16), (3, 31), (4, 60)] {
            let gramian = gramian(&rows(seed, 32, 64, rank)).lifted(1e-4);
            let least = vec![1.0 / 32.0; 32];
            let weights = shortest_above(&gramian, &least);
            let violation = violation(&gramian, &least, &weights);
            assert!(violation < 1e-9, "rank {rank}: {violation}");
        }
    }
}
