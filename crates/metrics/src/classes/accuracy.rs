//! Fraction of the rows whose class is predicted correctly.
//!
//! Formula: `correct / rows`, in `0..=1`; 0 when there are no rows.
//!
//! When to use: classes of similar size, or when every row counts the same. Where one class dominates, a model that
//! always predicts it scores high: prefer `macro_f1` or `matthews`.
//!
//! Reference: scikit-learn's `accuracy_score`.

/// Fraction of positions at which `gold` and `predicted` agree; 0 when they are empty.
///
/// # Panics
/// When the two differ in length.
pub fn accuracy(gold: &[u32], predicted: &[u32]) -> f64 {
    assert_eq!(gold.len(), predicted.len(), "one prediction a gold label");
    if gold.is_empty() {
        return 0.0;
    }
    let correct = gold.iter().zip(predicted).filter(|(g, p)| g == p).count();
    correct as f64 / gold.len() as f64
}
