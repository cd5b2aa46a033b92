//! The minimum-norm point of the convex hull of the gradients: `min w^T G w` over `w >= 0, sum w = 1`.

use super::cone::{INDEPENDENT, ROUNDING, open};
use super::linear::{IncrementalCholesky, SMALLEST_PIVOT};
use crate::Gramian;
use crate::gramian::{add, dot};

/// The weights of the minimum-norm point, by Wolfe's method (1976), with a difference: all tasks that make the mean shorter enter
/// the active set at once, not one a round. Then those leave whose weight would turn negative. Where several means are
/// equally short, one of them.
pub(crate) fn min_norm_point(gramian: &Gramian) -> Vec<f64> {
    let norms = gramian.norms();
    let Some(first) = shortest_of(0..gramian.tasks(), &norms) else { return Vec::new() };
    let mut mean = Mean::of(gramian, norms, first);
    // Each round ends shorter than the one before, so none returns; the bound is for rounding.
    for _ in 0..20 * gramian.tasks() + 20 {
        if !mean.round() {
            break;
        }
    }
    let sum: f64 = mean.weights.iter().sum();
    mean.weights.iter().map(|weight| weight / sum).collect()
}

/// A mean on the way to the shortest.
struct Mean<'a> {
    gramian: &'a Gramian,
    norms: Vec<f64>,
    weights: Vec<f64>,
    /// The shortest of the active tasks: the equations are written in the differences to its gradient, so that one much
    /// longer than the others does not drown them.
    origin: usize,
    /// The other active tasks, in the order of their equations.
    others: Vec<usize>,
    /// Whose solution is the target.
    equations: IncrementalCholesky,
    /// The others' weights, of any sign, in the shortest point of the affine hull of the active gradients.
    target: Vec<f64>,
    /// Which of the others do not reach 0.
    stays: Vec<bool>,
    /// `G w`.
    products: Vec<f64>,
}

