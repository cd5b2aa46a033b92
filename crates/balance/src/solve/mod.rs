//! The small optimization problems of gradient methods, over K x K matrices in f64. Each solver is exact (an active-set method, or
//! Newton's method to convergence) and scale-invariant: with gradients multiplied by any factors, the solution is divided by
//! them. No solver panics or loops for ever on a matrix that rounding made slightly indefinite.

mod cone;
mod eigen;
mod linear;
mod nash_bargaining;
mod project;
mod simplex;

pub(crate) use cone::dual_cone_projection;
pub(crate) use eigen::Eigen;
pub(crate) use nash_bargaining::nash_bargaining;
pub(crate) use project::project_simplex;
pub(crate) use simplex::min_norm_point;

#[cfg(test)]
pub(crate) mod samples {
    //! Random Gramians of chosen rank, and numbers to make them of.

    use crate::Gramian;
    use crate::random::normal;

    /// `tasks` gradients of `length` numbers whose rank is at most `rank`.
    pub fn rows(seed: u32, tasks: usize, length: usize, rank: usize) -> Vec<Vec<f64>> {
        let number = |what: &str, i: usize, j: usize| normal(seed, (i * 1000 + j) as u64, what);
        let entry =
            |i: usize, j: usize| (0..rank).map(|r| number("left", i, r) * number("right", r, j)).sum();
        (0..tasks).map(|i| (0..length).map(|j| entry(i, j)).collect()).collect()
    }

    /// Their Gramian.
    pub fn gramian(rows: &[Vec<f64>]) -> Gramian {
        Gramian::of_rows(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// (seed, tasks, length, rank) of many problems small enough to try every set of tasks.
    pub fn small() -> impl Iterator<Item = (u32, usize, usize, usize)> {
        (0..60).map(|seed| {
            let tasks = 1 + seed as usize % 7;
            (seed, tasks, 9, 1 + (seed as usize / 7) % 9)
        })
    }

    /// Gradients of up to 7 tasks, none of them nearly a sum of others: their weights are as exact as their length.
    pub fn independent() -> impl Iterator<Item = (String, Vec<Vec<f64>>)> {
        (0..210).map(|seed| {
            let tasks = 1 + seed as usize / 30;
            let mut rows = rows(1000 + seed, tasks, tasks + 3, tasks + 3);
            for (i, row) in rows.iter_mut().enumerate() {
                row.iter_mut().for_each(|x| *x *= 1.0 + (i % 3) as f64);
            }
            (format!("{tasks} tasks, seed {seed}"), rows)
        })
    }

    /// Gradients of all ranks and sizes, and of sizes that differ by 25 orders of magnitude.
    pub fn hard() -> Vec<(String, Vec<Vec<f64>>)> {
        let mut all = Vec::new();
        for tasks in [1, 2, 4, 9, 32_usize] {
            for rank in [1, tasks.div_ceil(2), tasks] {
                for (powers, size) in [("0", 0), ("-10", -10), ("15", 15), ("-10 to 15", 0)] {
                    let mut rows = rows(91 + tasks as u32, tasks, 40, rank);
                    for (i, row) in rows.iter_mut().enumerate() {
                        let power = if powers.contains("to") { (i * 7 % 26) as i32 - 10 } else { size };
                        row.iter_mut().for_each(|x| *x *= 10f64.powi(power));
                    }
                    all.push((format!("{tasks} tasks of rank {rank}, powers {powers}"), rows));
                }
            }
        }
        all
    }

    /// Numbers to be weights, or bounds of them.
    pub fn numbers(seed: u32, count: usize) -> Vec<f64> {
        (0..count).map(|i| normal(seed, i as u64, "number")).collect()
    }

    /// The candidate, one a set of tasks, that is allowed and best.
    pub fn best(
        tasks: usize,
        candidate: impl Fn(&[usize]) -> Option<Vec<f64>>,
        objective: impl Fn(&[f64]) -> f64,
    ) -> Vec<f64> {
        let found = subsets(tasks).filter_map(|set| {
            let values = candidate(&set)?;
            let mut all = vec![0.0; tasks];
            set.iter().zip(&values).for_each(|(&task, &value)| all[task] = value);
            values.iter().all(|&value| value >= 0.0).then_some(all)
        });
        found.min_by(|a, b| objective(a).total_cmp(&objective(b))).unwrap_or(vec![0.0; tasks])
    }

    /// `x` with `G x = b` between some tasks.
    pub fn solution(gramian: &Gramian, set: &[usize], b: &[f64]) -> Option<Vec<f64>> {
        let a = set.iter().map(|&i| set.iter().map(|&j| gramian.at(i, j)).collect()).collect();
        gauss(a, set.iter().map(|&i| b[i]).collect())
    }

    /// Equal to 1e-9.
    #[track_caller]
    pub fn close(what: &str, ours: &[f64], expected: &[f64]) {
        let is_close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9 * b.abs().max(1.0);
        assert!(ours.iter().zip(expected).all(is_close), "{what}: {ours:?}, expected {expected:?}");
    }

    /// Every set of tasks that is not empty.
    pub fn subsets(tasks: usize) -> impl Iterator<Item = Vec<usize>> {
        (1u32..1 << tasks).map(move |bits| (0..tasks).filter(|i| bits >> i & 1 == 1).collect())
    }

    /// Gauss with full pivoting: `None` if the matrix is singular. Shares nothing with the solvers.
    pub fn gauss(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Option<Vec<f64>> {
        let n = b.len();
        let mut columns: Vec<usize> = (0..n).collect();
        for k in 0..n {
            let cells = (k..n).flat_map(|i| (k..n).map(move |j| (i, j)));
            let (i, j) = cells.max_by(|x, y| a[x.0][x.1].abs().total_cmp(&a[y.0][y.1].abs()))?;
            if a[i][j].abs() < 1e-11 {
                return None;
            }
            a.swap(i, k);
            b.swap(i, k);
            columns.swap(j, k);
            a.iter_mut().for_each(|row| row.swap(j, k));
            for i in k + 1..n {
                let factor = a[i][k] / a[k][k];
                let (above, below) = a.split_at_mut(i);
                below[0].iter_mut().zip(&above[k]).for_each(|(x, y)| *x -= factor * y);
                b[i] -= factor * b[k];
            }
        }
        let mut x = vec![0.0; n];
        for k in (0..n).rev() {
            let known: f64 = (k + 1..n).map(|j| a[k][j] * x[columns[j]]).sum();
            x[columns[k]] = (b[k] - known) / a[k][k];
        }
        Some(x)
    }
}
