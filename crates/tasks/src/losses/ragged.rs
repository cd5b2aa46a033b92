//! Softmax over different numbers of candidates: the tokens of a text, the choices of a question.

use burn::tensor::{Tensor, TensorData};

/// Added to the logit of padding: its probability becomes 0.
const MASKED: f32 = -1e9;

/// The mean cross-entropy of rows with `lengths` logits each, `[logits, columns]` end to end, with a softmax over each row and
/// column. `gold` is the index of the gold candidate in its row, for each row and column.
pub(crate) fn cross_entropy(scores: Tensor<2>, lengths: &[usize], gold: &[u32]) -> Tensor<1> {
    kernels::cross_entropy(padded(scores, lengths), gold, None, 0.0)
}

/// The sum over rows and columns of the cross-entropy with the softmax of a teacher's logits at a temperature, as
/// [`super::soft::softmax`]. Shapes as for [`cross_entropy`]; `teacher` has those of `scores`, `weights` one number for each row.
pub(crate) fn soft_cross_entropy(
    scores: Tensor<2>,
    lengths: &[usize],
    teacher: &[f32],
    weights: &[f32],
    temperature: f32,
) -> Tensor<1> {
    let columns = scores.dims()[1];
    let logits = padded(scores, lengths);
    let width = logits.dims()[1];
    let (mut target, mut left) = (Vec::with_capacity(lengths.len() * columns * width), teacher);
    for length in lengths {
        let (own, rest) = left.split_at(length * columns);
        left = rest;
        for column in 0..columns {
            let of_column: Vec<f32> = own.iter().skip(column).step_by(columns).copied().collect();
            target.extend(super::soft::distribution(&of_column, temperature));
            target.resize(target.len() + width - length, 0.0);
        }
    }
    let weights = weights.iter().flat_map(|weight| std::iter::repeat_n(*weight, columns)).collect();
    kernels::soft_cross_entropy(logits, target, weights, temperature)
}

/// A row for each softmax, `[rows columns, width of the longest]`, padded with entries of probability 0.
fn padded(scores: Tensor<2>, lengths: &[usize]) -> Tensor<2> {
    let (rows, columns) = (lengths.len(), scores.dims()[1]);
    let width = lengths.iter().copied().max().unwrap_or(0);
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
    of_choices + filled
}

/// The softmax probability of one of some logits.
pub(crate) fn softmax_probability(scores: &[f32], of: usize) -> f32 {
    let most = crate::heads::head::argmax(scores).1;
    let sum: f32 = scores.iter().map(|score| (score - most).exp()).sum();
    (scores[of] - most).exp() / sum
}
