//! Disentangled attention against the engine's own operations, against differences of the mathematics, and for any threads.

use super::against_reference::check;
use super::{devices, dispatched, numbers, relative, rows, run, to_f64};
use crate::settings::AttentionRows;
use crate::{DisentangledSettings, Dropout, reference};
use burn::backend::Dispatch;
use burn::tensor::{Device, Tensor};
use cpu::DropoutMask;
use std::sync::Arc;

/// Two distances on each side have rows of their own; the others share that at the end.
fn index(reach: usize) -> Arc<[u32]> {
    let reach = reach as isize;
    (-reach..=reach).map(|distance| (3 - distance).clamp(0, 5) as u32).collect()
}

/// How many rows the tables have.
const TABLE: usize = 6;

const DROPOUT: Option<Dropout> = Some(Dropout::new(0.3, 11));

/// The attention with the tables that are wanted.
fn attend(
    x: &[Tensor<2>],
    wanted: [bool; 2],
    lengths: [&[usize]; 2],
    positions: Option<&[u32]>,
    settings: &DisentangledSettings,
) -> Tensor<2> {
    let [q_rows, kv_rows] = lengths.map(rows);
    let tables = [0, 1].map(|i| wanted[i].then(|| x[2 + i].clone()));
    let (q, kv) = (x[0].clone(), x[1].clone());
    crate::disentangled_attention(q, kv, tables, [&q_rows, &kv_rows], positions, settings.clone())
}

#[test]
fn equals_the_plain_version() {
    type Case<'a> = ([&'a [usize]; 2], Option<&'a [u32]>);
    let all: &[usize] = &[5, 1, 17, 0, 3];
    let cases: [Case<'_>; 3] =
        [([all, all], None), ([&[2, 0, 3], &[5, 2, 4]], Some(&[1, 4, 0, 2, 3])), ([&[1, 2], &[3, 2]], None)];
    for ((lengths, positions), (heads, h)) in
        cases.iter().flat_map(|case| [(1, 3), (4, 20), (2, 64)].map(|shape| (*case, shape)))
    {
        for (dropout, wanted) in
            [(None, [true, true]), (DROPOUT, [true, true]), (None, [true, false]), (DROPOUT, [false, true])]
        {
            let settings = DisentangledSettings { heads, index: index(16), dropout };
            let [m, n] = lengths.map(|lengths| lengths.iter().sum::<usize>());
            let shapes = [[m, h], [n, 2 * h], [TABLE, h], [TABLE, h]];
            check(
                "disentangled_attention",
                &shapes,
                &|x| attend(x, wanted, lengths, positions, &settings),
                &|x| {
                    let [q_rows, kv_rows] = lengths.map(rows);
                    let rows = AttentionRows::new("test", [&q_rows, &kv_rows], positions);
                    let part = |i: usize| match i < 2 || wanted[i - 2] {
                        true => dispatched(&x[i]),
                        false => Tensor::<2>::zeros([0, h], &x[i].device()).into_dispatch(),
                    };
                    let inputs = [0, 1, 2, 3].map(part);
                    Tensor::from_dispatch(reference::disentangled_attention::<Dispatch>(
                        inputs, &rows, &settings,
                    ))
                },
            );
        }
    }
}

/// Token by token in f64; gradients by differences.
#[test]
fn equals_the_mathematics_in_f64() {
    let (heads, d, lengths, reach) = (2, 3, [4, 1, 3], 4);
    let (h, n) = (heads * d, 8);
    let settings = DisentangledSettings { heads, index: index(reach), dropout: DROPOUT };
    let probabilities = lengths.iter().map(|n| heads * n * n).sum();
    let keep = DropoutMask::of(DROPOUT, 1).map(|mask| mask.factors(probabilities)).unwrap();
    let math = |x: &[Vec<f64>]| {
        let (mut context, mut before, mut first) = (vec![0.0; n * h], 0, 0);
        for tokens in lengths {
            for head in 0..heads {
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                let q = |i: usize| &x[0][(first + i) * h + head * d..][..d];
                let k = |j: usize| &x[1][(first + j) * 2 * h + head * d..][..d];
                let of_table = |table: usize, row: u32| &x[table][row as usize * h + head * d..][..d];
                for i in 0..tokens {
                    let score = |j: usize| {
                        let r = settings.index[reach + j - i];
                        let sum = dot(q(i), k(j)) + dot(q(i), of_table(2, r)) + dot(k(j), of_table(3, r));
                        (sum / (d as f64 * 3.0).sqrt()).exp()
                    };
                    let total: f64 = (0..tokens).map(score).sum();
                    for j in 0..tokens {
                        let p = score(j) / total * f64::from(keep[before + (head * tokens + i) * tokens + j]);
                        for c in 0..d {
                            let v = x[1][(first + j) * 2 * h + h + head * d + c];
                            context[(first + i) * h + head * d + c] += p * v;
                        }
                    }
                }
            }
            before += heads * tokens * tokens;
            first += tokens;
        }
        context
    };
    let shapes = [[n, h], [n, 2 * h], [TABLE, h], [TABLE, h]];
    let inputs: Vec<_> =
        shapes.iter().enumerate().map(|(i, s)| (numbers(s[0] * s[1], i as u32), *s)).collect();
    let mut x: Vec<Vec<f64>> = inputs.iter().map(|(x, _)| to_f64(x)).collect();
    let right = math(&x);
    let weights = to_f64(&numbers(right.len(), 99));
    let sum = |x: &[Vec<f64>]| math(x).iter().zip(&weights).map(|(y, w)| y * w).sum::<f64>();
    for device in devices() {
        let (y, gradients) =
            run(&device, &inputs, &|x| attend(x, [true; 2], [&lengths, &lengths], None, &settings));
        assert!(relative(&y, &right) < 1e-6, "{device:?}");
        for (i, gradient) in gradients.iter().enumerate() {
            let difference = |j: usize, x: &mut Vec<Vec<f64>>| {
                let (at, step) = (x[i][j], 1e-5);
                x[i][j] = at + step;
                let above = sum(x);
                x[i][j] = at - step;
                let below = sum(x);
                x[i][j] = at;
                (above - below) / (2.0 * step)
            };
            let differences: Vec<f64> = (0..gradient.len()).map(|j| difference(j, &mut x)).collect();
            let far = relative(gradient, &differences);
            assert!(far < 3e-6, "{device:?}: gradient {i} {far:e}");
        }
    }
}

#[test]
fn the_same_bits_for_every_number_of_threads() {
    let (h, lengths) = (32, [70usize, 1, 33, 64]);
    let settings = DisentangledSettings { heads: 4, index: index(80), dropout: DROPOUT };
    let shapes = [[168, h], [168, 2 * h], [TABLE, h], [TABLE, h]];
    let inputs: Vec<_> =
        shapes.iter().enumerate().map(|(i, s)| (numbers(s[0] * s[1], i as u32), *s)).collect();
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            run(&Device::flex(), &inputs, &|x| attend(x, [true; 2], [&lengths, &lengths], None, &settings))
        })
    };
    let one = with(1);
    for threads in [2, 5] {
        assert!(with(threads) == one, "{threads} threads");
    }
}
