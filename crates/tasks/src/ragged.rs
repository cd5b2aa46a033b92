//! Choices among different numbers of things: the tokens of a text, the answers of a question.

use burn::tensor::{Tensor, TensorData};

/// Added to the score of what is not there: its probability is 0.
const NOWHERE: f32 = -1e9;

/// The mean cross-entropy of rows with `lengths` scores each, `[scores, columns]` end to end, each column a choice by itself.
/// `gold` names for each row and column which of the row's scores is right.
pub(crate) fn cross_entropy(scores: Tensor<2>, lengths: &[usize], gold: &[u32]) -> Tensor<1> {
    let (rows, columns) = (lengths.len(), scores.dims()[1]);
    let width = lengths.iter().copied().max().unwrap_or(0);
    // A matrix with a row for each choice, filled up with what has no probability.
    let (mut index, mut filled, mut next) = (Vec::new(), Vec::new(), 0);
    for length in lengths.iter().map(|length| *length as u32) {
        index.extend((0..width as u32).map(|i| next + i.min(length - 1)));
        let row = (0..width as u32).map(|i| if i < length { 0.0 } else { NOWHERE });
        (0..columns).for_each(|_| filled.extend(row.clone()));
        next += length;
    }
    let of_rows = kernels::pick(scores, &index).reshape([rows, width, columns]);
    let of_choices = of_rows.swap_dims(1, 2).reshape([rows * columns, width]);
    let filled = Tensor::from_data(TensorData::new(filled, [rows * columns, width]), &of_choices.device());
    kernels::cross_entropy(of_choices + filled, gold, None, 0.0)
}

/// The softmax of one of some scores.
pub(crate) fn share(scores: &[f32], of: usize) -> f32 {
    let most = crate::head::largest(scores).1;
    let sum: f32 = scores.iter().map(|score| (score - most).exp()).sum();
    (scores[of] - most).exp() / sum
}
