//! Root mean squared error between predicted and gold numbers, in their unit; lower is better.
//!
//! Formula: `sqrt(mean (x - y)^2)`; 0 when there are no rows, infinite when a number is not finite.
//!
//! When to use: beside a correlation, which ignores a wrong scale or offset.
//!
//! Reference: scikit-learn's `root_mean_squared_error`.

/// Root mean squared error, 0 or more; 0 when there are no rows.
///
/// # Panics
/// When the two differ in length.
pub fn rmse(gold: &[f64], predicted: &[f64]) -> f64 {
    assert_eq!(gold.len(), predicted.len(), "one prediction a gold number");
    if gold.is_empty() {
        return 0.0;
    }
    let squares: f64 = gold.iter().zip(predicted).map(|(g, p)| (g - p) * (g - p)).sum();
    if squares.is_nan() { f64::INFINITY } else { (squares / gold.len() as f64).sqrt() }
}
