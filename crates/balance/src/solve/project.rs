//! Euclidean projection onto the simplex.

/// `argmin ||w - x||` over `w >= 0, sum w = 1`: all entries lowered by one number, those below 0 cut (Held, Wolfe and
/// Crowder 1974). `x` is finite.
pub(crate) fn project_simplex(x: &[f64]) -> Vec<f64> {
    let mut sorted = x.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (mut sum, mut lower) = (0.0, 0.0);
    for (count, value) in (1..).zip(sorted) {
        sum += value;
        let candidate = (sum - 1.0) / f64::from(count);
        if value > candidate || count == 1 {
            lower = candidate;
        }
    }
    let cut: Vec<f64> = x.iter().map(|x| (x - lower).max(0.0)).collect();
    let sum: f64 = cut.iter().sum();
    // With numbers so large that 1 is nothing beside them, the largest take all.
    if sum > 0.0 {
        return cut.iter().map(|w| w / sum).collect();
    }
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let first: Vec<f64> = x.iter().map(|&x| if x == largest { 1.0 } else { 0.0 }).collect();
    let sum: f64 = first.iter().sum();
    first.iter().map(|w| w / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{best, close, numbers};
    use super::*;
    use crate::random::normal;

    /// The conditions of the nearest point: what is above 0 was lowered by one number, what is 0 lies below it.
    #[test]
    fn the_nearest_point() {
        for step in 0..200 {
            let x: Vec<f64> = (0..1 + step as usize % 9).map(|i| normal(4, step, &i.to_string())).collect();
            let w = project_simplex(&x);
            assert!((w.iter().sum::<f64>() - 1.0).abs() < 1e-12 && w.iter().all(|&w| w >= 0.0), "{w:?}");
            let lowered = x.iter().zip(&w).filter(|(_, w)| **w > 0.0).map(|(x, w)| x - w);
            let (least, most) = lowered.fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(x), b.max(x)));
            assert!(most - least < 1e-12, "{x:?}, {w:?}");
            assert!(x.iter().zip(&w).all(|(x, w)| *w > 0.0 || *x <= most + 1e-12), "{x:?}, {w:?}");
        }
        assert_eq!(project_simplex(&[1e300, -1e300, 1e300]), [0.5, 0.0, 0.5]);
        assert_eq!(project_simplex(&[-17.0, -4.0, 0.3]), [0.0, 0.0, 1.0]);
    }

    #[test]
    fn the_nearest_point_is_that_of_the_best_face() {
        for seed in 0..200 {
            let x = numbers(seed, 1 + seed as usize % 7);
            let distance = |w: &[f64]| w.iter().zip(&x).map(|(w, x)| (w - x).powi(2)).sum::<f64>();
            let candidate = |set: &[usize]| {
                let lower = (set.iter().map(|&i| x[i]).sum::<f64>() - 1.0) / set.len() as f64;
                Some(set.iter().map(|&i| x[i] - lower).collect())
            };
            close("nearest", &project_simplex(&x), &best(x.len(), candidate, distance));
        }
    }
}
