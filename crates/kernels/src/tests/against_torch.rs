//! Values from PyTorch (`scripts/make_kernel_fixtures.py`).

use super::{devices, matrix, relative, values};
use crate::{AdamW, adamw, cross_entropy, soft_cross_entropy};
use burn::tensor::{Tensor, TensorData};
use serde_json::Value;

fn cases(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

fn to_f64(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn to_f32(value: &Value) -> Vec<f32> {
    to_f64(value).iter().map(|&x| x as f32).collect()
}

fn number(value: &Value) -> f32 {
    value.as_f64().unwrap() as f32
}

#[test]
fn cross_entropy_and_its_gradient() {
    let cases = cases(include_str!("../../tests/fixtures/cross_entropy.json"));
    for (device, case) in devices().iter().flat_map(|device| cases.iter().map(move |case| (device, case))) {
        let target: Vec<u32> = to_f64(&case["target"]).iter().map(|&x| x as u32).collect();
        let shape = [target.len(), case["classes"].as_u64().unwrap() as usize];
        let logits = matrix(to_f32(&case["logits"]), shape, &device.clone().autodiff()).require_grad();
        let weight = (!case["weight"].is_null()).then(|| to_f32(&case["weight"]));
        let loss = cross_entropy(logits.clone(), &target, weight.as_deref(), number(&case["smoothing"]));
        let gradients = loss.clone().backward();
        assert!(relative(&values(loss), &[case["loss"].as_f64().unwrap()]) < 1e-5, "{case}");
        let gradient = values(logits.grad(&gradients).unwrap());
        assert!(relative(&gradient, &to_f64(&case["gradient"])) < 1e-5, "{case}");
    }
}

#[test]
fn soft_cross_entropy_and_its_gradient() {
    let cases = cases(include_str!("../../tests/fixtures/soft_cross_entropy.json"));
    for (device, case) in devices().iter().flat_map(|device| cases.iter().map(move |case| (device, case))) {
        let weight = to_f32(&case["weight"]);
        let shape = [weight.len(), case["classes"].as_u64().unwrap() as usize];
        let logits = matrix(to_f32(&case["logits"]), shape, &device.clone().autodiff()).require_grad();
        let temperature = number(&case["temperature"]);
        let loss = soft_cross_entropy(logits.clone(), to_f32(&case["target"]), weight, temperature);
        let gradients = loss.clone().backward();
        assert!(relative(&values(loss), &[case["loss"].as_f64().unwrap()]) < 1e-5, "{case}");
        let gradient = values(logits.grad(&gradients).unwrap());
        assert!(relative(&gradient, &to_f64(&case["gradient"])) < 1e-5, "{case}");
    }
}

#[test]
fn adamw_trajectory() {
    let cases = cases(include_str!("../../tests/fixtures/adamw.json"));
    for (device, case) in devices().iter().flat_map(|device| cases.iter().map(move |case| (device, case))) {
        let tensor = |values: Vec<f32>| {
            let len = values.len();
            Tensor::<1>::from_data(TensorData::new(values, [len]), device)
        };
        let mut w = tensor(to_f32(&case["start"]));
        let (mut m, mut v) = (w.zeros_like(), w.zeros_like());
        let strides = case["gradients"].as_array().unwrap().iter().zip(case["weights"].as_array().unwrap());
        for ((g, right), time) in strides.zip(1..) {
            let step = AdamW {
                beta1: number(&case["beta1"]),
                beta2: number(&case["beta2"]),
                eps: number(&case["eps"]),
                weight_decay: number(&case["decay"]),
                learning_rate: number(&case["learning_rate"]),
                // Half the gradient, doubled by the step: what clipping does, the other way round.
                grad_scale: 2.0,
                step: time,
            };
            (w, m, v) = adamw(step, w, tensor(to_f32(g)) * 0.5, m, v);
            for (w, right) in values(w.clone()).iter().zip(to_f64(right)) {
                assert!(
                    (f64::from(*w) - right).abs() < 1e-6 * right.abs().max(1.0),
                    "step {time} on {device:?}: {w} {right}"
                );
            }
        }
    }
}
