//! The election of signs of TIES: of each number only the models that agree with the sign of the sum have a say.

/// For each number the mean, by `weights`, of those of `vectors` that have the sign of `sum_t votes_t d_t`, a sum of 0 taken as positive; 0
/// where no model has one.
pub(super) fn elected_mean(vectors: &[Vec<f64>], votes: &[f64], weights: &[f64]) -> Vec<f64> {
    let numbers = vectors.first().map_or(0, Vec::len);
    let mean = |at: usize| {
        let vote: f64 = vectors.iter().zip(votes).map(|(vector, vote)| vote * vector[at]).sum();
        let agrees = |value: f64| if vote >= 0.0 { value > 0.0 } else { value < 0.0 };
        let (mut sum, mut total) = (0.0, 0.0);
        for (vector, weight) in vectors.iter().zip(weights).filter(|(vector, _)| agrees(vector[at])) {
            sum += weight * vector[at];
            total += weight;
        }
        if total > 0.0 { sum / total } else { 0.0 }
    };
    (0..numbers).map(mean).collect()
}
