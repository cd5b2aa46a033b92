//! Losses at the logits of a teacher. All are sums over rows, each times its weight, and times the square of the temperature.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::binary;
use crate::distillation::MISSING;

/// [`kernels::soft_cross_entropy`] with the softmax of a teacher's logits at the same temperature. `logits` `[n, k]`, `teacher` `[n k]`,
/// `weights` `[n]`.
pub(crate) fn softmax(logits: Tensor<2>, teacher: &[f32], weights: Vec<f32>, temperature: f32) -> Tensor<1> {
    let k = logits.dims()[1];
    let target = teacher.chunks_exact(k).flat_map(|row| distribution(row, temperature)).collect();
    kernels::soft_cross_entropy(logits, target, weights, temperature)
}

/// The sum of the binary cross-entropies of each row with the sigmoids of a teacher's logits at the same temperature. Shapes as for
/// [`softmax`].
pub(crate) fn sigmoid(logits: Tensor<2>, teacher: &[f32], weights: &[f32], temperature: f32) -> Tensor<1> {
    let n = weights.len();
    let target = teacher.iter().map(|z| 1.0 / (1.0 + (-z / temperature).exp())).collect();
    let weights = weights.iter().map(|weight| weight * temperature * temperature).collect();
    let weights = Tensor::<2>::from_data(TensorData::new(weights, [n, 1]), &logits.device());
    (binary::cross_entropy(logits / temperature, target, None) * weights).sum()
}

/// How many tokens an answer has of a whole vocabulary: the most probable ones, which share the probability of all.
const TOKENS: usize = 32;

/// The numbers of an answer about one token of a text: [`TOKENS`] ids in falling order of their logits, then these logits; the rest of
/// both [`MISSING`] in a smaller vocabulary.
pub(crate) const TOKEN_ANSWER: usize = 2 * TOKENS;

/// The most probable tokens of each row of logits over a vocabulary, [`TOKEN_ANSWER`] numbers a row. Of equal logits the lower id counts
/// as greater.
pub(crate) fn most_probable_tokens(logits: &[f32], vocabulary: usize) -> Vec<f32> {
    let rows: Vec<Vec<f32>> = logits.par_chunks(vocabulary.max(1)).map(most_probable).collect();
    rows.concat()
}

fn most_probable(logits: &[f32]) -> Vec<f32> {
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let by_logit = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    if ids.len() > TOKENS {
        ids.select_nth_unstable_by(TOKENS, by_logit);
        ids.truncate(TOKENS);
    }
    ids.sort_by(by_logit);
    let mut answer = vec![MISSING; TOKEN_ANSWER];
    for (place, id) in ids.into_iter().enumerate() {
        // A vocabulary has far fewer than the 2^24 tokens that f32 counts.
        answer[place] = id as f32;
        answer[TOKENS + place] = logits[id as usize];
    }
    answer
}

/// [`softmax`] with the most probable tokens of a teacher, whose probabilities are made to sum to 1: other tokens have none. `logits`
/// `[n, vocabulary]`, `teacher` [`TOKEN_ANSWER`] numbers for each, `weights` `[n]`.
pub(crate) fn tokens(logits: Tensor<2>, teacher: &[f32], weights: Vec<f32>, temperature: f32) -> Tensor<1> {
    let [n, vocabulary] = logits.dims();
    let mut target = vec![0.0; n * vocabulary];
    for (answer, target) in teacher.chunks_exact(TOKEN_ANSWER).zip(target.chunks_mut(vocabulary.max(1))) {
        let (ids, logits) = answer.split_at(TOKENS);
        let known = ids.iter().zip(logits).filter(|(id, _)| **id != MISSING && (**id as usize) < vocabulary);
        let (ids, logits): (Vec<f32>, Vec<f32>) = known.unzip();
        for (id, p) in ids.iter().zip(distribution(&logits, temperature)) {
            target[*id as usize] = p;
        }
    }
    kernels::soft_cross_entropy(logits, target, weights, temperature)
}

