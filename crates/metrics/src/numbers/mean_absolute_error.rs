//! Mean absolute distance between predicted and gold classes of an ordered label set; lower is better.
//!
//! Formula: `mean |i - j|` over rows with gold class i and predicted class j, in `0..classes`; 0 when there are no
//! rows.
//!
//! When to use: ordered classes, beside `quadratic_kappa`, which is harder to interpret.
//!
//! Reference: scikit-learn's `mean_absolute_error`.

/// Mean distance in classes, 0 or more. Classes are their places in the order.
///
/// # Panics
/// When the two differ in length.
pub fn mean_absolute_error(gold: &[u32], predicted: &[u32]) -> f64 {
    assert_eq!(gold.len(), predicted.len(), "one prediction a gold label");
    if gold.is_empty() {
        return 0.0;
    }
    let away: u64 = gold.iter().zip(predicted).map(|(g, p)| u64::from(g.abs_diff(*p))).sum();
    away as f64 / gold.len() as f64
}
