//! `delta_m`: the mean relative change of the tasks' scores.

/// `100 / K sum_i (M_i - B_i) / B_i` over the K tasks, in percent (Maninis et al., 2019, Attentive Single-Tasking of Multiple Tasks).
/// `scores` are `(M_i, B_i)`: the score of the task and its reference, usually that of a single-task model; higher scores are better.
///
/// Positive is better, as in LibMTL and DB-MTL. Papers after Nash-MTL and FAMO print it with the other sign. `None` where there is no
/// task, or a reference that is not above 0, against which nothing is relative.
pub fn delta_m(scores: impl IntoIterator<Item = (f64, f64)>) -> Option<f64> {
    let (mut sum, mut tasks) = (0.0, 0usize);
    for (score, reference) in scores {
        if reference <= 0.0 || !score.is_finite() || !reference.is_finite() {
            return None;
        }
        sum += (score - reference) / reference;
        tasks += 1;
    }
    (tasks > 0).then(|| 100.0 * sum / tasks as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accuracies .90 and .80 and an error of 1.0 (given as its negative gain) against .91, .79 and .95: METHODS' golden value is
    /// -1.62037 % where negative is better.
    #[test]
    fn it_is_the_mean_relative_change() {
        // An error of 0.95 against 1.0 is five percent better, as is a score of 1.05.
        let found = delta_m([(0.91, 0.90), (0.79, 0.80), (1.05, 1.0)]).unwrap();
        assert!((found - 1.620_370_370_370_371_6).abs() < 1e-12, "{found}");
        assert_eq!(delta_m([]), None);
        assert_eq!(delta_m([(0.5, 0.0)]), None);
    }
}
