//! Spearman's rank correlation: how well the order of the predictions agrees with the order of the gold values.
//!
//! Formula: `pearson` of the ranks; ties get the mean of their ranks.
//!
//! When to use: where only the order matters, or where outliers would dominate Pearson's correlation.
//!
//! Reference: scipy's `spearmanr`, and `rankdata(method="average")`.

use crate::pearson;

/// Spearman's correlation in `-1..=1`; 0 when either side is constant, empty, or not finite.
///
/// # Panics
/// When the two differ in length.
pub fn spearman(gold: &[f64], predicted: &[f64]) -> f64 {
    assert_eq!(gold.len(), predicted.len(), "one prediction a gold number");
    if !gold.iter().chain(predicted).all(|value| value.is_finite()) {
        return 0.0;
    }
    pearson(&ranks(gold), &ranks(predicted))
}

/// The rank of each number from 1 on; equal numbers get the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut begin = 0;
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = begin as f64 + (equal.len() + 1) as f64 / 2.0;
        equal.iter().for_each(|i| ranks[*i] = rank);
        begin += equal.len();
    }
    ranks
}