/// The softmax of some logits at a temperature.
pub(crate) fn distribution(logits: &[f32], temperature: f32) -> Vec<f32> {
    let most = crate::heads::head::argmax(logits).1;
    let powers: Vec<f32> = logits.iter().map(|z| ((z - most) / temperature).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn tracked(values: &[f32], shape: [usize; 2]) -> Tensor<2> {
        let device = Device::flex().autodiff();
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &device).require_grad()
    }

    fn gradient(z: &Tensor<2>, loss: &Tensor<1>) -> Vec<f32> {
        z.grad(&loss.backward()).unwrap().into_data().try_into_vec().unwrap()
    }

    /// The golden values of teacher annealing: a student at `[.5, 0, -.5]`, its teacher at `[0, 1, 2]`, gold 0.
    #[test]
    fn teacher_annealing_moves_from_the_teacher_to_the_label() {
        for (lambda, loss, d) in [
            (0.0, 1.467_875, [0.416_450, 0.062_467, -0.478_917]),
            (0.25, 1.270_974, [0.188_957, 0.123_650, -0.312_607]),
            (0.5, 1.074_072, [-0.038_535, 0.184_832, -0.146_297]),
            (1.0, 0.680_270, [-0.493_520, 0.307_196, 0.186_324]),
        ] {
            let z = tracked(&[0.5, 0.0, -0.5], [1, 3]);
            let soft = softmax(z.clone(), &[0.0, 1.0, 2.0], vec![1.0 - lambda], 1.0);
            let found = soft + kernels::cross_entropy(z.clone(), &[0], None, 0.0) * lambda;
            let value: f32 = found.clone().into_scalar();
            assert!((value - loss).abs() < 2e-6, "{lambda}: {value}");
            for (found, expected) in gradient(&z, &found).iter().zip(d) {
                assert!((found - expected).abs() < 2e-6, "{lambda}: {found} {expected}");
            }
        }
    }

    /// Of a small vocabulary all tokens are kept, of a large one the most probable.
    #[test]
    fn of_a_vocabulary_the_most_probable_tokens_are_learned() {
        for vocabulary in [5, 100] {
            let teacher: Vec<f32> = (0..2 * vocabulary).map(|i| (i as f32 * 1.3).sin() * 4.0).collect();
            let student: Vec<f32> = (0..2 * vocabulary).map(|i| (i as f32 * 0.7).cos() * 2.0).collect();
            let answer = most_probable_tokens(&teacher, vocabulary);
            assert_eq!(answer.len(), 2 * TOKEN_ANSWER);
            // What is not kept has no probability.
            let mut kept = vec![-1e9; 2 * vocabulary];
            for (row, answer) in answer.chunks(TOKEN_ANSWER).enumerate() {
                let mut order: Vec<usize> = (0..vocabulary).collect();
                let of_row = &teacher[row * vocabulary..][..vocabulary];
                order.sort_by(|a, b| of_row[*b].total_cmp(&of_row[*a]));
                order.truncate(TOKENS);
                let ids: Vec<usize> = answer.iter().take(order.len()).map(|id| *id as usize).collect();
                assert_eq!(ids, order);
                order.iter().for_each(|id| kept[row * vocabulary + id] = of_row[*id]);
            }
            let weights = vec![0.5, 1.0];
            let (x, y) = (tracked(&student, [2, vocabulary]), tracked(&student, [2, vocabulary]));
            let found = tokens(x.clone(), &answer, weights.clone(), 2.0);
            let expected = softmax(y.clone(), &kept, weights, 2.0);
            for (found, expected) in gradient(&x, &found).iter().zip(gradient(&y, &expected)) {
                assert!((found - expected).abs() < 1e-6, "{found} {expected}");
            }
            let [found, expected] = [found, expected].map(|loss| loss.into_scalar::<f32>());
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    /// Values and differences in f64.
    #[test]
    fn binary_answers_at_a_temperature() {
        let (z, teacher, weights) = ([0.3f32, -1.2, 0.8, 2.0], [1.0f32, -0.5, 0.25, 3.0], [0.5f32, 1.0]);
        for temperature in [1.0f32, 2.0] {
            let t = f64::from(temperature);
            let sigmoid_of = |z: f64| 1.0 / (1.0 + (-z / t).exp());
            let formula = |z: &[f64]| -> f64 {
                let each = z.iter().zip(&teacher).enumerate().map(|(i, (z, of_teacher))| {
                    let (p, q) = (sigmoid_of(*z), sigmoid_of(f64::from(*of_teacher)));
                    -f64::from(weights[i / 2]) * t * t * (q * p.ln() + (1.0 - q) * (1.0 - p).ln())
                });
                each.sum()
            };
            let wide: Vec<f64> = z.iter().map(|z| f64::from(*z)).collect();
            let x = tracked(&z, [2, 2]);
            let found = sigmoid(x.clone(), &teacher, &weights, temperature);
            let value: f32 = found.clone().into_scalar();
            assert!((f64::from(value) - formula(&wide)).abs() < 1e-5, "{value}");
            for (i, found) in gradient(&x, &found).iter().enumerate() {
                let at = |by: f64| {
                    let mut moved = wide.clone();
                    moved[i] += by;
                    formula(&moved)
                };
                let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} {expected}");
            }
        }
    }
}
