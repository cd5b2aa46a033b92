//! Pearson's correlation: strength of the linear relation between two variables; 1 perfect, 0 none, -1 opposite.
//!
//! Formula: `sum (x - mean x)(y - mean y) / sqrt(sum (x - mean x)^2 sum (y - mean y)^2)`, and 0 where either side is
//! constant or has a value that is not finite.
//!
//! When to use: scores of similarity or sentiment (STS-B), where the scale of the predictions does not matter but their
//! distances do.
//!
//! Reference: scipy's `pearsonr`.

/// Pearson's correlation in `-1..=1`; 0 when either side is constant, empty, or not finite.
///
/// # Panics
/// When the two differ in length.
pub fn pearson(gold: &[f64], predicted: &[f64]) -> f64 {
    assert_eq!(gold.len(), predicted.len(), "one prediction a gold number");
    match (deviations(gold), deviations(predicted)) {
        (Some(x), Some(y)) => {
            let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let r = product(&x, &y) / (product(&x, &x).sqrt() * product(&y, &y).sqrt());
            r.clamp(-1.0, 1.0)
        }
        _ => 0.0,
    }
}

/// The deviations from the mean in units of the largest, so that their squares are in range; `None` where there are none.
fn deviations(values: &[f64]) -> Option<Vec<f64>> {
    let first = *values.first()?;
    let largest = values.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    // A constant's mean is not exactly that constant: its deviations would be noise.
    if !values.iter().all(|value| value.is_finite()) || values.iter().all(|value| *value == first) {
        return None;
    }
    // Dividing by a power of two costs no digit.
    let scale = largest.log2().floor().clamp(-1022.0, 1023.0).exp2();
    let mean = values.iter().map(|value| value / scale).sum::<f64>() / values.len() as f64;
    let from_mean: Vec<f64> = values.iter().map(|value| value / scale - mean).collect();
    let most = from_mean.iter().fold(0.0, |most: f64, d| most.max(d.abs()));
    (most > 0.0).then(|| from_mean.iter().map(|d| d / most).collect())
}
