//! Binary cross-entropy.

use burn::tensor::{Tensor, TensorData, activation};

/// The cross-entropy of each binary target, `-(w y log s(z) + (1 - y) log(1 - s(z)))` with the sigmoid `s`, as
/// `torch.nn.BCEWithLogitsLoss(pos_weight = w, reduction = "none")` computes it.
///
/// `logits` `[n, k]`, `yes` `[n k]` of 0 and 1 row after row, `weights` `[k]` (1 where not given); result `[n, k]`.
pub(crate) fn cross_entropy(logits: Tensor<2>, yes: Vec<f32>, weights: Option<&[f32]>) -> Tensor<2> {
    let [n, k] = logits.dims();
    let matrix = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [n, k]), &logits.device());
    // log(1 - s(z)) = log s(z) - z, so that one logarithm serves both answers.
    let weight = |i: usize| weights.map_or(1.0, |weights| weights[i % k]);
    let of_yes = yes.iter().enumerate().map(|(i, y)| y * weight(i) + (1.0 - y)).collect();
    let no = matrix(yes.iter().map(|y| 1.0 - y).collect());
    let of_yes = matrix(of_yes);
    logits.clone() * no - activation::log_sigmoid(logits) * of_yes
}
