//! Matthews correlation between gold and predicted classes: 1 perfect, 0 no better than chance, -1 always opposite.
//!
//! Formula, for any number of classes (Gorodkin 2004): with n rows, c of them correct, and class k occurring `t_k`
//! times among the gold labels and `p_k` times among the predictions,
//! `(n c - sum t_k p_k) / sqrt((n^2 - sum p_k^2) (n^2 - sum t_k^2))`, and 0 when the denominator is 0 (all gold labels,
//! or all predictions, are one class).
//!
//! When to use: unbalanced classes, above all two of them (CoLA's metric).
//!
//! Reference: scikit-learn's `matthews_corrcoef`; Matthews 1975; Gorodkin 2004, "Comparing two K-category assignments
//! by a K-category correlation coefficient".

use std::collections::BTreeMap;

/// Matthews correlation in `-1..=1`; 0 when there are no rows or when either side names one class only.
///
/// # Panics
/// When `gold` and `predicted` differ in length.
pub fn matthews(gold: &[u32], predicted: &[u32]) -> f64 {
    assert_eq!(gold.len(), predicted.len(), "one prediction a gold label");
    // Exact integers: a difference of two large numbers that nearly agree must not lose its digits.
    let mut classes: BTreeMap<u32, (i128, i128)> = BTreeMap::new();
    let mut correct = 0i128;
    for (&g, &p) in gold.iter().zip(predicted) {
        classes.entry(g).or_default().0 += 1;
        classes.entry(p).or_default().1 += 1;
        correct += i128::from(g == p);
    }
    let rows = gold.len() as i128;
    let sum = |of: fn(&(i128, i128)) -> i128| classes.values().map(of).sum::<i128>();
    let covariance = rows * correct - sum(|(t, p)| t * p);
    let gold_variance = rows * rows - sum(|(t, _)| t * t);
    let predicted_variance = rows * rows - sum(|(_, p)| p * p);
    if gold_variance == 0 || predicted_variance == 0 {
        return 0.0;
    }
    let scale = (gold_variance as f64).sqrt() * (predicted_variance as f64).sqrt();
    (covariance as f64 / scale).clamp(-1.0, 1.0)
}
