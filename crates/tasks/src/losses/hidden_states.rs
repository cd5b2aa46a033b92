//! Losses at the states of a teacher's tokens. All are sums over tokens.

use burn::tensor::{Device, Tensor, TensorData};

use crate::heads::head::to_host_vec;

/// The sum over tokens of the mean squared error of a state, as TinyBERT learns hidden states (Jiao et al. 2020, equation 8). `outputs`
/// `[n, d]`, `teacher` `[n d]` row after row; result `[1]`.
pub(crate) fn squared_error(outputs: Tensor<2>, teacher: Vec<f32>) -> Tensor<1> {
    let shape = outputs.dims();
    let error = outputs.clone() - Tensor::from_data(TensorData::new(teacher, shape), &outputs.device());
    (error.clone() * error).sum() / shape[1] as f32
}

/// The sum over tokens of `KL(q || p)`, the mean over `heads`: `p` and `q` are the relations of a token to those of its sequence, in the
/// states of the student and of the teacher (MiniLMv2, Wang et al. 2021, section 3.1, with states in the place of queries, keys
/// and values).
///
/// `states` `[n, d]` of sequences of these lengths, `n` in all; `teacher` `[n k]`, row after row. Both `d` and `k` are multiples of `heads`.
/// Result `[1]`; `None` without tokens.
pub(crate) fn relation_divergence(
    states: &Tensor<2>,
    lengths: &[usize],
    teacher: &[f32],
    heads: usize,
) -> Option<Tensor<1>> {
    let tokens = states.dims()[0];
    let width = teacher.len() / tokens.max(1);
    let (mut begin, mut entropy, mut parts) = (0, 0.0, Vec::new());
    for length in lengths.iter().copied().filter(|length| *length > 0) {
        let answer = teacher[begin * width..][..length * width].to_vec();
        // What is not learned is on the processor, so that no other device is waited for.
        let answer = Tensor::<2>::from_data(TensorData::new(answer, [length, width]), &Device::flex());
        let target = to_host_vec(kernels::softmax(relations(answer, heads)));
        entropy -=
            target.iter().filter(|q| **q > 0.0).map(|q| f64::from(*q) * f64::from(*q).ln()).sum::<f64>();
        let own = relations(kernels::take_rows(states.clone(), begin..begin + length), heads);
        let weights = vec![1.0 / heads as f32; heads * length];
        parts.push(kernels::soft_cross_entropy(own, target, weights, 1.0));
        begin += length;
    }
    let cross_entropy = parts.into_iter().reduce(|sum, part| sum + part)?;
    // Rounding may say less than nothing of a student that has its teacher's relations.
    Some((cross_entropy - (entropy / heads as f64) as f32).clamp_min(0.0))
}

/// The scaled products of the states `[n, d]` of a sequence with each other, `H H^T / sqrt(d / heads)` of each of `heads` parts:
/// `[heads n, n]`, head after head.
fn relations(states: Tensor<2>, heads: usize) -> Tensor<2> {
    let [n, width] = states.dims();
    let part = width / heads;
    let parts: Tensor<3> = states.reshape([n, heads, part]).swap_dims(0, 1);
    let products = parts.clone().matmul(parts.transpose()) / (part as f32).sqrt();
    products.reshape([heads * n, n])
}
