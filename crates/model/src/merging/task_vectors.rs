//! Task vectors: what training has changed of a tensor.

use super::TensorVote;

/// d_t of every model.
pub(super) fn differences(vote: &TensorVote<'_>) -> Vec<Vec<f64>> {
    let base = vote.base.expect("methods on task vectors get the common checkpoint");
    let of = |values: &[f32]| {
        assert_eq!(values.len(), base.len(), "{}: one shape in all models", vote.name);
        values.iter().zip(base).map(|(own, base)| f64::from(*own) - f64::from(*base)).collect()
    };
    vote.voters.iter().map(|voter| of(voter.values)).collect()
}

/// w_t of every model.
pub(super) fn weights(vote: &TensorVote<'_>) -> Vec<f64> {
    vote.voters.iter().map(|voter| voter.weight).collect()
}

/// `sum_t w_t d_t`, in the order of the models.
pub(super) fn weighted_sum(vectors: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; vectors.first().map_or(0, Vec::len)];
    for (vector, weight) in vectors.iter().zip(weights) {
        for (sum, value) in sum.iter_mut().zip(vector) {
            *sum += weight * value;
        }
    }
    sum
}

/// `theta_0 + lambda change`
pub(super) fn applied(vote: &TensorVote<'_>, change: Vec<f64>, lambda: f64) -> Vec<f64> {
    let base = vote.base.expect("methods on task vectors get the common checkpoint");
    base.iter().zip(change).map(|(base, change)| f64::from(*base) + lambda * change).collect()
}
