//! Fraction of rows whose text exactly equals one of its references.
//!
//! Formula: a row counts 1 if its text equals one of its references, up to leading and trailing spaces, else 0; the
//! mean over rows.
//!
//! When to use: short texts with few correct forms, such as dates and formulas; beside `bleu` or `rouge` where there
//! are many. For answers to questions, where case and articles do not matter, use `exact_match`.

/// The fraction of exact texts; 0 when there are no rows.
///
/// # Panics
/// When the two differ in length.
pub fn exact_text(hypotheses: &[&str], references: &[Vec<&str>]) -> f64 {
    assert_eq!(hypotheses.len(), references.len(), "one hypothesis a row");
    let exact = |(text, right): (&&str, &Vec<&str>)| right.iter().any(|right| right.trim() == text.trim());
    let count = hypotheses.iter().zip(references).filter(|pair| exact(*pair)).count();
    count as f64 / hypotheses.len().max(1) as f64
}
