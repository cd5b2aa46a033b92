//! The layer that computes itself again: the same bits as its blocks, whatever needs a gradient.

use super::{devices, layer_shapes, layer_weights, matrix, numbers, rows, values};
use crate::{AttentionSettings, LayerSettings, LayerWeights, Noise, Precision, Rows, recomputed_layer};
use burn::tensor::{Device, Tensor};

fn blocks(x: Tensor<2>, w: LayerWeights, rows: &Rows, settings: LayerSettings) -> Tensor<2> {
    let LayerSettings { heads, precision, eps, noise } = settings;
    let attend = AttentionSettings { heads, causal: false, noise: noise[0] };
    let a = crate::attention(crate::linear(x.clone(), w.qkv.0, w.qkv.1, precision), rows, attend);
    let y = crate::linear(a, w.output.0, w.output.1, precision);
    let x = crate::add_norm(y, x, w.attention_norm.0, w.attention_norm.1, eps, noise[1]);
    let y = crate::ffn(x.clone(), w.wide.0, w.wide.1, w.narrow.0, w.narrow.1, precision);
    crate::add_norm(y, x, w.norm.0, w.norm.1, eps, noise[2])
}

/// Result and the gradients of the thirteen inputs, of which those in `need` are tracked.
fn run(
    device: &Device,
    layer: impl Fn(Tensor<2>, LayerWeights, &Rows, LayerSettings) -> Tensor<2>,
    lengths: &[usize],
    need: impl Fn(usize) -> bool,
) -> (Vec<f32>, Vec<Option<Vec<f32>>>) {
    let (rows, h, f) = (rows(lengths), 24, 40);
    let n = rows[rows.len() - 1];
    let shapes = layer_shapes(n, h, f);
    let device = device.clone().autodiff();
    let input = |(i, shape): (usize, &[usize; 2])| {
        let x = matrix(numbers(shape[0] * shape[1], i as u32 + 1), *shape, &device);
        if need(i) { x.require_grad() } else { x }
    };
    let t: Vec<Tensor<2>> = shapes.iter().enumerate().map(input).collect();
    let weights = layer_weights(&t);
    let noise = |seed| Some(Noise::new(0.2, seed));
    let settings = LayerSettings {
        heads: 3,
        precision: Precision::F32,
        eps: 1e-5,
        noise: [noise(1), noise(2), noise(3)],
    };
    let y = layer(t[0].clone(), weights, &rows, settings);
    if !(0..13).any(&need) {
        return (values(y), vec![None; 13]);
    }
    let gradients = (y.clone() * matrix(numbers(n * h, 99), [n, h], &device)).sum().backward();
    (values(y), t.iter().map(|x| x.grad(&gradients).map(values)).collect())
}

#[test]
fn the_same_bits_as_its_blocks() {
    for device in &devices() {
        for lengths in [&[1][..], &[5, 17, 1, 0, 33], &[80, 70]] {
            let again = run(device, recomputed_layer, lengths, |_| true);
            assert!(again == run(device, blocks, lengths, |_| true), "{device:?}");
        }
    }
}

#[test]
fn only_what_needs_a_gradient_gets_one() {
    let (device, lengths) = (&Device::flex(), [4, 9]);
    let whole = run(device, blocks, &lengths, |_| true).1;
    for alone in 0..13 {
        for need in [&(|i: usize| i == alone) as &dyn Fn(usize) -> bool, &|i| i != alone, &|i| i >= alone] {
            let (y, gradients) = run(device, recomputed_layer, &lengths, need);
            assert_eq!(y, run(device, blocks, &lengths, |_| true).0);
            for (i, gradient) in gradients.iter().enumerate() {
                assert_eq!(*gradient, whole[i].clone().filter(|_| need(i)), "{i} of those beside {alone}");
            }
        }
    }
    assert_eq!(run(device, recomputed_layer, &lengths, |_| false), run(device, blocks, &lengths, |_| false));
}
