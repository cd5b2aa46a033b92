//! Softmax over a handful of numbers.

/// `exp(x_i) / sum_j exp(x_j)`, for numbers of any size.
pub(crate) fn softmax(x: &[f64]) -> Vec<f64> {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let raised: Vec<f64> = x.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = raised.iter().sum();
    raised.iter().map(|raised| raised / sum).collect()
}
