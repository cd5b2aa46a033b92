//! Projection onto the dual cone of the gradients: `min v^T G v` over `v >= u`.

use super::linear::{IncrementalCholesky, SMALLEST_PIVOT};
use crate::Gramian;
use crate::gramian::add;

/// What rounding does to sums of K products, relative to the products.
pub(super) const ROUNDING: f64 = 2e-15;

/// Of tasks that enter together, those which the others explain but for so small a share have to wait.
pub(super) const INDEPENDENT: f64 = 1e-9;

/// The weights `v`, by the active-set method of Lawson and Hanson (1974) in `z = v - u >= 0`, with a difference: all tasks
/// that are opposed enter at once, not one a round. `J^T v` is the projection of `J^T u` onto the directions that conflict
/// with no gradient (Lopez-Paz and Ranzato 2017; Quinton and Rey 2024).
pub(crate) fn dual_cone_projection(gramian: &Gramian, least: &[f64]) -> Vec<f64> {
    let mut raising = Raising::of(gramian, least);
    // Each round ends shorter than the one before, so none returns; the bound is for rounding.
    for _ in 0..10 * gramian.tasks() + 10 {
        if !raising.round() {
            break;
        }
    }
    raising.raised.iter().zip(least).map(|(z, u)| z + u).collect()
}

/// A problem on the way to its solution.
struct Raising<'a> {
    gramian: &'a Gramian,
    least: &'a [f64],
    norms: Vec<f64>,
    /// `G u`: what every gradient's product with the sum is before anything is raised.
    before: Vec<f64>,
    /// `z`.
    raised: Vec<f64>,
    /// The tasks that are raised, in the order of their equations.
    free: Vec<usize>,
    /// Whose solution is the target.
    equations: IncrementalCholesky,
    /// The best `z` of the free tasks, of any sign.
    target: Vec<f64>,
    /// Which of the free tasks do not reach 0.
    stays: Vec<bool>,
    /// `G v`.
    products: Vec<f64>,
}

impl<'a> Raising<'a> {
    fn of(gramian: &'a Gramian, least: &'a [f64]) -> Raising<'a> {
        let tasks = gramian.tasks();
        let before = gramian.matvec(least);
        Raising {
            norms: gramian.norms(),
            raised: vec![0.0; tasks],
            free: Vec::with_capacity(tasks),
            equations: IncrementalCholesky::with_capacity(tasks),
            target: Vec::with_capacity(tasks),
            stays: Vec::with_capacity(tasks),
            products: before.clone(),
            before,
            gramian,
            least,
        }
    }

    /// Raises tasks whose gradients are opposed. False if there are none, or if none of them stays raised: then they were
    /// opposed by rounding alone, as otherwise the way to the best of all has to raise one.
    fn round(&mut self) -> bool {
        self.multiply();
        let rounding = self.rounding();
        let is_opposed = |&task: &usize| self.raised[task] == 0.0 && self.pull(task) > rounding;
        let mut opposed: Vec<usize> = (0..self.raised.len()).filter(is_opposed).collect();
        if opposed.is_empty() {
            return false;
        }
        opposed.sort_by(|&a, &b| self.pull(b).total_cmp(&self.pull(a)));
        self.free_all(&opposed);
        self.shorten();
        opposed.iter().any(|&task| self.raised[task] > 0.0)
    }

    /// Frees these tasks, the most opposed first; but not those whose gradients are sums of the others.
    fn free_all(&mut self, opposed: &[usize]) {
        let mut least = SMALLEST_PIVOT;
        for &task in opposed {
            self.free.push(task);
            if self.write(self.free.len() - 1) > least {
                least = INDEPENDENT;
            } else {
                self.free.pop();
                self.equations.truncate(self.free.len());
            }
        }
    }

    /// Goes to the best of the free tasks, and lets out those that reach 0 on the way.
    fn shorten(&mut self) {
        loop {
            self.equations.solve(&mut self.target);
            let (free, raised) = (&self.free, &self.raised);
            let ways = || free.iter().zip(&self.target).map(|(&task, &target)| open(raised[task], target));
            let step = ways().fold(1.0, f64::min);
            self.stays.clear();
            self.stays.extend(ways().map(|way| way > step));
            for ((&task, target), &stays) in self.free.iter().zip(&self.target).zip(&self.stays) {
                let raised = &mut self.raised[task];
                *raised = if stays { *raised + step * (target - *raised) } else { 0.0 };
            }
            let Some(first) = self.stays.iter().position(|stays| !stays) else { break };
            let mut stays = self.stays.iter();
            self.free.retain(|_| stays.next().is_some_and(|&stays| stays));
            self.equations.truncate(first);
            for place in first..self.free.len() {
                self.write(place);
            }
        }
    }

    /// How strongly the sum opposes a gradient.
    fn pull(&self, task: usize) -> f64 {
        -self.products[task] / self.norms[task]
    }

    /// What a pull may be by rounding alone.
    fn rounding(&self) -> f64 {
        let length = |task: usize| (self.raised[task] + self.least[task]).abs() * self.norms[task];
        ROUNDING * self.norms.len() as f64 * (0..self.norms.len()).map(length).sum::<f64>()
    }

    /// Writes the equation of the task at this place, the last; the share of its gradient that the free ones before it do
    /// not explain.
    fn write(&mut self, place: usize) -> f64 {
        let task = self.free[place];
        let row = self.gramian.row(task);
        self.equations.push(self.free[..=place].iter().map(|&other| row[other]), -self.before[task])
    }

    /// `G v`.
    fn multiply(&mut self) {
        self.products.copy_from_slice(&self.before);
        for &task in &self.free {
            add(&mut self.products, self.raised[task], self.gramian.row(task));
        }
    }
}

