//! Products of bf16 operands inside the blocks, forward and every gradient, by plain arithmetic in place of the
//! instruction: beside the engine's own bf16 tensors, and beside f32.

use super::{dispatched, flat, numbers, relative, run, to_f64, vector};
use crate::{Precision, reference};
use burn::backend::Dispatch;
use burn::tensor::{Device, Tensor};

type Operation<'a> = dyn Fn(&[Tensor<2>], Precision) -> Tensor<2> + 'a;

/// How far bf16's eight bits may carry one product and its gradients; the engine rounds results and gradients too.
const ROUNDING: f64 = 6e-3;

/// `chain`: how many products follow one another.
fn check(name: &str, chain: usize, shapes: &[[usize; 2]], fused: &Operation<'_>, reference: &Operation<'_>) {
    let input = |(i, shape): (usize, &[usize; 2])| (numbers(shape[0] * shape[1], i as u32 + 1), *shape);
    let inputs: Vec<_> = shapes.iter().enumerate().map(input).collect();
    let run = |operation: &Operation<'_>, precision| {
        let (y, mut all) = run(&Device::flex(), &inputs, &|x| operation(x, precision));
        all.insert(0, y);
        all
    };
    let (found, engine) = (run(fused, Precision::Emulated), run(reference, Precision::Bf16));
    let exact = run(fused, Precision::F32);
    for (i, found) in found.iter().enumerate() {
        for (what, right) in [("the engine", &engine[i]), ("f32", &exact[i])] {
            let far = relative(found, &to_f64(right));
            assert!(far < ROUNDING * chain as f64, "{name} {shapes:?}: {i} is {far:e} from {what}");
        }
    }
    assert!(found[0].is_empty() || found != exact, "{name} {shapes:?}: nothing was rounded");
}

#[test]
fn linear_with_and_without_gelu() {
    for [n, i, o] in [[1, 7, 3], [70, 33, 45], [131, 64, 96], [0, 5, 3]] {
        let shapes = [[n, i], [o, i], [1, o]];
        check(
            "linear",
            1,
            &shapes,
            &|x, p| crate::linear(x[0].clone(), x[1].clone(), vector(&x[2]), p),
            &|x, p| {
                let y = reference::linear::<Dispatch>(dispatched(&x[0]), dispatched(&x[1]), flat(&x[2]), p);
                Tensor::from_dispatch(y)
            },
        );
        check(
            "linear_gelu",
            1,
            &shapes,
            &|x, p| crate::linear_gelu(x[0].clone(), x[1].clone(), vector(&x[2]), p),
            &|x, p| {
                let y =
                    reference::linear_gelu::<Dispatch>(dispatched(&x[0]), dispatched(&x[1]), flat(&x[2]), p);
                Tensor::from_dispatch(y)
            },
        );
    }
}

#[test]
fn ffn() {
    for [n, h, f, o] in [[1, 5, 7, 5], [70, 24, 96, 24], [131, 33, 65, 17], [0, 4, 6, 4]] {
        check(
            "ffn",
            2,
            &[[n, h], [f, h], [1, f], [o, f], [1, o]],
            &|x, p| crate::ffn(x[0].clone(), x[1].clone(), vector(&x[2]), x[3].clone(), vector(&x[4]), p),
            &|x, p| {
                let (x0, w1, w2) = (dispatched(&x[0]), dispatched(&x[1]), dispatched(&x[3]));
                Tensor::from_dispatch(reference::ffn::<Dispatch>(x0, w1, flat(&x[2]), w2, flat(&x[4]), p))
            },
        );
    }
}

/// Without the instruction bf16 is f32, to the bit; with it, it is what the plain arithmetic says but for rounding of sums.
#[test]
fn this_processor() {
    let inputs: Vec<_> = [[70, 130], [65, 130], [1, 65]]
        .iter()
        .zip(1..)
        .map(|(&shape, seed)| (numbers(shape[0] * shape[1], seed), shape))
        .collect();
    let of = |precision| {
        run(&Device::flex(), &inputs, &|x| {
            crate::linear(x[0].clone(), x[1].clone(), vector(&x[2]), precision)
        })
    };
    let (here, said) = (of(Precision::Bf16), Precision::Bf16.describe_on_host());
    if said.starts_with("bf16") {
        assert!(relative(&here.0, &to_f64(&of(Precision::Emulated).0)) < 1e-6);
    } else {
        assert!(said.starts_with("f32, as") && here == of(Precision::F32));
    }
    assert_eq!(Precision::F32.describe_on_host(), "f32");
}
