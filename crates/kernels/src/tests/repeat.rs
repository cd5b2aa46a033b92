//! Sameness from run to run, memory, and packs without tokens.

use super::{devices, matrix, numbers, rows, run, values, vector};
use crate::{AdamW, AttentionSettings, Dropout, Precision::F32, adamw, squared_norm};
use burn::tensor::{Device, Tensor};

fn layer(x: &[Tensor<2>], lengths: &[usize], dropout: Option<Dropout>) -> Tensor<2> {
    let h = x[0].dims()[1];
    let qkv = crate::linear(x[0].clone(), x[1].clone(), vector(&x[2]), F32);
    let settings = AttentionSettings { dropout, ..AttentionSettings::new(4) };
    let a = crate::attention(qkv, &rows(lengths), settings);
    let one = vector(&x[2]).narrow(0, 0, h);
    let x1 = crate::add_norm(a, x[0].clone(), one.clone(), one.clone(), 1e-5, dropout);
    let f = crate::ffn(x1.clone(), x[3].clone(), vector(&x[4]), x[5].clone(), one.clone(), F32);
    crate::norm(crate::dropout(f, dropout) + x1, one.clone(), one, 1e-5)
}

fn layer_inputs(n: usize, h: usize, f: usize) -> Vec<(Vec<f32>, [usize; 2])> {
    let shapes = [[n, h], [3 * h, h], [1, 3 * h], [f, h], [1, f], [h, f]];
    shapes.iter().enumerate().map(|(i, &s)| (numbers(s[0] * s[1], i as u32), s)).collect()
}

#[test]
fn the_same_bits_every_time() {
    let lengths = [37, 1, 90, 64, 8];
    let inputs = layer_inputs(200, 64, 160);
    let dropout = Some(Dropout::new(0.1, 3));
    for device in &devices() {
        let once = || run(device, &inputs, &|x| layer(x, &lengths, dropout));
        let first = once();
        for _ in 0..4 {
            assert!(once() == first, "{device:?}");
        }
        let (g, d) = (matrix(numbers(300_000, 1), [300, 1000], device), first.0.len());
        assert_eq!(d, 200 * 64);
        assert_eq!(squared_norm(&g).into_data(), squared_norm(&g).into_data());
    }
}

#[test]
fn the_same_bits_for_every_number_of_threads() {
    let lengths = [300, 1, 90, 64, 145];
    let inputs = layer_inputs(600, 96, 384);
    let dropout = Some(Dropout::new(0.1, 3));
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&Device::flex(), &inputs, &|x| layer(x, &lengths, dropout)))
    };
    let one = with(1);
    for threads in [2, 3, 4, 7, 16] {
        assert!(with(threads) == one, "{threads} threads");
    }
}

#[test]
fn inference_equals_training() {
    let inputs = layer_inputs(70, 64, 96);
    for device in &devices() {
        let trained = run(device, &inputs, &|x| layer(x, &[30, 40], None)).0;
        let inputs: Vec<_> = inputs.iter().map(|(x, shape)| matrix(x.clone(), *shape, device)).collect();
        assert!(trained == values(layer(&inputs, &[30, 40], None)), "{device:?}");
    }
}

#[test]
fn a_pack_without_tokens() {
    for device in &devices() {
        let dropout = Some(Dropout::new(0.5, 1));
        let (y, gradients) = run(device, &layer_inputs(0, 8, 12), &|x| layer(x, &[0, 0], dropout));
        assert!(y.is_empty());
        for (gradient, size) in gradients.iter().zip([0, 192, 24, 96, 12, 96]) {
            assert!(gradient.len() == size && gradient.iter().all(|&g| g == 0.0));
        }
        let (means, d) =
            run(device, &[(vec![], [0, 3])], &|x| crate::segment_mean(x[0].clone(), &rows(&[0, 0])));
        assert_eq!((means, d), (vec![0.0; 6], vec![vec![]]));
        let (picked, d) = run(device, &[(numbers(6, 1), [2, 3])], &|x| crate::gather_rows(x[0].clone(), &[]));
        assert_eq!((picked, d), (vec![], vec![vec![0.0; 6]]));
        let none = |x: &[Tensor<2>]| crate::cross_entropy(x[0].clone(), &[], None, 0.1).reshape([1, 1]);
        assert_eq!(run(device, &[(vec![], [0, 3])], &none), (vec![0.0], vec![vec![]]));
        let weightless = |x: &[Tensor<2>]| {
            crate::cross_entropy(x[0].clone(), &[1], Some(&[1.0, 0.0]), 0.1).reshape([1, 1])
        };
        assert_eq!(run(device, &[(vec![1.0, 2.0], [1, 2])], &weightless), (vec![0.0], vec![vec![0.0; 2]]));
    }
}

#[test]
fn a_frozen_input_gets_no_gradient_and_the_others_theirs() {
    let inputs = layer_inputs(20, 16, 24);
    for device in &devices() {
        let all = run(device, &inputs, &|x| layer(x, &[12, 8], None)).1;
        let device = device.clone().autodiff();
        for frozen in 0..inputs.len() {
            let tensors: Vec<_> = inputs
                .iter()
                .enumerate()
                .map(|(i, (x, shape))| {
                    let x = matrix(x.clone(), *shape, &device);
                    if i == frozen { x } else { x.require_grad() }
                })
                .collect();
            let y = layer(&tensors, &[12, 8], None);
            let weights = matrix(numbers(20 * 16, 99), [20, 16], &device);
            let gradients = (y * weights).sum().backward();
            for (i, x) in tensors.iter().enumerate() {
                match x.grad(&gradients) {
                    Some(gradient) => assert_eq!(values(gradient), all[i]),
                    None => assert_eq!(i, frozen),
                }
            }
        }
    }
}

#[test]
fn inputs_that_others_hold_stay_as_they_are() {
    for device in &devices() {
        let (x, one) = (matrix(numbers(12, 1), [3, 4], device), matrix(vec![1.0; 4], [1, 4], device));
        let before = values(x.clone());
        let _ = crate::norm(x.clone(), vector(&one), vector(&one), 1e-5);
        let _ = crate::add_norm(x.clone(), x.clone(), vector(&one), vector(&one), 1e-5, None);
        let _ = crate::dropout(x.clone(), Some(Dropout::new(0.5, 1)));
        let step = AdamW {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.1,
            learning_rate: 0.1,
            grad_scale: 1.0,
            step: 1,
        };
        let _ = adamw(step, x.clone(), x.clone(), x.clone(), x.clone());
        assert_eq!(values(x), before);
    }
}

#[test]
fn squared_norm_is_exact_and_ordered() {
    let x = numbers(100_001, 4);
    let right: f64 = x.iter().map(|&x| f64::from(x).powi(2)).sum();
    // The processor adds up in f64; f32 adds rounding of half a unit in the last of 24 bits.
    for (device, most) in devices().iter().zip([1e-12, 1e-6]) {
        let got: f64 = squared_norm(&matrix(x.clone(), [1, 100_001], device)).into_scalar();
        assert!((got / right - 1.0).abs() < most, "{device:?}: {got}, expected {right}");
    }
}