/// How far the way to a target is open, where 1 is the whole way: beyond it if something is left there.
pub(super) fn open(raised: f64, target: f64) -> f64 {
    match (target > 0.0, raised > 0.0) {
        (true, _) => f64::INFINITY,
        (false, true) => raised / (raised - target),
        (false, false) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{
        best, close, gauss, gramian, hard, independent, numbers, rows, small, solution, subsets,
    };
    use super::*;
    use crate::gramian::dot;

    /// How far `v` is from the solution: above `u`, no gradient opposed, and only opposed gradients raised.
    fn violation(gramian: &Gramian, least: &[f64], weights: &[f64]) -> f64 {
        let products = gramian.matvec(weights);
        let length = gramian.quadratic_form(least).sqrt().max(1e-300);
        let norms = gramian.norms();
        let raised: Vec<f64> = weights.iter().zip(least).map(|(v, u)| v - u).collect();
        let opposed = products.iter().zip(&norms).map(|(p, n)| -p / n.max(1e-300)).fold(0.0, f64::max);
        let below = raised.iter().map(|z| -z).fold(0.0, f64::max);
        let slack = dot(&raised, &products).abs() / length;
        (opposed + slack) / length + below
    }

    /// The smallest `v^T G v` among the optima of all sets of raised tasks.
    fn brute_force(gramian: &Gramian, least: &[f64]) -> f64 {
        let wanted = gramian.matvec(least);
        let optimum = |set: Vec<usize>| {
            let a = set.iter().map(|&i| set.iter().map(|&j| gramian.at(i, j)).collect()).collect();
            let found = gauss(a, set.iter().map(|&i| -wanted[i]).collect())?;
            let mut weights = least.to_vec();
            set.iter().zip(&found).for_each(|(&i, z)| weights[i] += z);
            found.iter().all(|&z| z >= -1e-12).then(|| gramian.quadratic_form(&weights))
        };
        subsets(gramian.tasks()).filter_map(optimum).fold(gramian.quadratic_form(least), f64::min)
    }

    #[test]
    fn no_set_of_raised_tasks_is_shorter() {
        for (seed, tasks, length, rank) in small() {
            let gramian = gramian(&rows(seed, tasks, length, rank));
            for raised in 0..tasks {
                let least: Vec<f64> = (0..tasks).map(|i| if i == raised { 1.0 } else { 0.0 }).collect();
                let weights = dual_cone_projection(&gramian, &least);
                let (ours, best) = (gramian.quadratic_form(&weights), brute_force(&gramian, &least));
                assert!(
                    (ours - best).abs() < 1e-11 * gramian.quadratic_form(&least),
                    "seed {seed}: {ours}, best {best}"
                );
            }
        }
    }

    #[test]
    fn many_tasks_of_any_rank_meet_the_conditions() {
        for (seed, rank) in [(1, 3), (2, 16), (3, 31), (4, 60)] {
            let gramian = gramian(&rows(seed, 32, 64, rank)).add_diagonal(1e-4);
            let least = vec![1.0 / 32.0; 32];
            let weights = dual_cone_projection(&gramian, &least);
            let violation = violation(&gramian, &least, &weights);
            assert!(violation < 1e-9, "rank {rank}: {violation}");
        }
    }

    #[test]
    fn weights_are_those_of_the_best_set() {
        for (seed, (what, rows)) in (0..).zip(independent()) {
            let gramian = gramian(&rows);
            let least = numbers(seed, rows.len());
            let above = |z: &[f64]| -> Vec<f64> { z.iter().zip(&least).map(|(z, u)| z + u).collect() };
            let pull: Vec<f64> = gramian.matvec(&least).iter().map(|product| -product).collect();
            let square = |z: &[f64]| gramian.quadratic_form(&above(z));
            let raised = best(rows.len(), |set| solution(&gramian, set, &pull), square);
            let nothing = vec![0.0; rows.len()];
            let raised = if square(&raised) < square(&nothing) { raised } else { nothing };
            close(&what, &dual_cone_projection(&gramian, &least), &above(&raised));
        }
    }

    /// Relative to the lengths that the sums are made of, whichever gradients are 0 or sums of others.
    #[test]
    fn hard_gradients_meet_the_conditions() {
        for (what, rows) in hard() {
            let gramian = gramian(&rows);
            let norms = gramian.norms();
            for raised in 0..rows.len() {
                let mut least = vec![0.0; rows.len()];
                least[raised] = 1.0 / norms[raised];
                let weights = dual_cone_projection(&gramian, &least);
                let length: f64 = weights.iter().zip(&norms).map(|(v, norm)| v * norm).sum();
                for (task, product) in gramian.matvec(&weights).into_iter().enumerate() {
                    let pull = -product / norms[task] / length;
                    let raised = weights[task] > least[task];
                    assert!(weights[task] >= least[task], "{what}: {weights:?}");
                    assert!(
                        pull < 1e-9 && (!raised || pull > -1e-9),
                        "{what}, task {task}: {pull}, {raised}"
                    );
                }
            }
        }
    }
}
