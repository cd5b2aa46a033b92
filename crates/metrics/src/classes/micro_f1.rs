//! F1 over all decisions at once, whatever their class.
//!
//! Formula: correct, predicted and gold items are summed over the classes first, then `2 correct / (predicted + gold)`.
//! With exactly one class a row, as here, every wrong row is one false positive and one false negative, so that micro
//! F1 equals `accuracy`; it exists under this name so that published tables can be compared.
//!
//! When to use: to compare with a publication that reports it.
//!
//! Reference: scikit-learn's `f1_score(average="micro")`.

/// Micro-averaged F1 of exclusive classes, which is the accuracy; 0 when there are no rows.
///
/// # Panics
/// When the two differ in length.
pub fn micro_f1(gold: &[u32], predicted: &[u32]) -> f64 {
    crate::accuracy(gold, predicted)
}
