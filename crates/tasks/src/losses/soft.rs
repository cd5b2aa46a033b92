//! Losses at the logits of a teacher. All are sums over rows, each times its weight, and times the square of the temperature.

use burn::tensor::{Tensor, TensorData};

use super::binary;

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
