//! Focal loss: targets that are already predicted well count less.
//!
//! The cross-entropy of a target is multiplied by `(1 - p)^gamma`, where `p` is the predicted probability of the gold answer: at
//! `gamma = 2` a target with `p = 0.9` counts a hundredth, one with `p = 0.5` a quarter. 0 is the cross-entropy itself; 2 is common.
//! When to use: where most targets are easy and outweigh the few that are not, such as rare labels.
//! Paper: Lin et al., *Focal Loss for Dense Object Detection*, ICCV 2017; class weights are its `alpha`.

use burn::tensor::{Tensor, TensorData, activation};

use crate::TaskError;

/// The lower bound of `1 - p`, since the derivative of a power below 1 is unbounded at 0.
const MIN_ERROR: f32 = 1e-30;

/// Checks that `gamma` is finite and at least 0.
pub(crate) fn check(key: impl FnOnce() -> String, gamma: f32) -> Result<(), TaskError> {
    if gamma.is_finite() && gamma >= 0.0 {
        return Ok(());
    }
    let expected = "a number, 0 or more, such as 2".into();
    Err(TaskError::Setting { key: key(), found: gamma.to_string(), expected })
}

/// Whether `gamma` is left at 0; for serde.
pub(crate) fn is_off(gamma: &f32) -> bool {
    *gamma == 0.0
}

/// `sum_i w[y_i] (1 - p_i)^gamma (-log p_i) / sum_i w[y_i]`, with the probability `p_i` of class `y_i` in the softmax of row `i`.
///
/// `logits` `[n, classes]`, `target` `[n]`, `weights` `[classes]` (1 where not given), not all 0 at the targets; result `[1]`.
pub(crate) fn of_classes(
    logits: Tensor<2>,
    target: &[u32],
    weights: Option<&[f32]>,
    gamma: f32,
) -> Tensor<1> {
    let [n, classes] = logits.dims();
    let matrix = |values, shape| Tensor::<2>::from_data(TensorData::new(values, shape), &logits.device());
    let mut here = vec![0.0; n * classes];
    target.iter().enumerate().for_each(|(row, class)| here[row * classes + *class as usize] = 1.0);
    let others = here.iter().map(|here| 1.0 - here).collect();
    let (here, others) = (matrix(here, [n, classes]), matrix(others, [n, classes]));
    let weight = |class: &u32| weights.map_or(1.0, |weights| weights[*class as usize]);
    let total: f32 = target.iter().map(weight).sum();
    let weights = matrix(target.iter().map(|class| -weight(class) / total).collect(), [n, 1]);

    let log_p = activation::log_softmax(logits, 1);
    // The sum of the other classes is `1 - p` without its rounding error.
    let wrong = (log_p.clone().exp() * others).sum_dim(1);
    let of_target = (log_p * here).sum_dim(1);
    (of_target * power(wrong, gamma) * weights).sum_dim(0).reshape([1])
}

/// The factor of each binary cross-entropy, `(1 - p)^gamma` with the probability `p` of the gold answer.
///
/// `logits` `[n, k]`, `yes` `[n k]` of 0 and 1 row after row; result `[n, k]`.
pub(crate) fn of_answers(logits: Tensor<2>, yes: &[f32], gamma: f32) -> Tensor<2> {
    let signs = yes.iter().map(|yes| 1.0 - 2.0 * yes).collect();
    let signs = Tensor::from_data(TensorData::new(signs, logits.dims()), &logits.device());
    power(activation::sigmoid(logits * signs), gamma)
}

fn power(wrong: Tensor<2>, gamma: f32) -> Tensor<2> {
    wrong.clamp_min(MIN_ERROR).powf_scalar(gamma)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    const TARGET: [u32; 3] = [2, 0, 1];
    const WEIGHTS: [f64; 3] = [0.5, 1.0, 2.5];
    const LOGITS: [f64; 9] = [0.3, -1.2, 0.8, 2.0, 0.1, -0.4, -0.7, 0.9, 1.5];

    fn of_classes_in_f64(logits: &[f64], gamma: f64) -> f64 {
        let rows = logits.chunks(3).zip(TARGET).map(|(z, y)| {
            let p = z[y as usize].exp() / z.iter().map(|z| z.exp()).sum::<f64>();
            (WEIGHTS[y as usize] * (1.0 - p).powf(gamma) * -p.ln(), WEIGHTS[y as usize])
        });
        let (loss, weight) = rows.fold((0.0, 0.0), |(a, b), (x, w)| (a + x, b + w));
        loss / weight
    }

    fn of_answers_in_f64(logits: &[f64], gamma: f64) -> f64 {
        let factors = logits.iter().enumerate().map(|(i, z)| {
            let p = 1.0 / (1.0 + (if i % 2 == 0 { -z } else { *z }).exp());
            (1.0 - p).powf(gamma)
        });
        factors.sum()
    }

    /// Value and gradient against the formula in f64 and its differences.
    fn compare(fused: impl Fn(Tensor<2>) -> Tensor<1>, formula: impl Fn(&[f64]) -> f64, what: &str) {
        let device = Device::flex().autodiff();
        let values = LOGITS.map(|z| z as f32).to_vec();
        let logits = Tensor::<2>::from_data(TensorData::new(values, [3, 3]), &device).require_grad();
        let found = fused(logits.clone());
        let value: f32 = found.clone().into_scalar();
        assert!((f64::from(value) - formula(&LOGITS)).abs() < 1e-6, "{what}: {value}");
        let gradient: Vec<f32> = logits.grad(&found.backward()).unwrap().into_data().try_into_vec().unwrap();
        for (i, found) in gradient.iter().enumerate() {
            let at = |by: f64| {
                let mut moved = LOGITS;
                moved[i] += by;
                formula(&moved)
            };
            let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{what}[{i}]: {found}, expected {expected}");
        }
    }

    #[test]
    fn gradients_equal_finite_differences() {
        for gamma in [0.5, 1.0, 2.0, 5.0] {
            let weights = WEIGHTS.map(|w| w as f32);
            let fused = |z| of_classes(z, &TARGET, Some(&weights), gamma);
            compare(fused, |z| of_classes_in_f64(z, gamma.into()), &format!("classes, gamma {gamma}"));
            let yes = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0];
            let fused = |z| of_answers(z, &yes, gamma).sum();
            compare(fused, |z| of_answers_in_f64(z, gamma.into()), &format!("answers, gamma {gamma}"));
        }
    }

    #[test]
    fn certainty_has_finite_gradients() {
        let device = Device::flex().autodiff();
        for (gamma, size) in [(0.1, 200.0), (0.5, 60.0), (2.0, 1000.0)] {
            let logits = || Tensor::<2>::from_floats([[size, -size], [-size, size]], &device).require_grad();
            let classes = |z: Tensor<2>| of_classes(z, &[0, 0], None, gamma);
            let answers = |z: Tensor<2>| of_answers(z, &[1.0, 1.0, 0.0, 0.0], gamma).sum();
            for loss in [&classes as &dyn Fn(Tensor<2>) -> Tensor<1>, &answers] {
                let z = logits();
                let gradient = z.grad(&loss(z.clone()).backward()).unwrap();
                let numbers: Vec<f32> = gradient.into_data().try_into_vec().unwrap();
                assert!(numbers.iter().all(|g| g.is_finite()), "gamma {gamma}: {numbers:?}");
            }
        }
    }
}