impl<'a> Mean<'a> {
    /// Which is one gradient.
    fn of(gramian: &'a Gramian, norms: Vec<f64>, first: usize) -> Mean<'a> {
        let tasks = gramian.tasks();
        let mut weights = vec![0.0; tasks];
        weights[first] = 1.0;
        Mean {
            gramian,
            norms,
            weights,
            origin: first,
            others: Vec::with_capacity(tasks),
            equations: IncrementalCholesky::with_capacity(tasks),
            target: Vec::with_capacity(tasks),
            stays: Vec::with_capacity(tasks),
            products: vec![0.0; tasks],
        }
    }

    /// Takes in tasks that make the mean shorter. False if there are none, or if none of them keeps a weight: then they
    /// would do so by rounding alone, as otherwise the way to the best of all has to give weight to one.
    fn round(&mut self) -> bool {
        self.multiply();
        let square = dot(&self.weights, &self.products);
        let length = dot(&self.weights, &self.norms);
        let gain = |task: usize| (square - self.products[task]) / (self.norms[task] + length);
        let noise = ROUNDING * self.norms.len() as f64 * length;
        let mut entering: Vec<usize> = (0..self.norms.len()).collect();
        entering.retain(|&task| self.weights[task] == 0.0 && gain(task) > noise);
        if entering.is_empty() {
            return false;
        }
        entering.sort_by(|&a, &b| gain(b).total_cmp(&gain(a)));
        self.activate(&entering);
        self.shorten();
        entering.iter().any(|&task| self.weights[task] > 0.0)
    }

    /// Makes these tasks active, in their order; but not those whose gradients are in the affine hull of the others.
    fn activate(&mut self, entering: &[usize]) {
        let shorter = entering.iter().copied().filter(|&task| self.norms[task] < self.norms[self.origin]);
        if let Some(shortest) = shortest_of(shorter, &self.norms) {
            self.others.push(self.origin);
            self.origin = shortest;
            self.write_from(0);
        }
        let mut least = SMALLEST_PIVOT;
        let origin = self.origin;
        for &task in entering.iter().filter(|&&task| task != origin) {
            self.others.push(task);
            if self.write(self.others.len() - 1) > least {
                least = INDEPENDENT;
            } else {
                self.others.pop();
                self.equations.truncate(self.others.len());
            }
        }
    }

    /// Goes to the shortest point of the affine hull, and lets out the tasks whose weight reaches 0 on the way.
    fn shorten(&mut self) {
        loop {
            self.equations.solve(&mut self.target);
            let rest = 1.0 - self.target.iter().sum::<f64>();
            let way_of_origin = open(self.weights[self.origin], rest);
            let (others, weights) = (&self.others, &self.weights);
            let ways = || others.iter().zip(&self.target).map(|(&task, &target)| open(weights[task], target));
            let step = ways().fold(way_of_origin.min(1.0), f64::min);
            self.stays.clear();
            self.stays.extend(ways().map(|way| way > step));
            let origin_stays = way_of_origin > step;
            let mut go = |task: usize, target: f64, stays: bool| {
                let weight = &mut self.weights[task];
                *weight = if stays { *weight + step * (target - *weight) } else { 0.0 };
            };
            go(self.origin, rest, origin_stays);
            for ((&task, &target), &stays) in self.others.iter().zip(&self.target).zip(&self.stays) {
                go(task, target, stays);
            }
            let first_out = self.stays.iter().position(|stays| !stays);
            if origin_stays && first_out.is_none() {
                break;
            }
            let mut stays = self.stays.iter();
            self.others.retain(|_| stays.next().is_some_and(|&stays| stays));
            if origin_stays {
                self.write_from(first_out.unwrap_or(self.others.len()));
            } else {
                self.move_origin();
            }
        }
    }

    /// Gives the part of the origin to another active task. If there is none, which only broken numbers can bring about, it
    /// stays with all weight.
    fn move_origin(&mut self) {
        match shortest_of(self.others.iter().copied(), &self.norms) {
            Some(shortest) => self.origin = shortest,
            None => self.weights[self.origin] = 1.0,
        }
        self.others.retain(|&task| task != self.origin);
        self.write_from(0);
    }

    /// Writes the equations of the others from this place on.
    fn write_from(&mut self, first: usize) {
        self.equations.truncate(first);
        for place in first..self.others.len() {
            self.write(place);
        }
    }

    /// Writes the equation of the task at this place, the last; the share of its difference to the origin that the
    /// differences before it do not explain.
    fn write(&mut self, place: usize) -> f64 {
        let (task, origin) = (self.others[place], self.origin);
        let (row, of_origin) = (self.gramian.row(task), self.gramian.row(origin));
        let difference = |&other: &usize| (row[other] - of_origin[other]) + (of_origin[origin] - row[origin]);
        let entries = self.others[..=place].iter().map(difference);
        self.equations.push(entries, of_origin[origin] - row[origin])
    }

    /// `G w`.
    fn multiply(&mut self) {
        self.products.fill(0.0);
        for &task in self.others.iter().chain([&self.origin]) {
            add(&mut self.products, self.weights[task], self.gramian.row(task));
        }
    }
}

/// The task with the shortest gradient.
fn shortest_of(tasks: impl IntoIterator<Item = usize>, norms: &[f64]) -> Option<usize> {
    tasks.into_iter().min_by(|&a, &b| norms[a].total_cmp(&norms[b]))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{
        best, close, gauss, gramian, hard, independent, rows, small, solution, subsets,
    };
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
            found[..n].iter().all(|&w| w >= -1e-12).then(|| gramian.of(&set).quadratic_form(&found[..n]))
        };
        subsets(gramian.tasks()).filter_map(optimum).fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn no_face_of_the_simplex_has_a_shorter_mean() {
        for (seed, tasks, length, rank) in small() {
            let gramian = gramian(&rows(seed, tasks, length, rank));
            let weights = min_norm_point(&gramian);
            assert!(weights.iter().all(|&w| w >= 0.0), "{weights:?}");
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-14);
            let (ours, best) = (gramian.quadratic_form(&weights), brute_force(&gramian));
            let largest = gramian.norms().iter().fold(0.0, |a: f64, b| a.max(*b)).powi(2);
            assert!((ours - best).abs() < 1e-12 * largest, "seed {seed}: {ours}, best {best}");
        }
    }

    /// Two tasks have a closed form.
    #[test]
    fn two_tasks_of_very_different_length() {
        for long in [1.0, 1e3, 1e8, 1e20] {
            let gramian = gramian(&[vec![long, 0.0], vec![-0.5, 0.5]]);
            let weights = min_norm_point(&gramian);
            let (a, b, c) = (gramian.at(0, 0), gramian.at(1, 1), gramian.at(0, 1));
            let expected = (b - c) / (a + b - 2.0 * c);
            assert!(
                (weights[0] - expected).abs() < 1e-14 * expected.max(1e-3),
                "{long}: {weights:?}, {expected}"
            );
            assert!((weights[0] / expected - 1.0).abs() < 1e-9, "{long}: {weights:?}, {expected}");
        }
    }

    #[test]
    fn weights_are_those_of_the_best_face() {
        for (what, rows) in independent() {
            let gramian = gramian(&rows);
            let candidate = |set: &[usize]| {
                let w = solution(&gramian, set, &vec![1.0; rows.len()])?;
                let sum: f64 = w.iter().sum();
                Some(w.iter().map(|w| w / sum).collect())
            };
            let best = best(rows.len(), candidate, |w| gramian.quadratic_form(w));
            close(&what, &min_norm_point(&gramian), &best);
        }
    }

    /// No gradient could make the mean shorter, whichever are 0 or means of others.
    #[test]
    fn hard_gradients_meet_the_conditions() {
        for (what, rows) in hard() {
            let gramian = gramian(&rows);
            let norms = gramian.norms();
            let weights = min_norm_point(&gramian);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-14, "{what}: {weights:?}");
            let length = dot(&weights, &norms);
            let products = gramian.matvec(&weights);
            let square = dot(&weights, &products);
            for (task, product) in products.into_iter().enumerate() {
                let gain = (square - product) / (norms[task] + length) / length;
                let active = weights[task] > 0.0;
                assert!(weights[task] >= 0.0, "{what}: {weights:?}");
                assert!(gain < 1e-9 && (!active || gain > -1e-9), "{what}, task {task}: {gain}, {active}");
            }
        }
    }
}
