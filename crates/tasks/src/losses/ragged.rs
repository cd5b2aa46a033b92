//! Softmax over different numbers of candidates: the tokens of a text, the choices of a question.

use burn::tensor::{Tensor, TensorData};

/// Added to the logit of padding: its probability becomes 0.
const MASKED: f32 = -1e9;

/// The mean cross-entropy of rows with `lengths` logits each, `[logits, columns]` end to end, with a softmax over each row and
/// column. `gold` is the index of the gold candidate in its row, for each row and column.
pub(crate) fn cross_entropy(scores: Tensor<2>, lengths: &[usize], gold: &[u32]) -> Tensor<1> {
    let (rows, columns) = (lengths.len(), scores.dims()[1]);
    let width = lengths.iter().copied().max().unwrap_or(0);
    // A matrix with a row for each softmax, padded with entries of probability 0.
    let (mut index, mut filled, mut next) = (Vec::new(), Vec::new(), 0);
    for length in lengths.iter().map(|length| *length as u32) {
        index.extend((0..width as u32).map(|i| next + i.min(length - 1)));
        let row = (0..width as u32).map(|i| if i < length { 0.0 } else { MASKED });
        (0..columns).for_each(|_| filled.extend(row.clone()));
        next += length;
    }
    let of_rows = kernels::gather_rows(scores, &index).reshape([rows, width, columns]);
    let of_choices = of_rows.swap_dims(1, 2).reshape([rows * columns, width]);
    let filled = Tensor::from_data(TensorData::new(filled, [rows * columns, width]), &of_choices.device());
    kernels::cross_entropy(of_choices + filled, gold, None, 0.0)
}

/// The softmax probability of one of some logits.
pub(crate) fn softmax_probability(scores: &[f32], of: usize) -> f32 {
    let most = crate::heads::head::argmax(scores).1;
    let sum: f32 = scores.iter().map(|score| (score - most).exp()).sum();
    (scores[of] - most).exp() / sum
}
