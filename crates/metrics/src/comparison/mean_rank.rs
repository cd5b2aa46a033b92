//! `mean_ranks`: how contestants stand to each other over tasks.

/// The mean over tasks of each contestant's rank, 1 being best. `scores` is `[tasks][contestants]`, higher is better; equal scores share
/// the mean of their ranks, as `scipy.stats.rankdata` does.
///
/// # Panics
/// When tasks have different numbers of contestants.
pub fn mean_ranks(scores: &[Vec<f64>]) -> Vec<f64> {
    let contestants = scores.first().map_or(0, Vec::len);
    let mut sums = vec![0.0; contestants];
    for task in scores {
        assert_eq!(task.len(), contestants, "a score for each contestant");
        for (sum, score) in sums.iter_mut().zip(task) {
            let better = task.iter().filter(|other| *other > score).count();
            let equal = task.iter().filter(|other| *other == score).count();
            *sum += better as f64 + (equal as f64 + 1.0) / 2.0;
        }
    }
    sums.iter().map(|sum| sum / scores.len().max(1) as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.rankdata([-x for x in row])`, averaged over the rows.
    #[test]
    fn equal_scores_share_their_ranks() {
        let found = mean_ranks(&[vec![0.9, 0.8, 0.9], vec![0.1, 0.3, 0.2]]);
        assert_eq!(found, [(1.5 + 3.0) / 2.0, (3.0 + 1.0) / 2.0, (1.5 + 2.0) / 2.0]);
        assert!(mean_ranks(&[]).is_empty());
    }
}
